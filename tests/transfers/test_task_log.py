"""What a person reads in the task log: one exception that ends with our text, and a load in a few lines."""

from __future__ import annotations

import json
import logging
import sqlite3
import ssl
import traceback

import pytest
import trustme
from servers import RawServer, read_request, reset

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

# What starts the second exception of a chain in a traceback.
CHAINED = ("The above exception was the direct cause", "During handling of the above exception")
FAST = {"max_wait": 0.01, "max_attempts": 2, "timeout": [1, 0.3]}


@pytest.fixture
def city(tmp_path, monkeypatch):
    """The Airflow connection `city` to a database with two bookings."""
    path = tmp_path / "city.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookings (id INTEGER, name TEXT)")
        database.executemany("INSERT INTO bookings VALUES (?, ?)", [(1, "Müller"), (2, "Meier")])
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "sqlite", "host": str(path)}))


def create():
    return CreateDatasetOperator(task_id="create", name="Bookings", solution_id=SANDBOX_SOLUTION_ID, slug="bookings")


def file_load(path, **arguments):
    return FileToPolyteiaOperator(task_id="load", source=str(path), dataset_id="ds_1", **arguments)


def sql_load(sql, **arguments):
    return SqlToPolyteiaOperator(task_id="load", conn_id="city", sql=sql, dataset_id="ds_1", **arguments)


def shown(task) -> str:
    """Run a task that fails, check that the traceback shows one exception, ours, and return its text."""
    with pytest.raises(PolyteiaError) as caught:
        task.execute({})
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("Traceback (most recent call last)") == 1
    assert not [words for words in CHAINED if words in text]
    assert text.rstrip().endswith(f".{type(caught.value).__name__}: {caught.value}")
    return str(caught.value)


def test_connection_refused(connect):
    """A host that refuses the connection."""
    with RawServer(reset) as gone:
        port = gone.port
    connect(host=f"http://127.0.0.1:{port}", extra=FAST)
    assert "refused the connection. Giving up after 2 attempts" in shown(create())


def test_lost_connection(connect):
    """A connection that is reset after the request, for the request and for the lookup that follows."""

    def read_and_reset(connection):
        read_request(connection)
        reset(connection)

    with RawServer(read_and_reset) as server:
        connect(host=f"http://127.0.0.1:{server.port}", extra=FAST)
        assert shown(create()).endswith("if not, clear this task to run it again.")


def test_untrusted_certificate(connect):
    """A server whose certificate is of an unknown CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    def handshake(connection):
        with pytest.raises(OSError, match=r"(?i)alert unknown.ca"):
            context.wrap_socket(connection, server_side=True)

    with RawServer(handshake) as server:
        connect(host=f"https://localhost:{server.port}", extra=FAST)
        assert "set the extra \"verify\" of connection 'polyteia_default' to its CA bundle" in shown(create())


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        ("create_dataset:status:401", "put it into connection 'polyteia_default'."),
        ("*:hang:9", "if not, clear this task to run it again."),
        ("*:status:503", "if not, clear this task to run it again."),
        ("*:html", "if not, clear this task to run it again."),
    ],
)
def test_responses(sandbox, connect, fault, last):
    """A rejected key, a timeout, an error of the platform and a web page, also for the lookup that follows."""
    connect(host=sandbox.base_url, password=sandbox.pak, extra=FAST)
    sandbox.faults.add(fault)
    assert shown(create()).endswith(last)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.csv", b"a;b\n1;2\n3\n"),
        ("b.csv.gz", b"\x1f\x8b\x08\x00damaged"),
        ("b.zip", b"PK\x03\x04damaged"),
        ("b.xlsx", b"PK\x03\x04damaged"),
        ("b.parquet", b"PAR1damagedPAR1"),
        ("b.json", b"[{"),
    ],
)
def test_bad_files(sandbox, tmp_path, name, content):
    """A file that cannot be converted; the library's exception is in the log only at DEBUG."""
    path = tmp_path / name
    path.write_bytes(content)
    assert "Nothing was sent, and the dataset keeps its data." in shown(file_load(path, convert=True))


def test_missing_file(sandbox, tmp_path, caplog):
    """A file that does not exist; the library's exception is in the log only at DEBUG."""
    caplog.set_level(logging.DEBUG)
    assert shown(file_load(tmp_path / "missing.csv")).endswith("cannot be uploaded: No such file or directory.")
    (cause,) = [record for record in caplog.records if record.exc_info]
    assert (cause.levelno, cause.exc_info[0]) == (logging.DEBUG, FileNotFoundError)


def test_missing_directory(sandbox, dataset_id, tmp_path):
    """An export to a directory that does not exist."""
    destination = str(tmp_path / "missing" / "rows.csv")
    task = PolyteiaToFileOperator(task_id="export", dataset_id=dataset_id, destination=destination)
    assert shown(task).endswith("its directory does not exist on this worker.")


def test_databases(sandbox, city, tmp_path):
    """An invalid query, and a temporary directory that does not exist."""
    assert "no such column: nope" in shown(sql_load("SELECT nope FROM bookings"))
    task = sql_load("SELECT * FROM bookings", temp_dir=str(tmp_path / "missing"))
    assert shown(task).endswith("Set 'temp_dir' to a different directory.")


def test_a_load_in_the_log(sandbox, dataset_id, city, tmp_path, caplog):
    """At INFO, each transfer logs in at most three lines what it read, how much, and where it went."""
    ours = "airflow_provider_polyteia.", "airflow_provider_polyteia.sandbox"
    path, exported = tmp_path / "bookings.csv", str(tmp_path / "out.parquet")
    path.write_text("id;amount\n1;1,5\n2;2,5\n")
    caplog.set_level(logging.INFO)
    tasks = [
        FileToPolyteiaOperator(task_id="load", source=str(path), dataset_id=dataset_id, convert=True),
        SqlToPolyteiaOperator(task_id="sql", conn_id="city", sql="SELECT * FROM bookings", dataset_id=dataset_id),
        PolyteiaToFileOperator(task_id="export", dataset_id=dataset_id, destination=exported),
    ]
    for task, expected in zip(tasks, ["'bookings.csv'", "'city'", repr(exported)], strict=True):
        caplog.clear()
        task.execute({})
        lines = [r for r in caplog.records if r.name.startswith(ours[0]) and not r.name.startswith(ours[1])]
        text = "\n".join(record.getMessage() for record in lines)
        assert len(lines) <= 3
        assert {record.levelno for record in lines} == {logging.INFO}
        assert expected in text
        assert "2 rows" in text
        assert dataset_id in text
        assert " B " in text


def test_a_retry_in_the_log(sandbox, caplog):
    """A retry logs the attempt, the delay and the reason in one line."""
    sandbox.faults.add("create_dataset:body-error:500:1")
    created = CreateDatasetOperator(task_id="create", name="Parks", solution_id=SANDBOX_SOLUTION_ID, slug="parks")
    created.execute({})
    (line,) = [record.getMessage() for record in caplog.records if "retrying" in record.getMessage()]
    assert line.startswith("Attempt 1 of 5 failed, retrying in 0.0 s: Polyteia request 'create_dataset'")
    assert "error 500" in line
