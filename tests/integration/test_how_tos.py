"""The DAGs of docs/how-to run with `airflow dags test`, with nothing changed but paths, ids and times."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from functools import partial

import pytest
import trustme
import yaml
from airflow_env import AIRFLOW_3, wait_until
from how_to_pages import (
    CSV,
    ROOT,
    WORKBOOK,
    AirflowCommands,
    blocks,
    dag_code,
    json_blocks,
    new_dataset,
    page_text,
    python_blocks,
    table,
)
from relays import Relay

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory):
    """One Airflow home for all DAGs."""
    return AirflowCommands(tmp_path_factory.mktemp("airflow"))


@pytest.fixture
def sandbox(monkeypatch):
    """A new sandbox, as the connection `polyteia_default`."""
    with Sandbox() as running:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection())
        yield running


@pytest.fixture
def dataset_id(sandbox):
    """A new, empty dataset."""
    return new_dataset()


@pytest.fixture
def bookings(tmp_path):
    """The file of german-csv.md."""
    path = tmp_path / "bookings.csv"
    path.write_bytes(CSV.encode("cp1252"))
    return path


@pytest.fixture
def register(tmp_path, monkeypatch):
    """A database with three tables, as the connection `register_database`."""
    path = tmp_path / "register.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE Parcels (id INTEGER, area DECIMAL(12,2)); INSERT INTO Parcels VALUES (1, 20.5), (2, 7);"
            "CREATE TABLE residents (name TEXT, district TEXT, year_of_birth INTEGER, moved_out DATE);"
            "INSERT INTO residents VALUES ('A', 'Mitte', 1980, NULL), ('B', 'Nord', 1990, '2026-01-01');"
            "CREATE TABLE tmp_import (id INTEGER);"
        )
    connection = json.dumps({"conn_type": "sqlite", "host": str(path)})
    monkeypatch.setenv("AIRFLOW_CONN_REGISTER_DATABASE", connection)
    return connection


# german-csv.md


def test_german_csv(airflow_home, sandbox, bookings):
    """The file of the page becomes the table of the page."""
    assert " ".join(CSV.split()) in page_text("german-csv.md")
    output = airflow_home.test_dag(
        "german-csv.md",
        "german_csv",
        {"sol_...": SANDBOX_SOLUTION_ID, "/data/finance/bookings.csv": bookings},
        polyteia_default=sandbox.airflow_connection(),
    )
    assert "The encoding of 'bookings.csv' seems to be windows-1252" in output
    assert "Converted 'bookings.csv': 2 rows in " in output
    (dataset,) = sandbox.datasets
    assert f"Loading '{bookings}' into dataset '{dataset['id']}'" in output
    assert f"Uploaded 'bookings.parquet' to dataset '{dataset['id']}': " in output
    rows = table(sandbox, dataset["id"])
    assert [(row["PLZ"], row["Betrag"]) for row in rows] == [("01067", Decimal("1234.50")), ("50667", Decimal("-0.99"))]


def test_declared_german_csv(airflow_home, sandbox, dataset_id, bookings):
    """The declared types are those of the dataset, and a declared empty value is NULL."""
    bookings.write_bytes(CSV.replace("-0,99", "k.A.").encode("cp1252"))
    airflow_home.test_dag(
        "german-csv.md",
        "german_csv_declared",
        {"ds_...": dataset_id, "/data/finance/bookings.csv": bookings},
        polyteia_default=sandbox.airflow_connection(),
    )
    assert [row["Betrag"] for row in table(sandbox, dataset_id)] == [Decimal("1234.50"), None]


# wait-for-a-delivery.md


@pytest.mark.parametrize("place", ["environment", "database"])
def test_wait_for_a_delivery(airflow_home, sandbox, dataset_id, place):
    """The DAG defers, sees a delivery that arrives in the meantime, and counts its rows, wherever the connection is."""
    connection = sandbox.airflow_connection()
    if place == "database":
        airflow_home.run("connections", "add", "polyteia_default", "--conn-json", connection)

    def deliver():
        until = time.monotonic() + 60
        while not sandbox.count("get_dataset") and time.monotonic() < until:  # the first poll of the sensor
            time.sleep(0.1)
        time.sleep(3)
        sandbox.upload(dataset_id, b"id,amount\n1,2\n3,4\n")

    delivery = threading.Thread(target=deliver)
    delivery.start()
    output = airflow_home.test_dag(
        "wait-for-a-delivery.md",
        "wait_for_bookings",
        {"sol_...": SANDBOX_SOLUTION_ID, "poke_interval=60": "poke_interval=1"},
        **({"polyteia_default": connection} if place == "environment" else {}),
    )
    delivery.join()
    assert f"Dataset '{dataset_id}' was uploaded at " in output
    assert sandbox.count("execute_sql") == 1


def test_act_as_the_other_office(airflow_home, sandbox, tmp_path):
    """Each run of the DAG that delivers is a delivery; from its second run on, the other DAG waits for a new one."""
    path = tmp_path / "bookings.csv"
    path.write_text("id,amount\n1,2\n")
    connection = {"polyteia_default": sandbox.airflow_connection()}
    replacements = {"sol_...": SANDBOX_SOLUTION_ID, "/data/finance/bookings.csv": path}
    page = "wait-for-a-delivery.md"
    airflow_home.test_dag(page, "deliver_bookings", replacements, **connection)
    waiting = {"sol_...": SANDBOX_SOLUTION_ID, "poke_interval=60": "poke_interval=1"}
    assert "state=success" in airflow_home.test_dag(page, "wait_for_bookings", waiting, **connection)
    with ThreadPoolExecutor(1) as threads:
        polls = sandbox.count("get_dataset")
        second = threads.submit(airflow_home.run, "dags", "test", "wait_for_bookings", **connection)
        until = time.monotonic() + 60
        while sandbox.count("get_dataset") < polls + 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert not second.done()
        airflow_home.run("dags", "test", "deliver_bookings", **connection)
        assert "state=success" in second.result()
    assert sandbox.count("execute_sql") == 2


# mirror-a-database.md


def test_mirror_a_database(airflow_home, sandbox, register):
    """Each table but the excluded one becomes a dataset, with the slug that the page explains."""
    pytest.importorskip("airflow.providers.sqlite", reason="the SQLite provider is optional")
    output = airflow_home.test_dag(
        "mirror-a-database.md",
        "mirror_register",
        {"sol_...": SANDBOX_SOLUTION_ID},
        polyteia_default=sandbox.airflow_connection(),
        register_database=register,
    )
    assert "Found 2 tables in connection 'register_database'" in output
    assert {dataset["slug"]: dataset["data"]["rows"] for dataset in sandbox.datasets} == {"parcels": 2, "residents": 2}


def test_mirror_some_columns_and_rows(airflow_home, sandbox, register):
    """Only the chosen columns and rows leave the database."""
    pytest.importorskip("airflow.providers.sqlite", reason="the SQLite provider is optional")
    airflow_home.test_dag(
        "mirror-a-database.md",
        "mirror_residents",
        {"sol_...": SANDBOX_SOLUTION_ID},
        polyteia_default=sandbox.airflow_connection(),
        register_database=register,
    )
    (dataset,) = sandbox.datasets
    assert table(sandbox, dataset["id"]) == [{"district": "Mitte", "year_of_birth": 1980}]


# start-a-dag-on-a-delivery.md


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no asset watchers")
def test_start_a_dag_on_a_delivery(sandbox, dataset_id):
    """The page's trigger reports the upload that the page's task reads from the event."""
    code = dag_code("start-a-dag-on-a-delivery.md", "on_delivery")
    names = {}
    quick = code.replace("sol_...", SANDBOX_SOLUTION_ID).replace("poke_interval=60", "poke_interval=0.2")
    exec(compile(quick, "block", "exec"), names)  # noqa: S102 - our own documentation

    def deliver():
        wait_until(lambda: sandbox.count("list_datasets") >= 2, 20, lambda: "the trigger does not poll")
        sandbox.upload(dataset_id, b"id,amount\n1,2\n")

    async def first_event():
        events = names["upload"].run()
        event = asyncio.ensure_future(anext(events))
        await asyncio.to_thread(deliver)
        payload = (await event).payload
        await events.aclose()
        return payload

    payload = asyncio.run(asyncio.wait_for(first_event(), 30))
    assert (payload["id"], payload["slug"], payload["size"]) == (dataset_id, "bookings", 14)
    (shown,) = json_blocks("start-a-dag-on-a-delivery.md")
    assert set(payload) == set(shown)


# excel-sheet.md


def test_excel_sheet(airflow_home, sandbox):
    """The sheet of the page becomes a table with the types of the page."""
    airflow_home.test_dag(
        "excel-sheet.md",
        "excel_sheet_guide",
        {"sol_...": SANDBOX_SOLUTION_ID, "/data/statistics/bericht.xlsx": WORKBOOK},
        polyteia_default=sandbox.airflow_connection(),
    )
    (dataset,) = sandbox.datasets
    assert table(sandbox, dataset["id"]) == [
        {"AGS": "01001000", "m": "1", "w": 2.0},
        {"AGS": "14612000", "m": "2026-12-31", "w": 0.1},
    ]


def test_several_excel_sheets(airflow_home, sandbox, dataset_id):
    """Each sheet is loaded by a task of its own."""
    airflow_home.test_dag(
        "excel-sheet.md",
        "excel_sheets_guide",
        {
            '{"2025": "ds_1...", "2026": "ds_2..."}': f'{{"Daten": "{dataset_id}"}}',
            "/data/statistics/bericht.xlsx": WORKBOOK,
        },
        polyteia_default=sandbox.airflow_connection(),
    )
    assert len(table(sandbox, dataset_id)) == 2


# open-data-export.md


def test_open_data_export_on_the_rpc_api(airflow_home, tmp_path, monkeypatch):
    """The CSV file contains the result of the query, without small groups."""
    rows = b"department,booked_on,amount\n" + b"Bau,2026-03-01,12.5\n" * 5 + b"Schule,2026-03-01,1\n"
    with Sandbox(api="rpc") as running:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection())
        created = new_dataset()
        running.upload(created, rows)
        output = airflow_home.test_dag(
            "open-data-export.md",
            "open_data_rpc",
            {"ds_...": created, "/srv/open-data": tmp_path},
            polyteia_default=running.airflow_connection(),
        )
    assert re.search(rf"Exported \d+ B from '{created}' to '{tmp_path}/bookings.csv' in [\d.]+ s", output)
    content = (tmp_path / "bookings.csv").read_text()
    assert " ".join(content.split()) in page_text("open-data-export.md")


def test_open_data_export_on_the_command_api(airflow_home, sandbox, dataset_id, tmp_path):
    """The task of the page converts the exported Parquet file to CSV, without small groups."""
    sandbox.upload(dataset_id, b"department,amount\n" + b"Bau,12.5\n" * 5 + b"Schule,1\n")
    airflow_home.test_dag(
        "open-data-export.md",
        "open_data_command",
        {"ds_...": dataset_id, "/srv/open-data": tmp_path},
        polyteia_default=sandbox.airflow_connection(),
    )
    assert (tmp_path / "bookings.csv").read_text() == '"department","total"\n"Bau",62.5\n'
    assert {path.name for path in tmp_path.iterdir()} == {"bookings.csv", "bookings.parquet"}


# proxy-and-private-ca.md


def test_proxy_and_private_ca(airflow_home, sandbox, tmp_path):
    """With the page's extras, requests pass a proxy with a password, and the private CA is trusted."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "city-ca.pem"))
    port = int(sandbox.base_url.rpartition(":")[2])
    extra = json_blocks("proxy-and-private-ca.md")[0]
    with Relay(("127.0.0.1", port), ssl_context=context) as tls, Relay(credentials="airflow:p@ss") as proxy:
        address = extra["proxies"]["https"].replace("proxy.stadt.example:3128", f"127.0.0.1:{proxy.port}")
        connection = {
            **json.loads(sandbox.airflow_connection()),
            "host": f"https://localhost:{tls.port}",
            "extra": {"verify": str(tmp_path / "city-ca.pem"), "proxies": {"https": address}},
        }
        output = airflow_home.run("connections", "test", "polyteia_default", polyteia_default=json.dumps(connection))
    assert "Connection success!" in output
    assert proxy.requests
    assert all(line.startswith(f"CONNECT localhost:{tls.port} ") for line in proxy.requests)


