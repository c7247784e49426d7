"""The same dataset created by Airflow's HttpOperator."""

from __future__ import annotations

import json

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.http.operators.http import HttpOperator

PARAMS = {
    "name": "Bookings",
    "solution_id": "sol_1",
    "slug": "bookings",
    "description": "Nightly export of the treasury",
    "source": "SAP",
}

with DAG("overhead_http", schedule=None):
    HttpOperator(
        task_id="task",
        http_conn_id="bench_http",
        endpoint="/api",
        data=json.dumps({"command": "create_dataset", "params": PARAMS}),
        headers={"Content-Type": "application/json", "Authorization": "Bearer pak-of-the-benchmark"},
        response_filter=lambda response: response.json()["data"],
    )
