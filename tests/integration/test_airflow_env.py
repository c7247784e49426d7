"""The harness itself: it reports what Airflow did."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest
from airflow_env import RealAirflow, wait_until
from airflow_records import TaskInstance

DAGS = Path(__file__).parent / "dags"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def runs(airflow):
    airflow.add_dags(DAGS / "harness_probe.py")
    started = {dag_id: airflow.trigger(dag_id) for dag_id in ("harness_probe", "harness_failure")}
    return {dag_id: (run_id, airflow.wait(dag_id, run_id)) for dag_id, run_id in started.items()}


def test_states_tries_and_history_come_from_airflows_records(airflow, runs):
    """A run that succeeds on its second try shows two tries, a run that fails shows one."""
    run_id, state = runs["harness_probe"]
    assert state == "success"
    assert airflow.records.task_instances("harness_probe", run_id) == [
        TaskInstance("echo", -1, "success", 1),
        TaskInstance("second_try", -1, "success", 2),
    ]
    assert [(row.task_id, row.try_number) for row in airflow.records.history("harness_probe", run_id)] == [
        ("second_try", 1)
    ]
    run_id, state = runs["harness_failure"]
    assert state == "failed"
    assert airflow.records.task_instances("harness_failure", run_id) == [TaskInstance("fail", -1, "failed", 1)]
    assert airflow.records.history("harness_failure", run_id) == []


def test_xcoms_rendered_fields_and_logs_can_be_read(airflow, runs):
    """The result of a task, its rendered templates, and its log at level DEBUG can be read."""
    run_id, _ = runs["harness_probe"]
    assert airflow.records.xcoms("harness_probe", run_id)["echo", -1, "return_value"] == f"run {run_id}"
    assert airflow.records.rendered_fields("harness_probe", run_id)["echo", -1] == {"text": f"run {run_id}"}
    assert f"echo says run {run_id}" in airflow.task_log("harness_probe", run_id, "echo")
    assert "this is meant to fail" in airflow.logs()


def test_restart_of_the_triggerer(airflow):
    """After a crash and a restart, a new triggerer is registered."""
    before = airflow.records.last_job_id()
    airflow.restart("triggerer")
    assert airflow.records.job_runs("TriggererJob", newer_than=before)


def test_children_without_our_environment_are_stopped(tmp_path):
    """A worker without a parent, whose title has overwritten its environment, is stopped too."""
    harness = RealAirflow(tmp_path, dags=[])
    orphaning = ["sh", "-c", "env -i sleep 600 & echo $!"]
    component = subprocess.Popen(orphaning, stdout=subprocess.PIPE, text=True, start_new_session=True)
    child = psutil.Process(int(component.stdout.readline()))
    component.wait(10)
    harness._processes["scheduler"] = component
    harness.stop()
    wait_until(lambda: not is_alive(child), 10, lambda: "the child is still running")


def is_alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # a zombie remains if its parent never waits for it
    except psutil.NoSuchProcess:
        return False
