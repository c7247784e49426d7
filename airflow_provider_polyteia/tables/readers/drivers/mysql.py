"""MySQL and MariaDB, through mysqlclient (`MySQLdb`), PyMySQL or MySQL Connector/Python.

The drivers convert values in different ways: a BIT is bytes or an integer, a SET a text or a Python set, a zero date
NULL or a text. So all of them are asked for what the server sends, which is text, and this module converts it:

=====================================  ================================================================
MySQL and MariaDB                      Parquet
=====================================  ================================================================
TINYINT to BIGINT, also BOOLEAN, YEAR  integers of the same size; unsigned ones of the next larger size,
                                       BIGINT UNSIGNED decimal(20, 0)
BIT(1); BIT(n)                         boolean; integer of 64 bits, BIT(64) decimal(20, 0); of an expression, only
                                       BIT(1)
DECIMAL(p, s)                          decimal(p, s), p up to 38; values with more digits are an error
FLOAT                                  floating-point number of 32 bits, with the six digits that the server sends,
                                       which is logged
DOUBLE                                 floating-point number of 64 bits
DATE, DATETIME, TIMESTAMP              date, timestamp (of the session's time zone); those with a zero as year, month
                                       or day become NULL, which is logged
TIME                                   text, as the database writes it: it may be negative, or above 24 hours
BINARY, VARBINARY, BLOB, GEOMETRY      binary
CHAR, TEXT, ENUM, SET, JSON, UUID ...  text
=====================================  ================================================================
"""

from __future__ import annotations

import importlib
import logging
from contextlib import closing, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.casts import MAX_DIGITS, build, cast_exactly
from airflow_provider_polyteia.tables.columns import InferredColumn
from airflow_provider_polyteia.tables.error_texts import without_values
from airflow_provider_polyteia.tables.readers.drivers.base import Driver, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.readers.base import Query

log = logging.getLogger(__name__)

# The protocol's numbers of types.
BIT, _DATE, _DATETIME, _TIMESTAMP, _YEAR, _FLOAT = 16, 10, 12, 7, 13, 4
DECIMALS = (0, 246)
_TEXTS = (15, 249, 250, 251, 252, 253, 254)  # binary if their character set is
_GEOMETRY = 255
_INTEGERS = {1: 8, 2: 16, 3: 32, 8: 64, 9: 32}  # type -> bits
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}
_BITS = {1: pa.bool_(), 64: pa.decimal128(20, 0)}
_OTHERS = {
    _FLOAT: pa.float32(),
    5: pa.float64(),
    _TIMESTAMP: pa.timestamp("us"),
    _DATE: pa.date32(),
    _DATETIME: pa.timestamp("us"),
    _YEAR: pa.int16(),
    _GEOMETRY: pa.binary(),
}
UNSIGNED_FLAG, COMPUTED_FLAG = 32, 128
BINARY_CHARSET = 63
_DATES = (_DATE, _DATETIME, _TIMESTAMP)
_INCOMPLETE_DATE = r"^0000|^\d{4}-00|^\d{4}-\d\d-00"

READ_ONLY = "SET SESSION TRANSACTION READ ONLY"
CHARSET = "utf8mb4"
_KILL = "KILL QUERY %s"


@dataclass(frozen=True, slots=True)
class MySQLType:
    """What the server says about a column.

    :ivar code: number of the type.
    :ivar size: of decimals, the number of digits; of BIT, the number of bits; None if it is not known.
    :ivar places: of decimals, the number of decimal places; None if it is not known.
    :ivar is_computed: of BIT, whether the values are digits instead of bytes, as they may be for an expression.
    """

    code: int
    is_unsigned: bool = False
    is_binary: bool = False
    is_computed: bool = False
    size: int | None = None
    places: int | None = 0

    def to_arrow(self) -> pa.DataType | None:
        """Return the type of Parquet; None if only the values show it."""
        if self.code in _INTEGERS:
            return (_UNSIGNED if self.is_unsigned else _SIGNED)[_INTEGERS[self.code]]
        if self.code in DECIMALS:
            return self.size and pa.decimal128(min(self.size, MAX_DIGITS), self.places)
        if self.code == BIT:
            return _BITS.get(self.size or 0, pa.int64())
        if self.code in _TEXTS and self.is_binary:
            return pa.binary()
        return _OTHERS.get(self.code, pa.string())


