"""MySQL Connector/Python: as the other drivers of MySQL, but it does not report the digits of a decimal.

The server does so in a recursive query: its columns have the types of its first part, and a number of the second part
that is too large becomes the largest one of the type: 9999999999.99 for DECIMAL(12, 2), seven ones for BIT(7). No row
is read for that, but constant parts of the query may be computed. Where that is not possible, a decimal has as many
decimal places as its values.
"""

from __future__ import annotations

import importlib
import logging
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.tables.readers.drivers.mysql import (
    BINARY_CHARSET,
    BIT,
    CHARSET,
    COMPUTED_FLAG,
    DECIMALS,
    UNSIGNED_FLAG,
    MySQLDriver,
    MySQLType,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_polyteia.tables.readers.base import Query

log = logging.getLogger(__name__)

_HUGE = "1e66"  # more than any DECIMAL
_STRICT = "STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"


class ConnectorDriver(MySQLDriver):
    """A connection of MySQL Connector/Python, with or without its C extension."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._largest: dict[str, bytes] = {}  # name -> the largest value of its type, of decimals and BIT

    def set_charset(self) -> None:
        """Let the server send UTF-8."""
        self.connection.set_charset_collation(CHARSET)

    def thread_id(self) -> int:
        """Return the server's number of the connection."""
        number: int = self.connection.connection_id
        return number

    def prepare(self, query: Query) -> None:
        """Make the session read-only, and ask for the types that the driver does not report."""
        super().prepare(query)
        if "@" in query.sql:
            return  # a variable may be set by the query
        connector = importlib.import_module("mysql.connector")
        try:
            self._largest = self._find_largest(query)
        except (connector.ProgrammingError, connector.DataError) as error:
            # Not a query that can be part of another one, such as SHOW, or a server older than MySQL 8.
            log.info("The digits of decimals are not known before the query runs (error %s)", error.errno)

    def open_cursor(self) -> Any:
        """Return a cursor that streams, with what the server sends."""
        return self.connection.cursor(buffered=False, raw=True)

    def types(self, cursor: Any) -> list[MySQLType]:
        """Return what the server reports."""
        return [self._type(*column) for column in cursor.description]

    def _type(self, name: str, code: int, *others: Any) -> MySQLType:
        flags, charset = others[-2:]
        largest = self._largest.get(name)
        size, places = None, None
        if largest is not None and code == BIT:
            size = int.from_bytes(largest).bit_length()
        elif largest is not None:
            whole, _, fraction = largest.decode().partition(".")
            size, places = len(whole.lstrip("0") + fraction), len(fraction)
        is_unsigned, is_computed = bool(flags & UNSIGNED_FLAG), bool(flags & COMPUTED_FLAG)
        return MySQLType(code, is_unsigned, charset == BINARY_CHARSET, is_computed, size, places)

    def _find_largest(self, query: Query) -> dict[str, bytes]:
        # With LIMIT 0, the server does not run the query.
        no_rows = f"SELECT * FROM (\n{query.sql}\n) AS q LIMIT 0"  # noqa: S608 - the DAG author's SQL
        with closing(self.connection.cursor(buffered=True, raw=True)) as cursor:
            _run(cursor, no_rows, query)
            names = [column[0] for column in cursor.description if column[1] in (BIT, *DECIMALS)]
            if not names:
                return {}
            aliases = ", ".join(f"c{number}" for number, _ in enumerate(names))
            first = ", ".join(f"max({_quoted(name)})" for name in names)
            huge = ", ".join([_HUGE] * len(names))
            with _lenient(cursor):
                _run(
                    cursor,
                    f"WITH RECURSIVE types (n, {aliases}) AS (SELECT 0, {first} FROM ({no_rows}) AS q "  # noqa: S608 - as above
                    f"UNION ALL SELECT 1, {huge} FROM types WHERE n = 0) SELECT {aliases} FROM types WHERE n = 1",
                    query,
                )
                return dict(zip(names, map(bytes, cursor.fetchone()), strict=True))


def _run(cursor: Any, sql: str, query: Query) -> None:
    cursor.execute(sql) if query.parameters is None else cursor.execute(sql, query.parameters)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"  # the driver leaves % as it is


@contextmanager
def _lenient(cursor: Any) -> Iterator[None]:
    """Let the server adapt numbers that are too large instead of rejecting them."""
    cursor.execute("SELECT @@SESSION.sql_mode")
    (before,) = cursor.fetchone()
    modes = before.decode().split(",")
    set_modes = "SET SESSION sql_mode = %s"
    cursor.execute(set_modes, (",".join(mode for mode in modes if mode not in _STRICT),))
    try:
        yield
    finally:
        cursor.execute(set_modes, (before.decode(),))
