"""Queries through ODBC on a real MariaDB and a real PostgreSQL: types, values, cancelling, and memory."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("pyodbc", reason="pyodbc is optional")
pytest.importorskip("airflow.providers.odbc", reason="the ODBC provider is optional")

import pyodbc
from mariadb_server import mariadb  # noqa: F401 - a fixture
from postgres import postgres  # noqa: F401 - a fixture

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.from_database import describe_query, stage_query

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(pyodbc.Cursor, "hstmt"), reason="pyodbc before 5.4 does not show all types"),
]

_TYPES_SQL = Path(__file__).parents[1] / "fixtures" / "mariadb" / "types.sql"
_DRIVERS = Path("/usr/lib/x86_64-linux-gnu/odbc")  # of Debian

T1 = {
    "id": (pa.decimal128(20, 0), Decimal(18446744073709551615)),
    "ti": (pa.int8(), 1),
    "bo": (pa.int8(), 1),
    "b1": (pa.bool_(), True),
    "b8": (pa.int64(), 0b10101010),
    "y": (pa.int16(), 2026),
    "de": (pa.decimal128(12, 2), Decimal("1234567890.12")),
    "de0": (pa.decimal128(30, 0), Decimal(123456789012345678901234567890)),
    "de65": (pa.decimal128(38, 30), Decimal("1.5")),
    "fl": (pa.float32(), pa.scalar(0.1, pa.float32()).as_py()),
    "db": (pa.float64(), 0.1),
    "en": (pa.string(), "ja"),
    "se": (pa.string(), "a,c"),
    "js": (pa.string(), '{"a": 1}'),
    "tm": (pa.string(), "12:34:56"),
    "tm6": (pa.string(), "12:34:56.123456"),
    "dt": (pa.timestamp("us"), dt.datetime(2026, 12, 31, 23, 59, 59, 999999)),
    "ts": (pa.timestamp("us"), dt.datetime(2026, 6, 1, 12)),
    "d": (pa.date32(), dt.date(2026, 12, 31)),
    "bl": (pa.binary(), b"\x00\xffA"),
    "vbn": (pa.binary(), b"AB"),
    "bn": (pa.binary(), b"ab\0\0"),
    "tx": (pa.string(), "Grüße 😀"),
    "lt": (pa.string(), "x"),
    "ch": (pa.string(), "ab"),
    "Größe m²": (pa.int32(), 5),
    "a.b": (pa.int32(), 6),
    "mi": (pa.int64(), 7),
    "uu": (pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "ip": (pa.string(), "::1"),
}
T1_SQL = f"SELECT {', '.join(f'`{name}`' for name in T1)} FROM t1 ORDER BY id DESC"  # noqa: S608 - a test's own SQL

# Expression of PostgreSQL -> type and value.
PG = {
    "1::int2": (pa.int16(), 1),
    "2::int4": (pa.int32(), 2),
    "3::int8": (pa.int64(), 3),
    "123456789012345678901.123456789::numeric": (pa.decimal128(38, 9), Decimal("123456789012345678901.123456789")),
    "1.5::numeric(5, 2)": (pa.decimal128(5, 2), Decimal("1.50")),
    "0.1::float4": (pa.float32(), pa.scalar(0.1, pa.float32()).as_py()),
    "0.1::float8": (pa.float64(), 0.1),
    "true": (pa.bool_(), True),
    "false": (pa.bool_(), False),
    "'Grüße 😀'": (pa.string(), "Grüße 😀"),
    "'x'::varchar(10)": (pa.string(), "x"),
    "repeat('ä😀', 700000)": (pa.string(), "ä😀" * 700_000),
    "timestamp '2026-12-31 23:59:59.999999'": (pa.timestamp("us"), dt.datetime(2026, 12, 31, 23, 59, 59, 999999)),
    "timestamptz '2026-06-01 12:00:00.5+02'": (
        pa.timestamp("us", "UTC"),
        dt.datetime(2026, 6, 1, 10, 0, 0, 500000, dt.UTC),
    ),
    "timestamptz 'infinity'": (pa.timestamp("us", "UTC"), None),
    "date '2026-12-31'": (pa.date32(), dt.date(2026, 12, 31)),
    "date 'infinity'": (pa.date32(), None),
    "time '12:34:56.123456'": (pa.time64("us"), dt.time(12, 34, 56, 123456)),
    "interval '1 day 02:03:04'": (pa.string(), "1 day 02:03:04"),
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": (pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    """'{"a": 1}'::jsonb""": (pa.string(), '{"a": 1}'),
    r"'\x00ff41'::bytea": (pa.binary(), b"\x00\xffA"),
    r"decode(repeat('00ff', 1000000), 'hex')": (pa.binary(), b"\x00\xff" * 1_000_000),
    "b'101'": (pa.string(), "101"),
    "12.5::float8::numeric::money": (pa.decimal128(38, 2), Decimal("12.50")),
    "ARRAY[1, 2]": (pa.string(), "[1,2]"),
    "'::1'::inet": (pa.string(), "::1/128"),
    "5::oid": (pa.int64(), 5),
    "7::street_number": (pa.int16(), 7),
    "NULL": (pa.string(), None),
}
PG_SQL = f"SELECT {', '.join(f'{sql} AS c{i}' for i, sql in enumerate(PG))} FROM generate_series(1, 3)"  # noqa: S608 - as above

READ_MANY_ROWS = """
import re
import sys
from pathlib import Path
import pyarrow.parquet as pq
from airflow_provider_polyteia.tables.from_database import stage_query