class _TextColumn:
    """A column whose values are the texts, or the bytes, that the server sends.

    :param wanted: its type in the table.
    """

    def __init__(self, name: str, code: int, wanted: pa.DataType) -> None:
        self.name = name
        self._code = code
        self._field = pa.field(name, wanted)
        self._incomplete_dates = 0

    def to_array(self, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
        """Return the values in the type of the column."""
        field = self._field
        content = build(pa.field(self.name, pa.binary()), values)
        if self._code == BIT:
            return field, _bits(content, field)
        if pa.types.is_binary(field.type):
            return field, content
        texts = cast_exactly(content, pa.field(self.name, pa.string()))
        if self._code in _DATES and not pa.types.is_string(field.type):
            texts = self._without_incomplete_dates(texts)
        return field, cast_exactly(texts, field)

    def _without_incomplete_dates(self, texts: pa.Array) -> pa.Array:
        is_incomplete = pc.match_substring_regex(texts, _INCOMPLETE_DATE)
        self._incomplete_dates += pc.sum(is_incomplete).as_py() or 0
        return pc.if_else(is_incomplete, pa.scalar(None, pa.string()), texts)

    def declared(self, wanted: pa.DataType) -> Column:
        """Return the column with another type."""
        return _TextColumn(self.name, self._code, wanted)

    def report(self) -> None:
        """Log how many dates became NULL."""
        if self._incomplete_dates:
            log.warning(
                "Dates in column %r with a zero as year, month or day became NULL: %s",
                self.name,
                f"{self._incomplete_dates:,}",
            )


class MySQLDriver(Driver):
    """What the three drivers have in common."""

    def __init__(self, connection: Any, open_connection: Callable[[], Any]) -> None:
        super().__init__(connection, open_connection)
        self._thread = self.thread_id()  # now, because mysqlclient does not report it to another thread

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query, and log what the server warns of, such as texts that it has cut off."""
        yield from super().read(query)
        with closing(self.connection.cursor()) as cursor:
            cursor.execute("SHOW WARNINGS")
            warnings = {int(code): _to_text(message) for _, code, message in cursor.fetchall()}
        for code, message in warnings.items():
            log.warning("The server warns (%d): %s", code, without_values(message, query.sql))

    def prepare(self, query: Query) -> None:  # noqa: ARG002 - not every driver asks before
        """Make the session read-only, and its texts UTF-8."""
        self.set_charset()
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(READ_ONLY)

    def set_charset(self) -> None:
        """Let the server send UTF-8."""
        self.connection.set_character_set(CHARSET)

    def columns(self, cursor: Any, query: Query) -> list[Column]:
        """Return the columns with the types that the server reports."""
        return [
            to_column(name, found, query.last.get(name, ""))
            for name, found in zip(names_of(cursor), self.types(cursor), strict=True)
        ]

    def types(self, cursor: Any) -> list[MySQLType]:
        """Return what the server reports of each column."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel the query through a second connection."""
        with closing(self.open_connection()) as second, closing(second.cursor()) as cursor:
            cursor.execute(_KILL, (self._thread,))

    def thread_id(self) -> int:
        """Return the server's number of the connection."""
        number: int = self.connection.thread_id()
        return number

    def abandon(self, cursor: Any) -> None:
        """End a query early: if it was not cancelled, closing the cursor would read all of its rows."""
        with suppress(Exception):  # the server may be gone
            self.cancel()
        super().abandon(cursor)


class MySQLdbDriver(MySQLDriver):
    """mysqlclient."""

    def open_cursor(self) -> Any:
        """Return a cursor that streams, with what the server sends."""
        constants = importlib.import_module("MySQLdb.constants")
        by_charset = [(constants.FLAG.BINARY, _is_binary), (None, None)]
        self.connection.converter = dict.fromkeys(_TEXTS, by_charset)
        return self.connection.cursor(importlib.import_module("MySQLdb.cursors").SSCursor)

    def types(self, cursor: Any) -> list[MySQLType]:
        """Return what the server reports: the length of a decimal counts its sign and its point."""
        converters = cursor._result.converter  # noqa: SLF001 - nothing else shows whether a column is binary
        return [
            _from_length(column, flags, is_binary=converter is _is_binary)
            for column, flags, converter in zip(cursor.description, cursor.description_flags, converters, strict=True)
        ]


class PyMySQLDriver(MySQLDriver):
    """PyMySQL."""

    def open_cursor(self) -> Any:
        """Return a cursor that streams, with what the server sends."""
        self.connection.decoders = {}
        return self.connection.cursor(importlib.import_module("pymysql.cursors").SSCursor)

    def types(self, cursor: Any) -> list[MySQLType]:
        """Return what the server reports."""
        return [
            _from_length(column, packet.flags, is_binary=packet.charsetnr == BINARY_CHARSET)
            for column, packet in zip(cursor.description, cursor._result.fields, strict=True)  # noqa: SLF001 - as for mysqlclient
        ]

    def abandon(self, cursor: Any) -> None:
        """End a query early. If the connection is lost, PyMySQL would fail once more when it deletes the cursor."""
        super().abandon(cursor)
        if cursor._result is not None:  # noqa: SLF001 - nothing else ends it
            cursor._result.unbuffered_active = False  # noqa: SLF001 - as above


def _bits(content: pa.Array, field: pa.Field) -> pa.Array:
    """Return the numbers of a column of type BIT."""
    if pa.types.is_boolean(field.type):
        is_set = [pc.not_equal(content, pa.scalar(zero)) for zero in (b"\0", b"0")]  # a digit for an expression
        return pc.and_(*is_set)
    numbers = [None if value is None else str(int.from_bytes(value)) for value in content.to_pylist()]
    return cast_exactly(build(pa.field(field.name, pa.string()), numbers), field)


def to_column(name: str, found: MySQLType, last: str) -> Column:
    """Return the column of a type, whose values are what the server sends.

    :param last: its type at the last load, for a decimal whose digits are not known.
    :raises PolyteiaConfigurationError: if its values are ambiguous.
    """
    if found.code == BIT and found.is_computed and found.size != 1:
        raise PolyteiaConfigurationError(
            f"Column {name!r} is computed from BIT, which the server sends in several forms. Convert it in the SQL "
            "with CAST(column AS UNSIGNED)."
        )
    if found.code == _FLOAT:
        log.warning(
            "Column %r is a FLOAT, of which the server sends six digits. To load all of them, select column + 0e0", name
        )
    wanted = found.to_arrow()
    return InferredColumn(name, last, _to_decimal) if wanted is None else _TextColumn(name, found.code, wanted)


def _to_decimal(value: bytes) -> Decimal:
    return Decimal(value.decode())


def _to_text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _is_binary(value: bytes) -> bytes:
    """Mark the columns of mysqlclient whose character set is binary."""
    return value


def _from_length(column: Sequence[Any], flags: int, *, is_binary: bool) -> MySQLType:
    is_unsigned, is_computed = bool(flags & UNSIGNED_FLAG), bool(flags & COMPUTED_FLAG)
    code, length, places = column[1], column[3], column[5]
    if code in DECIMALS:
        length -= (not is_unsigned) + (places > 0)
    return MySQLType(code, is_unsigned, is_binary, is_computed, length, places if code in DECIMALS else 0)
