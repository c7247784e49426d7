"""`IngestTrigger` against the sandbox: each outcome is one event, and no upload is sent again."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaIngestError, PolyteiaOutcomeUnknownError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.triggers.ingest import IngestTrigger

STATUS = "dataset/getDatasetIngestStatus"


@pytest.fixture
def sandbox(connect):
    """A sandbox of the RPC API, which the connection `polyteia_default` points to."""
    with Sandbox(api="rpc", ingest_delay=0.2) as running:
        connection = json.loads(running.airflow_connection())
        connect(host=running.base_url, password=running.pak, extra={**connection["extra"], "max_wait": 0.05})
        yield running


@pytest.fixture
def upload(sandbox, tmp_path):
    """Upload a file, with a fault, and return the trigger that waits for its ingest."""

    def start(fault=None, *, timeout=30.0):
        (path := tmp_path / "a.csv").write_bytes(b"a\n1\n")
        if fault:
            sandbox.faults.add(f"/api/upload/dataset:{fault}:1")
        with PolyteiaHook() as hook:
            record = hook.create_dataset(name="a", solution_id=SANDBOX_SOLUTION_ID, slug="a")
            uploaded = hook.upload_dataset(record["id"], path, wait_for_ingest=False)
        return IngestTrigger(
            polyteia_conn_id="polyteia_default",
            dataset_id=record["id"],
            ingest_id=uploaded["ingest_id"],
            deadline=(datetime.now(UTC) + timedelta(seconds=timeout)).isoformat(),
            poll_interval=0.05,
        )

    return start


def outcome(trigger):
    """Run a trigger to its only event; return the exception in it, or None for a completed ingest."""

    async def events():
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(events())
    json.dumps(event)
    assert event["status"] == ("failed" if "error" in event else "completed")
    return PolyteiaError.from_dict(event["error"]) if "error" in event else None


def test_completed(upload, sandbox):
    """The data is there when the event is sent."""
    trigger = upload()
    assert outcome(trigger) is None
    assert sandbox.content(trigger.dataset_id) == b"a\n1\n"


def test_failed(upload, sandbox):
    """A failed ingest is reported with the platform's text."""
    trigger = upload("ingest-failed")
    error = outcome(trigger)
    assert isinstance(error, PolyteiaIngestError)
    assert error.ingest_id == trigger.ingest_id
    assert error.message
    assert sandbox.count("/api/upload/dataset") == 1


@pytest.mark.parametrize("fault", ["ingest-stuck", "ingest-lost"])
def test_outcome_unknown(upload, sandbox, fault):
    """An ingest without an end, or one that vanished, leaves the outcome unknown."""
    trigger = upload(fault, timeout=1)
    error = outcome(trigger)
    assert isinstance(error, PolyteiaOutcomeUnknownError)
    assert error.identifiers == {"id": trigger.dataset_id, "ingestId": trigger.ingest_id}
    assert sandbox.count("/api/upload/dataset") == 1


def test_deadline_in_the_past(upload, sandbox):
    """A triggerer that was down for too long still polls once."""
    trigger = upload("ingest-stuck", timeout=-60)
    assert isinstance(outcome(trigger), PolyteiaOutcomeUnknownError)
    assert sandbox.count(STATUS) == 1


def test_transient_failures(upload, sandbox):
    """Failures of the network and the platform in between do not end the wait."""
    trigger = upload()
    sandbox.faults.add(*(f"{STATUS}:drop-before:{number}" for number in range(1, 8)))
    assert outcome(trigger) is None
    assert sandbox.count(STATUS) >= 8


def test_unusable_connection(upload, connect):
    """A connection that became unusable is reported, not raised."""
    trigger = upload()
    connect(password="", extra={"api": "rpc"})
    assert "has no key" in str(outcome(trigger))


def test_unforeseen_exception(upload, monkeypatch):
    """Whatever happens, the event says that the upload was accepted."""
    trigger = upload()
    monkeypatch.setattr(trigger, "deadline", "no timestamp")
    error = outcome(trigger)
    assert isinstance(error, PolyteiaOutcomeUnknownError)
    assert "accepted but is not finished" in str(error)
