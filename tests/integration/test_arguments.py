"""Arguments from other tasks, mapping and native rendering, with a real Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

DAG_FILE = Path(__file__).parent / "dags" / "arguments.py"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@pytest.fixture(scope="module", autouse=True)
def _dags(airflow):
    airflow.add_dags(DAG_FILE)


@pytest.fixture(scope="module")
def dataset_id(platform):
    """A dataset with data, for which a sensor without a condition would not wait."""
    params = {"name": "arguments", "slug": "arguments", "solution_id": SANDBOX_SOLUTION_ID}
    dataset_id = platform.call("create_dataset", params)["id"]
    platform.upload(dataset_id, b"a\n1\n", content_type="text/csv")
    return dataset_id


def states(airflow, dag_id, conf):
    """Task -> final state, and the id of the run."""
    run_id = airflow.trigger(dag_id, conf)
    airflow.wait(dag_id, run_id, timeout=200)
    return {task.task_id: task.state for task in airflow.records.task_instances(dag_id, run_id)}, run_id


def test_none(airflow, dataset_id, platform):
    """None from another task fails mapped and unmapped tasks alike; nothing is changed."""
    found, run_id = states(airflow, "arguments_none", {"dataset_id": dataset_id})
    assert {task for task, state in found.items() if state == "success"} == {"nothing", "several", "update_omits"}
    for task_id, name in [
        ("wait", "uploaded_after"),
        ("wait_mapped", "uploaded_after"),
        ("wait_partial", "uploaded_after"),
        ("update", "description"),
        ("update_mapped", "description"),
    ]:
        assert found[task_id] == "failed"
        log = airflow.task_log("arguments_none", run_id, task_id).replace("\\'", "'").replace('\\"', '"')
        assert f"Argument '{name}' of task '{task_id}' is None after templating" in log
    (record,) = [record for record in platform.datasets if record["id"] == dataset_id]
    assert record["name"] == "Omits"


def test_native_rendering_and_skipped_tasks(airflow, platform):
    """Text stays text; a skipped create has no id, but its dataset can be looked up by slug."""
    conf = {"solution_id": SANDBOX_SOLUTION_ID}
    found, _ = states(airflow, "arguments_native", conf)
    assert found == {"create": "success", "create_mapped": "success"}
    records = {record["slug"]: record for record in platform.datasets}
    assert (records["2026_01"]["name"], records["2026_01"]["description"]) == ("2026", "007")
    assert records["2026_02"]["name"] == "1.50"
    found, run_id = states(airflow, "arguments_skipped", conf)
    assert found == {"skip": "skipped", "create": "skipped", "read": "failed", "look_up": "success"}
    assert "XComNotFound" in airflow.task_log("arguments_skipped", run_id, "read")
