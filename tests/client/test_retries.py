"""Which failures are retried, how often, and after what delay, on a clock that needs no real waiting."""

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
IDEMPOTENT = make_call("command", "update_dataset", {"id": "ds_1"})
WRITE = make_call("command", "create_tag", {"name": "x"})
HTML = Reply(200, b"<html></html>", content_type="text/html")
GARBAGE = Reply(200, b'{"data":')


@pytest.mark.parametrize("call", [QUERY, IDEMPOTENT])
@pytest.mark.parametrize(
    "failure", [DROP, HTML, GARBAGE, status(500), status(502), status(503), status(504), status(408), body_error(500)]
)
def test_idempotent_calls_are_retried(server, client, call, failure):
    """A query or idempotent write without a usable response is retried, and succeeds."""
    server.respond(failure, data("fine"))
    assert send(client, call).data == "fine"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "failure", [DROP, HTML, GARBAGE, status(500), status(502), status(503, retry_after="1"), status(504), status(408)]
)
def test_writes_with_an_unknown_outcome_are_not_retried(server, client, fake_time, failure):
    """A write that may have been applied is sent once, and raises OutcomeUnknown without a delay."""
    server.respond(failure, data("second"))
    with pytest.raises(PolyteiaOutcomeUnknownError, match="not idempotent, it was not retried"):
        send(client, WRITE)
    assert (len(server.requests), fake_time.slept) == (1, 0)


@pytest.mark.parametrize("location", ["http://[", "\xff"])
def test_redirect_of_a_write(server, client, location):
    """A redirect leaves the outcome of a write unknown; its target is not read, even if it is malformed."""
    server.respond(status(302, b"", location=location))
    with pytest.raises(PolyteiaOutcomeUnknownError, match="a redirect"):
        send(client, WRITE)
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b'{"error": "internal error"}', b'{"error": {"code": "ERR"}}'])
def test_error_without_a_code_of_a_write(server, client, body):
    """An error inside HTTP 200 without a 4xx code leaves the outcome of a write unknown."""
    server.respond(status(200, body))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        send(client, WRITE)
    assert len(server.requests) == 1


def test_killed_task_sends_nothing_more(server, client):
    """A killed task sends no request, not even a first one."""
    client.cancel()
    with pytest.raises(PolyteiaError, match="killed before it sent"):
        send(client, WRITE)
    assert server.requests == []


def test_server_error_of_a_write(server, client):
    """An internal error inside HTTP 200 leaves the outcome of a write unknown as well."""
    server.respond(body_error(500))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        send(client, WRITE)
    assert len(server.requests) == 1


@pytest.mark.parametrize("call", [QUERY, IDEMPOTENT, WRITE])
@pytest.mark.parametrize(
    ("rejection", "expected"),
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
def test_rejections_are_final(server, client, fake_time, call, rejection, expected):
    """A request that the platform rejects is not retried, and there is no delay."""
    server.respond(rejection)
    with pytest.raises(expected):
        send(client, call)
    assert (len(server.requests), fake_time.slept) == (1, 0)


@pytest.mark.parametrize("call", [QUERY, IDEMPOTENT, WRITE])
@pytest.mark.parametrize("failure", [status(429, retry_after="7"), body_error(429, **{"Retry-After": "7"})])
def test_rate_limit(server, client, fake_time, call, failure):
    """After HTTP 429 every call, even a write, is retried after exactly the requested delay."""
    server.respond(failure, data("fine"))
    assert send(client, call).data == "fine"
    assert fake_time.slept == pytest.approx(7)


def test_retry_after_as_a_date(server, client, fake_time):
    """Retry-After as an HTTP date is relative to the server's own Date."""
    later, now = "Tue, 24 Nov 2026 10:00:09 GMT", "Tue, 24 Nov 2026 10:00:00 GMT"
    # The server adds its own Date, so that one is replaced: a second header would be joined to it with a comma.
    server.respond(lambda _: status(429, retry_after=later), data("fine"))
    server._http.RequestHandlerClass.date_time_string = lambda *_: now
    send(client, QUERY)
    assert fake_time.slept == pytest.approx(9)


def test_503_with_retry_after(server, client, fake_time):
    """A query is retried after the delay that HTTP 503 requests."""
    server.respond(status(503, retry_after="7"), data("fine"))
    send(client, QUERY)
    assert fake_time.slept == pytest.approx(7)


def test_long_retry_after_is_capped(server, make_client, fake_time):
    """No delay is longer than max_wait, whatever the server requests."""
    server.respond(status(429, retry_after="100000"), data("fine"))
    send(make_client(max_wait=20), QUERY)
    assert fake_time.slept == pytest.approx(20)


def test_always_429(server, make_client, fake_time):
    """If the server always responds with 429, retries end within max_elapsed, and the exception states the attempts."""
    server.respond(status(429, retry_after="30"))
    with pytest.raises(PolyteiaRateLimitError, match=r"Giving up after 4 attempts in 90.0 s.*max_elapsed=100 s"):
        send(make_client(max_attempts=50, max_elapsed=100), QUERY)
    assert (len(server.requests), fake_time.slept) == (4, pytest.approx(90))


def test_backoff_is_exponential_and_capped(server, make_client, fake_time):
    """Without jitter, delays double from one second up to max_wait."""
    delays = []
    server.respond(lambda _: (delays.append(fake_time.slept), status(502))[1])
    with pytest.raises(PolyteiaServerError):
        send(make_client(max_attempts=7, max_wait=10), QUERY)
    steps = [round(after - before) for before, after in itertools.pairwise(delays)]
    assert steps == [1, 2, 4, 8, 10, 10]


def test_jitter_is_full(server, make_client, fake_time):
    """With jitter, a delay is between zero and the exponential ceiling."""
    randomness = random.Random(1)
    totals = []
    for _ in range(200):
        server.respond(status(502), data("fine"))
        before = fake_time.slept
        send(make_client(jitter=randomness.random), QUERY)
        totals.append(fake_time.slept - before)
    assert min(totals) < 0.05
    assert max(totals) > 0.95
    assert max(totals) <= 1


def test_attempts_are_limited(server, make_client):
    """At most max_attempts requests are sent."""
    server.respond(DROP)
    with pytest.raises(PolyteiaTransportError, match=r"after 3 attempts"):
        send(make_client(max_attempts=3), QUERY)
    assert len(server.requests) == 3


def test_server_errors_are_retried_twice(server, client):
    """A query with an internal error inside HTTP 200 is sent at most three times."""
    server.respond(body_error(500))
    with pytest.raises(PolyteiaServerError):
        send(client, QUERY)
    assert len(server.requests) == 3


def test_server_errors_are_counted_separately(server, client):
    """Earlier network failures do not count against max_server_errors."""
    server.respond(status(502), status(502), body_error(500), data("fine"))
    assert send(client, QUERY).data == "fine"
    server.respond(status(502), body_error(500))
    with pytest.raises(PolyteiaServerError, match=r"Giving up after 4 attempts.*max_server_errors=3"):
        send(client, QUERY)


def test_deadline_of_the_whole_operation(server, make_client, fake_time):
    """No attempt begins after max_elapsed, even if attempts are left."""
    server.respond(lambda _: (fake_time.sleep(40), status(502))[1])
    with pytest.raises(PolyteiaServerError, match="max_elapsed=100 s"):
        send(make_client(max_attempts=50, max_elapsed=100), QUERY)
    assert len(server.requests) == 3


@pytest.mark.parametrize("not_found", [status(404), body_error(404)])
def test_retried_delete_that_finds_nothing_succeeds(server, client, not_found):
    """If the response to a delete is lost and the retry fails with 404, the delete was applied."""
    server.respond(DROP, not_found)
    assert send(client, make_call("command", "delete_dataset", {"id": "ds_1"})) is None
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b'{"message":"no Route matched with those values"}', b"{}", b'{"error": null}'])
def test_404_of_a_gateway_in_json(server, client, body):
    """A 404 in JSON, but not in the platform's form, does not prove that a delete was applied."""
    server.respond(DROP, status(404, body))
    with pytest.raises(PolyteiaNotFoundError) as caught:
        send(client, make_call("command", "delete_dataset", {"id": "ds_1"}))
    assert caught.value.from_gateway


