"""If a worker is killed between the platform's commit and its response, the retry succeeds with one dataset."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from airflow_env import wait_until

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

SLUG = "survives_a_kill"  # of the DAG file

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_sigkill_between_commit_and_response(airflow, platform):
    """The first try creates the dataset and is killed; the second try finds it and succeeds."""
    airflow.add_dags(Path(__file__).parent / "dags" / "killed_worker.py")
    before = platform.recorder.counts["create_dataset"]
    platform.faults.add("create_dataset:hang-after:120:1")
    try:
        run_id = airflow.trigger("killed_worker")
        wait_until(
            lambda: SLUG in {dataset["slug"] for dataset in platform.datasets},
            60,
            lambda: "the dataset was not created",
        )
        os.kill(airflow.records.worker_pid(run_id), signal.SIGKILL)
        assert airflow.wait("killed_worker", run_id, timeout=120) == "success"
    finally:
        platform.faults.clear()
    (instance,) = airflow.records.task_instances("killed_worker", run_id)
    assert (instance.state, instance.try_number) == ("success", 2)
    page = platform.call("list_datasets", {"solution_id": SANDBOX_SOLUTION_ID, "page": 1, "size": 100})
    (dataset,) = [item for item in page["items"] if item["slug"] == SLUG]
    assert airflow.records.xcoms("killed_worker", run_id)["create", -1, "id"] == dataset["id"]
    assert platform.recorder.counts["create_dataset"] == before + 2
