"""ODBC, through pyodbc: the ODBC driver reports the types of a query's columns.

MySQL, MariaDB and PostgreSQL have drivers of their own, because pyodbc changes or rejects some of their values: see
`odbc_mysql` and `odbc_postgres`. All other databases:

=====================================  ================================================================
ODBC                                   Parquet
=====================================  ================================================================
BIT                                    boolean
TINYINT to BIGINT                      integers of the same size; unsigned ones of the next larger size,
                                       BIGINT unsigned decimal(20, 0)
DECIMAL(p, s), NUMERIC(p, s)           decimal(p, s), p up to 38; values with more digits are an error
REAL; FLOAT, DOUBLE                    floating-point number of 32 bits; of 64 bits
TYPE_DATE, TYPE_TIMESTAMP              date, timestamp, up to microseconds
TYPE_TIME                              time; pyodbc does not return fractions of a second, which is logged
SS_TIME2 of SQL Server                 time, up to microseconds
SS_TIMESTAMPOFFSET of SQL Server       timestamp in UTC
BINARY, VARBINARY, LONGVARBINARY       binary
GUID                                   text, in lower case
CHAR, WCHAR, VARCHAR ...               text
anything else                          the narrowest type that holds all values
=====================================  ================================================================

Before pyodbc 5.4, unsigned integers are not known: those up to 32 bits have the next larger size, and those of 64 bits
must fit a signed one. SS_TIMESTAMPOFFSET(0) is text there.
"""

from __future__ import annotations

import datetime as dt
import importlib
import logging
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.tables.casts import MAX_DIGITS
from airflow_provider_polyteia.tables.columns import DeclaredColumn, InferredColumn
from airflow_provider_polyteia.tables.error_texts import without_values
from airflow_provider_polyteia.tables.readers.base import ReadError
from airflow_provider_polyteia.tables.readers.drivers import odbc_types as odbc
from airflow_provider_polyteia.tables.readers.drivers.base import Driver, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.readers.base import Query
    from airflow_provider_polyteia.tables.readers.drivers.odbc_types import OdbcType

log = logging.getLogger(__name__)

_DBMS_NAME = 17  # SQL_DBMS_NAME, of SQLGetInfo
# Name of a database, as its ODBC driver reports it -> module beside this one, and its class.
_OF_DATABASE = {
    "MariaDB": ("odbc_mysql", "OdbcMySQLDriver"),
    "MySQL": ("odbc_mysql", "OdbcMySQLDriver"),
    "PostgreSQL": ("odbc_postgres", "OdbcPostgresDriver"),
}

_SIGNED = {odbc.TINYINT: pa.int8(), odbc.SMALLINT: pa.int16(), odbc.INTEGER: pa.int32(), odbc.BIGINT: pa.int64()}
_UNSIGNED = {
    odbc.TINYINT: pa.int16(),
    odbc.SMALLINT: pa.int32(),
    odbc.INTEGER: pa.int64(),
    odbc.BIGINT: pa.decimal128(20, 0),
}
_OTHERS = {
    odbc.BIT: pa.bool_(),
    odbc.REAL: pa.float32(),
    odbc.FLOAT: pa.float64(),
    odbc.DOUBLE: pa.float64(),
    odbc.DATE: pa.date32(),
    odbc.TIME: pa.time64("us"),
    odbc.SS_TIME2: pa.time64("us"),
    odbc.TIMESTAMP: pa.timestamp("us"),
    odbc.SS_TIMESTAMPOFFSET: pa.timestamp("us", "UTC"),
    odbc.GUID: pa.string(),
    odbc.SS_XML: pa.string(),
    **dict.fromkeys(odbc.TEXTS, pa.string()),
    **dict.fromkeys(odbc.BINARIES, pa.binary()),
}
_TIMESTAMPOFFSET = struct.Struct("<6hI2h")  # year to second, nanoseconds, hours and minutes of the time zone


class OdbcDriver(Driver):
    """A connection of pyodbc to a database of which nothing else is known."""

    def __init__(self, connection: Any, open_connection: Callable[[], Any]) -> None:
        super().__init__(connection, open_connection)
        self._cursor: Any = None

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query and yield its rows. An error of the database does not contain values."""
        with _without_values(query.sql):
            yield from self.read_rows(query)

    def read_rows(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query and yield its rows."""
        return super().read(query)

    def prepare(self, query: Query) -> None:  # noqa: ARG002 - not every driver asks before
        """Let pyodbc return a type of SQL Server that it does not support."""
        self.connection.add_output_converter(odbc.SS_TIMESTAMPOFFSET, parse_timestampoffset)

    def open_cursor(self) -> Any:
        """Return a cursor, which is also the one to cancel."""
        self._cursor = self.connection.cursor()
        return self._cursor

    def columns(self, cursor: Any, query: Query) -> list[Column]:
        """Return the columns with the types that the ODBC driver reports."""
        return [
            _column(name, found, query.last.get(name, ""))
            for name, found in zip(names_of(cursor), odbc.types_of(cursor), strict=True)
        ]

    def cancel(self) -> None:
        """Cancel the running statement with `SQLCancel`, the one function of ODBC that another thread may call."""
        if self._cursor is not None:
            self._cursor.cancel()


def choose_driver(connection: Any, open_connection: Callable[[], Any]) -> Driver:
    """Return the driver for the database of a connection."""
    found = _OF_DATABASE.get(connection.getinfo(_DBMS_NAME))
    if found is None:
        return OdbcDriver(connection, open_connection)
    module = importlib.import_module(f"{__package__}.{found[0]}")
    make: Callable[[Any, Callable[[], Any]], Driver] = getattr(module, found[1])
    return make(connection, open_connection)


def to_arrow(found: OdbcType) -> pa.DataType | None:
    """Return the type for the values of a column; None if it follows them."""
    if found.code in _SIGNED:
        return (_UNSIGNED if found.is_unsigned else _SIGNED)[found.code]
    if found.code in odbc.DECIMALS:
        return _to_decimal(found.size, found.places)
    return _OTHERS.get(found.code)


def parse_timestampoffset(value: bytes) -> dt.datetime:
    """Return a timestamp of SQL Server, which arrives as the structure SQL_SS_TIMESTAMPOFFSET_STRUCT."""
    year, month, day, hour, minute, second, nanoseconds, hours, minutes = _TIMESTAMPOFFSET.unpack(value)
    zone = dt.timezone(dt.timedelta(hours=hours, minutes=minutes))
    return dt.datetime(year, month, day, hour, minute, second, nanoseconds // 1000, zone)


@contextmanager
def _without_values(sql: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "pyodbc":
            raise
        message = max(map(str, error.args), key=len, default="")  # the other one is the state
        raise ReadError(f"{type(error).__name__}: {without_values(message, sql)}") from None


def _column(name: str, found: OdbcType, last: str) -> Column:
    wanted = to_arrow(found)
    if wanted is None:
        return InferredColumn(name, last)
    if found.code == odbc.TIME and found.places > 0:
        log.warning(
            "Column %r is a time with fractions of a second, which pyodbc does not return. To load them, convert the "
            "column to text in the SQL",
            name,
        )
    return DeclaredColumn(name, wanted, str.lower if found.code == odbc.GUID else None)


def _to_decimal(size: int, places: int) -> pa.DataType | None:
    if size <= 0 or places > MAX_DIGITS:
        return None
    if places < 0:  # NUMBER(5, -2) of Oracle, which has up to 7 digits
        size, places = size - places, 0
    return pa.decimal128(min(max(size, places), MAX_DIGITS), places)
