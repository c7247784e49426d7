"""The operators: what they do, what goes to XCom, and that a killed task leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import threading
import time
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import status

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.operators.killable import TaskKilledError
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
    """A file replaces the data; the ids and sizes are returned, and the moment of the data is stored."""
    task = FileToPolyteiaOperator(
        task_id="load", source=str(csv_file), dataset_id=dataset_id, source_timestamp="2026-03-01"
    )
    assert task.execute({}) == task.outputs(
        {
            "dataset_id": dataset_id,
            "bytes": csv_file.stat().st_size,
            "rows": None,
            "content_type": "text/csv",
            "filename": "bookings.csv",
            "source": str(csv_file),
        }
    )
    assert sandbox.content(dataset_id) == csv_file.read_bytes()
    told = next(request.json for request in sandbox.requests if request.name == "update_dataset_source_info")
    assert told["params"] == {"id": dataset_id, "source_info": {"source_timestamp": "2026-03-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("moment", "stored"),
    [
        ("2026-03-01T06:00:00+02:00", "2026-03-01T04:00:00Z"),
        ("2026-03-01 06:00:00.5", "2026-03-01T06:00:00.500000Z"),
        (datetime(2026, 3, 1, 6, tzinfo=UTC), "2026-03-01T06:00:00Z"),
        (date(2026, 3, 1), "2026-03-01T00:00:00Z"),
    ],
)
def test_source_timestamp(hook, sandbox, dataset_id, moment, stored):
    """A moment in any usual form is stored in UTC."""
    hook.set_source_timestamp(dataset_id, moment)
    assert sandbox.requests[-1].json["params"]["source_info"] == {"source_timestamp": stored}


def test_unusable_source_timestamp(sandbox, dataset_id, csv_file, city):
    """A moment that is none is refused before the database is read or anything is sent."""
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
    """The rows arrive as Parquet with their types; XCom holds counts, sizes and types, but no value."""
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
    query = f"SELECT sum(amount) FROM '{{{{{dataset_id}}}}}'"  # noqa: S608 - the platform's own way
    answer = sandbox.call("execute_sql", {"sql": query, "datasets": [dataset_id]})
    assert answer["rows"] == [[sum(row[1] for row in city)]]
    assert [path.name for path in tmp_path.iterdir()] == ["city.db"]


def test_empty_result(sandbox, dataset_id, city):
    """A result without rows empties the dataset and keeps its columns; with `fail_on_empty` nothing is sent."""
    sql = "SELECT * FROM bookings WHERE id < 0"
    with pytest.raises(PolyteiaError, match="'fail_on_empty' is set"):
        load(sql, dataset_id=dataset_id, fail_on_empty=True).execute({})
    assert (sandbox.requests, sandbox.content(dataset_id)) == ([], BEFORE)
    assert load(sql, dataset_id=dataset_id).execute({})["rows"] == 0
    stored = pq.read_table(pa.BufferReader(sandbox.content(dataset_id)))
    assert (stored.num_rows, stored.column_names) == (0, ["id", "amount", "name"])


@pytest.mark.parametrize("sql", ["SELECT nosuch FROM bookings", "UPDATE bookings SET id = 0", "SELECT 1; SELECT 2"])
def test_nothing_is_sent_without_all_rows(sandbox, dataset_id, city, sql):
    """A query that fails sends nothing; the dataset is as it was."""
    with pytest.raises(PolyteiaError):
        load(sql, dataset_id=dataset_id).execute({})
    assert (sandbox.requests, sandbox.content(dataset_id)) == ([], BEFORE)


def test_upload_is_repeated_with_all_rows(sandbox, dataset_id, city):
    """After a drop the whole file is sent again, not the rest of a consumed stream."""
    sandbox.faults.add("/upload:drop-after:1-2")
    result = load(dataset_id=dataset_id).execute({})
    assert pq.read_metadata(pa.BufferReader(sandbox.content(dataset_id))).num_rows == result["rows"] == 1000


def test_missing_extras(sandbox, dataset_id, city, monkeypatch):
    """A package that is missing is named, with the command that installs it."""
    monkeypatch.setattr(optional_dependencies, "find_spec", lambda name: None)
    with pytest.raises(PolyteiaConfigurationError, match=r'pip install "airflow-provider-polyteia\[parquet\]"'):
        load(dataset_id=dataset_id).execute({})
    assert sandbox.requests == []


def test_polyteia_to_file(sandbox, dataset_id, tmp_path):
    """The result of a query becomes a file; the path, the size and the rows are returned."""
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


def ask(dataset_id, sql="SELECT name FROM {b}", **arguments):
    return PolyteiaSqlOperator(task_id="ask", sql=sql, datasets={"b": dataset_id}, **arguments)


def test_small_result_of_sql(sandbox, dataset_id):
    """A small answer is returned as it is, with its size."""
    task = ask(dataset_id, "SELECT name FROM {b} WHERE id = $id", named_args={"id": 1})
    result = task.execute({})
    assert result["result"]["rows"] == [["Before"]]
    size = len(json.dumps(result["result"], ensure_ascii=False))
    assert result == task.outputs({"result": result["result"], "path": None, "bytes": size})


def test_large_result_of_sql(sandbox, dataset_id, tmp_path):
    """A large answer goes to a file, or fails the task if there is none; XCom never holds it."""
    with pytest.raises(PolyteiaError, match="PolyteiaToFileOperator"):
        ask(dataset_id, max_xcom_bytes=10).execute({})
    path = tmp_path / "answer.json"
    task = ask(dataset_id, max_xcom_bytes=10, destination=str(path))
    assert task.execute({}) == task.outputs({"result": None, "path": str(path), "bytes": path.stat().st_size})
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
def test_statements_are_repeated_if_they_only_read(make_hook, sandbox, dataset_id, sql, idempotent, sent):
    """A lost answer is asked for again only where that is certainly, or said to be, harmless."""
    sandbox.faults.add("execute_sql:drop-after:1")
    hook = make_hook()
    if sent == 1:
        with pytest.raises(PolyteiaError, match="Nobody knows"):
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
def test_answer_to_sql_of_any_form(make_hook, server, body, expected):
    """Nobody says how an answer looks: with or without an envelope, what is in it is returned."""
    server.answer(status(200, body))
    assert make_hook(host=server.url).execute_sql("SELECT 1 AS n", []) == expected


@pytest.fixture
def slow_platform(connect):
    """A platform whose uploads show after a moment, and a dataset there."""
    with Sandbox(ingest_delay=0.3) as slow:
        connect(host=slow.base_url, password=slow.pak)
        params = {"name": "Slow", "solution_id": SANDBOX_SOLUTION_ID, "slug": "slow"}
        yield slow.call("create_dataset", params)["id"]


def test_wait_for_upload(slow_platform):
    """A platform that takes its time is waited for, after the first upload and after a later one."""
    hook = PolyteiaHook()
    for content in (b"id\n1\n", b"id\n1\n2\n"):
        before = hook.last_upload(slow_platform)
        hook.upload_dataset(slow_platform, io.BytesIO(content), content_type="text/csv")
        after = before and before["uploaded_at"]
        assert hook.wait_for_upload(slow_platform, after=after, poll_interval=0.05)["size"] == len(content)


def test_operator_waits_for_the_upload(sandbox, dataset_id, csv_file):
    """With `wait_for_upload` the task looks before and after the upload."""
    task = FileToPolyteiaOperator(task_id="load", source=str(csv_file), dataset_id=dataset_id, wait_for_upload=True)
    task.execute({})
    names = [request.name for request in sandbox.requests]
    assert names == ["get_dataset", "generate_dataset_upload_token", "/upload", "get_dataset"]


def test_upload_that_does_not_show(slow_platform):
    """An upload that does not show in time is told as such."""
    with pytest.raises(PolyteiaError, match=r"has not shown the upload .* within 0.2 s"):
        PolyteiaHook().wait_for_upload(slow_platform, timeout=0.2, poll_interval=0.05)


def test_templated_and_mapped_arguments(sandbox, dataset_id, csv_file):
    """An argument that renders to nothing is refused with its name."""
    for field in ("source", "dataset_id"):
        arguments = {"source": str(csv_file), "dataset_id": dataset_id, field: "None"}
        with pytest.raises(PolyteiaConfigurationError, match=f"Argument '{field}' of task 'load' is 'None'"):
            FileToPolyteiaOperator(task_id="load", **arguments).execute({})
    assert sandbox.requests == []


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def kill(monkeypatch):
    """Let a signal call a task's `on_kill` after a moment, as Airflow 3 does at SIGTERM; its code just goes on."""
    before = signal.getsignal(signal.SIGUSR1)

    def later(task, seconds=0.4):
        signal.signal(signal.SIGUSR1, lambda *_: task.on_kill())
        threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGUSR1]).start()

    yield later
    signal.signal(signal.SIGUSR1, before)


