"""SQLite through its Airflow hook: a database that tells no types beforehand."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from contextlib import nullcontext
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables import from_database as fetch
from airflow_provider_polyteia.tables.readers import dbapi

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def city(tmp_path, monkeypatch):
    """A database with a table, and the Airflow connection `city` to it."""
    path = tmp_path / "city.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookings (id INTEGER, amount REAL, street TEXT, note TEXT, scan BLOB)")
        database.executemany(
            "INSERT INTO bookings VALUES (?, ?, ?, ?, ?)",
            [(i, None if i < 3000 else i / 4, f"Müllerstraße {i}", None, b"\x00" * 3) for i in range(5000)],
        )
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def read(sql, parameters=None, **options):
    with fetch.fetch("city", sql, parameters, **options) as table:
        return pq.read_table(table.file), table


def test_rows(city):
    """Rows arrive in order, with types, umlauts, bytes, and NULLs that fill the first batches."""
    rows, table = read("SELECT * FROM bookings ORDER BY id")
    assert table.rows == 5000
    assert {field.name: str(field.type) for field in rows.schema} == {
        "id": "int64",
        "amount": "double",
        "street": "string",
        "note": "string",
        "scan": "binary",
    }
    with sqlite3.connect(city) as database:
        expected = database.execute("SELECT * FROM bookings ORDER BY id").fetchall()
    assert [tuple(row.values()) for row in rows.to_pylist()] == expected


def test_parameters(city):
    """Placeholders are the driver's own; without parameters a percent sign is just that."""
    assert read("SELECT id FROM bookings WHERE id > ? AND street LIKE '%99'", [4900])[1].rows == 1
    assert read("SELECT id FROM bookings WHERE id = :id", {"id": 7})[0].to_pylist() == [{"id": 7}]
    assert read("SELECT count(*) AS n FROM bookings WHERE street LIKE 'M%'")[0].to_pylist() == [{"n": 5000}]


def test_empty_result(city):
    """No rows give an empty table with all columns."""
    rows, table = read("SELECT * FROM bookings WHERE id < 0")
    assert (table.rows, rows.column_names) == (0, ["id", "amount", "street", "note", "scan"])


def test_mixed_column(city):
    """SQLite lets a column hold anything; it arrives as the narrowest type for all of it."""
    rows, _ = read("SELECT 1 AS a, 2 AS b UNION ALL SELECT 'x', 0.5")
    assert rows.to_pydict() == {"a": ["1", "x"], "b": [2.0, 0.5]}


def test_wide_rows_make_small_batches(city, monkeypatch):
    """However wide the rows are, a batch has about the size it should have."""
    sizes = []
    monkeypatch.setattr(dbapi, "BATCH_BYTES", 1_000_000)
    build = dbapi.Columns.batch
    monkeypatch.setattr(dbapi.Columns, "batch", lambda self, rows: sizes.append(len(rows)) or build(self, rows))
    assert read("SELECT hex(randomblob(5000)) AS x FROM bookings")[1].rows == 5000
    assert max(sizes[2:]) <= 110
    assert sum(sizes) == 5000


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE bookings SET id = 0", "begins with UPDATE"),
        ("WITH a AS (SELECT 1) DELETE FROM bookings", "holds DELETE"),
        ("PRAGMA journal_mode = WAL", "begins with PRAGMA"),
        ("ATTACH 'other.db' AS other", "begins with ATTACH"),
        ("VACUUM INTO 'other.db'", "begins with VACUUM"),
        ("EXPLAIN UPDATE bookings SET id = 0", None),
        ("SELECT 1; DELETE FROM bookings", "holds 2 statements"),
        ("SELECT id, id FROM bookings", "Two columns of the query have the name 'id'"),
        ("SELECT nosuch FROM bookings", "no such column"),
    ],
)
def test_what_is_no_query(city, sql, problem):
    """A statement that writes, or returns no rows, fails, and has changed nothing."""
    before = city.read_bytes()
    with pytest.raises(PolyteiaError, match=problem) if problem else nullcontext():
        read(sql)
    assert city.read_bytes() == before
    assert [file.name for file in city.parent.iterdir() if "other" in file.name] == []


