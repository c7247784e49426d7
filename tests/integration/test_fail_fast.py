"""A key that the platform rejects fails the task immediately on a real scheduler, regardless of its retries."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow_env import AIRFLOW_VERSION
from airflow_records import TaskInstance
from error_replies import ERROR_REPLIES, KEYS

DAG_ID = "fail_fast"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def run_ids(airflow):
    """One finished run for each form of error reply; all run at the same time."""
    airflow.add_dags(Path(__file__).parent / "dags" / "fail_fast.py")
    started = {name: airflow.trigger(DAG_ID, {"conn_id": f"rejected_{name}"}) for name in ERROR_REPLIES}
    for run_id in started.values():
        airflow.wait(DAG_ID, run_id, timeout=240)
    return started


@pytest.mark.parametrize("form", ERROR_REPLIES)
def test_a_rejected_key_fails_the_task_on_its_first_try(airflow, run_ids, form):
    """Operator and decorated task fail on try 1, and no other try is recorded."""
    assert airflow.records.task_instances(DAG_ID, run_ids[form]) == [
        TaskInstance("decorated", -1, "failed", 1),
        TaskInstance("operator", -1, "failed", 1),
    ]
    assert airflow.records.history(DAG_ID, run_ids[form]) == []


@pytest.mark.parametrize("form", ERROR_REPLIES)
def test_a_rejected_key_is_sent_once(run_ids, rejecting_platform, form):
    """Each of the two tasks sends exactly one request."""
    requests = rejecting_platform.requests[KEYS[form]]
    assert sorted(request.get("command") or request.get("query") for request in requests)[:2] == [
        "create_dataset",
        "get_dataset",
    ]
    assert len([request for request in requests if request["params"].get("id") != "report"]) == 2


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="retry policies are new in Airflow 3.3")
def test_retry_policy_sees_the_hidden_error(airflow, rejecting_platform):
    """With the retry policy, a task that raises its own error because of a rejected key fails on its first try."""
    airflow.add_dags(Path(__file__).parent / "dags" / "retry_policy.py")
    run_id = airflow.trigger("retry_policy")
    assert airflow.wait("retry_policy", run_id) == "failed"
    assert airflow.records.task_instances("retry_policy", run_id) == [TaskInstance("report", -1, "failed", 1)]
    assert airflow.records.history("retry_policy", run_id) == []
    sent = rejecting_platform.requests[KEYS["http_401_string"]]
    assert [request["params"] for request in sent].count({"id": "report"}) == 1


@pytest.mark.parametrize("form", ERROR_REPLIES)
def test_the_log_contains_advice(airflow, run_ids, form):
    """Both task logs contain the method, the connection and advice."""
    advice = (
        "Personal Access Keys"
        if "401" in form
        else "is valid, but its account does not have permission for this operation. Ask an owner"
    )
    for task_id, method in (("operator", "create_dataset"), ("decorated", "get_dataset")):
        log = airflow.task_log(DAG_ID, run_ids[form], task_id)
        assert method in log
        assert f"rejected_{form}" in log
        assert advice in log


def test_no_key_is_in_any_log_or_record(airflow, run_ids):
    """At level DEBUG, no key is in a log of a task or component, nor in a table: XComs, rendered fields, ..."""
    logs, records = airflow.logs(), airflow.records.everything()
    assert run_ids["http_401_string"] in records  # the search covers the runs
    assert "DEBUG" in logs or "debug" in logs
    for key in KEYS.values():
        assert key not in logs
        assert key not in records
