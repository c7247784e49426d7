"""How long a request may take, and how much may arrive besides a body."""

from __future__ import annotations

import pytest
from conftest import FakeTime

from airflow_provider_polyteia.client.transports.failures import FailureKind, UnusableResponseError
from airflow_provider_polyteia.client.transports.wire_guard import MAX_OVERHEAD, WireGuard

RATE, SECONDS = 1000, 60.0


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def guard(time):
    return WireGuard(SECONDS, RATE, time.clock)


def transfer(guard, time, rate, seconds):
    """Move bytes at a rate, once per second, until the guard objects; return the seconds that it took."""
    for second in range(seconds):
        try:
            guard.sent(rate)
        except UnusableResponseError as error:
            return second if error.failure.kind is FailureKind.TOO_SLOW else None
        time.sleep(1)
    return seconds


@pytest.mark.parametrize(("rate", "seconds"), [(RATE, 9999), (RATE // 2, 121), (1, 61)])
def test_rate(guard, time, rate, seconds):
    """At the minimal rate a transfer never ends; below it, it ends when it is 60 seconds behind."""
    assert transfer(guard, time, rate, 9999) == pytest.approx(seconds, abs=2)


def test_no_lead(guard, time):
    """A transfer that was fast gains nothing for the time in which it is slow, and one that was slow catches up."""
    assert transfer(guard, time, 1, 50) == 50
    assert transfer(guard, time, RATE * 1000, 60) == 60
    assert transfer(guard, time, 1, 9999) == pytest.approx(61, abs=2)


def test_time_begins_with_the_first_bytes(guard, time):
    """Connecting, which may try several addresses, has a timeout of its own."""
    time.sleep(1000)
    guard.sent(1)


def test_overhead(guard):
    """Only 1 MiB may arrive between two pieces of a body; what is sent does not count."""
    for _ in range(100):
        guard.sent(MAX_OVERHEAD)
        guard.received(MAX_OVERHEAD)
        guard.delivered()
    guard.received(MAX_OVERHEAD)
    with pytest.raises(UnusableResponseError) as caught:
        guard.received(1)
    assert caught.value.failure.kind is FailureKind.HEADERS_TOO_LARGE
