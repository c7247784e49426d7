"""`DatasetUploadedEventTrigger` in Airflow's own shared streams, against the sandbox."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from servers import body_error, data, status

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.triggers import dataset, lookout, shared
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedEventTrigger

pytest.importorskip("airflow.triggers.shared_stream", reason="needs Airflow 3.3")

from airflow.triggers.base import BaseEventTrigger
from airflow.triggers.shared_stream import SharedStreamManager

INTERVAL = 0.03
CSV = b"a,b\n1,2\n"
IN_SOLUTION = {"solution_id": SANDBOX_SOLUTION_ID, "poke_interval": INTERVAL}


class Store:
    """Stands in for Airflow's asset_state_store, which needs an API server."""

    def __init__(self):
        self.values = {}

    async def aget(self, key, default=None):
        return self.values.get(key, default)

    async def aset(self, key, value):
        self.values[key] = json.loads(json.dumps(value))


class Triggerer:
    """Runs watchers as Airflow's TriggerRunner does, with the same manager of shared streams."""

    def __init__(self, *, confirms=True):
        self.events = []
        self._confirms = confirms
        self._manager = SharedStreamManager()
        self._tasks = []

    def watch(self, trigger, store=None):
        trigger.asset_state_store = store
        self._tasks.append(asyncio.create_task(self._run(trigger, number=len(self._tasks))))

    async def _run(self, trigger, number):
        key = trigger.shared_stream_key()
        stream = self._manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                seq = self._manager.bind_pending_event(trigger_id=number, key=key)
                self.events.append((number, event.payload))
                if self._confirms:  # in Airflow the database does, a second later
                    asyncio.get_running_loop().call_soon(self._manager.confirm_persisted, [seq])
        finally:
            await self._manager.unsubscribe(number, key)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes
        assert dict(shared._clients[asyncio.get_running_loop()]) == {}


@pytest.fixture
def sandbox(connect, monkeypatch):
    monkeypatch.setattr(lookout, "JOINING_TIME", 0.02)
    with Sandbox() as running:
        connect(host=running.base_url, password=running.pak, extra={"max_attempts": 1})
        yield running


@pytest.fixture
def make_dataset(sandbox):
    def make(slug):
        params = {"name": slug, "slug": slug, "solution_id": SANDBOX_SOLUTION_ID}
        return sandbox.call("create_dataset", params)["id"]

    return make


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - conditions of a sandbox in another thread
            await asyncio.sleep(0.01)


async def looks(sandbox, number, name="list_datasets"):
    """Wait for some more looks to be over."""
    goal = sandbox.count(name) + number + 1
    await until(lambda: sandbox.count(name) >= goal)


async def upload(sandbox, *dataset_ids):
    for dataset_id in dataset_ids:
        await asyncio.to_thread(sandbox.upload, dataset_id, CSV)


def test_many_watchers_share_each_look(sandbox, make_dataset):
    """50 watchers of one solution cause one list per interval, on one connection, and each upload is one event."""
    ids = [make_dataset(f"d{number}") for number in range(50)]
    sandbox.upload(ids[49], CSV)  # so that the list shows an upload

    async def main():
        async with Triggerer() as triggerer:
            for number in range(50):
                triggerer.watch(DatasetUploadedEventTrigger(slug=f"d{number}", **IN_SOLUTION), Store())
            await looks(sandbox, 3)
            await upload(sandbox, ids[3], ids[30])
            await looks(sandbox, 3)
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


def test_what_is_there_at_the_first_look_is_no_event(sandbox, make_dataset):
    """Data that was there before is not reported, the next upload is, and a third one again."""
    dataset_id = make_dataset("d")
    sandbox.upload(dataset_id, CSV)

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), Store())
            await looks(sandbox, 2)
            assert triggerer.events == []
            for number in (1, 2):
                await upload(sandbox, dataset_id)
                await until(lambda number=number: len(triggerer.events) == number)
            await looks(sandbox, 2)
            return len(triggerer.events)

    assert asyncio.run(main()) == 2


