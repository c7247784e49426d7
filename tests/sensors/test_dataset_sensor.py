"""`DatasetUploadedSensor`: what it sends, returns, raises and passes to its trigger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from servers import DROP, data, status

from airflow_provider_polyteia import exceptions
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor

INFO = {"uploaded_at": "2026-03-01T06:04:58.512000Z", "size": 18234, "content_type": "text/csv"}
RECORD = {"id": "ds_1", "solution_id": "sol_1", "slug": "bookings", "metadata": {"asset_info": INFO}}
EMPTY = {"id": "ds_1", "slug": "bookings"}
SUMMARY = {"id": "ds_1", "slug": "bookings", **INFO}


def make(**options):
    return DatasetUploadedSensor(
        **{"task_id": "wait", "dataset_id": "ds_1", "poke_interval": 0.01, "deferrable": False, **options}
    )


def deferral(sensor):
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({})
    return caught.value


def result_of(action):
    """The result of a task, or the type of the exception that makes Airflow fail or skip it."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001 - this is what the test is about
        return type(error)


@pytest.mark.parametrize("deferrable", [False, True])
def test_upload_exists(connected, deferrable, caplog, capsys):
    """An existing upload is logged and returned immediately, after a single request."""
    caplog.set_level("INFO")
    connected.respond(data(RECORD))
    assert make(deferrable=deferrable).execute({}) == SUMMARY
    assert connected.calls == ["get_dataset"]
    logged = caplog.text + capsys.readouterr().out  # Airflow 3 prints what tasks log outside of a task runner
    assert f"Dataset 'ds_1' was uploaded at {INFO['uploaded_at']}." in logged


def test_poke_mode_waits(connected):
    """In poke mode, it polls until the upload exists."""
    connected.respond(data(EMPTY), data({**EMPTY, "metadata": None}), data(RECORD))
    assert make().execute({}) == SUMMARY


def test_result_is_one_xcom_per_field():
    """`sensor.output["id"]` can feed the next task."""
    assert make().multiple_outputs is True
    assert make(multiple_outputs=False).multiple_outputs is False


def test_options_of_the_trigger(connected):
    """All options are passed to the trigger, timestamps as ISO 8601; the key is not."""
    connected.respond(data(EMPTY))
    sensor = make(
        deferrable=True,
        uploaded_after="2026-03-01T00:00:00+01:00",
        min_size=5,
        wait_for_creation=True,
        max_attempts=7,
        poke_interval=timedelta(seconds=30),
        timeout=timedelta(hours=2),
        exponential_backoff=True,
        max_wait=timedelta(minutes=10),
        silent_fail=True,
    )
    deferred = deferral(sensor)
    path, options = deferred.trigger.serialize()
    assert path == "airflow_provider_polyteia.triggers.dataset.DatasetUploadedTrigger"
    deadline = datetime.fromisoformat(options.pop("deadline"))
    assert abs(deadline - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    assert options == {
        "polyteia_conn_id": "polyteia_default",
        "dataset_id": "ds_1",
        "solution_id": None,
        "slug": None,
        "uploaded_after": "2026-03-01T00:00:00+01:00",
        "min_size": 5,
        "wait_for_creation": True,
        "timestamp_field": None,
        "poke_interval": 30.0,
        "exponential_backoff": True,
        "max_wait": 600.0,
        "max_attempts": 7,
        "silent_fail": True,
    }
    assert deferred.method_name == "execute_complete"
    assert deferred.timeout > timedelta(hours=2)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-03-01", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01 06:00:00", "2026-03-01T06:00:00+00:00"),
        ("2026-03-01T06:00:00Z", "2026-03-01T06:00:00+00:00"),
        (datetime(2026, 3, 1, 6), "2026-03-01T06:00:00+00:00"),
        (datetime(2026, 3, 1, 6, tzinfo=UTC), "2026-03-01T06:00:00+00:00"),
        (None, None),
    ],
)
def test_uploaded_after(connected, given, sent):
    """It is a string or a datetime; without a time zone it means UTC."""
    connected.respond(data(EMPTY))
    assert deferral(make(deferrable=True, uploaded_after=given)).trigger.wait.uploaded_after == sent


@pytest.mark.parametrize("given", ["", "None", "yesterday"])
def test_invalid_uploaded_after(connected, given):
    """The error names the argument and the task, and nothing is sent."""
    with pytest.raises(
        exceptions.PolyteiaConfigurationError, match=r"Argument 'uploaded_after' of task 'wait' is .*or '1970"
    ):
        make(uploaded_after=given).execute({})
    assert connected.requests == []


@pytest.mark.parametrize(
    "given",
    [
        {"dataset_id": None},
        {"solution_id": "sol_1"},
        {"dataset_id": None, "solution_id": "sol_1"},
        {"dataset_id": None, "slug": "bookings"},
        {"dataset_id": "None"},
    ],
)
@pytest.mark.parametrize("deferrable", [False, True])
def test_dataset_must_be_identified_once(connected, given, deferrable):
    """Without an identifier, with two, or with an incomplete one, it fails without sending anything."""
    with pytest.raises(exceptions.PolyteiaConfigurationError):
        make(deferrable=deferrable, **given).execute({})
    assert connected.requests == []


