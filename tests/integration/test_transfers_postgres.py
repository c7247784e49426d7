"""From a real PostgreSQL to the sandbox: every type, with DuckDB and with both drivers of Airflow's hook."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import signal
import threading
import time
import traceback
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("airflow.providers.postgres", reason="the PostgreSQL provider is optional")

from postgres import postgres  # noqa: F401 - a fixture
from postgres_drivers import DRIVERS, choose_driver, read  # noqa: F401 - a fixture

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.operators.killable import TaskKilledError
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.tables import from_database, optional_dependencies
from airflow_provider_polyteia.tables.from_database import stage_query
from airflow_provider_polyteia.tables.readers.postgres_duckdb import DuckDBReader
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

pytestmark = pytest.mark.integration

SCHEMA = """
CREATE TYPE mood AS ENUM ('gut', 'schlecht');
CREATE TYPE place AS (street text, number int);
CREATE TABLE everything (
    id int8 PRIMARY KEY, i2 int2, i4 int4, f4 float4, f8 float8,
    fixed numeric(12, 3), free numeric, whole numeric(20), tiny numeric(3, 5), money_ money,
    yes boolean, words text, short varchar(20), padded char(5), name_ name,
    day date, clock time, clock_zone timetz, stamp timestamp, stamp_zone timestamptz, span interval,
    bytes bytea, key uuid, doc json, docb jsonb, feeling mood, address inet, object_id oid,
    ints int[], texts text[], matrix int[][], numbers numeric(5, 2)[], spot point, range_ int4range, home place,
    "Größe in m²" float8, "a ""quoted"" 100 % name" int4, nothing text
);
"""
# The first rows contain only NULL, so that no type can be inferred from them.
ROWS = """
INSERT INTO everything (id) SELECT g FROM generate_series(1, 3000) AS g;
INSERT INTO everything VALUES (
    3001, -32768, 2147483647, 1.5, 'NaN',
    -123456789.125, 12345678901234567890.000000001, 12345678901234567890, 0.00123, 1234.5,
    true, E'Müller\\n"Straße";,\\u20ac', 'äöüß', 'ab', 'name',
    '2026-02-28', '23:59:59.999999', '12:00+02', '1969-12-31 23:59:59.123456', '2026-03-29 03:30:00+02',
    '1 mon 2 days 03:04', '\\x00ff0a', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    '{"ä": 1}', '{"b": [1, null]}', 'gut', '10.0.0.1/8', 4294967295,
    '{1,NULL,3}', '{"x","y,z"}', '{{1,2},{3,4}}', '{1.50,NULL}', '(1,2)', '[1,5)', '("Allee",7)',
    1.8, 7, NULL
);
INSERT INTO everything (id, day, stamp, stamp_zone, yes, free, words)
    VALUES (3002, 'infinity', '-infinity', 'infinity', false, 0, '');
