"""Values and types of a real MariaDB, through each driver: the same table, whatever the rows are."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from mariadb_server import mariadb  # noqa: F401 - a fixture
from mysql_drivers import DRIVERS, Hook, read
from relays import Cut, Relay

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables import from_database
from airflow_provider_polyteia.tables.readers.base import Query
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader

pytestmark = pytest.mark.integration

CASES = Path(__file__).parent.parent / "fixtures" / "mariadb" / "types.sql"
INTEGER = pa.decimal128(20, 0)
TYPES = {
    "id": INTEGER,
    "ti": pa.int8(),
    "bo": pa.int8(),
    "b1": pa.bool_(),
    "b8": pa.int64(),
    "y": pa.int16(),
    "de": pa.decimal128(12, 2),
    "de0": pa.decimal128(30, 0),
    "de65": pa.decimal128(38, 30),
    "fl": pa.float32(),
    "db": pa.float64(),
    "en": pa.string(),
    "se": pa.string(),
    "js": pa.string(),
    "tm": pa.string(),
    "tm6": pa.string(),
    "dt": pa.timestamp("us"),
    "ts": pa.timestamp("us"),
    "d": pa.date32(),
    "bl": pa.binary(),
    "vbn": pa.binary(),
    "bn": pa.binary(),
    "tx": pa.string(),
    "lt": pa.string(),
    "ch": pa.string(),
    "pt": pa.binary(),
    "Größe m²": pa.int32(),
    "a.b": pa.int32(),
    "mi": pa.int64(),
    "uu": pa.string(),
    "ip": pa.string(),
}
FIRST = {
    "id": Decimal(18446744073709551615),
    "ti": 1,
    "bo": 1,
    "b1": True,
    "b8": 0b10101010,
    "y": 2026,
    "de": Decimal("1234567890.12"),
    "de0": Decimal(123456789012345678901234567890),
    "de65": Decimal("1.500000000000000000000000000000"),
    "fl": pytest.approx(0.1),
    "db": 0.1,
    "en": "ja",
    "se": "a,c",
    "js": '{"a": 1}',
    "tm": "12:34:56",
    "tm6": "12:34:56.123456",
    "dt": dt.datetime(2026, 12, 31, 23, 59, 59, 999999),
    "ts": dt.datetime(2026, 6, 1, 12),
    "d": dt.date(2026, 12, 31),
    "bl": b"\x00\xffA",
    "vbn": b"AB",
    "bn": b"ab\x00\x00",
    "tx": "Grüße 😀",
    "lt": "x",
    "ch": "ab",
    "Größe m²": 5,
    "a.b": 6,
    "mi": 7,
    "uu": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "ip": "::1",
}
NUMBERS = """
CREATE TABLE numbers (
    t tinyint, s smallint, i int, b bigint, m mediumint,
    tu tinyint unsigned, su smallint unsigned, iu int unsigned, bu bigint unsigned, mu mediumint unsigned,
    du decimal(12, 2) unsigned, d0 decimal(12, 0), d00 decimal(2, 2), d38 decimal(38, 10), b7 bit(7), b64 bit(64)
);
INSERT INTO numbers VALUES (
    -128, -32768, -2147483648, -9223372036854775808, -8388608,
    255, 65535, 4294967295, 18446744073709551615, 16777215,
    9999999999.99, -999999999999, -0.99, 9999999999999999999999999999.9999999999, b'1111111', 18446744073709551615
);
CREATE TABLE bits (b1 bit(1), b7 bit(7), lv95 float);
INSERT INTO bits VALUES (b'0', b'1111111', 2683141.25), (b'1', NULL, NULL);
CREATE TABLE wide (a decimal(65, 30));
INSERT INTO wide VALUES (99999999999999999999999999999999999);
"""
READ_MANY = """
import re
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from mysql_drivers import Hook
from airflow_provider_polyteia.tables.readers.base import Query
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader

class Server:
    port, user, password, database = int(sys.argv[1]), "loader", "loader", "city"

def peak():
    return int(re.search("VmHWM: *([0-9]+)", Path("/proc/self/status").read_text().replace("\\t", " "))[1]) // 1024

before = peak()
sql = "SELECT seq AS id, concat(seq, repeat('x', 300)) AS text FROM seq_1_to_300000"
with DbApiReader(Hook(Server, sys.argv[2]), Query(sql)).stage(None) as table:
    print(table.rows, peak() - before)
