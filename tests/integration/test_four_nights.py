"""A load on a real Airflow, night after night: a good file, a web page, half of the rows, a new column."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DAG = "four_nights"
TASKS = ("warn", "fail")


class Nights:
    """Runs the DAG with one file after the other."""

    def __init__(self, airflow, platform, path) -> None:
        self._airflow = airflow
        self._platform = platform
        self._path = path
        params = {"solution_id": SANDBOX_SOLUTION_ID}
        self.ids = {
            task: platform.call("create_dataset", {**params, "name": task, "slug": f"nights_{task}"})["id"]
            for task in TASKS
        }

    def run(self, content):
        """Run with a table or with bytes; return the state, the log and the result of each task."""
        if isinstance(content, bytes):
            self._path.write_bytes(content)
        else:
            pq.write_table(pa.table(content), self._path)
        run_id = self._airflow.trigger(DAG, {"file": str(self._path), **self.ids})
        self._airflow.wait(DAG, run_id, timeout=120)
        states = {one.task_id: one.state for one in self._airflow.records.task_instances(DAG, run_id)}
        xcoms = self._airflow.records.xcoms(DAG, run_id)
        logs = {task: self._airflow.task_log(DAG, run_id, task) for task in TASKS}
        return {task: (states[task], logs[task], xcoms.get((task, -1, "return_value"))) for task in TASKS}

    def stored(self):
        """What the platform holds, by task."""
        return {task: self._platform.content(dataset_id) for task, dataset_id in self.ids.items()}


def test_four_nights(airflow, platform, tmp_path):
    """What is rejected leaves the dataset as it was, and each night is compared with the last one that succeeded."""
    airflow.add_dags(Path(__file__).parent / "dags" / "four_nights.py")
    nights = Nights(airflow, platform, tmp_path / "bookings.parquet")

    first = nights.run({"id": list(range(1000))})
    good = (tmp_path / "bookings.parquet").read_bytes()
    for state, _, result in first.values():
        assert (state, result["rows"], result["columns"], result["bytes"]) == (
            "success",
            1000,
            {"id": "int64"},
            len(good),
        )
    assert set(nights.stored().values()) == {good}

    for state, log, result in nights.run(b"<!DOCTYPE html><p>Wartungsarbeiten</p>").values():
        assert (state, result) == ("failed", None)
        assert "'bookings.parquet' cannot be uploaded as Parquet: it is an HTML page" in log
    assert set(nights.stored().values()) == {good}

    for state, log, result in nights.run({"id": list(range(499))}).values():
        assert (state, result) == ("failed", None)
        assert "has 499 rows, 50% fewer than the 1,000 of the last load; 'max_shrink' is 0.5" in log
    assert set(nights.stored().values()) == {good}

    last = nights.run({"id": list(range(900)), "plz": ["01067"] * 900})
    changed = (tmp_path / "bookings.parquet").read_bytes()
    state, log, result = last["warn"]
    assert (state, result["rows"], list(result["columns"])) == ("success", 900, ["id", "plz"])
    assert "has other columns than the last load: added: 'plz' (string)" in log
    state, log, result = last["fail"]
    assert (state, result) == ("failed", None)
    assert "has other columns than the last load: added: 'plz' (string). Nothing was sent" in log
    assert nights.stored() == {"warn": changed, "fail": good}