"""
BERLIN = dt.timezone(dt.timedelta(hours=2))
EXPECTED = {
    "id": ("int64", 3001),
    "i2": ("int16", -32768),
    "i4": ("int32", 2147483647),
    "f4": ("float", 1.5),
    "fixed": ("decimal128(12, 3)", Decimal("-123456789.125")),
    "free": ("decimal128(38, 9)", Decimal("12345678901234567890.000000001")),
    "whole": ("decimal128(20, 0)", Decimal(12345678901234567890)),
    "tiny": ("decimal128(5, 5)", Decimal("0.00123")),
    "money_": ("decimal128(38, 2)", Decimal("1234.50")),
    "yes": ("bool", True),
    "words": ("string", 'Müller\n"Straße";,€'),
    "short": ("string", "äöüß"),
    "padded": ("string", "ab   "),
    "name_": ("string", "name"),
    "day": ("date32[day]", dt.date(2026, 2, 28)),
    "clock": ("time64[us]", dt.time(23, 59, 59, 999999)),
    "clock_zone": ("string", "12:00:00+02"),
    "stamp": ("timestamp[us]", dt.datetime(1969, 12, 31, 23, 59, 59, 123456)),
    "stamp_zone": ("timestamp[us, tz=UTC]", dt.datetime(2026, 3, 29, 3, 30, tzinfo=BERLIN)),
    "span": ("string", "1 mon 2 days 03:04:00"),
    "bytes": ("binary", b"\x00\xff\n"),
    "key": ("string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "doc": ("string", '{"ä": 1}'),
    "docb": ("string", '{"b": [1, null]}'),
    "feeling": ("string", "gut"),
    "address": ("string", "10.0.0.1/8"),
    "object_id": ("int64", 4294967295),
    "ints": ("string", "[1,null,3]"),
    "texts": ("string", '["x","y,z"]'),
    "matrix": ("string", "[[1,2],[3,4]]"),
    "numbers": ("string", "[1.50,null]"),
    "spot": ("string", "(1,2)"),
    "range_": ("string", "[1,5)"),
    "home": ("string", '{"street":"Allee","number":7}'),
    "Größe in m²": ("double", 1.8),
    'a "quoted" 100 % name': ("int32", 7),
    "nothing": ("string", None),
}
ENDLESS = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000) b"


@pytest.fixture(scope="module")
def database(postgres):  # noqa: F811 - the imported fixture
    """The tables that the tests read."""
    postgres.run(SCHEMA, ROWS)
    postgres.run(
        "CREATE TABLE many AS SELECT g AS id, repeat(md5(g::text), 20) AS text FROM generate_series(1, 200000) g"
    )
    yield postgres
    postgres.run("DROP TABLE everything, many", "DROP TYPE mood, place")


@pytest.fixture
def city(database, monkeypatch):
    """The Airflow connection `city`, with extras that must not affect the result."""
    extra = {"application_name": "ci ty's \\ name", "cursor": "dictcursor", "sslmode": "prefer"}
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({**database.connection, "extra": extra}))
    return database


@pytest.fixture(scope="module")
def platform():
    """A sandbox for this module."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def dataset_id(platform, connect, request):
    """A dataset, with the connection `polyteia_default` to its sandbox."""
    connect(host=platform.base_url, password=platform.pak, extra={"max_wait": 0.01})
    platform.faults.clear()
    platform.recorder.clear()
    slug = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    return platform.call("create_dataset", {"name": "x", "solution_id": SANDBOX_SOLUTION_ID, "slug": slug})["id"]


def read_file(sql, driver):
    """The staged file of a query, which has the same content each time."""
    with stage_query("city", sql, driver=driver) as table:
        return table.file.read()


