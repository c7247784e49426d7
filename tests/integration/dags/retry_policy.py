"""A task that hides a permanent error of the platform behind one of its own, and would be retried three times."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.retry_policy import PolyteiaRetryPolicy

with DAG("retry_policy", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=0)}):

    @task(retry_policy=PolyteiaRetryPolicy())
    def report():
        """Fail as a task does that knows better words."""
        try:
            PolyteiaHook("refused_http_401_string").query("get_dataset", {"id": "report"})
        except PolyteiaError as error:
            raise RuntimeError("no report today") from error

    report()
