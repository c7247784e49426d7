"""`DatasetPoller`: incomplete and rejected lists, failed polls, and replaced keys."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from asset_watchers import INTERVAL, Store, Triggerer, until
from servers import KEY, body_error, data, status

from airflow_provider_polyteia.exceptions import PolyteiaAuthenticationError, PolyteiaServerError
from airflow_provider_polyteia.triggers import poller
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedEventTrigger

pytest.importorskip("airflow.triggers.shared_stream", reason="needs Airflow 3.3")


def list_of(*records):
    return data({"items": list(records), "total": len(records), "page": 1, "size": 100})


RECORD = {"id": "ds_1", "slug": "d", "metadata": {"asset_info": {"uploaded_at": "2026-03-01T06:00:00Z"}}}


NEVER_UPLOADED = [{"id": f"ds_{number}", "slug": f"s{number}"} for number in range(2, 6)]
WITHOUT_UPLOADS = ({}, {"metadata": None}, {"metadata": {}}, {"metadata": {"schema": {"columns": {}}}})


@pytest.mark.parametrize(
    "trimmed",
    [
        *(list_of(*NEVER_UPLOADED, {"id": "ds_1", "slug": "d", **metadata}) for metadata in WITHOUT_UPLOADS),
        body_error(400),
    ],
    ids=["no metadata", "null", "empty", "schema only", "rejected"],
)
def test_list_that_shows_no_uploads(connected, monkeypatch, trimmed):
    """If the list is rejected, or lacks what get_dataset shows, each watched dataset is queried individually."""
    monkeypatch.setattr(poller, "JOINING_TIME", 0.02)
    connected.respond(lambda request: trimmed if request.call == "list_datasets" else data(RECORD))

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(
                solution_id="sol_1", slug="d", poke_interval=INTERVAL, uploaded_after="2026-01-01"
            )
            triggerer.watch(trigger, Store())
            await until(lambda: triggerer.events)
            await until(lambda: connected.calls.count("get_dataset") > 3)
            lists = connected.calls.count("list_datasets")
            await until(lambda: connected.calls.count("get_dataset") > 6)
            assert connected.calls.count("list_datasets") == lists
            return triggerer.events

    assert [payload["uploaded_at"] for _, payload in asyncio.run(main())] == ["2026-03-01T06:00:00Z"]
    assert connected.calls.count("list_datasets") < 3  # the second may begin before the first dataset is known


def test_upload_that_the_list_does_not_show(connected, monkeypatch):
    """While the list shows no upload at all, watched datasets are sampled individually, a few per poll."""
    monkeypatch.setattr(poller, "JOINING_TIME", 0.02)
    bare = {"id": "ds_1", "slug": "d"}
    connected.respond(
        lambda request: (
            list_of(*NEVER_UPLOADED, bare)
            if request.call == "list_datasets"
            else data(RECORD if connected.calls.count("list_datasets") > 5 else bare)
        )
    )

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(solution_id="sol_1", slug="d", poke_interval=INTERVAL)
            triggerer.watch(trigger, Store())
            await until(lambda: triggerer.events)
            return triggerer.events

    assert [payload["id"] for _, payload in asyncio.run(main())] == ["ds_1"]
    assert connected.calls.count("list_datasets") <= 8


def test_dataset_of_another_solution(connected, monkeypatch, caplog):
    """A dataset that is missing from the list of its stated solution is queried individually, with one warning."""
    monkeypatch.setattr(poller, "JOINING_TIME", 0.02)
    uploads = iter(["2026-03-01T06:00:00Z"])

    def respond(request):
        if request.call == "list_datasets":
            return list_of(*NEVER_UPLOADED)
        uploaded_at = next(uploads, "2026-03-02T06:00:00Z")
        return data({**RECORD, "metadata": {"asset_info": {"uploaded_at": uploaded_at}}})

    connected.respond(respond)

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(dataset_id="ds_1", solution_id="sol_x", poke_interval=INTERVAL)
            triggerer.watch(trigger, Store())
            await until(lambda: triggerer.events)
            return triggerer.events

    assert [payload["uploaded_at"] for _, payload in asyncio.run(main())] == ["2026-03-02T06:00:00Z"]
    assert caplog.text.count("The dataset with id 'ds_1' is missing from the solution's dataset list") == 1


def test_rejection_by_a_gateway_does_not_stop_listing(connected, monkeypatch):
    """A 400 that is not the platform's is a failed poll, and the next poll requests the list again."""
    monkeypatch.setattr(poller, "JOINING_TIME", 0.02)
    lists = iter([status(400, b"bad gateway", content_type="text/plain")])
    connected.respond(lambda request: next(lists, list_of(RECORD)))

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(solution_id="sol_1", slug="d", poke_interval=INTERVAL)
            triggerer.watch(trigger, Store())
            await until(lambda: connected.calls.count("list_datasets") > 3)

    asyncio.run(main())
    assert connected.calls.count("get_dataset") == 0


