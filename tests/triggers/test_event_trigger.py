"""`DatasetUploadedEventTrigger` in Airflow's own shared streams, against the sandbox."""

from __future__ import annotations

import asyncio

import pytest
from asset_watchers import CSV, IN_SOLUTION, INTERVAL, Store, Triggerer, polls, until, upload

from airflow_provider_polyteia.triggers.dataset import DatasetUploadedEventTrigger

pytest.importorskip("airflow.triggers.shared_stream", reason="needs Airflow 3.3")


def test_many_watchers_share_each_poll(sandbox, make_dataset):
    """50 watchers of one solution cause one list per interval, on one connection, and each upload is one event."""
    ids = [make_dataset(f"d{number}") for number in range(50)]
    sandbox.upload(ids[49], CSV)  # so that the list shows an upload

    async def main():
        async with Triggerer() as triggerer:
            for number in range(50):
                triggerer.watch(DatasetUploadedEventTrigger(slug=f"d{number}", **IN_SOLUTION), Store())
            await polls(sandbox, 3)
            await upload(sandbox, ids[3], ids[30])
            await polls(sandbox, 3)
            return triggerer.events

    events = asyncio.run(main())
    by_id = {item["id"]: item for item in sandbox.datasets}
    assert sorted(number for number, _ in events) == [3, 30]
    for number, payload in events:
        assert payload == {
            "id": ids[number],
            "slug": f"d{number}",
            "uploaded_at": by_id[ids[number]]["data"]["uploaded_at"],
            "size": len(CSV),
            "content_type": "text/csv",
        }
    assert sandbox.count("list_datasets") < 15
    assert sandbox.count("get_dataset") == 0
    assert sandbox.connections == 1


def test_data_at_the_first_poll_is_not_an_event(sandbox, make_dataset):
    """Existing data is not reported; each of the two uploads after the first poll is."""
    dataset_id = make_dataset("d")
    sandbox.upload(dataset_id, CSV)

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), Store())
            await polls(sandbox, 2)
            assert triggerer.events == []
            for number in (1, 2):
                await upload(sandbox, dataset_id)
                await until(lambda number=number: len(triggerer.events) == number)
            await polls(sandbox, 2)
            return len(triggerer.events)

    assert asyncio.run(main()) == 2


def test_a_restart_loses_nothing_and_repeats_nothing(sandbox, make_dataset):
    """After a restart, earlier uploads are not reported again, and uploads in the meantime are reported."""
    seen, unseen = make_dataset("seen"), make_dataset("unseen")
    stores = {"seen": Store(), "unseen": Store()}

    async def run(before=lambda: asyncio.sleep(0)):
        async with Triggerer() as triggerer:
            for slug, store in stores.items():
                triggerer.watch(DatasetUploadedEventTrigger(slug=slug, **IN_SOLUTION), store)
            await polls(sandbox, 1)
            await before()
            await polls(sandbox, 2)
            return [payload["slug"] for _, payload in triggerer.events]

    assert asyncio.run(run(lambda: upload(sandbox, seen))) == ["seen"]
    sandbox.upload(unseen, CSV)
    assert asyncio.run(run()) == ["unseen"]
    assert asyncio.run(run()) == []


def test_an_event_that_airflow_has_not_stored_is_reported_again(sandbox, make_dataset):
    """A triggerer that is killed before Airflow stores the event does not save the watermark."""
    dataset_id, store = make_dataset("d"), Store()

    async def run(before, *, confirms):
        async with Triggerer(confirms=confirms) as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), store)
            await polls(sandbox, 1)
            await before()
            await polls(sandbox, 2)
            return len(triggerer.events)

    async def nothing():
        pass

    assert asyncio.run(run(lambda: upload(sandbox, dataset_id), confirms=False)) == 1
    assert asyncio.run(run(nothing, confirms=True)) == 1
    assert asyncio.run(run(nothing, confirms=True)) == 0


def test_uploaded_after_reports_existing_data(sandbox, make_dataset):
    """With `uploaded_after`, an upload before the first poll is reported once, if it is late and large enough."""
    sandbox.upload(make_dataset("early"), CSV)

    async def run(**options):
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="early", **IN_SOLUTION, **options), Store())
            await polls(sandbox, 3)
            return len(triggerer.events)

    assert asyncio.run(run(uploaded_after="2020-01-01")) == 1
    assert asyncio.run(run(uploaded_after="2199-01-01")) == 0
    assert asyncio.run(run(uploaded_after="2020-01-01", min_size=len(CSV))) == 1
    assert asyncio.run(run(uploaded_after="2020-01-01", min_size=len(CSV) + 1)) == 0


def test_dataset_without_its_solution(sandbox, make_dataset):
    """A dataset identified by its id alone is queried individually; no list is requested."""
    dataset_id = make_dataset("d")

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(dataset_id=dataset_id, poke_interval=INTERVAL), Store())
            await polls(sandbox, 1, "get_dataset")
            await upload(sandbox, dataset_id)
            await until(lambda: triggerer.events)
            return triggerer.events[0][1]["id"]

    assert asyncio.run(main()) == dataset_id
    assert sandbox.count("list_datasets") == 0


def test_dataset_that_is_created_later(sandbox, make_dataset):
    """A watched slug may not exist yet; its first upload is reported."""

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="later", **IN_SOLUTION), Store())
            await polls(sandbox, 2)
            await upload(sandbox, await asyncio.to_thread(make_dataset, "later"))
            await until(lambda: triggerer.events)
            return triggerer.events[0][1]["slug"]

    assert asyncio.run(main()) == "later"


FAULTS = ["drop-before", "status:503", "status:401", "body-error:403", "garbage", "html"]


@pytest.mark.parametrize("fault", FAULTS)
def test_watching_continues_after_errors(sandbox, make_dataset, fault):
    """After any error, including a rejected key, the watcher continues and reports the upload."""
    dataset_id = make_dataset("d")

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), Store())
            await polls(sandbox, 1)
            sandbox.faults.add(f"list_datasets:{fault}:1-2")
            await upload(sandbox, dataset_id)
            await until(lambda: triggerer.events)
            return len(triggerer.events)

    assert asyncio.run(main()) == 1


def test_unreadable_watermark_is_read_again(sandbox, make_dataset):
    """While the watermark cannot be read, no upload is reported; reading it is retried at each poll."""
    dataset_id, store = make_dataset("d"), Store()

    async def run(store):
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), store)
            await polls(sandbox, 4)
            return len(triggerer.events)

    assert asyncio.run(run(store)) == 0
    sandbox.upload(dataset_id, CSV)
    read, failures = store.aget, iter([RuntimeError, RuntimeError])

    async def unreliable(key, default=None):
        for failure in failures:
            raise failure
        return await read(key, default)

    store.aget = unreliable
    assert asyncio.run(run(store)) == 1


def test_one_trigger_for_several_assets(sandbox, make_dataset, caplog):
    """If Airflow cannot assign the watermark to one asset, the watcher keeps it in memory and logs a warning."""
    dataset_id, store = make_dataset("d"), Store()

    async def several(key, default=None):
        raise ValueError

    store.aget = several

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), store)
            await polls(sandbox, 1)
            await upload(sandbox, dataset_id)
            await until(lambda: triggerer.events)

    asyncio.run(main())
    assert "Several assets share one trigger" in caplog.text
    assert store.values == {}