@pytest.mark.parametrize("name", DRIVERS)
def test_every_type(city, use, dataset_id, platform, name):
    """Every type is loaded with its value, can be queried on the platform, and the file is uploaded unchanged."""
    sql = "SELECT * FROM everything ORDER BY id"
    task = SqlToPolyteiaOperator(task_id="load", sql=sql, conn_id="city", dataset_id=dataset_id, driver=use(name))
    result = task.execute({})
    content = platform.content(dataset_id)
    assert (result["rows"], result["bytes"]) == (3002, len(content))
    (held,) = [item for item in platform.datasets if item["id"] == dataset_id]
    assert held["data"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert content == read_file(sql, use(name))
    stored = pq.read_table(pa.BufferReader(content))
    types = {field.name: str(field.type) for field in stored.schema}
    assert {name: types[name] for name in EXPECTED} == {name: arrow_type for name, (arrow_type, _) in EXPECTED.items()}
    empty, full, infinite = (stored.slice(row, 1).to_pylist()[0] for row in (0, 3000, 3001))
    assert {name: full[name] for name in EXPECTED} == {name: value for name, (_, value) in EXPECTED.items()}
    assert full["f8"] != full["f8"]  # NaN
    assert set(empty.values()) == {1, None}
    assert (infinite["day"], infinite["stamp"], infinite["stamp_zone"]) == (None, None, None)
    assert (infinite["yes"], infinite["free"], infinite["words"]) == (False, Decimal(0), "")
    query = f"SELECT count(*), sum(fixed), max(words), max(stamp_zone) FROM '{{{{{dataset_id}}}}}'"  # noqa: S608 - the platform's own syntax
    (row,) = platform.call("execute_sql", {"sql": query, "datasets": [dataset_id]})["rows"]
    assert row[0] == 3002
    assert Decimal(str(row[1])) == Decimal("-123456789.125")
    assert row[2] == 'Müller\n"Straße";,€'
    assert dt.datetime.fromisoformat(str(row[3])) == EXPECTED["stamp_zone"][1]


def test_all_drivers_give_the_same_table(city, use):
    """All four drivers give the same schema and the same values."""
    tables = [read("SELECT * FROM everything ORDER BY id", use(name)).drop_columns("f8") for name in DRIVERS]
    assert all(table.equals(tables[0]) for table in tables)
    assert all(table.schema.equals(tables[0].schema, check_metadata=True) for table in tables)


@pytest.fixture(scope="module")
def old_databases(postgres):  # noqa: F811 - the imported fixture
    """Databases with legacy encodings: one with LATIN1, one without a known encoding."""
    for name, encoding in (("altstadt", "LATIN1"), ("urstadt", "SQL_ASCII")):
        postgres.run(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    postgres.run("CREATE ROLE clerk LOGIN PASSWORD 'Schlüssel'")
    yield
    postgres.run("DROP ROLE clerk")
    for name in ("altstadt", "urstadt"):
        postgres.run(f"DROP DATABASE {name}")


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize(
    "odd",
    [{"schema": "altstadt"}, {"extra": {"client_encoding": "LATIN1"}}, {"extra": {"options": "-c datestyle=German"}}],
    ids=["database", "client", "dates"],
)
def test_other_encodings_and_dates(city, old_databases, use, monkeypatch, name, odd):
    """Text is read as UTF-8 and timestamps as timestamps, regardless of the defaults of database and connection."""
    connection = {**city.connection, "login": "clerk", "password": "Schlüssel", **odd}
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps(connection))
    sql = "SELECT U&'M\\00fcller'::text AS \"gr\u00f6\u00dfe\", timestamptz '2026-03-29 01:30:00+00' AS stamp"
    found = read(sql, use(name)).to_pylist()
    assert found == [{"größe": "Müller", "stamp": dt.datetime(2026, 3, 29, 1, 30, tzinfo=dt.UTC)}]


@pytest.mark.parametrize("name", DRIVERS)
def test_text_without_encoding(city, old_databases, use, monkeypatch, name):
    """Text that is not valid UTF-8 is rejected before anything is uploaded."""
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({**city.connection, "schema": "urstadt"}))
    with pytest.raises(PolyteiaError, match=r"[Nn]othing was uploaded"):
        read("SELECT 'M' || chr(252) AS name", use(name))


@pytest.mark.parametrize("name", DRIVERS)
def test_empty_result(city, use, name):
    """A result without rows has all columns with their types."""
    table = read("SELECT * FROM everything WHERE false", use(name))
    types = {field.name: str(field.type) for field in table.schema}
    expected = {name: arrow_type for name, (arrow_type, _) in EXPECTED.items()} | {"f8": "double"}
    assert (table.num_rows, types) == (0, expected)


@pytest.mark.parametrize("name", DRIVERS)
def test_types_do_not_depend_on_rows(city, use, name):
    """A query has the same types for no row, one row, many rows, and rows that hold only NULL."""
    driver = use(name)
    conditions = ("false", "id = 1", "id = 3001", "true")
    sql = "SELECT *, avg(free) OVER () AS mean FROM everything WHERE "
    schemas = [read(f"{sql}{condition}", driver).schema for condition in conditions]
    assert all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)
    assert str(schemas[0].field("mean").type) == "decimal128(38, 9)"