def test_item_missing_from_one_list_is_not_an_upload(connected, monkeypatch):
    """A dataset that is missing from the first list is queried before it counts as never uploaded."""
    monkeypatch.setattr(poller, "JOINING_TIME", 0.02)
    other = {**RECORD, "id": "ds_2", "slug": "other"}
    lists = iter([list_of(other)])
    connected.respond(
        lambda request: next(lists, list_of(other, RECORD)) if request.call == "list_datasets" else data(RECORD)
    )

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(solution_id="sol_1", slug="d", poke_interval=INTERVAL)
            triggerer.watch(trigger, Store())
            await until(lambda: connected.calls.count("list_datasets") > 3)
            return triggerer.events

    assert asyncio.run(main()) == []
    assert connected.calls.count("get_dataset") == 1


def test_intervals_grow_while_polls_fail(connected, monkeypatch):
    """While the platform rejects the key, the interval doubles up to 15 minutes; polling never stops."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) > 14:
            raise asyncio.CancelledError

    monkeypatch.setattr(poller, "asyncio", SimpleNamespace(sleep=sleep))
    connected.respond(status(401))
    watched = poller.DatasetPoller("polyteia_default", solution_id="sol_x", dataset_id=None, interval=60.0)

    async def main():
        async for _ in watched.results():
            pytest.fail("a failed poll has no result")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert slept[1:6] == [120.0, 240.0, 480.0, 900.0, 900.0]


@pytest.mark.parametrize(
    ("error", "level", "has_traceback"),
    [
        (PolyteiaServerError("HTTP 503."), "WARNING", False),
        (PolyteiaAuthenticationError("HTTP 401."), "ERROR", False),
        (KeyError("id"), "ERROR", True),
    ],
    ids=["transient", "rejected key", "unforeseen"],
)
def test_failed_polls_in_the_log(caplog, error, level, has_traceback):
    """A failure that may pass is a warning with the delay; an error is one that a user must resolve."""
    poller._log_failure(error, 2, 240.0)
    (record,) = caplog.records
    assert (record.levelname, bool(record.exc_info)) == (level, has_traceback)
    assert record.getMessage() == f"Polling failed (2 in a row), trying again in 240 s: {error}"


def test_key_is_replaced_between_polls(connect, server, monkeypatch, caplog):
    """A list that is requested with an outdated key is requested again with the connection's new key, in one poll."""
    monkeypatch.setattr(poller, "JOINING_TIME", 0.0)
    keys = {"accepted": KEY}

    def respond(request):
        accepted = request.headers["authorization"] == f"Bearer {keys['accepted']}"
        return list_of(RECORD) if accepted else status(401)

    connect(host=server.url)
    server.respond(respond)

    async def main():
        results = poller.DatasetPoller(
            "polyteia_default", solution_id="sol_1", dataset_id=None, interval=INTERVAL
        ).results()
        await anext(results)
        keys["accepted"] = "pak-SECRET-tomorrow"
        connect(host=server.url, password=keys["accepted"])
        await anext(results)
        await results.aclose()

    asyncio.run(main())
    assert "Polling failed" not in caplog.text
    assert len(server.requests) == 3
