"""Types and values of ODBC drivers that are not at hand, such as that of SQL Server."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal

import pyarrow as pa
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.tables.casts import cast
from airflow_provider_polyteia.tables.readers.base import Query, ReadError
from airflow_provider_polyteia.tables.readers.drivers import driver_of, odbc_types
from airflow_provider_polyteia.tables.readers.drivers.odbc import OdbcDriver, parse_timestampoffset, to_arrow
from airflow_provider_polyteia.tables.readers.drivers.odbc_mysql import to_mysql
from airflow_provider_polyteia.tables.readers.drivers.odbc_types import OdbcType

# As pyodbc describes columns: name, Python type, size, decimal places.
COLUMNS = {
    "changed": (str, 34, 7, odbc_types.SS_TIMESTAMPOFFSET),
    "small": (int, 5, 0, odbc_types.SMALLINT),
    "price": (Decimal, 12, 2, odbc_types.DECIMAL),
    "name": (str, 50, 0, odbc_types.WVARCHAR),
    "photo": (bytearray, 0, 0, odbc_types.VARBINARY),
}


class FakeCursor:
    """A cursor of pyodbc before 5.4."""

    def __init__(self, connection):
        self._connection = connection
        self._rows = list(connection.rows)
        self.sql = ""
        self.description = None
        self.cancelled = 0

    def execute(self, sql):
        self.sql = sql
        if self._connection.error is not None:
            raise self._connection.error
        self.description = [
            (name, python_type, None, size, size, places, True)
            for name, (python_type, size, places, _) in COLUMNS.items()
        ]

    def fetchmany(self, count):
        rows, self._rows = self._rows[:count], self._rows[count:]
        codes = [code for *_, code in COLUMNS.values()]
        return [tuple(map(self._connection.convert, codes, row)) for row in rows]

    def cancel(self):
        self.cancelled += 1

    def close(self):
        pass


class FakeConnection:
    """A connection of pyodbc to SQL Server."""

    __module__ = "pyodbc"

    def __init__(self, rows=(), error=None):
        self.rows = rows
        self.error = error
        self.cursors = []
        self._converters = {}

    def getinfo(self, number):
        return {17: "Microsoft SQL Server"}[number]

    def add_output_converter(self, code, convert):
        self._converters[code] = convert

    def convert(self, code, value):
        return self._converters[code](value) if code in self._converters and value is not None else value

    def cursor(self):
        self.cursors.append(FakeCursor(self))
        return self.cursors[-1]


def offset(*fields):
    """A timestamp as SQL Server's ODBC driver returns it."""
    return struct.pack("<6hI2h", *fields)


def read(connection):
    driver = driver_of(connection, lambda: connection)
    assert type(driver) is OdbcDriver
    return pa.Table.from_batches(driver.read(Query("SELECT 1")))


