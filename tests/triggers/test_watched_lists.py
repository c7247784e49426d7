"""Watchers of a platform whose lists do not tell everything, in Airflow's own shared streams."""

from __future__ import annotations

import asyncio

import pytest
from servers import body_error, data, status
from watching import INTERVAL, Store, Triggerer, until

from airflow_provider_polyteia.triggers import poller
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedEventTrigger

pytest.importorskip("airflow.triggers.shared_stream", reason="needs Airflow 3.3")


def listing(*records):
    return data({"items": list(records), "total": len(records), "page": 1, "size": 100})


RECORD = {"id": "ds_1", "slug": "d", "metadata": {"asset_info": {"uploaded_at": "2026-03-01T06:00:00Z"}}}


NEVER_UPLOADED = [{"id": f"ds_{number}", "slug": f"s{number}"} for number in range(2, 6)]
OF_LITTLE_USE = ({}, {"metadata": None}, {"metadata": {}}, {"metadata": {"schema": {"columns": {}}}})


@pytest.mark.parametrize(
    "trimmed",
    [
        *(listing(*NEVER_UPLOADED, {"id": "ds_1", "slug": "d", **metadata}) for metadata in OF_LITTLE_USE),
        body_error(400),
    ],
    ids=["no metadata", "null", "empty", "schema only", "refused"],
)
def test_list_that_shows_no_uploads(connected, monkeypatch, trimmed):
    """If the list is refused, or hides what get_dataset shows, each watched dataset is asked for by itself."""
    monkeypatch.setattr(lookout, "JOINING_TIME", 0.02)
    connected.answer(lambda request: trimmed if request.call == "list_datasets" else data(RECORD))

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(
                solution_id="sol_1", slug="d", poke_interval=INTERVAL, uploaded_after="2026-01-01"
            )
            triggerer.watch(trigger, Store())
            await until(lambda: triggerer.events)
            await until(lambda: connected.calls.count("get_dataset") > 3)
            return triggerer.events

    assert [payload["uploaded_at"] for _, payload in asyncio.run(main())] == ["2026-03-01T06:00:00Z"]
    assert connected.calls.count("list_datasets") == 1


def test_upload_that_the_list_begins_to_hide(connected, monkeypatch):
    """A list without any upload is not believed for ever: now and then each watched dataset is asked for."""
    monkeypatch.setattr(lookout, "JOINING_TIME", 0.02)
    bare = {"id": "ds_1", "slug": "d"}
    connected.answer(
        lambda request: (
            listing(*NEVER_UPLOADED, bare)
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
    assert connected.calls.count("list_datasets") <= lookout.LOOKS_PER_SAMPLING + 1


def test_dataset_of_another_solution(connected, monkeypatch, caplog):
    """A dataset that is not on the list of the solution given with it is asked for by itself, and the log says so."""
    monkeypatch.setattr(lookout, "JOINING_TIME", 0.02)
    uploads = iter(["2026-03-01T06:00:00Z"])

    def answer(request):
        if request.call == "list_datasets":
            return listing(*NEVER_UPLOADED)
        uploaded_at = next(uploads, "2026-03-02T06:00:00Z")
        return data({**RECORD, "metadata": {"asset_info": {"uploaded_at": uploaded_at}}})

    connected.answer(answer)

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(dataset_id="ds_1", solution_id="sol_x", poke_interval=INTERVAL)
            triggerer.watch(trigger, Store())
            await until(lambda: triggerer.events)
            return triggerer.events

    assert [payload["uploaded_at"] for _, payload in asyncio.run(main())] == ["2026-03-02T06:00:00Z"]
    assert caplog.text.count("'ds_1' is not on its solution's list") == 1


def test_refusal_of_a_gateway_is_no_reason_to_stop_listing(connected, monkeypatch):
    """A 400 that is not the platform's is a failed look, and the next one lists again."""
    monkeypatch.setattr(lookout, "JOINING_TIME", 0.02)
    lists = iter([status(400, b"bad gateway", content_type="text/plain")])
    connected.answer(lambda request: next(lists, listing(RECORD)))

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(solution_id="sol_1", slug="d", poke_interval=INTERVAL)
            triggerer.watch(trigger, Store())
            await until(lambda: connected.calls.count("list_datasets") > 3)

    asyncio.run(main())
    assert connected.calls.count("get_dataset") == 0


def test_item_that_slips_between_pages_is_no_news(connected, monkeypatch):
    """A dataset missing from the first list is asked for before it counts as never uploaded."""
    monkeypatch.setattr(lookout, "JOINING_TIME", 0.02)
    other = {**RECORD, "id": "ds_2", "slug": "other"}
    lists = iter([listing(other)])
    connected.answer(
        lambda request: next(lists, listing(other, RECORD)) if request.call == "list_datasets" else data(RECORD)
    )

    async def main():
        async with Triggerer() as triggerer:
            trigger = DatasetUploadedEventTrigger(solution_id="sol_1", slug="d", poke_interval=INTERVAL)
            triggerer.watch(trigger, Store())
            await until(lambda: connected.calls.count("list_datasets") > 3)
            return triggerer.events

    assert asyncio.run(main()) == []
    assert connected.calls.count("get_dataset") == 1
