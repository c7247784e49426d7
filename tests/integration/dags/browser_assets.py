"""For the browser tests: a load, and a DAG that it starts. The test replaces the names in @."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_polyteia.assets.polyteia import polyteia_asset
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

trees = polyteia_asset("@DATASET_ID@", host="@HOST@", name="street_trees")

with DAG("load_street_trees", schedule=None):
    FileToPolyteiaOperator(task_id="load", source="@FILE@", dataset_id="@DATASET_ID@", convert=True, outlets=[trees])

with DAG("report_on_street_trees", schedule=[trees], start_date=datetime(2026, 1, 1, tzinfo=UTC)):

    @task
    def report() -> None:
        """Run after each load."""

    report()