# rotate-a-key.md


def test_rotate_a_key(airflow_home, tmp_path):
    """The file of the page replaces the connection, and the test uses the new key."""
    (content,) = json_blocks("rotate-a-key.md")
    connection = content["polyteia_default"]
    with Sandbox(paks=["pak_old_0000000001", "pak_new_0000000002"]) as running:
        for key in ("pak_old_0000000001", "pak_new_0000000002"):
            host, _, port = running.base_url.rpartition(":")
            connection |= {"password": key, "host": host, "port": int(port)}
            (tmp_path / "polyteia.json").write_text(json.dumps(content))
            airflow_home.run("connections", "import", "--overwrite", str(tmp_path / "polyteia.json"))
            output = airflow_home.run("connections", "test", "polyteia_default")
            assert "Connection success!" in output
    keys = {request.headers.get("authorization") for request in running.requests}
    assert {"Bearer pak_old_0000000001", "Bearer pak_new_0000000002"} <= keys


def test_key_check(airflow_home, sandbox):
    """The DAG succeeds with a valid key, and asks the platform."""
    airflow_home.test_dag("rotate-a-key.md", "check_key", {}, polyteia_default=sandbox.airflow_connection())
    assert sandbox.count("list_organizations") == 1


# test-dags-in-ci.md