def killed(task):
    """Run a task that is to be killed, and return how long that took."""
    begun = time.monotonic()
    with pytest.raises(TaskKilledError, match="was killed"):
        task.execute({})
    return time.monotonic() - begun


@pytest.mark.parametrize("fault", ["/upload:slow:500000", "/upload:hang:60", "/upload:status:502"])
def test_killed_while_uploading(sandbox, dataset_id, csv_file, kill, connect, fault):
    """Killed while it sends, waits for the answer or for the next attempt, a task ends; the data is as before."""
    connect(host=sandbox.base_url, password=sandbox.pak, extra={"max_wait": 30})
    sandbox.faults.add(fault)
    task = FileToPolyteiaOperator(task_id="load", source=str(csv_file), dataset_id=dataset_id)
    kill(task)
    assert killed(task) < 3
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
    assert killed(task) < 3
    assert list(tmp_path.iterdir()) == []


def test_killed_while_reading(sandbox, dataset_id, city, tmp_path, kill):
    """A task that is killed while the database is busy sends nothing, and leaves no file."""
    (tmp_path / "temporary").mkdir()
    task = load(ENDLESS, dataset_id=dataset_id, temp_dir=str(tmp_path / "temporary"))
    kill(task)
    assert killed(task) < 3
    assert list((tmp_path / "temporary").iterdir()) == []
    assert sandbox.requests == []


def test_killed_when_it_is_done(sandbox, dataset_id, csv_file):
    """A task that is killed before or after its work, e.g. by its time-out, is not disturbed a second time."""
    task = FileToPolyteiaOperator(task_id="load", source=str(csv_file), dataset_id=dataset_id)
    task.on_kill()
    task.execute({})
    task.on_kill()
    assert sandbox.content(dataset_id) == csv_file.read_bytes()