def test_timestampoffset():
    """A timestamp with an offset is converted to UTC when it is stored; nanoseconds are cut off."""
    found = parse_timestampoffset(offset(2026, 6, 1, 12, 30, 15, 123456700, 5, 30))
    assert found.isoformat() == "2026-06-01T12:30:15.123456+05:30"
    assert parse_timestampoffset(offset(2026, 6, 1, 0, 0, 0, 0, -3, -30)).utcoffset() == -dt.timedelta(hours=3.5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_read(count):
    """The types follow the description, regardless of the number of rows."""
    row = (offset(2026, 6, 1, 12, 0, 0, 500000000, 2, 0), 40_000, Decimal("1.50"), "Grüße", b"\0")
    found = read(FakeConnection([row, (None,) * 5, row][:count]))
    assert found.schema.types == [
        pa.timestamp("us", "UTC"),
        pa.int32(),
        pa.decimal128(12, 2),
        pa.string(),
        pa.binary(),
    ]
    assert found.num_rows == count
    if count:
        wanted = (dt.datetime(2026, 6, 1, 10, 0, 0, 500000, dt.UTC), 40_000, Decimal("1.50"), "Grüße", b"\0")
        assert tuple(found.to_pylist()[0].values()) == wanted


def test_cancel():
    """The cursor of the query is cancelled, if there is one."""
    connection = FakeConnection()
    driver = driver_of(connection, lambda: connection)
    driver.cancel()
    next(driver.read(Query("SELECT 1")))
    driver.cancel()
    assert [cursor.cancelled for cursor in connection.cursors] == [1]


def test_error_without_values():
    """The message of an error has its state, but no values."""
    error = type("DataError", (Exception,), {"__module__": "pyodbc"})
    message = "[22018] Conversion failed when converting the varchar value 'Meier 4711' to data type int."
    with pytest.raises(ReadError, match=r"DataError: \[22018\] Conversion failed .*value '\.\.\.' to") as caught:
        read(FakeConnection(error=error("22018", message)))
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (OdbcType(odbc_types.TINYINT, 3, is_unsigned=True), pa.int16()),
        (OdbcType(odbc_types.BIGINT, 19), pa.int64()),
        (OdbcType(odbc_types.BIGINT, 20, is_unsigned=True), pa.decimal128(20, 0)),
        (OdbcType(odbc_types.NUMERIC, 50, 10), pa.decimal128(38, 10)),
        (OdbcType(odbc_types.NUMERIC, 5, -2), pa.decimal128(7, 0)),
        (OdbcType(odbc_types.NUMERIC, 2, 4), pa.decimal128(4, 4)),
        (OdbcType(odbc_types.NUMERIC), None),
        (OdbcType(odbc_types.SS_TIME2, 16, 7), pa.time64("us")),
        (OdbcType(odbc_types.GUID, 36), pa.string()),
        (OdbcType(-150, 8000), None),
    ],
)
def test_types(found, wanted):
    """Types of ODBC, as Parquet has them."""
    assert to_arrow(found) == wanted


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (OdbcType(odbc_types.BIT, 1, name="bit"), pa.bool_()),
        (OdbcType(odbc_types.BINARY, 8, name="bit"), pa.int64()),
        (OdbcType(odbc_types.BINARY, 64, name="bit"), pa.decimal128(20, 0)),
        (OdbcType(odbc_types.BINARY, 8, name="binary"), pa.binary()),
        (OdbcType(odbc_types.BINARY, 0, name="binary"), pa.string()),
        (OdbcType(odbc_types.SMALLINT, 5, is_unsigned=True, name="year"), pa.int16()),
        (OdbcType(odbc_types.TIME, 15, 6), pa.string()),
    ],
)
def test_types_of_mysql(found, wanted):
    """Types that ODBC reports of MySQL, as Parquet has them."""
    assert to_mysql(found).to_arrow() == wanted


@pytest.mark.parametrize(
    ("python_type", "size", "places", "wanted"),
    [
        (int, 10, 0, OdbcType(odbc_types.INTEGER, 10, 0, is_unsigned=True)),
        (int, 19, 0, OdbcType(odbc_types.BIGINT, 19)),
        (float, 7, 0, OdbcType(odbc_types.REAL, 7)),
        (float, 15, 0, OdbcType(odbc_types.DOUBLE, 15)),
        (bool, 1, 0, OdbcType(odbc_types.BIT, 1)),
        (dict, 0, 0, OdbcType(0)),
    ],
)
def test_without_handle(python_type, size, places, wanted):
    """Before pyodbc 5.4, only the description shows the type."""
    cursor = type("Cursor", (), {"description": [("a", python_type, None, size, size, places, True)]})
    assert odbc_types.types_of(cursor) == [wanted]


@pytest.mark.parametrize("text", ["9" * 39, "9" * 45, "9" * 200, "-" + "9" * 39, "9.9e38", "0." + "1" * 50])
def test_decimals_with_too_many_digits(text):
    """A number that a decimal cannot hold is an error: Arrow would return another one."""
    with pytest.raises(PolyteiaError, match="'n' does not fit"):
        cast(pa.array([text, None]), pa.field("n", pa.decimal128(38, 0)))
    assert cast(pa.array(["-" + "9" * 38, None]), pa.field("n", pa.decimal128(38, 0))).to_pylist()[0] == -(10**38 - 1)