def test_a_restart_loses_nothing_and_repeats_nothing(sandbox, make_dataset):
    """What was reported before a restart is not reported again; what was uploaded meanwhile is."""
    seen, unseen = make_dataset("seen"), make_dataset("unseen")
    stores = {"seen": Store(), "unseen": Store()}

    async def run(before=lambda: asyncio.sleep(0)):
        async with Triggerer() as triggerer:
            for slug, store in stores.items():
                triggerer.watch(DatasetUploadedEventTrigger(slug=slug, **IN_SOLUTION), store)
            await looks(sandbox, 1)
            await before()
            await looks(sandbox, 2)
            return [payload["slug"] for _, payload in triggerer.events]

    assert asyncio.run(run(lambda: upload(sandbox, seen))) == ["seen"]
    sandbox.upload(unseen, CSV)
    assert asyncio.run(run()) == ["unseen"]
    assert asyncio.run(run()) == []


def test_an_event_that_airflow_has_not_stored_is_reported_again(sandbox, make_dataset):
    """A triggerer that dies before the event is in Airflow's database does not take note of it."""
    dataset_id, store = make_dataset("d"), Store()

    async def run(before, *, confirms):
        async with Triggerer(confirms=confirms) as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), store)
            await looks(sandbox, 1)
            await before()
            await looks(sandbox, 2)
            return len(triggerer.events)

    async def nothing():
        pass

    assert asyncio.run(run(lambda: upload(sandbox, dataset_id), confirms=False)) == 1
    assert asyncio.run(run(nothing, confirms=True)) == 1
    assert asyncio.run(run(nothing, confirms=True)) == 0


def test_uploaded_after_reports_what_is_there(sandbox, make_dataset):
    """With `uploaded_after` an upload before the first look is reported, once, if it is late and big enough."""
    sandbox.upload(make_dataset("early"), CSV)

    async def run(**options):
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="early", **IN_SOLUTION, **options), Store())
            await looks(sandbox, 3)
            return len(triggerer.events)

    assert asyncio.run(run(uploaded_after="2020-01-01")) == 1
    assert asyncio.run(run(uploaded_after="2199-01-01")) == 0
    assert asyncio.run(run(uploaded_after="2020-01-01", min_size=len(CSV))) == 1
    assert asyncio.run(run(uploaded_after="2020-01-01", min_size=len(CSV) + 1)) == 0


def test_dataset_without_its_solution(sandbox, make_dataset):
    """A dataset named by its id alone is asked for alone, and its solution is not listed."""
    dataset_id = make_dataset("d")

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(dataset_id=dataset_id, poke_interval=INTERVAL), Store())
            await looks(sandbox, 1, "get_dataset")
            await upload(sandbox, dataset_id)
            await until(lambda: triggerer.events)
            return triggerer.events[0][1]["id"]

    assert asyncio.run(main()) == dataset_id
    assert sandbox.count("list_datasets") == 0


def test_dataset_that_comes_into_being_later(sandbox, make_dataset):
    """A watched slug may not exist yet; its first upload is reported."""

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="later", **IN_SOLUTION), Store())
            await looks(sandbox, 2)
            await upload(sandbox, await asyncio.to_thread(make_dataset, "later"))
            await until(lambda: triggerer.events)
            return triggerer.events[0][1]["slug"]

    assert asyncio.run(main()) == "later"


FAULTS = ["drop-before", "status:503", "status:401", "body-error:403", "garbage", "html"]


@pytest.mark.parametrize("fault", FAULTS)
def test_watching_goes_on_after_errors(sandbox, make_dataset, fault):
    """Whatever goes wrong, also a refused key, the watcher goes on and reports the upload afterwards."""
    dataset_id = make_dataset("d")

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), Store())
            await looks(sandbox, 1)
            sandbox.faults.add(f"list_datasets:{fault}:1-2")
            await upload(sandbox, dataset_id)
            await until(lambda: triggerer.events)
            return len(triggerer.events)

    assert asyncio.run(main()) == 1


