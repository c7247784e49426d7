"""What is repeated, how often, and after how long. The clock is ours; nothing really waits."""

from __future__ import annotations

import itertools
import logging
import random
import signal
import time

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from calls import send
from servers import DROP, KEY, Reply, body_error, data, status

from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
    PolyteiaTransportError,
)

QUERY = make_call("query", "get_dataset", {"id": "ds_1"})
REPEATABLE = make_call("command", "update_dataset", {"id": "ds_1"})
WRITE = make_call("command", "create_tag", {"name": "x"})
HTML = Reply(200, b"<html></html>", content_type="text/html")
GARBAGE = Reply(200, b'{"data":')


@pytest.mark.parametrize("call", [QUERY, REPEATABLE])
@pytest.mark.parametrize(
    "trouble", [DROP, HTML, GARBAGE, status(500), status(502), status(503), status(504), status(408), body_error(500)]
)
def test_harmless_calls_are_repeated(server, client, call, trouble):
    """A query or repeatable write that got no usable answer is repeated, and succeeds."""
    server.answer(trouble, data("fine"))
    assert send(client, call).data == "fine"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "trouble", [DROP, HTML, GARBAGE, status(500), status(502), status(503, retry_after="1"), status(504), status(408)]
)
def test_doubtful_writes_are_not_repeated(server, client, fake_time, trouble):
    """A write that may have been carried out is sent once, and ends in OutcomeUnknown without a wait."""
    server.answer(trouble, data("second"))
    with pytest.raises(PolyteiaOutcomeUnknownError, match="must not be sent twice") as caught:
        send(client, WRITE)
    assert (len(server.requests), fake_time.slept) == (1, 0)
    assert isinstance(caught.value.__cause__, PolyteiaError)


@pytest.mark.parametrize("location", ["http://[", "\xff"])
def test_redirect_of_a_write(server, client, location):
    """A redirect proves nothing about a write; where it leads, even to nowhere, is not looked at."""
    server.answer(status(302, b"", location=location))
    with pytest.raises(PolyteiaOutcomeUnknownError, match="a redirect"):
        send(client, WRITE)
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b'{"error": "internal error"}', b'{"error": {"code": "ERR"}}'])
def test_error_without_a_code_of_a_write(server, client, body):
    """An error inside HTTP 200 that does not say that the request was wrong leaves the outcome unknown."""
    server.answer(status(200, body))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        send(client, WRITE)
    assert len(server.requests) == 1


def test_killed_task_sends_nothing_more(server, client):
    """After a kill no further request is sent, not even a first one."""
    client.cancel()
    with pytest.raises(PolyteiaError, match="killed before it sent"):
        send(client, WRITE)
    assert server.requests == []


def test_reported_error_of_a_write(server, client):
    """An internal error that the platform reports for a write leaves its outcome unknown too."""
    server.answer(body_error(500))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        send(client, WRITE)
    assert len(server.requests) == 1


@pytest.mark.parametrize("call", [QUERY, REPEATABLE, WRITE])
@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (status(400), PolyteiaBadRequestError),
        (status(401), PolyteiaAuthenticationError),
        (status(403), PolyteiaPermissionError),
        (status(404), PolyteiaNotFoundError),
        (status(409), PolyteiaConflictError),
        (body_error(400), PolyteiaBadRequestError),
        (body_error(401), PolyteiaAuthenticationError),
        (body_error(403), PolyteiaPermissionError),
        (body_error(404), PolyteiaNotFoundError),
    ],
)
def test_refusals_are_final(server, client, fake_time, call, refusal, expected):
    """What the platform refuses is never repeated, and there is no wait."""
    server.answer(refusal)
    with pytest.raises(expected):
        send(client, call)
    assert (len(server.requests), fake_time.slept) == (1, 0)


