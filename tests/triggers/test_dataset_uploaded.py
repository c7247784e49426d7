"""The trigger that waits for a deferred sensor: one event, whatever happens."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from servers import DROP, Reply, body_error, data, status

from airflow_provider_polyteia import exceptions
from airflow_provider_polyteia.triggers import shared_client
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger, rebuild_error

AT = "2026-03-01T06:04:58.512000Z"
INFO = {"uploaded_at": AT, "size": 18234, "content_type": "text/csv"}
RECORD = {"id": "ds_1", "slug": "bookings", "metadata": {"asset_info": INFO}}
EMPTY = {"id": "ds_1", "slug": "bookings"}
SUMMARY = {"id": "ds_1", "slug": "bookings", **INFO}


def make(**options):
    return DatasetUploadedTrigger(
        **{"polyteia_conn_id": "polyteia_default", "dataset_id": "ds_1", "poke_interval": 0.01, **options}
    )


def events(trigger):
    async def main():
        found = [event.payload async for event in trigger.run()]
        assert dict(shared._clients[asyncio.get_running_loop()]) == {}
        return found

    return asyncio.run(main())


def error_in(payload):
    assert payload["status"] == "failed"
    return rebuild_error(payload["error"])


def soon(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_upload_is_there(connected):
    """One look, one event with the upload's summary, and the client is closed."""
    connected.answer(data(RECORD))
    assert events(make()) == [{"status": "uploaded", "dataset": SUMMARY}]
    assert connected.requests[0].json == {"query": "get_dataset", "params": {"id": "ds_1"}}


def test_found_by_solution_and_slug(connected):
    """A dataset may be named by solution and slug."""
    connected.answer(data(RECORD))
    events(make(dataset_id=None, solution_id="sol_1", slug="bookings"))
    assert connected.requests[0].json["params"] == {"solution_id": "sol_1", "slug": "bookings"}


def test_waits_for_a_later_and_bigger_upload(connected):
    """No upload, one too old, one too small: not yet; then comes the one that is waited for."""
    old = {**INFO, "uploaded_at": "2026-02-28T23:00:00Z"}
    small = {**INFO, "size": 10}
    infos = [None, old, small, INFO]
    connected.answer(*(data({**RECORD, "metadata": info and {"asset_info": info}}) for info in infos))
    payloads = events(make(uploaded_after="2026-03-01T00:00:00+00:00", min_size=11))
    assert payloads == [{"status": "uploaded", "dataset": SUMMARY}]
    assert len(connected.requests) == 4


def test_the_same_moment_is_not_later(connected):
    """An upload at exactly `uploaded_after` is not waited for."""
    connected.answer(data(RECORD))
    assert events(make(uploaded_after=AT, deadline=soon(0.05))) == [{"status": "timed out"}]


def test_deadline(connected):
    """After the deadline there is one more look and then one event; the interval lies between looks."""
    connected.answer(data(EMPTY))
    assert events(make(poke_interval=0.1, deadline=soon(0.25))) == [{"status": "timed out"}]
    assert 2 <= len(connected.requests) <= 5


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (status(401), exceptions.PolyteiaAuthenticationError),
        (body_error(403), exceptions.PolyteiaPermissionError),
        (status(404), exceptions.PolyteiaNotFoundError),
        (status(400), exceptions.PolyteiaBadRequestError),
        (status(302, Location="/x"), exceptions.PolyteiaProtocolError),
    ],
)
def test_final_errors_end_it_at_once(connected, reply, kind):
    """One look, no repeat, and the event carries the error with its type and attributes."""
    connected.answer(reply)
    (payload,) = events(make())
    error = error_in(payload)
    assert type(error) is kind
    assert error.method == "get_dataset"
    assert error.http_status == reply.status
    assert error.conn_id == "polyteia_default"
    assert len(connected.requests) == 1


PASSING = [DROP, status(503, b"down", content_type="text/plain"), body_error(500), Reply(body=b"{"), status(429)]


def test_passing_errors_are_outlasted(connected):
    """Five different errors in a row, none of which is final: one look, then the upload."""
    connected.answer(*PASSING, data(RECORD))
    assert events(make(max_attempts=10)) == [{"status": "uploaded", "dataset": SUMMARY}]
    assert len(connected.requests) == 6


@pytest.mark.parametrize("reply", PASSING)
def test_passing_errors_come_to_an_end(connected, reply):
    """The same error again and again ends the wait after `max_attempts` requests."""
    connected.answer(reply)
    (payload,) = events(make(max_attempts=4))
    assert isinstance(error_in(payload), exceptions.PolyteiaError)
    assert len(connected.requests) == 4


