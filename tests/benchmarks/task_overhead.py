"""Duration of a task that sends one command, run by a real Airflow worker, in Airflow's own records."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from commands import ANSWER, KEY
from comparison import Comparison, medians, report
from nginx import Nginx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))

from airflow_env import RealAirflow  # noqa: E402 - from the integration tests

ROUNDS = 7
DAGS = {
    "CreateDatasetOperator": "overhead_ours",
    "HttpOperator": "overhead_http",
    "a task that does nothing": "overhead_empty",
}


def main() -> None:
    """Measure and report."""
    with Nginx(ANSWER) as server, tempfile.TemporaryDirectory(prefix="airflow-") as home:
        os.environ["REQUESTS_CA_BUNDLE"] = server.bundle
        connections = {
            "bench_polyteia": {"conn_type": "polyteia", "host": server.url, "password": KEY},
            "bench_http": {"conn_type": "http", "host": server.url},
        }
        dags = [HERE / "dags" / f"{dag_id}.py" for dag_id in DAGS.values()]
        with RealAirflow(Path(home), dags=dags, connections=connections) as airflow:
            contestants = {name: partial(_duration, airflow, dag_id) for name, dag_id in DAGS.items()}
            for run_once in contestants.values():
                run_once()  # warms Airflow up
            seconds = medians(contestants, ROUNDS)
    ours = seconds.pop("CreateDatasetOperator")
    wanted = {"HttpOperator": 1.0}
    report(
        [
            Comparison("task that creates a dataset, TLS", "s", ours, peer, theirs, ratio_wanted=wanted.get(peer))
            for peer, theirs in seconds.items()
        ]
    )


def _duration(airflow: RealAirflow, dag_id: str) -> float:
    run_id = airflow.trigger(dag_id)
    if airflow.wait(dag_id, run_id) != "success":
        raise RuntimeError(f"{dag_id} has failed:\n{airflow.task_log(dag_id, run_id, 'task')}")
    return airflow.records.duration(dag_id, run_id, "task")


if __name__ == "__main__":
    main()
