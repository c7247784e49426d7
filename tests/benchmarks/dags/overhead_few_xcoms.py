"""One dataset created by our operator, which hands on its record as one XCom only."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator

with DAG("overhead_few_xcoms", schedule=None):
    CreateDatasetOperator(
        task_id="task",
        multiple_outputs=False,
        polyteia_conn_id="bench_polyteia",
        name="Bookings",
        solution_id="sol_1",
        slug="bookings",
        description="Nightly export of the treasury",
        source="SAP",
    )
