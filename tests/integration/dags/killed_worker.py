"""A task that creates a dataset, and whose process is killed while it waits for the response."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

with DAG("killed_worker", schedule=None):
    CreateDatasetOperator(
        task_id="create",
        name="Survives a kill",
        solution_id=SANDBOX_SOLUTION_ID,
        slug="survives_a_kill",
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
