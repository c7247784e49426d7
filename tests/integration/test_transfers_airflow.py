"""Transfers on a real Airflow, from a real PostgreSQL database to the sandbox and back to a file."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections import Counter
from decimal import Decimal
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from airflow_env import AIRFLOW_3, wait_until
from postgres import postgres  # noqa: F401 - a fixture

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

pytest.importorskip("airflow.providers.postgres", reason="the PostgreSQL provider is optional")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
CASES = HERE.parent / "fixtures" / "files"
EXAMPLES = ("example_postgres_to_polyteia", "example_file_to_polyteia", "example_csv_to_polyteia", "example_export")
VALUE = "Müller, Erika - 4711"  # must not be in any log or record
TABLE = f"""
CREATE TABLE bookings AS SELECT
    g AS id, (g * 1.37)::numeric(12, 2) AS amount, date '2026-01-01' + g % 90 AS booked_on, g % 2 = 0 AS paid,
    timestamptz '2026-01-01' + g * interval '1 min' AS changed_at, '{VALUE}' || g AS payer, NULL::text AS note
FROM generate_series(1, 20000) AS g
"""  # noqa: S608 - a constant
# Of the task's query only: autovacuum is active, too.
ACTIVE = """
SELECT count(*) FROM pg_stat_activity
WHERE state = 'active' AND query LIKE '%generate_series(1, 100000000) a%' AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def database(postgres, airflow):  # noqa: F811 - the fixture above
    """The database of Airflow's connection `city_database`, with a table of 20,000 bookings."""
    postgres.run("DROP TABLE IF EXISTS bookings", TABLE)
    airflow.cli("connections", "add", "city_database", "--conn-json", json.dumps(postgres.connection))
    yield postgres
    postgres.run("DROP TABLE bookings")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The directory that tasks write to."""
    return tmp_path_factory.mktemp("written")


def run(airflow, dag_id, conf):
    """Run a DAG successfully, and return its XComs."""
    run_id = airflow.trigger(dag_id, conf)
    state = airflow.wait(dag_id, run_id, timeout=120)
    tasks = {instance.task_id for instance in airflow.records.task_instances(dag_id, run_id)}
    logs = "\n".join(airflow.task_log(dag_id, run_id, task_id) for task_id in tasks)
    assert state == "success", logs
    return airflow.records.xcoms(dag_id, run_id)


def rows_of(database, path):
    """Return the rows of the table and those of a file, in the same form."""
    rows = [tuple(row) for row in database.run("SELECT * FROM bookings ORDER BY id")]
    return rows, [tuple(row.values()) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def round_trip(airflow, database, folder):
    """The XComs of one run: create, load, query, save."""
    airflow.add_dags(HERE / "dags" / "transfers.py")
    return run(airflow, "round_trip", {"solution_id": SANDBOX_SOLUTION_ID, "folder": str(folder)})


def test_round_trip(round_trip, database, folder):
    """The exported file equals the table in rows, values and types; no other file is left."""
    path = folder / "bookings.parquet"
    table, exported = rows_of(database, path)
    assert exported == table
    assert len(exported) == 20_000
    assert list(folder.iterdir()) == [path]
    assert isinstance(exported[0][1], Decimal)


def test_query_result(round_trip, database):
    """A query on the platform gives the same result as in the database."""
    expected = database.run("SELECT count(*), sum(amount) FROM bookings WHERE paid")[0]
    ((count, total),) = round_trip["query", -1, "result"]["rows"]
    assert (count, Decimal(str(total))) == expected


def test_xcoms(round_trip, folder):
    """Tasks push ids, paths, sizes, counts and types, each as a separate XCom."""
    loaded = round_trip["load", -1, "return_value"]
    assert {key: round_trip["load", -1, key] for key in loaded} == loaded
    assert (loaded["rows"], loaded["source_conn_id"]) == (20_000, "city_database")
    assert loaded["columns"]["amount"] == "decimal128(12, 2)"
    saved = round_trip["save", -1, "return_value"]
    assert saved["path"] == str(folder / "bookings.parquet")
    assert (saved["rows"], saved["datasets"]) == (20_000, [loaded["dataset_id"]])


def test_checksum(round_trip, platform):
    """The platform stores as many bytes as the task reports, as a Parquet file with all rows."""
    loaded = round_trip["load", -1, "return_value"]
    stored = next(item for item in platform.datasets if item["id"] == loaded["dataset_id"])["data"]
    assert (stored["size"], stored["rows"]) == (loaded["bytes"], 20_000)


def test_examples(airflow, database, platform, folder, round_trip):
    """The examples work: the export of the first one equals the table up to its day, and CSV arrives with types."""
    airflow.add_dags(*(HERE.parents[1] / "example_dags" / f"{name}.py" for name in EXAMPLES))
    conf = {"solution_id": SANDBOX_SOLUTION_ID, "as_of": "2026-02-15"}
    dataset_id = run(airflow, "example_postgres_to_polyteia", conf)["load_bookings", -1, "dataset_id"]
    path = folder / "example.parquet"
    xcoms = run(airflow, "example_export", {"dataset_id": dataset_id, "file": str(path)})
    expected = database.run("SELECT * FROM bookings WHERE booked_on <= '2026-02-15' ORDER BY id")
    assert [tuple(row.values()) for row in pq.read_table(path).to_pylist()] == [tuple(row) for row in expected]
    assert xcoms["count_rows", -1, "result"]["rows"] == [[len(expected)]]
    conf = {"solution_id": SANDBOX_SOLUTION_ID, "file": str(path), "slug": "again"}
    loaded = run(airflow, "example_file_to_polyteia", conf)["load_file", -1, "return_value"]
    assert platform.content(loaded["dataset_id"]) == path.read_bytes()
    conf = {"solution_id": SANDBOX_SOLUTION_ID, "file": str(CASES / "cp1252.csv"), "slug": "budget"}
    converted = run(airflow, "example_csv_to_polyteia", conf)["load_table", -1, "return_value"]
    assert converted["columns"]["Betrag"] == "decimal128(18, 2)"
    assert pq.read_table(io.BytesIO(platform.content(converted["dataset_id"])))["PLZ"][0].as_py() == "01067"


def loaded_tables(airflow, run_id):
    """Name of each table that was loaded -> number of its rows."""
    values = airflow.records.xcoms("example_tables_to_polyteia", run_id)
    results = [value for (task, _, key), value in values.items() if (task, key) == ("load_table", "return_value")]
    return {result["table"]: result["rows"] for result in results}


def test_example_of_many_tables(airflow, platform, tmp_path):
    """Each table gets a dataset, a broken one does not stop the others, and a new one is loaded by the next run."""
    path = tmp_path / "register.db"
    with sqlite3.connect(path) as database:
        for number in range(12):
            database.execute(f"CREATE TABLE res_{number:02} (id INTEGER)")
            database.executemany(f"INSERT INTO res_{number:02} VALUES (?)", [(i,) for i in range(number)])  # noqa: S608 - a constant
        database.execute("CREATE VIEW broken AS SELECT * FROM missing")
        database.execute("CREATE TABLE tmp_1 (id INTEGER)")
    connection = json.dumps({"conn_type": "sqlite", "host": str(path)})
    airflow.cli("connections", "add", "register_database", "--conn-json", connection)
    airflow.add_dags(HERE.parents[1] / "example_dags" / "example_tables_to_polyteia.py")
    conf = {"solution_id": SANDBOX_SOLUTION_ID}
    first = airflow.trigger("example_tables_to_polyteia", conf)
    assert airflow.wait("example_tables_to_polyteia", first, timeout=180) == "failed"
    states = Counter(
        instance.state
        for instance in airflow.records.task_instances("example_tables_to_polyteia", first)
        if instance.task_id == "load_table"
    )
    assert states == {"success": 12, "failed": 1}
    names = airflow.records.map_index_names("example_tables_to_polyteia", first, "load_table")
    assert sorted(names) == ["broken", *(f"res_{number:02}" for number in range(12))]
    assert loaded_tables(airflow, first) == {f"res_{number:02}": number for number in range(12)}
    with sqlite3.connect(path) as database:
        database.execute("DROP VIEW broken")
        database.execute("CREATE TABLE res_new (id INTEGER)")
    second = airflow.trigger("example_tables_to_polyteia", conf)
    assert airflow.wait("example_tables_to_polyteia", second, timeout=180) == "success"
    assert set(loaded_tables(airflow, second)) == {*loaded_tables(airflow, first), "res_new"}
    log = airflow.task_log("example_tables_to_polyteia", second, "list_tables")
    assert "New since the last run: res_new" in log
    assert "Removed from the database since the last run (their datasets keep their data): broken" in log
    slugs = [record["slug"] for record in platform.datasets if record["slug"].startswith(("res_", "broken", "tmp"))]
    assert sorted(slugs) == [*(f"res_{number:02}" for number in range(12)), "res_new"]


@pytest.mark.skipif(not AIRFLOW_3, reason="the test stops the task with the REST API of Airflow 3")
def test_stopped_task(airflow, database, platform, tmp_path, round_trip):
    """A task that a user sets to failed stops: its query is cancelled, and nothing was uploaded."""
    run_id = airflow.trigger("long_load", {"folder": str(tmp_path)})
    wait_until(lambda: database.run(ACTIVE) == [(1,)], 60, lambda: "the query did not start")
    path = f"/api/v2/dags/long_load/dagRuns/{run_id}/taskInstances/load"
    airflow.rest("PATCH", path, {"new_state": "failed"})
    started = time.monotonic()
    log = partial(airflow.task_log, "long_load", run_id, "load")
    wait_until(lambda: database.run(ACTIVE) == [(0,)], 60, log)
    assert time.monotonic() - started < 60
    wait_until(lambda: "was killed" in log(), 20, lambda: f"The log does not mention it: {log()}")
    assert list(tmp_path.iterdir()) == []


def test_no_content_is_in_any_log_or_record(airflow, round_trip, platform):
    """At level DEBUG, neither a value of the table, nor the key, nor a token is in a log or a table of Airflow."""
    logs, records = airflow.logs(), airflow.records.everything()
    assert "round_trip" in records
    tokens = {request.headers["x-upload-token"] for request in platform.requests if request.path == "/upload"}
    for secret in {VALUE, "Müller", platform.pak, *tokens}:
        assert secret not in logs
        assert secret not in records
