"""One dataset created by our operator."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator

with DAG("overhead_ours", schedule=None):
    CreateDatasetOperator(
        task_id="task",
        polyteia_conn_id="bench_polyteia",
        name="Bookings",
        solution_id="sol_1",
        slug="bookings",
        description="Nightly export of the treasury",
        source="SAP",
    )