peaks = []
for count in (1, 300_000):
    sql = "SELECT g AS id, repeat(md5(g::text), 20) AS text FROM generate_series(1, %d) AS g" % count
    with stage_query("city", sql) as table:
        ids = pq.ParquetFile(table.file).read(columns=["id"])["id"].to_pylist()
    # The kernel's maximum of a process includes that of its parent.
    peaks.append(int(re.search("VmHWM:\\\\s*([0-9]+)", Path("/proc/self/status").read_text())[1]) // 1024)
print(ids == list(range(1, 300_001)), peaks[1] - peaks[0])
"""


def odbc_connection(server, driver, password, **extra):
    """The fields of an Airflow connection of type ODBC to a server of the tests."""
    path = _DRIVERS / driver
    if not path.exists():
        pytest.skip(f"the ODBC driver {path} is not installed")
    fields = {**server.connection, "conn_type": "odbc", "password": password}
    return json.dumps({**fields, "extra": {"driver": str(path), **extra}})


@pytest.fixture(autouse=True)
def _allow_driver(monkeypatch):
    """Let connections choose their ODBC driver, which Airflow forbids by default."""
    monkeypatch.setenv("AIRFLOW__PROVIDERS_ODBC__ALLOW_DRIVER_IN_EXTRA", "True")


@pytest.fixture(scope="module")
def types_tables(mariadb):  # noqa: F811 - the imported fixture
    """A MariaDB with the tables of `types.sql`."""
    mariadb.run(_TYPES_SQL.read_text(encoding="utf-8"))
    return mariadb


@pytest.fixture
def maria(types_tables, monkeypatch):
    """The Airflow connection `city`, to MariaDB."""
    monkeypatch.setenv("AIRFLOW_CONN_CITY", odbc_connection(types_tables, "libmaodbc.so", types_tables.password))


@pytest.fixture
def pg(postgres, monkeypatch):  # noqa: F811 - the imported fixture
    """The Airflow connection `city`, to PostgreSQL."""
    postgres.run("DROP DOMAIN IF EXISTS street_number", "CREATE DOMAIN street_number AS int2")
    password = f"{{{postgres.password}}}"  # the hook does not quote it
    monkeypatch.setenv("AIRFLOW_CONN_CITY", odbc_connection(postgres, "psqlodbcw.so", password))


def read(sql, parameters=None, **options):
    """The rows of a query on the connection `city`."""
    with stage_query("city", sql, parameters, **options) as table:
        return pq.read_table(table.file)


@pytest.mark.parametrize(("limit", "parameters"), [(0, None), (1, None), (4, None), (4, (1,))])
def test_mariadb_types(maria, limit, parameters):
    """The types are those of the columns, regardless of the number of rows; the values are those of the database."""
    sql = T1_SQL if parameters is None else T1_SQL.replace("ORDER BY", "WHERE id > ? ORDER BY")
    found = read(f"{sql} LIMIT {limit}", parameters)
    assert {field.name: field.type for field in found.schema} == {name: wanted for name, (wanted, _) in T1.items()}
    assert found.num_rows == limit
    if limit:
        assert found.slice(0, 1).to_pylist() == [{name: value for name, (_, value) in T1.items()}]
    if limit > 1:
        assert found["tm"].to_pylist()[1:] == [None, "838:59:59", "-10:00:00"]
        assert found["dt"].to_pylist()[1:] == [None] * 3


def test_mariadb_zero_dates(maria, caplog):
    """A date with a zero as year, month or day is NULL, and counted."""
    found = read("SELECT * FROM z ORDER BY id")
    assert found["d"].to_pylist() == [dt.date(2026, 1, 1), None, None, None]
    assert found["dt"].to_pylist() == [dt.datetime(2026, 1, 1), None, None, None]
    assert found["ts"].to_pylist() == [dt.datetime(2026, 1, 1), None, None, None]
    assert found["t"].to_pylist() == ["08:00:00", "00:00:00", "-01:30:00", "26:30:15"]
    logged = [record.args for record in caplog.records if "became NULL" in record.msg]
    assert logged == [("d", "2"), ("dt", "2"), ("ts", "1")]


def test_mariadb_long_values(maria):
    """Nothing is cut off: neither long values, nor texts with a zero byte, nor other character sets."""
    sql = (
        "SELECT CONCAT('a', CHAR(0 USING utf8mb4), 'b') AS zero, REPEAT('ä😀', 700000) AS text, "
        "REPEAT(x'00ff', 1000000) AS bytes, n, c, NULL AS nothing FROM t_latin"
    )
    wanted = {"zero": "a\0b", "text": "ä😀" * 700_000, "bytes": b"\x00\xff" * 1_000_000}
    assert read(sql).to_pylist() == [{**wanted, "n": "Müller €", "c": "Müller", "nothing": None}]


def test_mariadb_large_decimal(maria):
    """A number with more than 38 digits is an error that names the column and does not contain the number."""
    with pytest.raises(PolyteiaError, match="column 'n' does not fit the type decimal128") as caught:
        read("SELECT CAST(98765432109876543210987654321098765432109 AS DECIMAL(65, 0)) AS n")
    assert "98765432" not in str(caught.value)


def test_mariadb_read_only(maria, types_tables):
    """A query that writes is rejected, also for a user who may write."""
    types_tables.run("CREATE SEQUENCE IF NOT EXISTS numbers; GRANT ALL ON city.numbers TO loader@'%'")
    with pytest.raises(PolyteiaError, match="READ ONLY transaction"):
        read("SELECT NEXTVAL(numbers) AS n")


@pytest.mark.parametrize("limit", [0, 1, 3])
@pytest.mark.parametrize("parameters", [None, (3,)])
def test_postgres_types(pg, limit, parameters):
    """The types are those of the columns, regardless of the number of rows; the values are those of the database."""
    sql = PG_SQL if parameters is None else f"{PG_SQL} AS g WHERE g <= ?"
    found = read(f"{sql} LIMIT {limit}", parameters)
    assert dict(zip(PG, found.schema.types, strict=True)) == {name: wanted for name, (wanted, _) in PG.items()}
    values = {f"c{i}": value for i, (_, value) in enumerate(PG.values())}
    assert found.to_pylist() == [values] * limit


def test_postgres_not_a_query(pg):
    """What PostgreSQL does not accept as a query is a configuration error."""
    with pytest.raises(PolyteiaConfigurationError, match="does not accept the SQL as a query"):
        read("SELECT id, FROM trees")


def test_postgres_read_only(pg, postgres):  # noqa: F811 - the imported fixture
    """A query that writes is rejected."""
    postgres.run("CREATE SEQUENCE IF NOT EXISTS numbers")
    with pytest.raises(PolyteiaError, match="read-only transaction"):
        read("SELECT nextval('numbers') AS n")


@pytest.mark.parametrize(
    ("database", "sql"),
    [
        ("maria", "SELECT EXTRACTVALUE('<a/>', CONCAT('Meier 47', 11)) AS n"),
        ("pg", "SELECT (a || '11')::int AS n FROM (VALUES ('Meier 47')) AS t(a)"),
    ],
)
def test_no_value_in_an_exception(request, database, sql):
    """What the database says about a value is not repeated, nor does the text have the password."""
    request.getfixturevalue(database)
    with pytest.raises(PolyteiaError, match="failed after 0 rows") as caught:
        read(sql)
    text = "".join(traceback.format_exception(caught.value))
    assert "4711" not in text
    assert "PWD" not in text


@pytest.mark.parametrize(
    ("database", "sql"), [("maria", "SELECT SLEEP(30) AS a"), ("pg", "SELECT pg_sleep(30)::text AS a")]
)
def test_cancel(request, database, sql):
    """An interrupted task cancels its query at once."""
    request.getfixturevalue(database)
    started = time.monotonic()
    threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        read(sql)
    assert time.monotonic() - started < 8
    assert not any(thread.name == "polyteia-sql" for thread in threading.enumerate())


@pytest.mark.parametrize(("database", "sql"), [("maria", T1_SQL), ("pg", PG_SQL)])
def test_describe(request, database, sql):
    """The types of a query are known without its rows."""
    request.getfixturevalue(database)
    wanted = [str(wanted) for wanted, _ in (T1 if database == "maria" else PG).values()]
    assert list(describe_query("city", sql).values()) == wanted


def test_declared(maria):
    """The user may declare types, also of BIT."""
    found = read("SELECT id, b8 FROM t1 WHERE b8 > 0", columns={"b8": "SMALLINT", "id": "VARCHAR"})
    assert found.to_pylist() == [{"id": "18446744073709551615", "b8": 170}]
    assert found.schema.types == [pa.string(), pa.int16()]


def test_constant_memory(pg):
    """200 MB of rows are read in order and in bounded memory."""
    done = subprocess.run(
        [sys.executable, "-c", READ_MANY_ROWS], capture_output=True, text=True, timeout=100, check=True
    )
    is_ordered, growth = done.stdout.split()[-2:]
    assert is_ordered == "True"
    assert int(growth) < 150, re.sub(r"\s+", " ", done.stderr)[-500:]  # MiB
