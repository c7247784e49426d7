"""Two loads of the same file, which differ in what they do about changed columns."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

with DAG("four_nights", schedule=None, params={"file": "", "warn": "", "fail": ""}):
    for on_schema_change in ("warn", "fail"):
        FileToPolyteiaOperator(
            task_id=on_schema_change,
            source="{{ params.file }}",
            dataset_id=f"{{{{ params.{on_schema_change} }}}}",
            max_shrink=0.5,
            on_schema_change=on_schema_change,
        )
