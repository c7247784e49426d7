"""`DatasetUploadedSensor`, task by task: what it asks, returns, raises and hands over to its trigger."""

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


def outcome(action):
    """The result of a task, or what makes Airflow fail or skip it."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001 - this is what the test is about
        return type(error)


@pytest.mark.parametrize("deferrable", [False, True])
def test_upload_is_there(connected, deferrable):
    """What is there already is returned at once, by a single request."""
    connected.answer(data(RECORD))
    assert make(deferrable=deferrable).execute({}) == SUMMARY
    assert connected.calls == ["get_dataset"]


def test_poke_mode_waits(connected):
    """It looks again until the upload is there."""
    connected.answer(data(EMPTY), data({**EMPTY, "metadata": None}), data(RECORD))
    assert make().execute({}) == SUMMARY


def test_result_is_one_xcom_per_field():
    """`sensor.output["id"]` can feed the next task."""
    assert make().multiple_outputs is True
    assert make(multiple_outputs=False).multiple_outputs is False


def test_everything_travels_to_the_trigger(connected):
    """All options reach the trigger, moments as ISO 8601, and the key does not."""
    connected.answer(data(EMPTY))
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
        (datetime(2026, 3, 1, 6), "2026-03-01T06:00:00+00:00"),  # noqa: DTZ001 - naive means UTC
        (datetime(2026, 3, 1, 6, tzinfo=UTC), "2026-03-01T06:00:00+00:00"),
        (None, None),
    ],
)
def test_uploaded_after_is_a_moment(connected, given, sent):
    """Text or datetime; without a zone it means UTC."""
    connected.answer(data(EMPTY))
    assert deferral(make(deferrable=True, uploaded_after=given)).trigger.uploaded_after == sent


@pytest.mark.parametrize("given", ["", "None", "yesterday"])
def test_uploaded_after_that_is_no_moment(connected, given):
    """The error names the argument and the task, and nothing is sent."""
    with pytest.raises(exceptions.PolyteiaConfigurationError, match=r"'uploaded_after' of task 'wait'.*or '1970"):
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
def test_dataset_must_be_named_once(connected, given, deferrable):
    """Neither, both, or half of a name: a configuration error, and nothing is sent."""
    with pytest.raises(exceptions.PolyteiaConfigurationError):
        make(deferrable=deferrable, **given).execute({})
    assert connected.requests == []


FINAL = [(status(401), "PolyteiaAuthenticationError"), (status(403), "PolyteiaPermissionError")]


@pytest.mark.parametrize(("reply", "kind"), [*FINAL, (status(404), "PolyteiaNotFoundError")])
@pytest.mark.parametrize("deferrable", [False, True])
def test_final_errors(connected, reply, kind, deferrable):
    """401, 403 and 404 end the wait by the first look, in both modes with the same error."""
    connected.answer(reply)
    assert outcome(lambda: make(deferrable=deferrable).execute({})) is getattr(exceptions, kind)
    assert len(connected.requests) == 1


def test_passing_errors_in_poke_mode(connected):
    """One look is attempted up to `max_attempts` times."""
    connected.answer(*[status(503)] * 5, data(RECORD))
    assert make().execute({}) == SUMMARY
    connected.answer(status(503))
    assert outcome(lambda: make(max_attempts=3).execute({})) is exceptions.PolyteiaServerError
    assert len(connected.requests) == 9


@pytest.mark.parametrize("reply", [DROP, status(503)])
def test_first_look_before_deferring_is_attempted_once(connected, reply):
    """A passing error costs the worker no time: the triggerer goes on."""
    connected.answer(reply)
    assert deferral(make(deferrable=True)).trigger.max_attempts == 10
    assert len(connected.requests) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_dataset_that_is_not_created_yet(connected, deferrable):
    """With `wait_for_creation` a missing dataset is waited for."""
    connected.answer(status(404), data(RECORD))
    run = make(wait_for_creation=True, deferrable=deferrable)
    if deferrable:
        assert deferral(run).trigger.wait_for_creation is True
    else:
        assert run.execute({}) == SUMMARY


def resume(sensor, payload):
    """Resume as Airflow does."""
    return sensor.resume_execution("execute_complete", {"event": payload}, {})


def failed(kind):
    return {"status": "failed", "error": {"type": kind, "text": "because", "attributes": {"conn_id": "x"}}}


def test_resume_with_the_upload():
    """The upload that the trigger has seen is the task's result."""
    assert resume(make(deferrable=True), {"status": "uploaded", "dataset": SUMMARY}) == SUMMARY


@pytest.mark.parametrize("kind", exceptions.__all__)
def test_resume_with_an_error(kind):
    """The error has its own type again, so that Airflow treats it as if it had happened in the worker."""
    with pytest.raises(exceptions.PolyteiaError, match="because") as caught:
        resume(make(deferrable=True), failed(kind))
    assert type(caught.value) is getattr(exceptions, kind)
    assert caught.value.conn_id == "x"


def test_resume_after_the_timeout():
    """A timeout is Airflow's own, which is not retried."""
    with pytest.raises(AirflowSensorTimeout, match="7200 seconds"):
        resume(make(deferrable=True, timeout=7200), {"status": "timed out"})


REPLIES = {
    "PolyteiaAuthenticationError": status(401),
    "PolyteiaNotFoundError": status(404),
    "PolyteiaServerError": status(503),
}


@pytest.mark.parametrize("option", ["soft_fail", "never_fail", "silent_fail", "retries"])
@pytest.mark.parametrize("kind", REPLIES)
def test_options_of_sensors_mean_the_same_in_both_modes(connected, kind, option):
    """Poke mode, by Airflow's own code, and a resumed task end alike for each kind of error and each option."""
    options = {option: True if option != "retries" else 0, "max_attempts": 1, "timeout": 0.02}
    connected.answer(REPLIES[kind])
    in_poke_mode = outcome(lambda: make(**options).execute({}))
    goes_on = option == "silent_fail" and not issubclass(getattr(exceptions, kind), AirflowFailException)
    payload = {"status": "timed out"} if goes_on else failed(kind)
    assert outcome(lambda: resume(make(deferrable=True, **options), payload)) is in_poke_mode


@pytest.mark.parametrize("option", [{}, {"soft_fail": True}, {"never_fail": True}])
def test_timeout_means_the_same_in_both_modes(connected, option):
    """A timeout fails or skips the task as in poke mode."""
    connected.answer(data(EMPTY))
    in_poke_mode = outcome(lambda: make(timeout=0.02, **option).execute({}))
    assert in_poke_mode in (AirflowSensorTimeout, AirflowSkipException)
    assert outcome(lambda: resume(make(deferrable=True, **option), {"status": "timed out"})) is in_poke_mode


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_options_apply_to_the_first_look_too(connected, option):
    """A deferrable sensor that is refused by its first look is skipped as in poke mode."""
    connected.answer(status(401))
    assert outcome(lambda: make(deferrable=True, **{option: True}).execute({})) is AirflowSkipException


def test_link_is_pushed_before_the_wait_fails(connected):
    """The address is known to Airflow although the look fails."""
    pushed = {}

    class TaskInstance:
        def xcom_push(self, key, value):
            pushed[key] = value

    connected.answer(status(403))
    sensor = make(dataset_id="ds_0123", deferrable=True)
    assert outcome(lambda: sensor.execute({"ti": TaskInstance()})) is exceptions.PolyteiaPermissionError
    assert pushed == {"polyteia_link": f"{connected.url}/"}
