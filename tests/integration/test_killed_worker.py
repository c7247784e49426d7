"""If a task is killed between the platform's commit and its response, the retry succeeds with one dataset."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from airflow_env import wait_until

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

SLUG = "survives_a_kill"  # of the DAG file
HANGING = 120  # seconds without a response

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def dag(airflow):
    """The DAG, which is added once."""
    airflow.add_dags(Path(__file__).parent / "dags" / "killed_worker.py")


@pytest.fixture
def hanging(airflow, platform, dag):
    """The run of a task that waits for the response to a create that the platform has committed."""
    for dataset in platform.datasets:
        if dataset["slug"] == SLUG:
            platform.call("delete_dataset", {"id": dataset["id"]})
    platform.faults.add(f"create_dataset:hang-after:{HANGING}:1")
    run_id = airflow.trigger("killed_worker")
    wait_until(
        lambda: SLUG in {dataset["slug"] for dataset in platform.datasets},
        60,
        lambda: "the dataset was not created",
    )
    yield run_id
    platform.faults.clear()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_killed_between_commit_and_response(airflow, platform, hanging, how):
    """The first try creates the dataset and is killed; the second try finds it and succeeds."""
    before = platform.recorder.counts["create_dataset"]
    os.kill(airflow.records.worker_pid(hanging), how)
    killed_at = time.monotonic()
    assert airflow.wait("killed_worker", hanging, timeout=HANGING) == "success"
    (instance,) = airflow.records.task_instances("killed_worker", hanging)
    assert (instance.state, instance.try_number) == ("success", 2)
    page = platform.call("list_datasets", {"solution_id": SANDBOX_SOLUTION_ID, "page": 1, "size": 100})
    (dataset,) = [item for item in page["items"] if item["slug"] == SLUG]
    assert airflow.records.xcoms("killed_worker", hanging)["create", -1, "id"] == dataset["id"]
    assert platform.recorder.counts["create_dataset"] == before + 1
    if how is signal.SIGTERM:
        assert time.monotonic() - killed_at < HANGING / 2  # the next try included, which the scheduler must start
        log = airflow.task_log("killed_worker", hanging, "create")
        assert "killed while it waited for the response to 'create_dataset'" in log
        assert f"slug='{SLUG}'" in log
