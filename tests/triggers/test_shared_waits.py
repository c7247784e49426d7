"""Waits in one solution share their polls, and none is affected by what happens to another."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from asset_watchers import until
from platforms import AT, Platform
from servers import DROP, data, status

from airflow_provider_polyteia import exceptions
from airflow_provider_polyteia.triggers import poller, shared_client, solution_poll
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger

pytestmark = pytest.mark.slow  # waits in real time

INTERVAL = 0.2


def by_slug(number, **options):
    options = {"polyteia_conn_id": "polyteia_default", "poke_interval": INTERVAL, "max_attempts": 1, **options}
    return DatasetUploadedTrigger(solution_id="sol_1", slug=f"s{number}", **options)


def by_id(number, **options):
    options = {"polyteia_conn_id": "polyteia_default", "poke_interval": INTERVAL, "max_attempts": 1, **options}
    return DatasetUploadedTrigger(dataset_id=f"ds_{number}", **options)


class Waits:
    """Waits that run; those that have not ended are cancelled at the end."""

    def __init__(self, *triggers):
        self.tasks = [asyncio.create_task(trigger.result()) for trigger in triggers]

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def ended(self):
        return {number for number, task in enumerate(self.tasks) if task.done()}


def error_in(payload):
    assert payload["status"] == "failed"
    return exceptions.PolyteiaError.from_dict(payload["error"])


@pytest.fixture
def platform(connected):
    platform = Platform(3)
    connected.respond(platform)
    return platform


@pytest.mark.parametrize("make", [by_slug, by_id])
@pytest.mark.parametrize("some_are_uploaded", [True, False])
def test_a_hundred_waits(connected, make, some_are_uploaded):
    """100 waits send at most three requests per interval, once those by id know their solution; each upload ends its
    own wait.
    """
    platform = Platform(120)
    if some_are_uploaded:
        platform.upload(110)
    connected.respond(platform)

    async def main():
        async with Waits(*(make(number) for number in range(100))) as waits:
            if make is by_id:
                await until(lambda: connected.calls.count("get_dataset") >= 100)
            await asyncio.sleep(1.5 * INTERVAL)
            connected.requests.clear()
            started = time.monotonic()
            await asyncio.sleep(5 * INTERVAL)
            per_interval = len(connected.requests) * INTERVAL / (time.monotonic() - started + INTERVAL)
            for number in (7, 70):
                platform.upload(number)
            await until(lambda: len(waits.ended) == 2)
            await asyncio.sleep(2 * INTERVAL)
            return per_interval, waits.ended

    per_interval, ended = asyncio.run(main())
    assert ended == {7, 70}
    assert 0 < per_interval <= 3


def test_first_interval_of_waits_by_slug(connected):
    """Waits by slug share their very first poll."""
    connected.respond(Platform(50))

    async def main():
        async with Waits(*(by_slug(number) for number in range(50))):
            await asyncio.sleep(1.2 * INTERVAL)

    asyncio.run(main())
    assert len(connected.requests) <= 6


def test_one_wait_queries_its_dataset(connected, platform):
    """A single wait, and two in a solution of many pages, query their datasets: a list would take more requests."""

    async def main(number):
        async with Waits(*(by_slug(number) for number in range(number))):
            await asyncio.sleep(3.5 * INTERVAL)
            connected.requests.clear()
            await asyncio.sleep(3 * INTERVAL)

    asyncio.run(main(1))
    assert set(connected.calls) == {"get_dataset"}
    connected.respond(Platform(250))
    asyncio.run(main(2))
    assert set(connected.calls) == {"get_dataset"}


def test_growing_intervals_are_not_shared(connected, platform):
    """Waits with exponential_backoff poll at their own times."""

    async def main():
        async with Waits(*(by_slug(number, exponential_backoff=True) for number in range(3))):
            await asyncio.sleep(2 * INTERVAL)

    asyncio.run(main())
    assert set(connected.calls) == {"get_dataset"}


def test_watchers_and_waits_share_a_list(connected, platform, monkeypatch):
    """A watcher of a solution and the waits in it cause one list per interval."""
    monkeypatch.setattr(poller, "JOINING_TIME", 0.01)
    platform.upload(2)

    async def main():
        watched = poller.DatasetPoller("polyteia_default", solution_id="sol_1", dataset_id=None, interval=INTERVAL)
        results = watched.results()
        async with Waits(by_slug(0), by_slug(1)):
            await anext(results)
            connected.requests.clear()
            started = time.monotonic()
            for _ in range(5):
                await anext(results)
            await results.aclose()
            return time.monotonic() - started

    seconds = asyncio.run(main())
    assert set(connected.calls) == {"list_datasets"}
    assert len(connected.calls) <= seconds / INTERVAL + 2


def test_rejected_key_ends_all_waits(connected, platform):
    """A list that is rejected with 401 is requested once, and ends all waits: the key is that of all."""
    platform.failing["list"] = status(401)

    async def main():
        async with Waits(*(by_slug(number) for number in range(3))) as waits:
            return await asyncio.gather(*waits.tasks)

    assert {type(error_in(payload)) for payload in asyncio.run(main())} == {exceptions.PolyteiaAuthenticationError}
    assert connected.calls == ["list_datasets"]


@pytest.mark.parametrize(
    "response",
    [status(400), status(403), status(404), status(500), DROP, status(200, b"<html>", content_type="text/html")],
)
def test_list_that_fails(connected, platform, response):
    """Whatever is wrong with the list, no wait fails whose own dataset can be queried."""
    platform.failing["list"] = response

    async def main():
        async with Waits(*(by_slug(number) for number in range(3))) as waits:
            await until(lambda: connected.calls.count("get_dataset") >= 6)
            platform.upload(1)
            await until(lambda: waits.ended)
            return waits.ended

    assert asyncio.run(main()) == {1}


def test_one_dataset_fails(connected, platform):
    """A dataset that is deleted ends its own wait with 404, and a dataset whose record fails ends its own as well."""
    platform.hides = {"ds_1", "ds_2"}
    platform.failing["ds_2"] = status(403)
    del platform.records["ds_1"]

    async def main():
        async with Waits(*(by_slug(number) for number in range(3))) as waits:
            await until(lambda: len(waits.ended) == 2)
            await asyncio.sleep(2 * INTERVAL)
            return waits.ended, [error_in(waits.tasks[number].result()) for number in (1, 2)]

    ended, errors = asyncio.run(main())
    assert ended == {1, 2}
    assert [type(error) for error in errors] == [exceptions.PolyteiaNotFoundError, exceptions.PolyteiaPermissionError]


def test_dataset_that_is_deleted_during_the_wait(platform):
    """A dataset that disappears from the list ends its wait, as if it had been queried."""

    async def main():
        async with Waits(*(by_slug(number) for number in range(3))) as waits:
            await asyncio.sleep(2.5 * INTERVAL)
            assert not waits.ended
            del platform.records["ds_1"]
            await until(lambda: waits.ended)
            return waits.ended, error_in(waits.tasks[1].result())

    ended, error = asyncio.run(main())
    assert ended == {1}
    assert type(error) is exceptions.PolyteiaNotFoundError


def test_waits_for_creation(connected, platform):
    """20 waits for datasets that do not exist query each once, then rely on the list and a few samples."""
    options = {"wait_for_creation": True}

    async def main():
        async with Waits(*(by_slug(number, **options) for number in range(3, 23))) as waits:
            await until(lambda: connected.calls.count("get_dataset") >= 20)
            await asyncio.sleep(2 * INTERVAL)
            connected.requests.clear()
            await asyncio.sleep(4 * INTERVAL)
            requests = len(connected.requests)
            platform.records |= Platform(6).records
            platform.upload(5)
            await until(lambda: waits.ended)
            return requests, waits.ended

    requests, ended = asyncio.run(main())
    assert requests <= 6 * 3
    assert ended == {2}


def test_created_dataset_that_the_list_lacks(platform):
    """A dataset that is created but not listed is found by a sample."""
    platform.upload(0)

    async def main():
        async with Waits(by_slug(0, uploaded_after=AT), by_slug(3, wait_for_creation=True)) as waits:
            await asyncio.sleep(2.5 * INTERVAL)
            platform.records |= {"ds_3": Platform(4).records["ds_3"]}
            platform.hides = {"ds_3"}
            platform.upload(3)
            await until(lambda: waits.ended)
            return waits.ended

    assert asyncio.run(main()) == {1}


@pytest.mark.parametrize("number", [2, 3, 10])
def test_list_that_hides_uploads(platform, connected, number):
    """An upload that the list does not show is found by a sample; from then on each dataset is queried by itself."""
    platform.records |= Platform(number).records
    platform.bare = True

    async def main():
        async with Waits(*(by_slug(one) for one in range(number))) as waits:
            await asyncio.sleep(2.5 * INTERVAL)
            platform.upload(number - 1)
            await until(lambda: waits.ended)
            connected.requests.clear()
            platform.upload(0)
            await until(lambda: len(waits.ended) == 2)
            return waits.ended

    assert asyncio.run(main()) == {0, number - 1}
    assert "list_datasets" not in connected.calls


def test_list_that_hides_an_upload_until_the_deadline(platform):
    """The last poll before the deadline sees what the list hides."""
    platform.records |= Platform(30).records
    platform.bare = True
    # Half an interval is left for the last poll, which is enough for 30 requests on a busy machine.
    options = {"poke_interval": 4.0, "deadline": (datetime.now(UTC) + timedelta(seconds=8.4)).isoformat()}

    async def main():
        async with Waits(*(by_slug(one, **options) for one in range(30))) as waits:
            await asyncio.sleep(4.4)
            platform.upload(29)
            return await asyncio.gather(*waits.tasks)

    statuses = [payload["status"] for payload in asyncio.run(main())]
    assert statuses[29] == "uploaded"
    assert statuses[:29].count("timed out") == 29


def test_listed_record_that_cannot_be_read(platform):
    """A listed record with a malformed upload is queried by itself before it ends a wait."""
    original = platform._list

    def damaged(params):
        platform.upload(1, "no time")
        try:
            return original(params)
        finally:
            platform.upload(1)

    platform._list = damaged

    async def main():
        async with Waits(*(by_slug(number) for number in range(3))) as waits:
            await until(lambda: waits.ended)
            return waits.ended, waits.tasks[1].result()

    ended, payload = asyncio.run(main())
    assert ended == {1}
    assert payload["status"] == "uploaded"


def test_cancelled_wait_does_not_cancel_the_list(connected, platform):
    """If the wait that requested the list is cancelled, the others receive it."""
    released = threading.Event()

    def respond(request):
        if request.call == "list_datasets":
            released.wait(5)
        return platform(request)

    platform.upload(1)
    connected.respond(respond)

    async def main():
        async with Waits(*(by_slug(number, uploaded_after=None) for number in range(3))) as waits:
            await until(lambda: connected.calls == ["list_datasets"])
            waits.tasks[0].cancel()
            await asyncio.sleep(0.01)
            released.set()
            await until(lambda: 1 in waits.ended)
            return waits.ended

    assert asyncio.run(main()) == {0, 1}


@pytest.mark.parametrize("number", [1, 3])
def test_deadline_ends_a_request(connected, number):
    """A wait whose request hangs, its own or a shared one, ends at its deadline."""
    released = threading.Event()
    connected.respond(lambda _: released.wait(20) and data({}))
    deadline = datetime.now(UTC) + timedelta(seconds=1.5)

    async def main():
        async with Waits(*(by_slug(one, deadline=deadline.isoformat()) for one in range(number))) as waits:
            payloads = await asyncio.gather(*waits.tasks)
            return payloads, (datetime.now(UTC) - deadline).total_seconds()

    payloads, late = asyncio.run(main())
    released.set()
    assert payloads == [{"status": "timed out"}] * number
    assert 0 <= late < 0.3


def test_late_trigger_polls_once(connected, platform):
    """A wait that starts after its deadline, because no triggerer ran, polls once before it gives up."""
    platform.upload(1)
    deadline = (datetime.now(UTC) - timedelta(hours=1)).isoformat()

    async def main():
        return await asyncio.gather(*(by_slug(number, deadline=deadline).result() for number in (0, 1)))

    assert [payload["status"] for payload in asyncio.run(main())] == ["timed out", "uploaded"]


@pytest.mark.parametrize("number", [1, 3])
def test_request_that_hangs_is_sent_again(connected, platform, monkeypatch, number):
    """While a request receives no response, it is sent again after an interval, and the wait continues."""
    monkeypatch.setattr(shared_client, "MIN_HEDGING_DELAY", INTERVAL)
    released = threading.Event()
    platform.upload(0)
    first = iter([True])

    def respond(request):
        if next(first, False):
            released.wait(20)
        return platform(request)

    connected.respond(respond)

    async def main():
        started = time.monotonic()
        async with Waits(*(by_slug(one) for one in range(number))) as waits:
            await until(lambda: 0 in waits.ended)
            return time.monotonic() - started

    seconds = asyncio.run(main())
    released.set()
    assert seconds < 3 * INTERVAL + 0.5


def test_nothing_is_left(platform):
    """When the last wait of a solution ends, its poll is forgotten."""
    platform.upload(0)
    platform.upload(1)

    async def main():
        await asyncio.gather(by_slug(0).result(), by_slug(1).result())
        return [polls for polls in solution_poll._polls.values() if polls]

    assert asyncio.run(main()) == []