def test_database_refuses_writes_too(city, monkeypatch):
    """What gets past our own look at the statement is refused by the database, in a session that only reads."""
    monkeypatch.setattr(fetch, "single_query", lambda sql: sql)
    before = city.read_bytes()
    with pytest.raises(PolyteiaError, match="readonly database"):
        read("WITH a AS (SELECT 1) DELETE FROM bookings")
    with pytest.raises(PolyteiaConfigurationError, match="it is no query"):
        read("PRAGMA cache_size = 7")
    assert city.read_bytes() == before


def test_connections_that_cannot_be_read(connect, city):
    """A connection to something else, and one that is not there for ADBC, are told by type."""
    connect("other", host="http://127.0.0.1:1")
    with pytest.raises(PolyteiaConfigurationError, match="leads to PolyteiaHook, which is no hook of a SQL database"):
        fetch.fetch("other", "SELECT 1")
    with pytest.raises(PolyteiaConfigurationError, match="is of type 'sqlite', but driver='adbc'"):
        fetch.fetch("city", "SELECT 1", driver="adbc")
    with pytest.raises(PolyteiaConfigurationError, match="must be one of auto, adbc, dbapi"):
        fetch.fetch("city", "SELECT 1", driver="odbc")


@pytest.mark.parametrize("conn_type", ["generic", "nosuchdatabase", None])
def test_connection_without_a_provider(monkeypatch, conn_type):
    """A type that no installed provider knows ends at once with what to install, not with Airflow's traceback."""
    monkeypatch.setenv("AIRFLOW_CONN_REGISTER", json.dumps({"conn_type": conn_type, "host": "x", "password": "s3cret"}))
    with pytest.raises(
        PolyteiaConfigurationError, match=r"'register' has the type .* Install Airflow's provider"
    ) as caught:
        fetch.fetch("register", "SELECT 1")
    assert "s3cret" not in str(caught.value)


def test_missing_connection():
    """An id that Airflow does not know is named, and the task fails at once."""
    with pytest.raises(PolyteiaConfigurationError, match="no connection 'nosuch' to read rows from"):
        fetch.fetch("nosuch", "SELECT 1")


class Killed(BaseException):
    """What a signal raises."""


@pytest.mark.parametrize("how", [os.kill, lambda _, number: signal.raise_signal(number)], ids=["process", "thread"])
def test_interrupted_query(city, tmp_path, how):
    """A signal is noticed while the driver is busy in C, whichever thread gets it; the query is cancelled."""

    def kill(*_):
        raise Killed

    before = signal.signal(signal.SIGUSR1, kill)
    threading.Timer(0.3, how, [os.getpid(), signal.SIGUSR1]).start()
    begun = time.monotonic()
    try:
        with pytest.raises(Killed):
            fetch.fetch("city", ENDLESS, temp_dir=str(tmp_path))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - begun < 5
    left = [thread for thread in threading.enumerate() if thread.name == "polyteia-sql"]
    for thread in left:
        thread.join(2)
    assert not any(thread.is_alive() for thread in left)


def test_decimals_from_a_driver(city, monkeypatch):
    """A driver that gives exact numbers gets exact decimals, with the places their values need."""
    converter = lambda text: Decimal(text.decode())  # noqa: E731 - as short as that
    connect = sqlite3.connect
    sqlite3.register_converter("NUMERIC", converter)
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, detect_types=2))
    rows, _ = read(
        """SELECT '1.50' AS "a [NUMERIC]" UNION ALL SELECT NULL UNION ALL SELECT '1234567890123456789.125'"""
    )
    assert str(rows.schema.field(0).type) == "decimal128(38, 3)"
    assert rows.to_pylist()[2] == {"a": Decimal("1234567890123456789.125")}
