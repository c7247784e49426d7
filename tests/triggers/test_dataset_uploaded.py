"""The trigger of a deferred sensor yields exactly one event, whatever happens."""

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
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger

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
        assert dict(shared_client._clients[asyncio.get_running_loop()]) == {}
        return found

    return asyncio.run(main())


def error_in(payload):
    assert payload["status"] == "failed"
    return exceptions.PolyteiaError.from_dict(payload["error"])


def soon(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_upload_exists(connected):
    """One poll yields one event with the upload's summary, and the client is closed."""
    connected.respond(data(RECORD))
    assert events(make()) == [{"status": "uploaded", "dataset": SUMMARY}]
    assert connected.requests[0].json == {"query": "get_dataset", "params": {"id": "ds_1"}}


def test_lookup_by_solution_and_slug(connected):
    """A dataset may be identified by its solution and slug."""
    connected.respond(data(RECORD))
    events(make(dataset_id=None, solution_id="sol_1", slug="bookings"))
    assert connected.requests[0].json["params"] == {"solution_id": "sol_1", "slug": "bookings"}


def test_waits_for_a_later_and_bigger_upload(connected):
    """A missing upload, one that is too old and one that is too small do not end the wait; a matching one does."""
    old = {**INFO, "uploaded_at": "2026-02-28T23:00:00Z"}
    small = {**INFO, "size": 10}
    infos = [None, old, small, INFO]
    connected.respond(*(data({**RECORD, "metadata": info and {"asset_info": info}}) for info in infos))
    payloads = events(make(uploaded_after="2026-03-01T00:00:00+00:00", min_size=11))
    assert payloads == [{"status": "uploaded", "dataset": SUMMARY}]
    assert len(connected.requests) == 4


def test_the_same_time_is_not_later(connected):
    """An upload at exactly `uploaded_after` does not match."""
    connected.respond(data(RECORD))
    assert events(make(uploaded_after=AT, deadline=soon(0.05))) == [{"status": "timed out"}]


def test_deadline(connected):
    """After the deadline there is one last poll and then one event; polls are one interval apart."""
    connected.respond(data(EMPTY))
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
def test_final_errors_end_the_wait_immediately(connected, reply, kind):
    """There is a single request, and the event contains the error with its type and attributes."""
    connected.respond(reply)
    (payload,) = events(make())
    error = error_in(payload)
    assert type(error) is kind
    assert error.method == "get_dataset"
    assert error.http_status == reply.status
    assert error.conn_id == "polyteia_default"
    assert len(connected.requests) == 1


TRANSIENT = [DROP, status(503, b"down", content_type="text/plain"), body_error(500), Reply(body=b"{"), status(429)]


def test_transient_errors_are_retried(connected):
    """Five different transient errors in a row are retried within a single poll."""
    connected.respond(*TRANSIENT, data(RECORD))
    assert events(make(max_attempts=10)) == [{"status": "uploaded", "dataset": SUMMARY}]
    assert len(connected.requests) == 6


@pytest.mark.parametrize("reply", TRANSIENT)
def test_persistent_errors_end_the_wait(connected, reply):
    """A transient error that persists ends the wait after `max_attempts` requests."""
    connected.respond(reply)
    (payload,) = events(make(max_attempts=4))
    assert isinstance(error_in(payload), exceptions.PolyteiaError)
    assert len(connected.requests) == 4


def test_not_created_yet(connected):
    """With `wait_for_creation`, the wait continues while the dataset does not exist."""
    connected.respond(status(404), body_error(404), data(EMPTY), data(RECORD))
    assert events(make(wait_for_creation=True)) == [{"status": "uploaded", "dataset": SUMMARY}]


def test_silent_fail_continues(connected):
    """With `silent_fail`, the wait continues after errors that do not fail a task immediately."""
    connected.respond(status(404), status(503), status(503), data(RECORD))
    assert events(make(silent_fail=True, max_attempts=1)) == [{"status": "uploaded", "dataset": SUMMARY}]
    assert len(connected.requests) == 4


def test_silent_fail_does_not_hide_a_rejected_key(connected):
    """Even with `silent_fail`, a 401 ends the wait."""
    connected.respond(status(401))
    (payload,) = events(make(silent_fail=True))
    assert type(error_in(payload)) is exceptions.PolyteiaAuthenticationError


def test_invalid_timestamp(connected):
    """A record with an invalid upload timestamp is an error; the wait does not continue."""
    connected.respond(data({**RECORD, "metadata": {"asset_info": {"uploaded_at": "yesterday"}}}))
    (payload,) = events(make())
    assert type(error_in(payload)) is exceptions.PolyteiaProtocolError
    assert "'yesterday'" in payload["error"]["text"]


def test_missing_connection_is_an_event():
    """A missing connection does not raise in the triggerer."""
    (payload,) = events(make(polyteia_conn_id="nowhere"))
    assert type(error_in(payload)) is exceptions.PolyteiaConfigurationError


def test_unexpected_error_is_an_event(connected, monkeypatch):
    """An exception of any other type does not raise in the triggerer either."""

    async def fail(_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(shared_client, "get_async_connection", fail)
    (payload,) = events(make())
    assert str(error_in(payload)) == "RuntimeError: out of order"


def test_payload_is_plain_json(connected):
    """The payload, which is stored in the database, is JSON even for an error with all its attributes."""
    connected.respond(status(429, Retry_After="0"))
    (payload,) = events(make(max_attempts=1))
    assert error_in(json.loads(json.dumps(payload))).retry_after == 0.0


def test_no_key_in_event_or_serialized_trigger(connected):
    """A key that the platform includes in its error does not appear in the event."""
    connected.respond(lambda request: status(400, request.headers["authorization"].encode()))
    (payload,) = events(make())
    secret = connected.requests[0].headers["authorization"].split()[1]
    assert secret not in str(payload)
    assert secret not in str(make().serialize())


def delay(polls, *, now=1003.0, **options):
    return make(**options).wait.next_delay(polls, offset=0.25, now=now)


def test_intervals_of_the_same_length():
    """Polls occur at the same offset in each interval, regardless of when the previous one ended."""
    assert [delay(polls, poke_interval=4.0) for polls in (0, 1, 9)] == [2.0, 2.0, 2.0]
    assert delay(1, now=1001.5, poke_interval=4.0) == 3.5
    assert delay(1, now=1001.5, poke_interval=0) <= 0.01


def test_intervals_that_grow():
    """Intervals double, with jitter, up to `max_wait`, and do not exceed the deadline."""
    growing = {"poke_interval": 4.0, "exponential_backoff": True, "max_wait": 20.0}
    assert delay(0, **growing) == 2.0
    bounds = [(2, 4), (4, 8), (8, 16), (16, 20), (20, 20)]
    for polls, (low, high) in enumerate(bounds, start=1):
        assert low <= delay(polls, **growing) <= high
    assert delay(5, poke_interval=100.0, exponential_backoff=True, deadline=soon(1)) <= 1


def test_polls_are_spread_evenly(connected):
    """Waits that begin together poll one after the other, at roughly equal distances."""
    at = []
    connected.respond(lambda _: at.append(time.monotonic()) or data(EMPTY))
    interval, number = 1.0, 20

    async def main():
        waits = [asyncio.create_task(make(poke_interval=interval).result()) for _ in range(number)]
        await asyncio.sleep(interval + 0.2)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return all(wait.cancelled() for wait in waits)

    assert asyncio.run(main())
    assert len(at) >= number
    distances = [later - earlier for earlier, later in pairwise(at[:number])]
    assert max(distances) < 5 * interval / number