@pytest.mark.parametrize("name", DRIVERS)
def test_numbers_without_precision(city, use, name):
    """They are rounded to nine decimal places; what does not fit is an error, not another number."""
    driver = use(name)
    found = read("SELECT 1::numeric / 3 AS a, 12345678901234567890.5::numeric(60, 2) AS b", driver).to_pylist()
    assert found == [{"a": Decimal("0.333333333"), "b": Decimal("12345678901234567890.50")}]
    for sql in ("SELECT 1e30::numeric AS n", "SELECT 1e40::numeric(60, 2) AS n"):
        with pytest.raises(PolyteiaError, match="numeric field overflow"):
            read(sql, driver)


@pytest.mark.parametrize("name", DRIVERS)
def test_parameters(city, use, name):
    """Placeholders are in the driver's style, by name or position; parameters are never interpreted as SQL."""
    driver = use(name)
    evil = "'; DROP TABLE everything; -- %s $1 \\"
    sql = 'SELECT id, %(text)s::text AS "100 %%" FROM everything WHERE id = %(id)s -- 100 %%'
    assert read(sql, driver, {"id": 7, "text": evil}).to_pylist() == [{"id": 7, "100 %": evil}]
    by_position = read("SELECT id FROM everything WHERE id > %s AND id < %s ORDER BY 1", driver, [10, 13])
    assert by_position["id"].to_pylist() == [11, 12]
    since = {"since": dt.date(2026, 1, 1), "kinds": ["gut"]}
    sql = "SELECT id FROM everything WHERE day > %(since)s AND isfinite(day) AND feeling::text = ANY(%(kinds)s)"
    assert read(sql, driver, since)["id"].to_pylist() == [3001]
    assert read("SELECT '100 %' AS a", driver).to_pylist() == [{"a": "100 %"}]


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE many SET id = 0", "begins with UPDATE"),
        ("CREATE TABLE new AS SELECT 1", "begins with CREATE"),
        ("SET work_mem = '1MB'", "begins with SET"),
        ("CALL nosuch()", "begins with CALL"),
        ("WITH gone AS (DELETE FROM many RETURNING *) SELECT * FROM gone", "contains DELETE"),
        ("SELECT * INTO new FROM many", "contains INTO"),
        ("EXPLAIN SELECT 1", "does not accept the SQL as a query"),
        ("SELECT 1; DELETE FROM many", "contains 2 statements"),
        ("SELECT * FROM wipe()", "read-only transaction"),
        ("SELECT id, id FROM many", "The query returns two columns named 'id'"),
        ("SELECT FROM many", "no columns"),
        ("SELECT nosuch FROM many", 'column "nosuch" does not exist'),
        ("SELECT 'NaN'::numeric AS n", "column 'n' does not fit"),
        ("SELECT 'NaN'::numeric(5, 2) AS n", "column 'n' does not fit"),
    ],
)
def test_not_a_query(city, use, dataset_id, platform, name, sql, problem):
    """Anything that is not a query, or that writes, is rejected; nothing is changed or sent."""
    city.run(
        "CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM many; RETURN 1; END'"
    )
    task = SqlToPolyteiaOperator(task_id="load", sql=sql, conn_id="city", dataset_id=dataset_id, driver=use(name))
    with pytest.raises(PolyteiaError, match=problem):
        task.execute({})
    assert city.run("SELECT count(*) FROM many") == [(200_000,)]
    assert city.run("SELECT to_regclass('new')") == [(None,)]
    assert platform.requests == []


