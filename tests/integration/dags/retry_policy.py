"""A task with three retries that raises its own exception because of a permanent error of the platform."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.retry_policy import PolyteiaRetryPolicy

with DAG("retry_policy", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=0)}):

    @task(retry_policy=PolyteiaRetryPolicy())
    def report():
        """Raise an exception of its own."""
        try:
            PolyteiaHook("rejected_http_401_string").query("get_dataset", {"id": "report"})
        except PolyteiaError as error:
            raise RuntimeError("the report failed") from error

    report()