def test_404_of_a_gateway_without_a_backend(server, client):
    """A 404 from a proxy without a backend does not prove that a delete was applied."""
    server.respond(status(502), status(404, b"404 page not found", content_type="text/plain"))
    with pytest.raises(PolyteiaNotFoundError):
        send(client, make_call("command", "delete_dataset", {"id": "ds_1"}))


def test_retried_add_that_conflicts_succeeds(server, client):
    """If the response to an add is lost and the retry fails with 409, the add was applied."""
    server.respond(DROP, body_error(409))
    assert send(client, make_call("command", "add_tag_to_resource", {"tag_id": "t", "resource_id": "ds_1"})) is None


@pytest.mark.parametrize("first", [None, status(429, retry_after="1")])
def test_first_404_of_a_delete_is_an_error(server, client, first):
    """A delete that finds nothing fails unless an earlier attempt may have been applied."""
    server.respond(*([first] if first else []), status(404))
    with pytest.raises(PolyteiaNotFoundError):
        send(client, make_call("command", "delete_dataset", {"id": "ds_1"}))


def test_caller_may_declare_a_command_idempotent(server, client):
    """With idempotent=True, an unknown command is retried."""
    server.respond(DROP, data("fine"))
    assert send(client, make_call("command", "recompute", {}, idempotent=True)).data == "fine"


def test_retries_are_logged(server, client, caplog):
    """Each retry logs a warning with method, attempt, reason and delay; the key is not in any record."""
    server.respond(status(502, f"echo {KEY}".encode(), content_type="text/plain"), data("fine"))
    with caplog.at_level(logging.DEBUG):
        send(client, QUERY)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "Attempt 1 of 5 failed, retrying in 1.0 s" in warning
    assert "'get_dataset'" in warning
    assert "HTTP 502" in warning
    assert KEY not in caplog.text


def test_task_timeout_ends_the_delay(server, make_client):
    """Airflow's execution_timeout, raised by a signal handler, ends a delay immediately."""

    def expire(*_):
        raise AirflowTaskTimeout("Timeout")

    server.respond(status(429, retry_after="60"))
    config = make_client().config
    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    started = time.monotonic()
    try:
        with PolyteiaClient(config) as client, pytest.raises(AirflowTaskTimeout):
            send(client, QUERY)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 5
    assert len(server.requests) == 1


def test_cancel_ends_the_delay(server, make_client, fake_time):
    """A killed task does not begin another attempt, and its delay ends at the next poll interval."""
    client = make_client()
    server.respond(lambda _: (client.cancel(), status(429, retry_after="60"))[1])
    with pytest.raises(PolyteiaError, match="killed while it waited"):
        send(client, QUERY)
    assert (len(server.requests), fake_time.slept) == (1, 0)