@pytest.mark.parametrize("name", DRIVERS)
def test_connection_lost(city, use, dataset_id, platform, name):
    """A lost database connection is an error that says how much was read before; nothing is sent."""
    before = platform.call("get_dataset", {"id": dataset_id})
    cut = """
        SELECT id, repeat(md5(id::text), 20) AS text,
            CASE WHEN id = 150000 THEN pg_terminate_backend(pg_backend_pid()) END AS gone
        FROM generate_series(1, 200000) AS id
    """
    task = SqlToPolyteiaOperator(task_id="load", sql=cut, conn_id="city", dataset_id=dataset_id, driver=use(name))
    with pytest.raises(
        PolyteiaError,
        match=r"Reading from connection 'city' failed after ([1-9][\d,]+ rows|[\d.]*[1-9][\d.]* MiB of .*), so",
    ):
        task.execute({})
    assert platform.requests == []
    assert platform.call("get_dataset", {"id": dataset_id}) == before


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("sql", [ENDLESS, "SELECT id, pg_sleep(0.001) IS NULL AS slow FROM many"], ids=["busy", "rows"])
def test_killed(city, use, dataset_id, platform, tmp_path, name, sql):
    """A killed task ends immediately, its query is cancelled in the database, and no file remains."""
    task = SqlToPolyteiaOperator(
        task_id="load", sql=sql, conn_id="city", dataset_id=dataset_id, driver=use(name), temp_dir=str(tmp_path)
    )
    before = signal.signal(signal.SIGUSR1, lambda *_: task.on_kill())
    threading.Timer(0.7, os.kill, [os.getpid(), signal.SIGUSR1]).start()
    started = time.monotonic()
    try:
        with pytest.raises(TaskKilledError):
            task.execute({})
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - started < 20  # under a second without other load
    assert (platform.requests, list(tmp_path.iterdir())) == ([], [])
    active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND usename = %s"
    deadline = time.monotonic() + 20
    while city.run(active.replace("%s", f"'{city.user}'")) != [(0,)]:
        assert time.monotonic() < deadline, "the query is still running"
        time.sleep(0.1)


@pytest.mark.parametrize("name", DRIVERS)
def test_wrong_password(city, use, dataset_id, platform, monkeypatch, caplog, name):
    """A failed login is an error that contains neither the password nor a part of it."""
    wrong = {**city.connection, "password": "not-the-SECRET ' \\ password"}
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps(wrong))
    task = SqlToPolyteiaOperator(
        task_id="load", sql="SELECT 1 AS a", conn_id="city", dataset_id=dataset_id, driver=use(name)
    )
    with pytest.raises(PolyteiaError, match="password authentication failed") as caught:
        task.execute({})
    assert "SECRET" not in str(caught.value) + caplog.text
    assert platform.requests == []


@pytest.mark.parametrize("name", ["duckdb", "duckdb by psycopg3"])
def test_secrets_of_the_connection(city, use, monkeypatch, name):
    """If only DuckDB cannot connect, the exception and what it was raised from contain no secret of the connection."""
    described, secret = DuckDBReader._attach, "x4711"

    def attach(reader, engine, settings):
        described(reader, engine, settings | {"port": "1", "sslpassword": secret, "password": secret})

    monkeypatch.setattr(DuckDBReader, "_attach", attach)
    with pytest.raises(PolyteiaError, match="Connection refused") as caught:
        read("SELECT 1 AS a", use(name))
    assert "4711" not in "".join(traceback.format_exception(caught.value))


def test_without_the_extension(city, monkeypatch):
    """Without DuckDB's extension, the hook's driver is used; requesting DuckDB is an error with the install command."""
    find_spec, package = optional_dependencies.find_spec, from_database._EXTENSION
    monkeypatch.setattr(optional_dependencies, "find_spec", lambda name: None if name == package else find_spec(name))
    assert read("SELECT 1 AS a", "auto").to_pylist() == [{"a": 1}]
    with pytest.raises(PolyteiaConfigurationError, match=r'pip install "airflow-provider-polyteia\[postgres\]"'):
        read("SELECT 1 AS a", "duckdb")
