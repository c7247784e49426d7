"""The transfer operators: what they do, what they push to XCom, and that a killed task leaves nothing behind."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kills import run_until_killed
from servers import status

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError, PolyteiaError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.tables import optional_dependencies
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

PARQUET = "application/vnd.apache.parquet"
BEFORE = b"id,name\n1,Before\n"
SECRET_VALUE = "Müller, Erika"


@pytest.fixture
def city(tmp_path, monkeypatch):
    """The Airflow connection `city` to a database with 1000 bookings."""
    path = tmp_path / "city.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookings (id INTEGER, amount REAL, name TEXT)")
        rows = [(i, i / 4, SECRET_VALUE) for i in range(1000)]
        database.executemany("INSERT INTO bookings VALUES (?, ?, ?)", rows)
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return rows


def load(sql="SELECT * FROM bookings ORDER BY id", **arguments):
    return SqlToPolyteiaOperator(task_id="load", sql=sql, conn_id="city", **arguments)


def test_file_to_polyteia(sandbox, dataset_id, csv_file):
    """A file replaces the data; ids and sizes are returned, and the as-of time of the data is stored."""
    task = FileToPolyteiaOperator(
        task_id="load", source=str(csv_file), dataset_id=dataset_id, source_timestamp="2026-03-01"
    )
    assert task.execute({}) == task.xcom_value(
        {
            "dataset_id": dataset_id,
            "bytes": csv_file.stat().st_size,
            "rows": None,
            "columns": {},
            "content_type": "text/csv",
            "filename": "bookings.csv",
            "source": str(csv_file),
        }
    )
    assert sandbox.content(dataset_id) == csv_file.read_bytes()
    command = next(request.json for request in sandbox.requests if request.name == "update_dataset_source_info")
    assert command["params"] == {"id": dataset_id, "source_info": {"source_timestamp": "2026-03-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("timestamp", "stored"),
    [
        ("2026-03-01T06:00:00+02:00", "2026-03-01T04:00:00Z"),
        ("2026-03-01 06:00:00.5", "2026-03-01T06:00:00.500000Z"),
        (datetime(2026, 3, 1, 6, tzinfo=UTC), "2026-03-01T06:00:00Z"),
        (date(2026, 3, 1), "2026-03-01T00:00:00Z"),
    ],
)
def test_source_timestamp(hook, sandbox, dataset_id, timestamp, stored):
    """A timestamp in any supported form is stored in UTC."""
    hook.set_source_timestamp(dataset_id, timestamp)
    assert sandbox.requests[-1].json["params"]["source_info"] == {"source_timestamp": stored}


def test_unusable_source_timestamp(sandbox, dataset_id, csv_file, city):
    """An invalid timestamp is rejected before the database is read or anything is sent."""
    for task in (
        FileToPolyteiaOperator(
            task_id="load", source=str(csv_file), dataset_id=dataset_id, source_timestamp="yesterday"
        ),
        load("SELECT nosuch", dataset_id=dataset_id, source_timestamp="yesterday"),
    ):
        with pytest.raises(PolyteiaConfigurationError, match="source_timestamp is 'yesterday'"):
            task.execute({})
    assert sandbox.requests == []


def test_sql_to_polyteia(sandbox, dataset_id, city, tmp_path):
    """The rows arrive as Parquet with their types; XCom contains counts, sizes and types, but no values."""
    result = load(dataset_id=dataset_id, temp_dir=str(tmp_path)).execute({})
    assert {**result, "bytes": 0} == {
        "dataset_id": dataset_id,
        "bytes": 0,
        "rows": 1000,
        "columns": {"id": "int64", "amount": "double", "name": "string"},
        "content_type": PARQUET,
        "filename": f"{dataset_id}.parquet",
        "source_conn_id": "city",
    }
    assert SECRET_VALUE not in json.dumps(result, ensure_ascii=False)
    content = sandbox.content(dataset_id)
    assert result["bytes"] == len(content)
    stored = pq.read_table(pa.BufferReader(content))
    assert [tuple(row.values()) for row in stored.to_pylist()] == city
    query = f"SELECT sum(amount) FROM '{{{{{dataset_id}}}}}'"  # noqa: S608 - the platform's own syntax
    result = sandbox.call("execute_sql", {"sql": query, "datasets": [dataset_id]})
    assert result["rows"] == [[sum(row[1] for row in city)]]
    assert [path.name for path in tmp_path.iterdir()] == ["city.db"]


def test_empty_result(sandbox, dataset_id, city):
    """A result without rows empties the dataset and keeps its columns; with `min_rows`, nothing is sent."""
    sql = "SELECT * FROM bookings WHERE id < 0"
    with pytest.raises(PolyteiaDataError, match="has 0 rows; 'min_rows' is 1"):
        load(sql, dataset_id=dataset_id, min_rows=1).execute({})
    assert (sandbox.requests, sandbox.content(dataset_id)) == ([], BEFORE)
    assert load(sql, dataset_id=dataset_id).execute({})["rows"] == 0
    stored = pq.read_table(pa.BufferReader(sandbox.content(dataset_id)))
    assert (stored.num_rows, stored.column_names) == (0, ["id", "amount", "name"])


@pytest.mark.parametrize("sql", ["SELECT nosuch FROM bookings", "UPDATE bookings SET id = 0", "SELECT 1; SELECT 2"])
def test_nothing_is_sent_without_all_rows(sandbox, dataset_id, city, sql):
    """If the query fails, nothing is sent, and the dataset is unchanged."""
    with pytest.raises(PolyteiaError):
        load(sql, dataset_id=dataset_id).execute({})
    assert (sandbox.requests, sandbox.content(dataset_id)) == ([], BEFORE)


def test_upload_is_retried_with_all_rows(sandbox, dataset_id, city):
    """After a dropped connection, the whole file is sent again, not the rest of a consumed stream."""
    sandbox.faults.add("/upload:drop-after:1-2")
    result = load(dataset_id=dataset_id).execute({})
    assert pq.read_metadata(pa.BufferReader(sandbox.content(dataset_id))).num_rows == result["rows"] == 1000


def test_missing_extras(sandbox, dataset_id, city, monkeypatch):
    """The error for a missing package contains the command that installs it."""
    monkeypatch.setattr(optional_dependencies, "find_spec", lambda name: None)
    with pytest.raises(PolyteiaConfigurationError, match=r'pip install "airflow-provider-polyteia\[parquet\]"'):
        load(dataset_id=dataset_id).execute({})
    assert sandbox.requests == []


def test_polyteia_to_file(sandbox, dataset_id, tmp_path):
    """The result of a query is written to a file; path, size and number of rows are returned."""
    path = tmp_path / "rows.parquet"
    task = PolyteiaToFileOperator(
        task_id="save",
        sql="SELECT name FROM {bookings} WHERE id = ?",
        datasets={"bookings": dataset_id},
        destination=str(path),
        args=[1],
    )
    assert task.execute({}) == {
        "path": str(path),
        "bytes": path.stat().st_size,
        "rows": 1,
        "content_type": PARQUET,
        "datasets": [dataset_id],
    }
    assert pq.read_table(path).to_pylist() == [{"name": "Before"}]


def query(dataset_id, sql="SELECT name FROM {b}", **arguments):
    return PolyteiaSqlOperator(task_id="query", sql=sql, datasets={"b": dataset_id}, **arguments)


def test_small_result_of_sql(sandbox, dataset_id):
    """A small result is returned unchanged, with its size."""
    task = query(dataset_id, "SELECT name FROM {b} WHERE id = $id", named_args={"id": 1})
    result = task.execute({})
    assert result["result"]["rows"] == [["Before"]]
    size = len(json.dumps(result["result"], ensure_ascii=False))
    assert result == task.xcom_value({"result": result["result"], "path": None, "bytes": size})


def test_large_result_of_sql(sandbox, dataset_id, tmp_path):
    """A large result is written to the destination, or fails the task without one; it is never pushed to XCom."""
    with pytest.raises(PolyteiaError, match="PolyteiaToFileOperator"):
        query(dataset_id, max_xcom_bytes=10).execute({})
    path = tmp_path / "result.json"
    task = query(dataset_id, max_xcom_bytes=10, destination=str(path))
    assert task.execute({}) == task.xcom_value({"result": None, "path": str(path), "bytes": path.stat().st_size})
    assert json.loads(path.read_text())["rows"] == [["Before"]]


@pytest.mark.parametrize(
    ("sql", "idempotent", "sent"),
    [
        ("SELECT name FROM {b}", None, 2),
        ("from {b} select name;", None, 2),
        ("SELECT name FROM {b}", False, 1),
        ("WITH x AS (SELECT 1) SELECT * FROM x, {b}", None, 1),
        ("WITH x AS (SELECT 1) SELECT * FROM x, {b}", True, 2),
        ("SELECT ';' FROM {b}", None, 1),
    ],
)
def test_only_idempotent_statements_are_retried(make_hook, sandbox, dataset_id, sql, idempotent, sent):
    """After a lost response, a statement is retried only if it certainly is, or was declared, idempotent."""
    sandbox.faults.add("execute_sql:drop-after:1")
    hook = make_hook()
    if sent == 1:
        with pytest.raises(PolyteiaError, match="It is unknown whether 'execute_sql'"):
            hook.execute_sql(sql, {"b": dataset_id}, idempotent=idempotent)
    else:
        hook.execute_sql(sql, {"b": dataset_id}, idempotent=idempotent)
    assert sandbox.count("execute_sql") == sent


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'[{"n": 1}]', [{"n": 1}]),
        (b'{"rows": [[1]]}', {"rows": [[1]]}),
        (b'{"data": [[1]]}', [[1]]),
        (b'{"data": null}', None),
    ],
)
def test_results_of_sql_in_any_form(make_hook, server, body, expected):
    """The form of a result is not documented: with or without an envelope, its content is returned."""
    server.respond(status(200, body))
    assert make_hook(host=server.url).execute_sql("SELECT 1 AS n", []) == expected


@pytest.fixture
def slow_platform(connect):
    """A dataset on a platform that shows uploads with a delay."""
    with Sandbox(ingest_delay=0.3) as slow:
        connect(host=slow.base_url, password=slow.pak)
        params = {"name": "Slow", "solution_id": SANDBOX_SOLUTION_ID, "slug": "slow"}
        yield slow.call("create_dataset", params)["id"]


def test_wait_for_upload(slow_platform):
    """A wait ends when the platform shows the upload: the first one of a dataset, and a later one."""
    hook = PolyteiaHook()
    for content in (b"id\n1\n", b"id\n1\n2\n"):
        before = hook.last_upload(slow_platform)
        hook.upload_dataset(slow_platform, io.BytesIO(content), content_type="text/csv")
        after = before and before["uploaded_at"]
        assert hook.wait_for_upload(slow_platform, after=after, poll_interval=0.05)["size"] == len(content)


def test_operator_waits_for_the_upload(sandbox, dataset_id, csv_file):
    """With `wait_for_upload`, the task queries the dataset before and after the upload."""
    task = FileToPolyteiaOperator(task_id="load", source=str(csv_file), dataset_id=dataset_id, wait_for_upload=True)
    task.execute({})
    names = [request.name for request in sandbox.requests]
    assert names == ["get_dataset", "generate_dataset_upload_token", "/upload", "get_dataset"]


def test_upload_that_does_not_become_visible(slow_platform):
    """An upload that does not become visible in time raises an exception."""
    with pytest.raises(
        PolyteiaError,
        match=r"upload to dataset id='ds_.*' \(connection 'polyteia_default'\) did not become visible within 0\.2 s",
    ):
        PolyteiaHook().wait_for_upload(slow_platform, timeout=0.2, poll_interval=0.05)


def test_arguments_that_render_to_none(sandbox, dataset_id, csv_file):
    """The error for an argument that a template rendered to None names the argument."""
    for field in ("source", "dataset_id"):
        arguments = {"source": str(csv_file), "dataset_id": dataset_id, field: "None"}
        with pytest.raises(PolyteiaConfigurationError, match=f"Argument '{field}' of task 'load' is 'None'"):
            FileToPolyteiaOperator(task_id="load", **arguments).execute({})
    assert sandbox.requests == []


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.mark.parametrize("fault", ["/upload:slow:500000", "/upload:hang:60", "/upload:status:502"])
def test_killed_while_uploading(sandbox, dataset_id, csv_file, kill, connect, fault):
    """A task that is killed while it sends, or waits for the response or a retry, ends; the data is unchanged."""
    connect(host=sandbox.base_url, password=sandbox.pak, extra={"max_wait": 30})
    sandbox.faults.add(fault)
    task = FileToPolyteiaOperator(task_id="load", source=str(csv_file), dataset_id=dataset_id)
    kill(task)
    assert run_until_killed(task) < 3
    time.sleep(0.2)
    assert sandbox.content(dataset_id) == BEFORE


@pytest.mark.parametrize("fault", ["/download:slow:100000", "/download:hang:60"])
def test_killed_while_exporting(sandbox, dataset_id, tmp_path, kill, fault):
    """A task that is killed while it downloads leaves no file."""
    sandbox.upload(dataset_id, b"id\n" + b"123456\n" * 50_000)
    sandbox.faults.add(fault)
    path = str(tmp_path / "rows.csv")
    task = PolyteiaToFileOperator(task_id="save", sql="FROM {b}", datasets={"b": dataset_id}, destination=path)
    kill(task)
    assert run_until_killed(task) < 3
    assert list(tmp_path.iterdir()) == []


def test_killed_while_reading(sandbox, dataset_id, city, tmp_path, kill):
    """A task that is killed while the database is busy sends nothing, and leaves no file."""
    (tmp_path / "temporary").mkdir()
    task = load(ENDLESS, dataset_id=dataset_id, temp_dir=str(tmp_path / "temporary"))
    kill(task)
    assert run_until_killed(task) < 3
    assert list((tmp_path / "temporary").iterdir()) == []
    assert sandbox.requests == []


def test_killed_when_not_running(sandbox, dataset_id, csv_file):
    """Killing a task before or after its work, e.g. because of its timeout, raises nothing."""
    task = FileToPolyteiaOperator(task_id="load", source=str(csv_file), dataset_id=dataset_id)
    task.on_kill()
    task.execute({})
    task.on_kill()
    assert sandbox.content(dataset_id) == csv_file.read_bytes()