@pytest.mark.parametrize("call", [QUERY, REPEATABLE, WRITE])
@pytest.mark.parametrize("trouble", [status(429, retry_after="7"), body_error(429, **{"Retry-After": "7"})])
def test_told_to_wait(server, client, fake_time, call, trouble):
    """429 is waited for to the second, and repeated, even for a write."""
    server.answer(trouble, data("fine"))
    assert send(client, call).data == "fine"
    assert fake_time.slept == pytest.approx(7)


def test_retry_after_as_a_date(server, client, fake_time):
    """Retry-After as an HTTP date counts from the server's own Date."""
    later, now = "Tue, 24 Nov 2026 10:00:09 GMT", "Tue, 24 Nov 2026 10:00:00 GMT"
    # The server's own Date comes first, so the script's is a second header; HTTP joins them with a comma.
    server.answer(lambda _: status(429, retry_after=later), data("fine"))
    server._http.RequestHandlerClass.date_time_string = lambda *_: now
    send(client, QUERY)
    assert fake_time.slept == pytest.approx(9)


def test_503_with_retry_after(server, client, fake_time):
    """A query waits as a 503 tells it to."""
    server.answer(status(503, retry_after="7"), data("fine"))
    send(client, QUERY)
    assert fake_time.slept == pytest.approx(7)


def test_long_retry_after_is_capped(server, make_client, fake_time):
    """No single wait is longer than max_wait, whatever the server says."""
    server.answer(status(429, retry_after="100000"), data("fine"))
    send(make_client(max_wait=20), QUERY)
    assert fake_time.slept == pytest.approx(20)


def test_always_429(server, make_client, fake_time):
    """A server that always says 429 ends within the total cap, and the error says how much was tried."""
    server.answer(status(429, retry_after="30"))
    with pytest.raises(PolyteiaRateLimitError, match=r"Gave up after 4 attempt\(s\) in 90.0 s.*max_elapsed=100 s"):
        send(make_client(max_attempts=50, max_elapsed=100), QUERY)
    assert (len(server.requests), fake_time.slept) == (4, pytest.approx(90))


def test_backoff_is_exponential_and_capped(server, make_client, fake_time):
    """Without jitter, waits double from one second up to max_wait."""
    waits = []
    server.answer(lambda _: (waits.append(fake_time.slept), status(502))[1])
    with pytest.raises(PolyteiaServerError):
        send(make_client(max_attempts=7, max_wait=10), QUERY)
    steps = [round(after - before) for before, after in itertools.pairwise(waits)]
    assert steps == [1, 2, 4, 8, 10, 10]


def test_jitter_is_full(server, make_client, fake_time):
    """With jitter, a wait is anything between nothing and the exponential ceiling."""
    randomness = random.Random(1)
    totals = []
    for _ in range(200):
        server.answer(status(502), data("fine"))
        before = fake_time.slept
        send(make_client(jitter=randomness.random), QUERY)
        totals.append(fake_time.slept - before)
    assert min(totals) < 0.05
    assert max(totals) > 0.95
    assert max(totals) <= 1


def test_attempts_are_limited(server, make_client):
    """No more than max_attempts requests are sent."""
    server.answer(DROP)
    with pytest.raises(PolyteiaTransportError, match=r"after 3 attempt\(s\)"):
        send(make_client(max_attempts=3), QUERY)
    assert len(server.requests) == 3


def test_reported_errors_are_repeated_twice(server, client):
    """An internal error inside HTTP 200 is no network trouble: a query is sent three times at the most."""
    server.answer(body_error(500))
    with pytest.raises(PolyteiaServerError):
        send(client, QUERY)
    assert len(server.requests) == 3


def test_reported_errors_are_counted_by_themselves(server, client):
    """What the network did before does not count against the errors that the platform itself reports."""
    server.answer(status(502), status(502), body_error(500), data("fine"))
    assert send(client, QUERY).data == "fine"
    server.answer(status(502), body_error(500))
    with pytest.raises(PolyteiaServerError, match=r"Gave up after 4 attempt\(s\).*max_server_errors=3"):
        send(client, QUERY)


