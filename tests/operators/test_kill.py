"""A task that is killed while a request waits for its response: the request ends, the error says what is unknown, and
the next try finds out. The platform is the sandbox, over real sockets, and the kill is a real signal.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from calls import send
from kills import kill, run_until_killed
from servers import HANG, RawServer, data

from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaOutcomeUnknownError
from airflow_provider_polyteia.operators.dataset import (
    CreateDatasetOperator,
    DeleteDatasetOperator,
    UpdateDatasetOperator,
)
from airflow_provider_polyteia.operators.polyteia import (
    PolyteiaCallOperator,
    PolyteiaCommandOperator,
    PolyteiaQueryOperator,
)
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

pytestmark = pytest.mark.slow  # waits for real timeouts, processes and signals

__all__ = ["kill"]  # a fixture of these tests

KILLED_AFTER = 0.4  # seconds
NAMES = {
    "command": {
        "create": "create_dataset",
        "update": "update_dataset",
        "delete": "delete_dataset",
        "get": "get_dataset",
        "tag": "create_tag",
        "upload": "/upload",
        "sql": "execute_sql",
    },
    "rpc": {
        "create": "dataset/createDataset",
        "update": "dataset/updateDataset",
        "delete": "dataset/deleteDataset",
        "get": "dataset/getDatasetById",
        "tag": "tag/createTag",
        "upload": "/api/upload/dataset",
        "sql": "/api/query",
    },
}
serial = itertools.count()


@pytest.fixture(params=NAMES)
def sandbox(request, connect):
    """A sandbox of either API, and the connection to it."""
    with Sandbox(api=request.param) as running:
        extra = json.loads(running.airflow_connection())["extra"]
        connect(host=running.base_url, password=running.pak, extra={**extra, "api": request.param})
        yield running


@pytest.fixture
def names(sandbox):
    """The names of the operations on the API of the sandbox."""
    return NAMES[sandbox.options.api]


@pytest.fixture
def dataset_id(sandbox):
    """A dataset on the platform."""
    return create_task(f"s{next(serial)}").execute({})["id"]


def create_task(slug, **arguments):
    return CreateDatasetOperator(task_id="create", name="New", solution_id=SANDBOX_SOLUTION_ID, slug=slug, **arguments)


def tag_task(sandbox, name):
    """Return a task with a write that is not idempotent."""
    if sandbox.options.api == "command":
        return PolyteiaCommandOperator(
            task_id="tag",
            command="create_tag",
            parameters={"name": name, "organization_id": SANDBOX_ORGANIZATION_ID, "color": "#ffffff"},
        )
    return PolyteiaCallOperator(
        task_id="tag",
        procedure="tag/createTag",
        parameters={"name": name, "organizationId": SANDBOX_ORGANIZATION_ID, "color": "#ffffff"},
    )


def datasets(sandbox, slug):
    return [item for item in sandbox.records("dataset") if item["slug"] == slug]


@contextmanager
def signal_while_waiting(sandbox, fault, handler):
    """Run a signal handler in the main thread when a request waits for its response; it must end within a second."""
    sandbox.faults.add(f"{fault}:1")
    (hanging,) = sandbox.faults
    sent = []

    def send():
        while not hanging.hits:
            time.sleep(0.01)
        time.sleep(KILLED_AFTER)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    threading.Thread(target=send, daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - sent[0] < 1
    sandbox.faults.clear()


def kill_while_waiting(sandbox, task, fault):
    """Kill a task that waits for a response, as Airflow 3 does at SIGTERM, and return its exception."""
    with (
        signal_while_waiting(sandbox, fault, lambda *_: task.on_kill()),
        pytest.raises(PolyteiaError, match="was killed") as caught,
    ):
        task.execute({})
    return caught.value


@pytest.mark.parametrize("when", ["hang", "hang-after"])
@pytest.mark.parametrize("if_exists", ["reuse", "update"])
def test_create(sandbox, names, if_exists, when):
    """A killed create says what is unknown, may be retried by Airflow, and the next try finds out."""
    slug = f"s{next(serial)}"
    error = kill_while_waiting(sandbox, create_task(slug, if_exists=if_exists), f"{names['create']}:{when}:30")
    assert not isinstance(error, AirflowFailException)
    assert not error.not_applied
    assert f"a lookup showed whether '{names['create']}' (" in str(error)
    assert slug in str(error)
    assert len(datasets(sandbox, slug)) == (when == "hang-after")
    record = create_task(slug, if_exists=if_exists).execute({})
    assert [item["id"] for item in datasets(sandbox, slug)] == [record["id"]]


def test_create_that_must_be_new(sandbox, names):
    """With if_exists='fail', the next try finds the dataset, and does not claim to have created it."""
    slug = f"s{next(serial)}"
    fault = f"{names['create']}:hang-after:30"
    assert not isinstance(kill_while_waiting(sandbox, create_task(slug, if_exists="fail"), fault), AirflowFailException)
    with pytest.raises(PolyteiaError, match=f"'{slug}' is already used by"):
        create_task(slug, if_exists="fail").execute({})
    assert len(datasets(sandbox, slug)) == 1


@pytest.mark.parametrize("when", ["hang", "hang-after"])
def test_write_that_is_not_idempotent(sandbox, names, when):
    """A killed write that must not be sent twice fails the task without retries."""
    error = kill_while_waiting(sandbox, tag_task(sandbox, "a"), f"{names['tag']}:{when}:30")
    assert isinstance(error, PolyteiaOutcomeUnknownError)
    assert error.identifiers["name"] == "a"


def test_idempotent_writes(sandbox, names, dataset_id):
    """A killed update or delete may be retried by Airflow."""
    update = UpdateDatasetOperator(task_id="update", dataset_id=dataset_id, name="After")
    error = kill_while_waiting(sandbox, update, f"{names['update']}:hang-after:30")
    assert not isinstance(error, AirflowFailException)
    sandbox.recorder.clear()
    delete = DeleteDatasetOperator(task_id="delete", dataset_id=dataset_id)
    error = kill_while_waiting(sandbox, delete, f"{names['delete']}:hang:30")
    assert not isinstance(error, AirflowFailException)
    again = DeleteDatasetOperator(task_id="delete", dataset_id=dataset_id)
    assert again.execute({}) is True


@pytest.mark.parametrize("kind", ["sensor", "query", "upload", "sql"])
def test_reads_and_transfers(sandbox, names, dataset_id, tmp_path, kind):
    """Other requests end as well; Airflow may retry them."""
    (tmp_path / "a.csv").write_bytes(b"id\n1\n2\n")
    read = (
        PolyteiaQueryOperator(task_id="t", query="get_dataset", parameters={"id": dataset_id})
        if sandbox.options.api == "command"
        else PolyteiaCallOperator(task_id="t", procedure="dataset/getDatasetById", parameters={"id": dataset_id})
    )
    task, name = {
        "sensor": (DatasetUploadedSensor(task_id="t", dataset_id=dataset_id, deferrable=False), "get"),
        "query": (read, "get"),
        "upload": (
            FileToPolyteiaOperator(task_id="t", dataset_id=dataset_id, source=str(tmp_path / "a.csv")),
            "upload",
        ),
        "sql": (PolyteiaSqlOperator(task_id="t", sql=f"FROM '{dataset_id}'", datasets=[dataset_id]), "sql"),
    }[kind]
    error = kill_while_waiting(sandbox, task, f"{names[name]}:hang:30")
    assert not isinstance(error, AirflowFailException)


def test_sql_that_may_write(sandbox, names, dataset_id):
    """A killed statement that is not idempotent fails the task without retries."""
    task = PolyteiaSqlOperator(task_id="t", sql=f"FROM '{dataset_id}'", datasets=[dataset_id], idempotent=False)
    error = kill_while_waiting(sandbox, task, f"{names['sql']}:hang:30")
    assert isinstance(error, PolyteiaOutcomeUnknownError)


def test_kill_during_the_handshake(connect, kill):
    """A request whose connection is not established yet is certainly not sent."""
    with RawServer(lambda connection: None) as silent:
        connect(host=f"https://127.0.0.1:{silent.port}", extra={"api": "command"})
        task = PolyteiaCommandOperator(task_id="t", command="create_tag", parameters={"name": "a"})
        kill(task, KILLED_AFTER)
        started = time.monotonic()
        with pytest.raises(PolyteiaError, match="was killed before it sent") as caught:
            task.execute({})
        assert time.monotonic() - started < KILLED_AFTER + 1
    assert caught.value.not_applied
    assert not isinstance(caught.value, AirflowFailException)


def test_kill_while_keys_are_exchanged(connect, server, kill):
    """A task that is killed before its write is sent may run again."""
    connect(host=server.url, extra={"api": "command", "organization_id": "org_1"})
    server.respond(HANG)
    task = PolyteiaCommandOperator(task_id="t", command="create_tag", parameters={"name": "a"})
    kill(task, KILLED_AFTER)
    assert run_until_killed(task) < KILLED_AFTER + 1
    assert server.calls == ["/auth/pak/token"]


def test_cancel_in_another_thread(server, make_client):
    """A request of another thread is not interrupted: the exception would be raised in the wrong thread."""
    client = make_client()

    def reply(_):
        client.cancel()
        return data({"id": "ds_1"})

    server.respond(reply)
    assert send(client, make_call("query", "get_dataset", {"id": "ds_1"})).data == {"id": "ds_1"}


class TaskTimeoutError(BaseException):
    """Raised in a signal handler, as AirflowTaskTimeout is."""


def test_interruption_by_a_timeout(sandbox, names, caplog):
    """An execution_timeout ends a request as well, and the log says that the outcome is unknown."""

    def interrupt(*_):
        raise TaskTimeoutError

    fault = f"{names['tag']}:hang-after:30"
    with signal_while_waiting(sandbox, fault, interrupt), pytest.raises(TaskTimeoutError):
        tag_task(sandbox, "a").execute({})
    assert f"TaskTimeoutError interrupted the request '{names['tag']}'. If it is a write" in caplog.text