"""


@pytest.fixture(scope="module")
def server(mariadb):  # noqa: F811 - the imported fixture
    """The database `city` with every type and its odd values."""
    mariadb.run(CASES.read_text() + NUMBERS)
    return mariadb


@pytest.fixture(params=DRIVERS)
def driver(request):
    """Each of the drivers."""
    return request.param


@pytest.mark.parametrize("where", ["false", "id = 3", "true"])
def test_declared_types(server, driver, where):
    """The types are those of the columns, for no rows, one row with NULLs, and all rows."""
    found = read(server, driver, f"SELECT * FROM t1 WHERE {where}")  # noqa: S608 - a test's own SQL
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == TYPES


def test_values(server, driver):
    """Each value is the one in the database."""
    rows = read(server, driver, "SELECT * FROM t1").to_pylist()
    assert {name: rows[0][name] for name in FIRST} == FIRST
    assert rows[0]["pt"].endswith(b"fffff\x86I@")  # a point: SRID and WKB
    assert [row["tm"] for row in rows] == ["12:34:56", "-10:00:00", "838:59:59", None]
    assert [row["b1"] for row in rows] == [True, False, None, None]
    assert read(server, driver, "SELECT * FROM t_latin").to_pylist() == [{"id": 1, "n": "Müller €", "c": "Müller"}]


def test_incomplete_dates(server, driver, caplog):
    """Dates with a zero as year, month or day become NULL; the log says how many. Times stay as they are."""
    rows = read(server, driver, "SELECT * FROM z").to_pylist()
    midnight = dt.datetime(2026, 1, 1)
    assert rows == [
        {"id": 1, "d": dt.date(2026, 1, 1), "dt": midnight, "ts": midnight, "t": "08:00:00"},
        {"id": 2, "d": None, "dt": None, "ts": None, "t": "00:00:00"},
        {"id": 3, "d": None, "dt": None, "ts": None, "t": "-01:30:00"},
        {"id": 4, "d": None, "dt": None, "ts": None, "t": "26:30:15"},
    ]
    for name, count in (("d", 2), ("dt", 2), ("ts", 1)):
        assert f"Dates in column '{name}' with a zero as year, month or day became NULL: {count}" in caplog.text


def test_limits_of_numbers(server, driver):
    """The smallest and largest numbers of each type fit; unsigned integers have the next larger type."""
    found = read(server, driver, "SELECT * FROM numbers")
    assert [str(arrow_type) for arrow_type in found.schema.types] == [
        *("int8", "int16", "int32", "int64", "int32"),
        *("int16", "int32", "int64", "decimal128(20, 0)", "int64"),
        *("decimal128(12, 2)", "decimal128(12, 0)", "decimal128(2, 2)", "decimal128(38, 10)"),
        *("int64", "decimal128(20, 0)"),
    ]
    assert list(found.to_pylist()[0].values()) == [
        *(-128, -32768, -(2**31), -(2**63), -(2**23)),
        *(255, 65535, 2**32 - 1, Decimal(2**64 - 1), 2**24 - 1),
        *(Decimal("9999999999.99"), Decimal(-999999999999), Decimal("-0.99")),
        *(Decimal("9999999999999999999999999999.9999999999"), 127, Decimal(2**64 - 1)),
    ]


def test_expressions(server, driver):
    """Computed columns have the types that the server gives them."""
    sql = "SELECT sum(de) AS a, avg(de) AS b, count(*) AS c, max(ti) + 1.5 AS d, NULL AS e FROM t1"
    found = read(server, driver, f"{sql} WHERE id > 5")
    assert [str(arrow_type) for arrow_type in found.schema.types] == [
        *("decimal128(34, 2)", "decimal128(16, 6)", "int64", "decimal128(5, 1)", "string"),
    ]
    assert list(found.to_pylist()[0].values())[:4] == [
        *(Decimal("1234567890.12"), Decimal("1234567890.120000"), 1, Decimal("2.5"))
    ]
    assert read(server, driver, f"{sql} WHERE false").schema == found.schema


def test_bits_of_expressions(server, driver):
    """The server sends a computed BIT as bytes or as digits: that of one bit is known, any other is rejected."""
    sql = "SELECT coalesce(b1, NULL) AS a, nullif(b1, 1) AS b, b1 AS c FROM bits ORDER BY b7 DESC"
    assert read(server, driver, sql).to_pylist() == [
        {"a": False, "b": False, "c": False},
        {"a": True, "b": None, "c": True},
    ]
    with pytest.raises(PolyteiaConfigurationError, match=r"Column 'x y' is computed from BIT.*CAST\(column"):
        read(server, driver, "SELECT max(b7) AS `x y` FROM bits")
    assert read(server, driver, "SELECT CAST(max(b7) AS UNSIGNED) AS a FROM bits").to_pylist() == [{"a": 127}]


def test_digits_of_float(server, driver, caplog):
    """The server sends six digits of a FLOAT: the log says so, and how to get all of them."""
    assert read(server, driver, "SELECT lv95 FROM bits").to_pylist()[0] == {"lv95": 2683140.0}
    assert "Column 'lv95' is a FLOAT, of which the server sends six digits" in caplog.text
    assert read(server, driver, "SELECT lv95 + 0e0 AS x FROM bits").to_pylist()[0] == {"x": 2683141.25}


def test_warnings_of_the_server(server, driver, caplog):
    """What the server warns of is in the log, without values."""
    read(server, driver, "SELECT group_concat(repeat('x', 600000)) AS x FROM seq_1_to_3")
    assert "The server warns (1260): " in caplog.text
    read(server, driver, "SELECT CAST(tx AS int) AS x FROM t1 WHERE id > 5")
    assert "The server warns (1292): " in caplog.text
    assert "Grüße" not in caplog.text


def test_strict_sessions(server, driver):
    """Strict modes of the server do not matter."""
    server.run("SET GLOBAL sql_mode = 'TRADITIONAL,ANSI_QUOTES'")
    try:
        found = read(server, driver, 'SELECT de AS "a" FROM t1')
        assert found.schema.types == [TYPES["de"]]
    finally:
        server.run("SET GLOBAL sql_mode = DEFAULT")


def test_variables(server, driver):
    """A query that sets a variable runs once."""
    sql = "SELECT q.x FROM (SELECT @z := ifnull(@z, 0) + 1 AS x) AS q"
    assert int(read(server, driver, sql)["x"][0].as_py()) == 1


def test_texts_declared_as_dates(server, driver):
    """Only dates of the database may be incomplete: a text that is none does not fit."""
    with pytest.raises(PolyteiaError, match="column 'x' does not fit the type date32"):
        read(server, driver, "SELECT 'Meier-001' AS x", columns={"x": "DATE"})
    found = read(server, driver, "SELECT '2023-01-01 10:00:00-00:00' AS x", columns={"x": "TIMESTAMP WITH TIME ZONE"})
    assert found["x"][0].as_py() == dt.datetime(2023, 1, 1, 10, tzinfo=dt.UTC)


def test_number_with_too_many_digits(server, driver):
    """A number that a decimal of 38 digits does not hold is an error without the number."""
    with pytest.raises(PolyteiaError, match=r"column 'a' does not fit the type decimal128\(38, 30\)") as caught:
        read(server, driver, "SELECT a FROM wide")
    assert "9999" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_declared_by_the_user(server, driver):
    """`columns` decides about types; a value that does not fit is an error, and so is an unknown column."""
    declared = {"ti": "BOOLEAN", "b8": "SMALLINT", "de": "VARCHAR", "tm": "TIME", "d": "VARCHAR", "y": "DOUBLE"}
    found = read(server, driver, "SELECT * FROM t1 WHERE id > 5", columns=declared).to_pylist()[0]
    assert {name: found[name] for name in declared} == {
        "ti": True,
        "b8": 170,
        "de": "1234567890.12",
        "tm": dt.time(12, 34, 56),
        "d": "2026-12-31",
        "y": 2026.0,
    }
    with pytest.raises(PolyteiaError, match="column 'tm' does not fit the type time64"):
        read(server, driver, "SELECT tm FROM t1", columns={"tm": "TIME"})
    with pytest.raises(PolyteiaConfigurationError, match="'columns' contains 'no'; the query returns 'id', 'd'"):
        read(server, driver, "SELECT id, d FROM z", columns={"no": "DATE"})


def test_parameters(server, driver):
    """Values of placeholders have umlauts and percent signs; so may names of columns."""
    percent = "%" if driver == "connector" else "%%"  # it leaves everything but %s as it is
    sql = f"SELECT tx AS `100 {percent}`, de FROM t1 WHERE tx = %s OR tx LIKE '{percent}nothing'"  # noqa: S608 - a test's own SQL
    assert read(server, driver, sql, ["Grüße 😀"]).to_pylist() == [{"100 %": "Grüße 😀", "de": FIRST["de"]}]
    assert read(server, driver, sql.replace("%s", "%(a)s"), {"a": "%"}).schema.field("de").type == TYPES["de"]


def test_show(server, driver):
    """What cannot be a part of another query is read as well."""
    fields = [row["Field"] for row in read(server, driver, "SHOW COLUMNS FROM z").to_pylist()]
    assert fields == ["id", "d", "dt", "ts", "t"]


def test_nothing_is_changed(server, driver):
    """The session is read-only, even if the account may write."""
    server.run("GRANT INSERT ON city.z TO loader@'%'")
    with pytest.raises(Exception, match="READ ONLY transaction"):
        read(server, driver, "INSERT INTO z (id) VALUES (5)")


def test_constant_memory(server, driver):
    """A result of 90 MB, which a driver would hold as a whole by default, takes little memory."""
    Hook(server, driver)  # skips the test if the driver is missing
    paths = [path for path in sys.path if path]
    arguments = [sys.executable, "-c", READ_MANY, str(server.port), driver, *paths]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=True)
    rows, grown = done.stdout.split()[-2:]
    assert rows == "300000"
    assert int(grown) < 200  # MiB


def test_cancel(server, driver):
    """A query is cancelled from another thread, through a second connection."""
    reader = DbApiReader(Hook(server, driver), Query("SELECT id, SLEEP(20) FROM t1"))
    timer = threading.Timer(0.5, reader.cancel)
    started = time.monotonic()
    timer.start()
    with pytest.raises(Exception, match="interrupted"):
        reader.stage(None)
    timer.join()
    assert time.monotonic() - started < 10


def test_end_early(server, driver):
    """If reading ends before the last row, the server stops too, and the other rows are not read."""
    rows = DbApiReader(
        Hook(server, driver), Query("SELECT seq, repeat('x', 1000) FROM seq_1_to_50000000")
    ).read_batches()
    next(rows)
    assert next(rows).num_rows
    started = time.monotonic()
    rows.close()
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("how", ["close", "reset"])
def test_connection_lost(server, driver, how, monkeypatch):
    """A connection that is lost among the rows is an error that says how much was read."""
    with Relay(("127.0.0.1", server.port)) as relay:
        relay.cut = Cut(after=3_000_000, how=how)
        hook = Hook(server, driver)
        hook._options["port"] = relay.port
        monkeypatch.setattr(from_database, "get_hook", lambda conn_id, hook_params: hook)
        with pytest.raises(PolyteiaError, match=r"'city' failed after [\d,]+ rows, so nothing was uploaded"):
            from_database.stage_query("city", "SELECT seq, repeat('x', 1000) AS text FROM seq_1_to_100000")


def test_statement_timeout(server, driver, monkeypatch):
    """A limit of the server ends the query: an error, no shorter table."""
    hook = Hook(server, driver)
    monkeypatch.setattr(from_database, "get_hook", lambda conn_id, hook_params: hook)
    server.run("SET GLOBAL max_statement_time = 1")
    try:
        with pytest.raises(PolyteiaError, match=r"so nothing was uploaded: .*max_statement_time exceeded"):
            from_database.stage_query("city", "SELECT seq, SLEEP(0.01) FROM seq_1_to_100000")
    finally:
        server.run("SET GLOBAL max_statement_time = 0")


@pytest.mark.parametrize("client", ["mysqlclient", "mysql-connector-python"])
def test_through_airflow(server, monkeypatch, client):
    """The hook of Airflow's provider opens the connection, with the client that the connection names."""
    pytest.importorskip("airflow.providers.mysql", reason="the MySQL provider is optional")
    pytest.importorskip("MySQLdb" if client == "mysqlclient" else "mysql.connector", reason="the client is optional")
    extra = {"client": client, **({"charset": "utf8mb4"} if client == "mysqlclient" else {})}
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({**server.connection, "extra": extra}))
    with from_database.stage_query("city", "SELECT * FROM t1") as table:
        assert (table.rows, list(table.schema.types)) == (4, list(TYPES.values()))