def test_deadline_of_the_whole_call(server, make_client, fake_time):
    """No attempt begins after max_elapsed, however many attempts are left."""
    server.answer(lambda _: (fake_time.sleep(40), status(502))[1])
    with pytest.raises(PolyteiaServerError, match="max_elapsed=100 s"):
        send(make_client(max_attempts=50, max_elapsed=100), QUERY)
    assert len(server.requests) == 3


@pytest.mark.parametrize("gone", [status(404), body_error(404)])
def test_repeated_delete_that_finds_nothing_is_done(server, client, gone):
    """A delete whose answer was lost, repeated and answered 404, has done its work."""
    server.answer(DROP, gone)
    assert send(client, make_call("command", "delete_dataset", {"id": "ds_1"})).data is None
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b'{"message":"no Route matched with those values"}', b"{}", b'{"error": null}'])
def test_404_of_a_gateway_in_json(server, client, body):
    """A 404 in JSON, but not in the platform's form, does not prove that a lost delete has done its work."""
    server.answer(DROP, status(404, body))
    with pytest.raises(PolyteiaNotFoundError) as caught:
        send(client, make_call("command", "delete_dataset", {"id": "ds_1"}))
    assert caught.value.from_gateway


def test_404_of_a_gateway_proves_nothing(server, client):
    """A proxy without a backend answers 404 too: not in the platform's form, so the delete is not called done."""
    server.answer(status(502), status(404, b"404 page not found", content_type="text/plain"))
    with pytest.raises(PolyteiaNotFoundError):
        send(client, make_call("command", "delete_dataset", {"id": "ds_1"}))


def test_repeated_add_that_finds_it_there_is_done(server, client):
    """An add whose answer was lost, repeated and answered 409, has done its work."""
    server.answer(DROP, body_error(409))
    assert (
        send(client, make_call("command", "add_tag_to_resource", {"tag_id": "t", "resource_id": "ds_1"})).data is None
    )


@pytest.mark.parametrize("first", [None, status(429, retry_after="1")])
def test_first_404_of_a_delete_is_an_error(server, client, first):
    """A delete that finds nothing is an error, if no earlier attempt may have done it."""
    server.answer(*([first] if first else []), status(404))
    with pytest.raises(PolyteiaNotFoundError):
        send(client, make_call("command", "delete_dataset", {"id": "ds_1"}))


def test_caller_may_declare_a_command_harmless(server, client):
    """idempotent=True lets an unknown command be repeated."""
    server.answer(DROP, data("fine"))
    assert send(client, make_call("command", "recompute", {}, idempotent=True)).data == "fine"


def test_repeats_are_logged(server, client, caplog):
    """Each repeat is a warning with method, attempt, reason and wait; the key is in no record."""
    server.answer(status(502, f"echo {KEY}".encode(), content_type="text/plain"), data("fine"))
    with caplog.at_level(logging.DEBUG):
        send(client, QUERY)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "Attempt 1 of 5 failed, next one in 1.0 s" in warning
    assert "'get_dataset'" in warning
    assert "HTTP 502" in warning
    assert KEY not in caplog.text


def test_timeout_of_the_task_ends_the_wait(server, make_client):
    """Airflow's execution_timeout, an exception out of a signal handler, ends a wait at once."""

    def expire(*_):
        raise AirflowTaskTimeout("Timeout")

    server.answer(status(429, retry_after="60"))
    config = make_client().config
    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    begun = time.monotonic()
    try:
        with PolyteiaClient(config) as client, pytest.raises(AirflowTaskTimeout):
            send(client, QUERY)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begun < 5
    assert len(server.requests) == 1


def test_cancel_ends_the_wait(server, make_client, fake_time):
    """A killed task begins no further attempt, and its wait ends with the next nap."""
    client = make_client()
    server.answer(lambda _: (client.cancel(), status(429, retry_after="60"))[1])
    with pytest.raises(PolyteiaError, match="killed while it waited"):
        send(client, QUERY)
    assert (len(server.requests), fake_time.slept) == (1, 0)