def test_tests_in_ci(airflow_home, tmp_path):
    """The tests of the page pass with the two files of the testing page that it names."""
    guide = (ROOT / "docs" / "testing.md").read_text()
    block = r"^`(dags/bookings\.py|tests/conftest\.py)`:\n\n```python\n(.+?)^```$"
    files = dict(re.findall(block, guide, re.MULTILINE | re.DOTALL))
    (files["tests/test_dags.py"],) = python_blocks("test-dags-in-ci.md")
    assert len(files) == 3
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_ci_files_run_the_tests():
    """The files for GitLab and GitHub are valid YAML, and run the same commands."""
    gitlab, github = (yaml.safe_load(block) for block in blocks("test-dags-in-ci.md", "yaml"))
    steps = [step["run"] for step in github["jobs"]["test-dags"]["steps"] if "run" in step]
    assert steps == gitlab["test-dags"]["script"]


# move-to-the-rpc-api.md


def test_move_to_the_rpc_api(airflow_home, bookings):
    """All tasks use the connection in `default_args`, and the log names the ingest."""
    with Sandbox(api="rpc") as running:
        place = {"organizationId": SANDBOX_ORGANIZATION_ID, "solutionId": SANDBOX_SOLUTION_ID}
        tag = running.call("tag/createTag", {**place, "name": "Finance", "description": "", "color": "#ff0000"})
        output = airflow_home.test_dag(
            "move-to-the-rpc-api.md",
            "bookings_on_rpc",
            {"sol_...": SANDBOX_SOLUTION_ID, "tag_...": tag["id"], "/data/finance/bookings.csv": bookings},
            polyteia_rpc=running.airflow_connection(),
        )
        (dataset,) = running.datasets
        assert dataset["data"]["rows"] == 2
        assert running.count("tag/assignTag") == 1
    uploaded = rf"Uploaded 'bookings.parquet' to dataset '{dataset['id']}': .+; accepted as ingest 'dsig_"
    assert re.search(uploaded, output)


@pytest.mark.parametrize("error", [None, "bad rows"])
def test_deferred_load_in_dags_test(airflow_home, bookings, error):
    """`airflow dags test` resumes a deferred load with the trigger's event alone; the file is sent once."""
    code = dag_code("move-to-the-rpc-api.md", "bookings_on_rpc").partition("    tag = ")[0]
    code = code.replace("bookings_on_rpc", "deferred_load").replace("convert=True", "convert=True, deferrable=True")
    code = code.replace("sol_...", SANDBOX_SOLUTION_ID).replace("/data/finance/bookings.csv", str(bookings))
    (airflow_home.dags / "deferred_load.py").write_text(code)
    with Sandbox(api="rpc", ingest_error=error) as running:
        run = partial(airflow_home.run, "dags", "test", "deferred_load", polyteia_rpc=running.airflow_connection())
        if error:
            with pytest.raises(AssertionError, match=r"PolyteiaIngestError: Ingest .* says: 'bad rows'"):
                run()
        else:
            assert "state=success" in run()
            (dataset,) = running.datasets
            assert dataset["data"]["rows"] == 2
            assert running.call("dataset/getDatasetById", {"id": dataset["id"]})["dataAsOf"]
        assert running.count("/api/upload/dataset") == 1
