"""Tasks with three retries on the RPC API, with the connection that the run specifies."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param, chain, task

from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

CONN_ID = "{{ params.conn_id }}"
PARAMS = {"conn_id": Param(type="string"), "file": Param("", type="string")}
RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=0)}

with DAG("rejected_rpc", schedule=None, params=PARAMS, default_args=RETRIES):
    CreateDatasetOperator(
        task_id="operator", polyteia_conn_id=CONN_ID, name="n", solution_id="sol_test", slug="operator"
    )
    FileToPolyteiaOperator(task_id="upload", polyteia_conn_id=CONN_ID, source="{{ params.file }}", dataset_id="ds_1")

with DAG("expiring_rpc", schedule=None, params=PARAMS, default_args=RETRIES):

    @task
    def session(params):
        """Use a session twice; it may be rejected the second time."""
        hook = PolyteiaHook(params["conn_id"])
        hook.get_dataset("ds_first")
        hook.get_dataset("ds_second")

    session()

with DAG("ingest_rpc", schedule=None, params={**PARAMS, "dataset_id": Param(type="string")}, default_args=RETRIES):
    loads = [
        FileToPolyteiaOperator(
            task_id=task_id,
            source="{{ params.file }}",
            dataset_id="{{ params.dataset_id }}",
            source_timestamp="2026-01-31T00:00:00Z",
            deferrable=task_id != "load",
            ingest_timeout=timeout,
        )
        for task_id, timeout in (("load", 60), ("load_deferred", 60), ("load_stuck", 12))
    ]
    chain(*loads)  # so that the fault of the third upload hits the third task
