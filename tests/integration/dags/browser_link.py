"""For the browser tests: a task that creates a dataset, and one that fails although its dataset's id is known."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator, UpdateDatasetOperator

with DAG(
    "browser_link",
    schedule=None,
    params={"solution_id": Param(type="string"), "missing_id": Param(type="string")},
    default_args={"polyteia_conn_id": "polyteia_with_pages"},
):
    CreateDatasetOperator(
        task_id="create_dataset",
        name="Playgrounds",
        solution_id="{{ params.solution_id }}",
        slug="browser_link",
    )
    UpdateDatasetOperator(task_id="update_missing", dataset_id="{{ params.missing_id }}", description="never arrives")
