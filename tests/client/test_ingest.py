"""How the wait for an ingest decides: delays, states, and failed polls."""

from __future__ import annotations

import pytest
from conftest import FakeTime

from airflow_provider_polyteia.client.ingest import IngestWait
from airflow_provider_polyteia.client.records import Ingest
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaIngestError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
    PolyteiaTransportError,
)


@pytest.fixture
def time():
    """A clock that advances only during `sleep`."""
    return FakeTime()


@pytest.fixture
def wait(time):
    """A wait of ten seconds."""
    return IngestWait("ds_1", "dsig_1", "city", timeout=10, poll_interval=5, clock=time.clock)


def test_delays(wait, time):
    """The first polls come fast; the last one comes at the time limit, and then the outcome is unknown."""
    delays = []
    for _ in range(5):
        delays.append(wait.next_delay())
        time.sleep(delays[-1])
    assert delays == [0.5, 1, 2, 4, 2.5]
    with pytest.raises(
        PolyteiaOutcomeUnknownError, match=r"did not finish within its time limit.*not sent again"
    ) as caught:
        wait.next_delay()
    assert caught.value.identifiers == {"id": "ds_1", "ingestId": "dsig_1"}
    assert "'ds_1' (connection 'city')" in str(caught.value)


def test_a_late_trigger_polls_once(time):
    """A triggerer that starts again after the time limit still asks once."""
    wait = IngestWait("ds_1", "dsig_1", "city", timeout=-60, poll_interval=5, clock=time.clock)
    assert wait.next_delay() == 0
    with pytest.raises(PolyteiaOutcomeUnknownError):
        wait.next_delay()


def test_states(wait, caplog):
    """Unknown states are waited for, and logged once."""
    states = ["pending", "running", "validating", "validating", "completed"]
    assert [wait.is_completed(Ingest(state)) for state in states] == [False, False, False, False, True]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(("message", "text"), [("bad csv", "says: 'bad csv'"), ("", "gives no reason")])
def test_failed(wait, message, text):
    """A failed ingest is an exception with both ids and the platform's reason."""
    with pytest.raises(PolyteiaIngestError, match=text) as caught:
        wait.is_completed(Ingest("failed", message))
    error = caught.value
    assert (error.dataset_id, error.ingest_id, error.message, error.conn_id) == ("ds_1", "dsig_1", message, "city")
    with pytest.raises(PolyteiaIngestError):
        wait.record_failure(error)


@pytest.mark.parametrize(
    "error",
    [
        PolyteiaTransportError("reset"),
        PolyteiaServerError("502", http_status=502),
        PolyteiaRateLimitError("429", http_status=429),
        PolyteiaNotFoundError("404", http_status=404, from_gateway=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_transient_failures(wait, error):
    """Failures of the network and the platform's own errors do not end the wait, however many there are."""
    for _ in range(20):
        wait.record_failure(error)


@pytest.mark.parametrize(
    "error",
    [
        PolyteiaAuthenticationError("401"),
        PolyteiaPermissionError("403"),
        PolyteiaConfigurationError("proxy"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_final_failures(wait, error):
    """What fails the task immediately ends the wait; the exception says that the upload was accepted."""
    with pytest.raises(type(error), match="accepted before that"):
        wait.record_failure(error)


@pytest.mark.parametrize(
    "error", [PolyteiaProtocolError("redirect", http_status=302), PolyteiaAPIError("409", http_status=418)]
)
def test_other_final_failures(wait, error):
    """Whatever else ends the wait must not be retried by Airflow, which would send the file again."""
    with pytest.raises(PolyteiaOutcomeUnknownError, match="could not be followed to its end"):
        wait.record_failure(error)


def test_vanished(wait, time):
    """A new ingest may be invisible for half a minute; one that stays unknown leaves the outcome unknown."""
    missing = PolyteiaNotFoundError("404", http_status=404)
    for _ in range(2):
        wait.record_failure(missing)
        time.sleep(29)
        wait.record_failure(missing)
        assert not wait.is_completed(Ingest("running"))
    wait.record_failure(missing)
    time.sleep(30)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="no longer known to the platform"):
        wait.record_failure(missing)
