"""Transfers on the RPC API wait for the ingest, on the worker or in the triggerer, with the same result."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_polyteia.exceptions import PolyteiaIngestError, PolyteiaOutcomeUnknownError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

UPLOAD = "/api/upload/dataset"
AS_OF = "2026-01-31T00:00:00.000Z"


@pytest.fixture
def rpc_sandbox(connect):
    """A sandbox of the RPC API, which the connection `polyteia_default` points to."""
    with Sandbox(api="rpc", ingest_delay=0.1) as running:
        connect(host=running.base_url, password=running.pak, extra=json.loads(running.airflow_connection())["extra"])
        yield running


@pytest.fixture
def rpc_dataset(rpc_sandbox):
    """The id of an empty dataset."""
    with PolyteiaHook() as hook:
        return hook.create_dataset(name="a", solution_id=SANDBOX_SOLUTION_ID, slug="a")["id"]


def load(csv_file, dataset_id, **arguments):
    return FileToPolyteiaOperator(
        task_id="load", source=str(csv_file), dataset_id=dataset_id, source_timestamp=AS_OF, **arguments
    )


def stored_as_of(dataset_id):
    with PolyteiaHook() as hook:
        return hook.get_dataset(dataset_id)["data_as_of"]


def deferred(task):
    with pytest.raises(TaskDeferred) as caught:
        task.execute({})
    return caught.value


def test_worker_waits(rpc_sandbox, rpc_dataset, csv_file):
    """Without deferring, the data and its as-of time are there when the task ends."""
    loaded = load(csv_file, rpc_dataset, wait_for_upload=True).execute({})
    assert rpc_sandbox.content(rpc_dataset) == csv_file.read_bytes()
    assert loaded["ingest_id"].startswith("dsig_")
    assert stored_as_of(rpc_dataset) == AS_OF


def test_verified_after_the_ingest(rpc_sandbox, rpc_dataset, csv_file):
    """The rows are counted after the ingest, on the worker and after deferring."""
    assert load(csv_file, rpc_dataset, verify=True).execute({})["rows"] == 150_000
    event = deferred(load(csv_file, rpc_dataset, verify=True, deferrable=True))
    assert event.kwargs["result"]["rows"] is None
    wait_until_ingested(event)
    resumed = load(csv_file, rpc_dataset, verify=True, deferrable=True)
    assert resumed.execute_complete({}, {"status": "completed"}, **event.kwargs)["rows"] == 150_000


def wait_until_ingested(event):
    with PolyteiaHook() as hook:
        result = event.kwargs["result"]
        hook.wait_for_ingest(result["dataset_id"], result["ingest_id"], poll_interval=0.05)


def test_deferred(rpc_sandbox, rpc_dataset, csv_file):
    """The file is sent before the task defers; the as-of time is stored after the ingest; the result is the same."""
    task = load(csv_file, rpc_dataset, deferrable=True, ingest_timeout=60)
    event = deferred(task)
    path, options = event.trigger.serialize()
    assert path == "airflow_provider_polyteia.triggers.ingest.IngestTrigger"
    left = datetime.fromisoformat(options["deadline"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)
    assert event.timeout == timedelta(minutes=11)
    assert stored_as_of(rpc_dataset) is None
    resumed = load(csv_file, rpc_dataset, deferrable=True)
    kwargs = json.loads(json.dumps(event.kwargs))
    result = resumed.resume_execution(event.method_name, {**kwargs, "event": {"status": "completed"}}, {})
    assert result == event.kwargs["result"]
    assert result["ingest_id"] == options["ingest_id"]
    assert result["bytes"] == csv_file.stat().st_size
    assert stored_as_of(rpc_dataset) == AS_OF
    assert rpc_sandbox.count(UPLOAD) == 1


def test_templates_that_render_differently_later(rpc_dataset, csv_file):
    """After the ingest, the as-of time of the upload is stored with the dataset of the upload."""
    event = deferred(load(csv_file, rpc_dataset, deferrable=True))
    resumed = FileToPolyteiaOperator(
        task_id="load", source=str(csv_file), dataset_id="ds_other", source_timestamp="2027-01-01", deferrable=True
    )
    resumed.resume_execution(event.method_name, {**event.kwargs, "event": {"status": "completed"}}, {})
    assert stored_as_of(rpc_dataset) == AS_OF


def test_failed_ingest(rpc_sandbox, rpc_dataset, csv_file):
    """The trigger's exception is raised as it is, and the as-of time is not stored."""
    event = deferred(load(csv_file, rpc_dataset, deferrable=True))
    failure = PolyteiaIngestError("Ingest failed.", dataset_id=rpc_dataset, ingest_id="dsig_1", message="bad csv")
    kwargs = {**event.kwargs, "event": {"status": "failed", "error": failure.to_dict()}}
    with pytest.raises(PolyteiaIngestError) as caught:
        load(csv_file, rpc_dataset, deferrable=True).resume_execution(event.method_name, kwargs, {})
    assert caught.value.message == "bad csv"
    assert stored_as_of(rpc_dataset) is None


@pytest.mark.parametrize("reason", ["Trigger timeout", "Trigger failure"])
def test_lost_trigger(rpc_dataset, csv_file, reason):
    """If the trigger is lost, the task fails at once: a retry would send the file again."""
    task = load(csv_file, rpc_dataset, deferrable=True)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="accepted but is not finished"):
        task.resume_execution("__fail__", {"error": reason}, {})


def test_failed_ingest_on_the_worker(rpc_sandbox, rpc_dataset, csv_file):
    """A failed ingest fails the task after one upload."""
    rpc_sandbox.faults.add(f"{UPLOAD}:ingest-failed:1")
    with pytest.raises(PolyteiaIngestError):
        load(csv_file, rpc_dataset).execute({})
    assert rpc_sandbox.count(UPLOAD) == 1
    assert stored_as_of(rpc_dataset) is None


def test_stuck_ingest_on_the_worker(rpc_sandbox, rpc_dataset, csv_file):
    """A time limit on the worker leaves the outcome unknown."""
    rpc_sandbox.faults.add(f"{UPLOAD}:ingest-stuck:1")
    with pytest.raises(PolyteiaOutcomeUnknownError, match="did not finish within its time limit"):
        load(csv_file, rpc_dataset, ingest_timeout=1).execute({})
    assert rpc_sandbox.count(UPLOAD) == 1


def test_command_api_does_not_defer(sandbox, dataset_id, csv_file):
    """The command API has no ingests to defer for."""
    loaded = load(csv_file, dataset_id, deferrable=True).execute({})
    assert "ingest_id" not in loaded
    assert sandbox.content(dataset_id) == csv_file.read_bytes()
