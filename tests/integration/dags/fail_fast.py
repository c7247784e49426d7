"""An operator and a `@task` with three retries, both with the connection that the run specifies."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator

with DAG(
    "fail_fast",
    schedule=None,
    params={"conn_id": Param(type="string")},
    default_args={"retries": 3, "retry_delay": timedelta(seconds=0)},
):
    CreateDatasetOperator(
        task_id="operator",
        polyteia_conn_id="{{ params.conn_id }}",
        name="from the operator",
        solution_id="sol_test",
        slug="operator",
    )

    @task
    def decorated(params):
        """Send one query through the hook."""
        PolyteiaHook(params["conn_id"]).query("get_dataset", {"id": "decorated"})

    decorated()