def test_not_created_yet(connected):
    """With `wait_for_creation` a missing dataset is 'not yet'."""
    connected.answer(status(404), body_error(404), data(EMPTY), data(RECORD))
    assert events(make(wait_for_creation=True)) == [{"status": "uploaded", "dataset": SUMMARY}]


def test_silent_fail_goes_on(connected):
    """With `silent_fail` errors that don't fail a task at once are 'not yet', with a pause after each."""
    connected.answer(status(404), status(503), status(503), data(RECORD))
    assert events(make(silent_fail=True, max_attempts=1)) == [{"status": "uploaded", "dataset": SUMMARY}]
    assert len(connected.requests) == 4


def test_silent_fail_does_not_hide_a_refused_key(connected):
    """With `silent_fail` a 401 ends the wait all the same."""
    connected.answer(status(401))
    (payload,) = events(make(silent_fail=True))
    assert type(error_in(payload)) is exceptions.PolyteiaAuthenticationError


def test_timestamp_that_is_none(connected):
    """A record with an upload time that is no time is an error, not 'not yet'."""
    connected.answer(data({**RECORD, "metadata": {"asset_info": {"uploaded_at": "yesterday"}}}))
    (payload,) = events(make())
    assert type(error_in(payload)) is exceptions.PolyteiaProtocolError
    assert "'yesterday'" in payload["error"]["text"]


def test_missing_connection_is_an_event():
    """A connection that is not there does not raise in the triggerer."""
    (payload,) = events(make(polyteia_conn_id="nowhere"))
    assert type(error_in(payload)) is exceptions.PolyteiaConfigurationError


def test_unforeseen_error_is_an_event(connected, monkeypatch):
    """Even an error of a kind that nobody thought of does not raise in the triggerer."""

    async def fail(_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(shared, "get_async_connection", fail)
    (payload,) = events(make())
    assert str(error_in(payload)) == "RuntimeError: out of order"


def test_payload_is_plain_json(connected):
    """What goes through the database is JSON, also for an error with all its attributes."""
    connected.answer(status(429, Retry_After="0"))
    (payload,) = events(make(max_attempts=1))
    assert error_in(json.loads(json.dumps(payload))).retry_after == 0.0


def test_no_key_in_event_or_serialized_trigger(connected):
    """A platform that repeats the key in its error does not get it into the event."""
    connected.answer(lambda request: status(400, request.headers["authorization"].encode()))
    (payload,) = events(make())
    secret = connected.requests[0].headers["authorization"].split()[1]
    assert secret not in str(payload)
    assert secret not in str(make().serialize())


def pause(looks, **options):
    return make(**options)._pause(looks, 0.25, 1003.0)


def test_intervals_of_the_same_length():
    """Looks come at the same part of each interval, whenever the last one was over."""
    assert [pause(looks, poke_interval=4.0) for looks in (0, 1, 9)] == [2.0, 2.0, 2.0]
    assert make(poke_interval=4.0)._pause(1, 0.25, 1001.5) == 3.5
    assert make(poke_interval=0)._pause(1, 0.25, 1001.5) <= 0.01


def test_intervals_that_grow():
    """They double with jitter up to `max_wait`, and don't go beyond the deadline."""
    growing = {"poke_interval": 4.0, "exponential_backoff": True, "max_wait": 20.0}
    assert pause(0, **growing) == 2.0
    bounds = [(2, 4), (4, 8), (8, 16), (16, 20), (20, 20)]
    for looks, (low, high) in enumerate(bounds, start=1):
        assert low <= pause(looks, **growing) <= high
    assert pause(5, poke_interval=100.0, exponential_backoff=True, deadline=soon(1)) <= 1


def test_looks_are_spread_evenly(connected):
    """Waits that begin together look one after the other, at about the same distance."""
    at = []
    connected.answer(lambda _: at.append(time.monotonic()) or data(EMPTY))
    interval, number = 1.0, 20

    async def main():
        waits = [asyncio.create_task(make(poke_interval=interval).outcome()) for _ in range(number)]
        await asyncio.sleep(interval + 0.2)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return all(wait.cancelled() for wait in waits)

    assert asyncio.run(main())
    assert len(at) >= number
    distances = [later - earlier for earlier, later in pairwise(at[:number])]
    assert max(distances) < 5 * interval / number
