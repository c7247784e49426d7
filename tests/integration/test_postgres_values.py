"""What is special about values and rows of a real PostgreSQL, in every way to read them."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import traceback

import pyarrow as pa
import pytest
from postgres import postgres  # noqa: F401 - a fixture
from postgres_drivers import DRIVERS, choose_driver, read  # noqa: F401 - a fixture

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables import interruptible

pytestmark = pytest.mark.integration

READ_WIDE_ROWS = """
import re
import sys
from pathlib import Path
import airflow.providers.postgres.hooks.postgres as hook
import pyarrow.parquet as pq
from airflow_provider_polyteia.tables.from_database import stage_query

driver, name = sys.argv[1:]
hook.USE_PSYCOPG3 = "psycopg3" in name
sql = "SELECT g AS id, repeat(md5(g::text), 600) AS text FROM generate_series(1, 60000) AS g"
with stage_query("city", sql, driver=driver) as table:
    # The kernel's maximum of a process includes that of its parent.
    peak = int(re.search("VmHWM: *([0-9]+)", Path("/proc/self/status").read_text().replace("\\t", " "))[1]) // 1024
    # `read_table` reads a file object in threads of C++, which may abort a process that ends.
    ids = pq.ParquetFile(table.file).read(columns=["id"])["id"].to_pylist()
print(ids == list(range(1, 60_001)), peak)
"""


@pytest.fixture(autouse=True)
def city(postgres, monkeypatch):  # noqa: F811 - the imported fixture
    """The Airflow connection `city`."""
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps(postgres.connection))
    return postgres


@pytest.mark.parametrize("name", DRIVERS)
def test_wide_rows_in_constant_memory(use, name):
    """Rows of 19 KB, 1.1 GB of them, are read in order and in bounded memory."""
    driver = use(name)
    arguments = [sys.executable, "-c", READ_WIDE_ROWS, driver, name]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    is_ordered, peak = done.stdout.split()[-2:]
    assert is_ordered == "True"
    assert int(peak) < 800  # MiB


@pytest.mark.parametrize("name", DRIVERS)
def test_all_dates_of_postgresql(use, name):
    """Dates and timestamps BC and after 9999 are stored, in every way to read them."""
    sql = """
        SELECT day, day::timestamp AS stamp, day::timestamptz AS stamp_zone FROM (VALUES
            (date '4713-01-01 BC'), (date '0044-03-15 BC'), (date '0001-01-01'), (date '9999-12-31'),
            (date '10000-01-01'), (date '294246-12-31'), (date '-infinity'), (NULL)
        ) AS days(day)
    """
    found = read(sql, use(name))
    days = [-2440550, -735160, -719162, 2932896, 2932897, 106751981, None, None]
    assert found["day"].cast(pa.int32()).to_pylist() == days
    stamps = [None if day is None else day * 86_400_000_000 for day in days]
    assert found["stamp"].cast(pa.int64()).to_pylist() == stamps
    assert found["stamp_zone"].cast(pa.int64()).to_pylist() == stamps
    far = read("SELECT date '5874897-12-31' AS day, timestamp '0044-03-15 12:34:56.123456 BC' AS stamp", use(name))
    assert far["day"].cast(pa.int32()).to_pylist() == [2145042905]
    assert far["stamp"].cast(pa.int64()).to_pylist() == [-735160 * 86_400_000_000 + 45_296_123_456]


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("timestamp '294247-01-10 04:00:54.775808'", "a timestamp after the year 294246"),
        ("timestamptz '294276-12-31'", "a timestamp after the year 294246"),
        ("time '24:00'", "24:00"),
    ],
)
def test_dates_that_do_not_fit(use, name, value, problem):
    """A timestamp or a time that Parquet does not have is an error that names the column."""
    with pytest.raises(PolyteiaError, match=f"Column 'x y' contains {problem}, .* Nothing was uploaded"):
        read(f'SELECT id, {value} AS "x y" FROM generate_series(1, 5000) AS id', use(name))  # noqa: S608 - a test's own SQL


@pytest.mark.parametrize("name", DRIVERS)
def test_names_that_differ_in_case(use, name):
    """DuckDB cannot write columns whose names differ in the case of ASCII letters only: an error, no other name."""
    driver = use(name)
    assert read('SELECT 1 AS "ä", 2 AS "Ä"', driver).to_pylist() == [{"ä": 1, "Ä": 2}]
    sql = 'SELECT 1 AS id, 2 AS "Id"'
    if driver == "dbapi":
        assert read(sql, driver).to_pylist() == [{"id": 1, "Id": 2}]
    else:
        with pytest.raises(PolyteiaConfigurationError, match=r"columns 'id' and 'Id', .* or set driver='dbapi'"):
            read(sql, driver)


@pytest.mark.parametrize("name", ["duckdb", "duckdb by psycopg3"])
def test_no_parameter_in_an_exception(use, name):
    """What DuckDB reports contains the query with its parameters; the exception and its traceback do not."""
    secret = [str(4711 * 2)]  # which is in no line of the traceback
    with pytest.raises(PolyteiaError, match=r"failed after .*division by zero") as caught:
        read("SELECT 1 / (id - 150000) AS a, %s::text AS name FROM generate_series(1, 200000) AS id", use(name), secret)
    assert secret[0] not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", DRIVERS)
def test_disk_full(use, name, tmp_path):
    """A full disk is an error that names the directory, and no error of the database."""
    driver = use(name)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(PolyteiaError, match=r"could not be written: File too large.*'temp_dir'") as caught:
            read(
                "SELECT id, md5(id::text) AS text FROM generate_series(1, 200000) AS id", driver, temp_dir=str(tmp_path)
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path) in str(caught.value)


def test_progress(use, monkeypatch, caplog):
    """While a query runs, the log says how much was read."""
    caplog.set_level("INFO")
    monkeypatch.setattr(interruptible, "_REPORT_INTERVAL", 0.5)
    slow = "SELECT repeat(md5(id::text), 2000) AS text, pg_sleep(0.001) FROM generate_series(1, 2500) AS id"
    for name in ("psycopg2", "duckdb"):
        read(slow, use(name))
    assert re.search(r"Reading from connection 'city': [1-9][\d,]+ rows so far", caplog.text)
    assert re.search(r"Reading from connection 'city': [\d.]*[1-9][\d.]* MiB of Parquet so far", caplog.text)