def test_pauses_grow_while_looks_fail(sandbox, monkeypatch):
    """A platform that refuses the key is not asked in every interval, and is asked again after at most a while."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) > 14:
            raise asyncio.CancelledError

    monkeypatch.setattr(lookout, "asyncio", SimpleNamespace(sleep=sleep))
    sandbox.faults.add("list_datasets:status:401")
    watched = lookout.Lookout("polyteia_default", solution_id="sol_x", dataset_id=None, interval=60.0)

    async def main():
        async for _ in watched.snapshots():
            pytest.fail("a snapshot of a look that failed")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert slept[1:6] == [120.0, 240.0, 480.0, 900.0, 900.0]


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


def test_bookmark_that_cannot_be_read_is_read_again(sandbox, make_dataset):
    """When Airflow cannot tell what was reported, nothing is reported until it can."""
    dataset_id, store = make_dataset("d"), Store()

    async def run(store):
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), store)
            await looks(sandbox, 4)
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
    """Where Airflow cannot say whose bookmark it is, the watcher works from memory and says so."""
    dataset_id, store = make_dataset("d"), Store()

    async def several(key, default=None):
        raise ValueError

    store.aget = several

    async def main():
        async with Triggerer() as triggerer:
            triggerer.watch(DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION), store)
            await looks(sandbox, 1)
            await upload(sandbox, dataset_id)
            await until(lambda: triggerer.events)

    asyncio.run(main())
    assert "Several assets share one trigger" in caplog.text
    assert store.values == {}


def test_alone_before_airflow_3_3(sandbox, make_dataset):
    """Without shared streams `run` does the same by itself, from memory."""
    dataset_id = make_dataset("d")

    async def main():
        events = DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION).run()
        first = asyncio.ensure_future(anext(events))
        await looks(sandbox, 1)
        await upload(sandbox, dataset_id)
        async with asyncio.timeout(5):
            payload = (await first).payload
        await events.aclose()
        return payload["slug"]

    assert asyncio.run(main()) == "d"


def test_who_shares_and_who_does_not():
    """Connection, solution and interval make the group; the dataset makes the watcher."""

    def make(**options):
        return DatasetUploadedEventTrigger(**{"solution_id": "sol_1", "slug": "d", **options})

    key = make().shared_stream_key()
    assert make(slug="other", min_size=3, uploaded_after="2026-01-01").shared_stream_key() == key
    assert make(slug=None, dataset_id="ds_1").shared_stream_key() == key
    for different in ({"solution_id": "sol_2"}, {"poke_interval": 5}, {"polyteia_conn_id": "other"}):
        assert make(**different).shared_stream_key() != key
    hashes = {
        BaseEventTrigger.hash(*trigger.serialize())
        for trigger in (make(), make(), make(slug="other"), make(min_size=1), make(slug=None, dataset_id="ds_1"))
    }
    assert len(hashes) == 4


def test_serialized_and_made_again():
    """What Airflow stores makes the same trigger, moments as ISO 8601 in UTC."""
    trigger = DatasetUploadedEventTrigger(dataset_id="ds_1", uploaded_after="2026-03-01", min_size=3, poke_interval=5)
    path, options = trigger.serialize()
    assert path == f"{dataset.__name__}.DatasetUploadedEventTrigger"
    assert options["uploaded_after"] == "2026-03-01T00:00:00+00:00"
    assert DatasetUploadedEventTrigger(**options).serialize() == (path, options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"slug": "d"},
        {"solution_id": "sol_1"},
        {"dataset_id": "ds_1", "solution_id": "sol_1", "slug": "d"},
        {"dataset_id": "ds_1", "poke_interval": 0},
        {"dataset_id": "ds_1", "uploaded_after": "soon"},
    ],
)
def test_unusable_arguments(options):
    """They are refused while the DAG file is read."""
    with pytest.raises(PolyteiaConfigurationError):
        DatasetUploadedEventTrigger(**options)


def test_not_for_airflow_2(monkeypatch):
    """On Airflow 2 the error says what to use instead."""
    monkeypatch.setattr(dataset, "AIRFLOW_V_3_0_PLUS", False)
    with pytest.raises(PolyteiaConfigurationError, match=r"needs Airflow 3\.0 or newer.*DatasetUploadedSensor"):
        DatasetUploadedEventTrigger(dataset_id="ds_1")
