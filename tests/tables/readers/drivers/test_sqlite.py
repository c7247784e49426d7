"""sqlite3: the types are those that the columns were declared with, and values of other types are errors."""

from __future__ import annotations

import datetime as dt
import sqlite3
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.tables.readers.base import Query
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader

SCHEMA = """
    CREATE TABLE bookings (
        id INTEGER PRIMARY KEY, big UNSIGNED BIG INT, amount DECIMAL(12, 2), price numeric(6,3), rate double precision,
        paid boolean, day DATE, at TIME, changed datetime, stamp TIMESTAMP, street VARCHAR(50), note TEXT, scan BLOB,
        untyped, number NUMERIC
    );
"""
TYPES = [
    *(pa.int64(), pa.int64(), pa.decimal128(12, 2), pa.decimal128(6, 3), pa.float64()),
    *(pa.bool_(), pa.date32(), pa.time64("us"), pa.timestamp("us"), pa.timestamp("us")),
    *(pa.string(), pa.string(), pa.binary()),
]
ROW = (
    *(1, 2**40, 1234567890.12, 5, 3, 1, "2026-12-31", "10:05:00", "2026-12-31 10:05:00", "2026-12-31T10:05:00.5"),
    *("Müllerstraße 1", "x", b"\x00\xff", "ä", 7),
)
VALUES = [
    *(1, 2**40, Decimal("1234567890.12"), Decimal(5), 3.0, True),
    *(
        dt.date(2026, 12, 31),
        dt.time(10, 5),
        dt.datetime(2026, 12, 31, 10, 5),
        dt.datetime(2026, 12, 31, 10, 5, 0, 500000),
    ),
    *("Müllerstraße 1", "x", b"\x00\xff", "ä", 7),
]


@pytest.fixture
def path(tmp_path):
    """A database with an empty table."""
    path = tmp_path / "city.db"
    with sqlite3.connect(path) as database:
        database.executescript(SCHEMA)
    return path


class Hook:
    """Opens connections to a database that is open for reading only."""

    conn_type = "sqlite"

    def __init__(self, path):
        self._path = path

    def get_conn(self):
        return sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)


def read(path, sql, parameters=None, **options):
    with DbApiReader(Hook(path), Query(sql, parameters, **options)).stage(None) as table:
        return pq.ParquetFile(table.file).read()


def insert(path, *rows):
    with sqlite3.connect(path) as database:
        placeholders = ", ".join("?" * 15)
        database.executemany(f"INSERT INTO bookings VALUES ({placeholders})", rows)  # noqa: S608 - a test's own SQL


@pytest.mark.parametrize("count", [0, 1, 3000])
@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT * FROM bookings", None),
        ("SELECT * FROM bookings WHERE id > ? AND street <> ?", [0, "it's 100 %"]),
        ("WITH b AS (SELECT * FROM bookings) SELECT b.* FROM b WHERE id > :id", {"id": 0}),
    ],
)
def test_declared_types(path, count, sql, parameters):
    """The types are the declared ones for any number of rows, with parameters too, and values are converted."""
    insert(path, *[(number + 1, *ROW[1:]) for number in range(count)])
    found = read(path, sql, parameters)
    assert found.num_rows == count
    assert found.schema.types[: len(TYPES)] == TYPES
    if count:
        assert list(found.to_pylist()[0].values()) == VALUES


def test_null_columns(path):
    """A column without values has its declared type."""
    insert(path, (1, *[None] * 14))
    assert read(path, "SELECT * FROM bookings").schema.types[: len(TYPES)] == TYPES


def test_types_of_the_last_load(path):
    """An expression has no declared type: it keeps the type of the last load if its values fit it."""
    insert(path, ROW)
    last = {"a": "decimal128(38, 4)", "b": "double", "c": "int64", "d": "string", "e": "date32[day]"}
    sql = "SELECT NULL AS a, id + 1 AS b, NULL AS c, 5 AS d, 'x' AS e FROM bookings"
    found = read(path, sql, last=last)
    assert [str(arrow_type) for arrow_type in found.schema.types] == [
        *("decimal128(38, 4)", "double", "int64", "int64", "string")
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 1.5),
        ("big", "keine"),
        ("amount", 0.125),
        ("amount", "k.A."),
        ("paid", 2),
        ("day", "31.12.2026"),
        ("day", 20_000),
        ("at", "25:00"),
        ("changed", 1_767_225_600),
        ("stamp", 1_767_225_600.5),
        ("scan", 7),
    ],
)
def test_values_of_other_types(path, column, value):
    """SQLite stores anything anywhere: what does not fit is an error that names the column, without the value."""
    with sqlite3.connect(path) as database:
        database.execute(SCHEMA.replace("bookings", "loose").replace("INTEGER PRIMARY KEY", "INTEGER"))
        database.execute(f"INSERT INTO loose ({column}) VALUES (?)", (value,))  # noqa: S608 - a test's own SQL
    with pytest.raises(PolyteiaError, match=f"column '{column}' does not fit .* declare its type") as caught:
        read(path, "SELECT * FROM loose")
    assert str(value) not in str(caught.value)
    assert caught.value.__cause__ is None
    declared = {column: pa.string()}
    assert read(path, f"SELECT {column} FROM loose", declared=declared).to_pylist() == [{column: str(value)}]  # noqa: S608 - as above


def test_compound_queries(path):
    """The declared types of one part say nothing about the others, so the values decide."""
    insert(path, ROW)
    found = read(path, "SELECT paid AS a, day AS b FROM bookings UNION SELECT 7, 'never'")
    assert [str(arrow_type) for arrow_type in found.schema.types] == ["int64", "string"]


def test_wide_rows(path):
    """How wide the rows are is not known before the first ones are fetched, so these are few."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
    sql = f"{numbers} SELECT hex(zeroblob(50000)) AS x FROM n"  # noqa: S608 - a test's own SQL
    batches = list(DbApiReader(Hook(path), Query(sql)).read_batches())
    assert sum(batch.num_rows for batch in batches) == 200
    assert max(batch.nbytes for batch in batches) < 8_000_000


def test_texts_in_columns_of_text(path):
    """A column of texts takes numbers as they are written."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE loose (note CLOB)")
        database.execute("INSERT INTO loose VALUES (7), ('x')")
    assert read(path, "SELECT note FROM loose").to_pydict() == {"note": ["7", "x"]}


def test_view_is_not_left(path):
    """Asking for the types leaves nothing in the session, and the session is read-only afterwards."""
    hook = Hook(path)
    connection = hook.get_conn()
    hook.get_conn = lambda: connection
    rows = DbApiReader(hook, Query("SELECT id FROM bookings")).read_batches()
    next(rows)
    assert connection.execute("SELECT name FROM sqlite_temp_master").fetchall() == []
    assert connection.execute("PRAGMA query_only").fetchone() == (1,)
    rows.close()