FINAL = [(status(401), "PolyteiaAuthenticationError"), (status(403), "PolyteiaPermissionError")]


@pytest.mark.parametrize(("reply", "kind"), [*FINAL, (status(404), "PolyteiaNotFoundError")])
@pytest.mark.parametrize("deferrable", [False, True])
def test_final_errors(connected, reply, kind, deferrable):
    """401, 403 and 404 end the wait at the first poll, with the same error in both modes."""
    connected.respond(reply)
    assert result_of(lambda: make(deferrable=deferrable).execute({})) is getattr(exceptions, kind)
    assert len(connected.requests) == 1


def test_transient_errors_in_poke_mode(connected):
    """One poll makes up to `max_attempts` attempts."""
    connected.respond(*[status(503)] * 5, data(RECORD))
    assert make().execute({}) == SUMMARY
    connected.respond(status(503))
    assert result_of(lambda: make(max_attempts=3).execute({})) is exceptions.PolyteiaServerError
    assert len(connected.requests) == 9


@pytest.mark.parametrize("reply", [DROP, status(503)])
def test_first_poll_before_deferring_is_attempted_once(connected, reply):
    """A transient error does not occupy the worker: the triggerer continues."""
    connected.respond(reply)
    assert deferral(make(deferrable=True)).trigger.wait.max_attempts == 10
    assert len(connected.requests) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_dataset_that_does_not_exist_yet(connected, deferrable):
    """With `wait_for_creation`, the wait continues while the dataset does not exist."""
    connected.respond(status(404), data(RECORD))
    run = make(wait_for_creation=True, deferrable=deferrable)
    if deferrable:
        assert deferral(run).trigger.wait.wait_for_creation is True
    else:
        assert run.execute({}) == SUMMARY


def resume(sensor, payload):
    """Resume as Airflow does."""
    return sensor.resume_execution("execute_complete", {"event": payload}, {})


def failed(kind):
    return {"status": "failed", "error": {"type": kind, "text": "because", "attributes": {"conn_id": "x"}}}


def test_resume_with_the_upload():
    """The upload that the trigger found is the task's result."""
    assert resume(make(deferrable=True), {"status": "uploaded", "dataset": SUMMARY}) == SUMMARY


@pytest.mark.parametrize("kind", exceptions.__all__)
def test_resume_with_an_error(kind):
    """The error has its original type, so that Airflow handles it as if it had been raised in the worker."""
    with pytest.raises(exceptions.PolyteiaError, match="because") as caught:
        resume(make(deferrable=True), failed(kind))
    assert type(caught.value) is getattr(exceptions, kind)
    assert caught.value.conn_id == "x"


def test_resume_after_the_timeout():
    """A timeout raises Airflow's own exception, which is not retried; it names the dataset and the timeout."""
    with pytest.raises(AirflowSensorTimeout, match="no upload to dataset id='ds_1' within 7200 seconds"):
        resume(make(deferrable=True, timeout=7200), {"status": "timed out"})


REPLIES = {
    "PolyteiaAuthenticationError": status(401),
    "PolyteiaNotFoundError": status(404),
    "PolyteiaServerError": status(503),
}


@pytest.mark.parametrize("option", ["soft_fail", "never_fail", "silent_fail", "retries"])
@pytest.mark.parametrize("kind", REPLIES)
def test_sensor_options_have_the_same_effect_in_both_modes(connected, kind, option):
    """In poke mode (Airflow's own code) and after a deferral, a task ends alike for each error and each option."""
    options = {option: True if option != "retries" else 0, "max_attempts": 1, "timeout": 0.02}
    connected.respond(REPLIES[kind])
    in_poke_mode = result_of(lambda: make(**options).execute({}))
    continues = option == "silent_fail" and not issubclass(getattr(exceptions, kind), AirflowFailException)
    payload = {"status": "timed out"} if continues else failed(kind)
    assert result_of(lambda: resume(make(deferrable=True, **options), payload)) is in_poke_mode


@pytest.mark.parametrize("option", [{}, {"soft_fail": True}, {"never_fail": True}])
def test_timeout_has_the_same_effect_in_both_modes(connected, option):
    """A timeout fails or skips the task as in poke mode."""
    connected.respond(data(EMPTY))
    in_poke_mode = result_of(lambda: make(timeout=0.02, **option).execute({}))
    assert in_poke_mode in (AirflowSensorTimeout, AirflowSkipException)
    assert result_of(lambda: resume(make(deferrable=True, **option), {"status": "timed out"})) is in_poke_mode


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_options_apply_to_the_first_poll(connected, option):
    """A deferrable sensor that is rejected at its first poll is skipped as in poke mode."""
    connected.respond(status(401))
    assert result_of(lambda: make(deferrable=True, **{option: True}).execute({})) is AirflowSkipException


def test_link_is_pushed_before_the_wait_fails(connected):
    """Airflow knows the link even if the poll fails."""
    pushed = {}

    class TaskInstance:
        def xcom_push(self, key, value):
            pushed[key] = value

    connected.respond(status(403))
    sensor = make(dataset_id="ds_0123", deferrable=True)
    assert result_of(lambda: sensor.execute({"ti": TaskInstance()})) is exceptions.PolyteiaPermissionError
    assert pushed == {"polyteia_link": f"{connected.url}/"}
