"""PostgreSQL, through ODBC: as with psycopg, PostgreSQL converts what pyodbc would change.

psqlodbc returns today's date instead of ``infinity``, other dates instead of those BC and after 9999, and timestamps
without their time zone; pyodbc cuts off fractions of a second of times. So a query is wrapped by
`tables.readers.postgres`, whose table of types applies, with these exceptions:

* numeric(28, 6) is decimal(38, 9), because psqlodbc reports the same for numeric without precision.
* A domain whose base type is another domain is text.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_polyteia.tables.readers import postgres
from airflow_provider_polyteia.tables.readers.drivers.base import execute, fetch_batches
from airflow_provider_polyteia.tables.readers.drivers.odbc import OdbcDriver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from airflow_provider_polyteia.tables.readers.base import Parameters, Query

_DRIVER_NAME = 6  # SQL_DRIVER_NAME, of SQLGetInfo
# Attributes of a connection of psqlodbc (its psqlodbc.h), and their values. By default, it reads all rows at once, and
# booleans as text.
_PSQLODBC = {
    65539: 1,  # SQL_ATTR_PGOPT_USE_DECLAREFETCH
    65541: 500,  # SQL_ATTR_PGOPT_FETCH: rows that are read at a time
    65545: 0,  # SQL_ATTR_PGOPT_BOOLSASCHAR
}
_NO_PRECISION = (28, 6)  # of a numeric without any, as psqlodbc reports it
_SETTINGS = ("SET TRANSACTION READ ONLY", "SET LOCAL datestyle TO 'ISO'")


class _Column(NamedTuple):
    """A column as psycopg describes it."""

    name: str
    oid: int
    precision: int | None
    scale: int | None


class OdbcPostgresDriver(OdbcDriver):
    """A connection of pyodbc to PostgreSQL."""

    def read_rows(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query with a server-side cursor, in a read-only transaction."""
        if self.connection.getinfo(_DRIVER_NAME).lower().startswith("psqlodbc"):
            for attribute, value in _PSQLODBC.items():
                self.connection.set_attr(attribute, value)
        session: Any = _Session(self.connection)
        described = postgres.describe(session, query, postgres.AS_NUMBERS)
        with closing(self.open_cursor()) as cursor:
            execute(cursor, described.sql, query.parameters)
            yield from fetch_batches(cursor, partial(postgres.to_batch, described.fields), query.batch_bytes)


class _Session:
    """What `postgres.describe` needs of a connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def prepare(self) -> None:
        """Begin a transaction that is read-only."""
        self._connection.rollback()
        self._connection.autocommit = False
        with closing(self._connection.cursor()) as cursor:
            for setting in _SETTINGS:
                cursor.execute(setting)

    @contextmanager
    def cursor(self) -> Iterator[_Cursor]:
        """Return a cursor that describes a query."""
        with closing(self._connection.cursor()) as cursor:
            yield _Cursor(cursor)


class _Cursor:
    """A cursor whose description has the numbers of PostgreSQL's types, which ODBC does not know."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.description: list[_Column] = []

    def execute(self, sql: str, parameters: Any) -> None:
        """Run a query without rows, or one about types of PostgreSQL, whose parameter is a list of numbers."""
        if self.description:
            self._cursor.execute(sql.replace("%s", _array(parameters[0])))
        else:
            self._run(sql, parameters)
            found = self._cursor.description
            oids = self._fetch_oids(sql, len(found), parameters)
            self.description = [_column(*pair) for pair in zip(found, oids, strict=True)]

    def fetchall(self) -> Sequence[Any]:
        """Return the rows."""
        rows: Sequence[Any] = self._cursor.fetchall()
        return rows

    def _fetch_oids(self, sql: str, count: int, parameters: Parameters) -> list[int]:
        names = [f"c{i}" for i in range(count)]
        types = ", ".join(f"pg_typeof({name})::oid" for name in names)
        one = f"(SELECT 1) AS o LEFT JOIN (\n{sql}\n) AS q({', '.join(names)}) ON true"  # although there are no rows
        self._run(f"SELECT {types} FROM {one}", parameters)  # noqa: S608 - the DAG author's SQL
        oids = list(self._cursor.fetchone())
        self._cursor.execute(f"SELECT oid, typbasetype FROM pg_type WHERE oid = ANY({_array(oids)})")  # noqa: S608 - numbers
        bases = dict(map(tuple, self._cursor.fetchall()))
        return [bases[oid] or oid for oid in oids]  # psycopg, too, reports the base type of a domain

    def _run(self, sql: str, parameters: Parameters) -> None:
        try:
            execute(self._cursor, sql, parameters)
        except Exception as error:
            error.sqlstate = error.args[0]  # type: ignore[attr-defined] # as psycopg's errors have it
            raise


def _array(numbers: Sequence[int]) -> str:
    return f"ARRAY[{', '.join(map(str, numbers))}]::oid[]"


def _column(found: Sequence[Any], oid: int) -> _Column:
    precision, scale = found[4:6]
    return _Column(found[0], oid, *((None, None) if (precision, scale) == _NO_PRECISION else (precision, scale)))
