"""Staging a query on SQLite through its Airflow hook: a database that does not report column types."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import nullcontext
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables import from_database
from airflow_provider_polyteia.tables.from_database import stage_query


def read(sql, parameters=None, **options):
    with stage_query("city", sql, parameters, **options) as table:
        return pq.read_table(table.file), table


def test_rows(city):
    """Rows are staged in order, with types, umlauts, bytes, and columns whose first batches contain only NULL."""
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
    """Placeholders are in the driver's style; without parameters, a percent sign needs no escaping."""
    assert read("SELECT id FROM bookings WHERE id > ? AND street LIKE '%99'", [4900])[1].rows == 1
    assert read("SELECT id FROM bookings WHERE id = :id", {"id": 7})[0].to_pylist() == [{"id": 7}]
    assert read("SELECT count(*) AS n FROM bookings WHERE street LIKE 'M%'")[0].to_pylist() == [{"n": 5000}]


def test_empty_result(city):
    """A result without rows gives an empty table with all columns."""
    rows, table = read("SELECT * FROM bookings WHERE id < 0")
    assert (table.rows, rows.column_names) == (0, ["id", "amount", "street", "note", "scan"])


def test_mixed_column(city):
    """SQLite columns may contain values of any type; the narrowest type for all of them is used."""
    rows, _ = read("SELECT 1 AS a, 2 AS b UNION ALL SELECT 'x', 0.5")
    assert rows.to_pydict() == {"a": ["1", "x"], "b": [2.0, 0.5]}


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE bookings SET id = 0", "begins with UPDATE"),
        ("WITH a AS (SELECT 1) DELETE FROM bookings", "contains DELETE"),
        ("PRAGMA journal_mode = WAL", "begins with PRAGMA"),
        ("ATTACH 'other.db' AS other", "begins with ATTACH"),
        ("VACUUM INTO 'other.db'", "begins with VACUUM"),
        ("EXPLAIN UPDATE bookings SET id = 0", None),
        ("SELECT 1; DELETE FROM bookings", "contains 2 statements"),
        ("SELECT id, id FROM bookings", "The query returns two columns named 'id'; rename one with AS"),
        ("SELECT nosuch FROM bookings", "no such column"),
    ],
)
def test_not_a_query(city, sql, problem):
    """A statement that writes or returns no rows fails without changing anything."""
    before = city.read_bytes()
    with pytest.raises(PolyteiaError, match=problem) if problem else nullcontext():
        read(sql)
    assert city.read_bytes() == before
    assert [file.name for file in city.parent.iterdir() if "other" in file.name] == []


def test_database_rejects_writes_too(city, monkeypatch):
    """A write that passes the check of the statement is rejected by the database in its read-only session."""
    monkeypatch.setattr(from_database, "single_query", lambda sql: sql)
    before = city.read_bytes()
    with pytest.raises(PolyteiaError, match="readonly database"):
        read("WITH a AS (SELECT 1) DELETE FROM bookings")
    with pytest.raises(PolyteiaConfigurationError, match=r"so it is not a query\. Nothing was uploaded or committed"):
        read("PRAGMA cache_size = 7")
    assert city.read_bytes() == before


def test_unsupported_connections_and_drivers(connect, city):
    """Errors name the type of a connection that has no SQL hook or that DuckDB does not read."""
    connect("other", host="http://127.0.0.1:1")
    with pytest.raises(PolyteiaConfigurationError, match="uses PolyteiaHook, which is not a SQL database hook"):
        stage_query("other", "SELECT 1")
    with pytest.raises(
        PolyteiaConfigurationError, match="has the type 'sqlite', but driver='duckdb' supports 'postgres' only"
    ):
        stage_query("city", "SELECT 1", driver="duckdb")
    with pytest.raises(PolyteiaConfigurationError, match="'driver' is 'odbc'; it must be one of auto, duckdb, dbapi"):
        stage_query("city", "SELECT 1", driver="odbc")


@pytest.mark.parametrize("conn_type", ["generic", "nosuchdatabase", None])
def test_connection_without_a_provider(monkeypatch, conn_type):
    """A connection type without an installed provider is an error that says what to install and shows no password."""
    monkeypatch.setenv("AIRFLOW_CONN_REGISTER", json.dumps({"conn_type": conn_type, "host": "x", "password": "s3cret"}))
    with pytest.raises(
        PolyteiaConfigurationError, match=r"'register' has the type .* Install the Airflow provider"
    ) as caught:
        stage_query("register", "SELECT 1")
    assert "s3cret" not in str(caught.value)


def test_missing_connection():
    """A missing connection is named, and the task fails immediately."""
    with pytest.raises(
        PolyteiaConfigurationError, match="Connection 'nosuch', from which the rows should be read, does not exist"
    ):
        stage_query("nosuch", "SELECT 1")


def test_decimals_from_a_driver(city, monkeypatch):
    """Exact numbers from a driver become exact decimals with as many decimal places as they need."""
    connect = sqlite3.connect
    sqlite3.register_converter("NUMERIC", lambda text: Decimal(text.decode()))
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, detect_types=2))
    rows, _ = read(
        """SELECT '1.50' AS "a [NUMERIC]" UNION ALL SELECT NULL UNION ALL SELECT '1234567890123456789.125'"""
    )
    assert str(rows.schema.field(0).type) == "decimal128(38, 3)"
    assert rows.to_pylist()[2] == {"a": Decimal("1234567890123456789.125")}


def test_without_optional_packages(city):
    """Only what reads the database has to be installed: neither DuckDB nor anything else of other extras."""
    code = (
        "import sys; sys.modules |= dict.fromkeys(['duckdb', 'python_calamine'])\n"
        "from airflow_provider_polyteia.tables.from_database import stage_query\n"
        "with stage_query('city', 'SELECT id FROM bookings') as table: print(table.rows)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "5000"
