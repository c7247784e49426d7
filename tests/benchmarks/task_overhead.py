"""Duration of a task that sends one command on a real Airflow worker, according to Airflow's records."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from commands import KEY, RESPONSE
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
    with Nginx(RESPONSE) as server, tempfile.TemporaryDirectory(prefix="airflow-") as home:
        os.environ["REQUESTS_CA_BUNDLE"] = server.bundle
        connections = {
            "bench_polyteia": {
                "conn_type": "polyteia",
                "host": server.url,
                "password": KEY,
                "extra": {"api": "command"},
            },
            "bench_http": {"conn_type": "http", "host": server.url},
        }
        dags = [HERE / "dags" / f"{dag_id}.py" for dag_id in DAGS.values()]
        with RealAirflow(Path(home), dags=dags, connections=connections) as airflow:
            competitors = {name: partial(_duration, airflow, dag_id) for name, dag_id in DAGS.items()}
            for run_once in competitors.values():
                run_once()  # warm up Airflow
            seconds = medians(competitors, ROUNDS)
    ours = seconds.pop("CreateDatasetOperator")
    wanted = {"HttpOperator": 1.0}
    report(
        [
            Comparison("task that creates a dataset, TLS", "s", ours, name, theirs, ratio_wanted=wanted.get(name))
            for name, theirs in seconds.items()
        ]
    )


def _duration(airflow: RealAirflow, dag_id: str) -> float:
    run_id = airflow.trigger(dag_id)
    if airflow.wait(dag_id, run_id) != "success":
        raise RuntimeError(f"{dag_id} failed:\n{airflow.task_log(dag_id, run_id, 'task')}")
    return airflow.records.duration(dag_id, run_id, "task")


if __name__ == "__main__":
    main()
