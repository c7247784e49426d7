"""A connection of DuckDB: its types are reported before the query runs, for any number of rows."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.readers.base import Query, ReadError
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader

TYPES = """
    SELECT 1.50::decimal(12, 2) AS amount, 5::hugeint AS huge, 18446744073709551615::ubigint AS large,
        'a'::enum('a', 'b') AS letter, [1, NULL] AS list, {'ä': 1} AS struct,
        uuid '00000000-0000-0000-0000-000000000001' AS id, timestamptz '2026-07-01 12:00:00+02' AS stamp,
        time '10:00' AS at, INTERVAL 1 DAY AS span, '101'::bit AS bits, 'x'::blob AS scan, 0.5::float AS share,
        true AS paid, date '2026-12-31' AS day, '{}'::json AS doc, NULL AS nothing
    FROM range({rows})
"""
EXPECTED = {
    "amount": (pa.decimal128(12, 2), Decimal("1.50")),
    "huge": (pa.decimal128(38, 0), Decimal(5)),
    "large": (pa.decimal128(20, 0), Decimal(2**64 - 1)),
    "letter": (pa.string(), "a"),
    "list": (pa.string(), "[1,null]"),
    "struct": (pa.string(), '{"ä":1}'),
    "id": (pa.string(), "00000000-0000-0000-0000-000000000001"),
    "stamp": (pa.timestamp("us", "UTC"), dt.datetime(2026, 7, 1, 10, tzinfo=dt.UTC)),
    "at": (pa.time64("us"), dt.time(10)),
    "span": (pa.string(), "1 day"),
    "bits": (pa.string(), "101"),
    "scan": (pa.binary(), b"x"),
    "share": (pa.float32(), 0.5),
    "paid": (pa.bool_(), True),
    "day": (pa.date32(), dt.date(2026, 12, 31)),
    "doc": (pa.string(), "{}"),
    "nothing": (pa.int32(), None),
}


class Hook:
    """Opens connections to an empty database whose time zone is not UTC."""

    conn_type = "duckdb"

    def get_conn(self):
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'Europe/Berlin'")
        return connection


def read(sql, parameters=None, **options):
    with DbApiReader(Hook(), Query(sql, parameters, **options)).stage(None) as table:
        return pq.ParquetFile(table.file).read()


@pytest.mark.parametrize("rows", [0, 1, 50_000])
def test_types(rows):
    """The types are those of the query, and nested values are JSON."""
    found = read(TYPES.replace("{rows}", str(rows)))
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == {
        name: arrow_type for name, (arrow_type, _) in EXPECTED.items()
    }
    assert found.num_rows == rows
    if rows:
        assert found.slice(rows - 1).to_pylist() == [{name: value for name, (_, value) in EXPECTED.items()}]


def test_infinite_dates():
    """Parquet has no infinite dates: they become NULL."""
    found = read("SELECT date 'infinity' AS a, timestamp '-infinity' AS b, timestamptz 'infinity' AS c")
    assert found.to_pylist() == [{"a": None, "b": None, "c": None}]


def test_times():
    """A time with an offset is text; the time 24:00, which Parquet does not have, is an error."""
    assert read("SELECT timetz '10:00:00+02' AS t").to_pylist() == [{"t": "10:00:00+02"}]
    with pytest.raises(PolyteiaError, match="Column 'a b' contains 24:00"):
        read("SELECT time '24:00:00' AS \"a b\"")


def test_lists_of_dates():
    """Lists are JSON, whatever they contain."""
    assert read("SELECT [date '2026-01-01'] AS a, [timestamp 'infinity'] AS b").to_pylist() == [
        {"a": '["2026-01-01"]', "b": '["infinity"]'}
    ]


@pytest.mark.parametrize(
    "sql",
    ["SELECT n::int FROM (VALUES (7561234567897)) AS t(n)", "SELECT error(n) FROM (VALUES ('7561234567897')) AS t(n)"],
)
def test_no_values_in_exceptions(sql):
    """What DuckDB says about a value is left out, because it contains the value."""
    with pytest.raises(ReadError) as caught:
        read(sql.replace("7561234567897", "756123456789' || '7") if "error" in sql else sql)
    assert "756123" not in str(caught.value)
    assert caught.value.__context__ is None


def test_parameters():
    """Values of placeholders, by position and by name."""
    assert read("SELECT ?::int AS a, '100%' AS b", [7]).to_pylist() == [{"a": 7, "b": "100%"}]
    assert read("SELECT $x AS a", {"x": "ä"}).to_pylist() == [{"a": "ä"}]


def test_declared():
    """`columns` decides about types, if that changes no value."""
    sql = "SELECT i AS n, i / 4 AS share FROM range(4) AS r(i)"
    found = read(sql, declared={"n": pa.string(), "share": pa.decimal128(5, 2)})
    assert found.to_pydict() == {"n": ["0", "1", "2", "3"], "share": [Decimal(i) / 4 for i in range(4)]}
    with pytest.raises(PolyteiaError, match=r"column 'share' does not fit the type decimal128\(5, 1\)"):
        read(sql, declared={"share": pa.decimal128(5, 1)})
    with pytest.raises(PolyteiaConfigurationError, match="'columns' contains 'x'; the query returns 'n', 'share'"):
        read(sql, declared={"x": pa.string()})


def test_names():
    """Names that differ in case only are kept; equal ones are rejected."""
    assert read('SELECT 1 AS a, 2 AS "A", 3 AS "b c"').to_pylist() == [{"a": 1, "A": 2, "b c": 3}]
    with pytest.raises(PolyteiaConfigurationError, match="two columns named 'a'"):
        read("SELECT 1 AS a, 2 AS a")


def test_show():
    """A statement that cannot be a subquery is run as it is."""
    assert read("SHOW TABLES").schema.names == ["name"]
    with pytest.raises(ReadError, match="ParserException: Parser Error: syntax error"):
        read("SELECT FROM WHERE")


def test_through_airflow(tmp_path, monkeypatch):
    """The hook is found by the type of the connection; nothing is assumed of it but `get_conn`."""
    pytest.importorskip("duckdb_provider", reason="the hook of DuckDB is optional")
    path = tmp_path / "city.duckdb"
    duckdb.connect(str(path)).execute("CREATE TABLE trees AS SELECT 1.5::decimal(6, 2) AS height").close()
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "duckdb", "host": str(path)}))
    from airflow_provider_polyteia.tables.from_database import stage_query  # noqa: PLC0415 - after the skip

    with stage_query("city", "SELECT * FROM trees") as table:
        assert table.columns == {"height": "decimal128(6, 2)"}
