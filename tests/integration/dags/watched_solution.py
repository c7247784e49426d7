"""100 watched datasets of one solution, each with a DAG that its uploads trigger."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, AssetWatcher

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedEventTrigger

for number in range(100):
    slug = f"watched_{number:03}"
    trigger = DatasetUploadedEventTrigger(
        solution_id=SANDBOX_SOLUTION_ID, slug=slug, poke_interval=5, polyteia_conn_id="watching"
    )
    asset = Asset(slug, watchers=[AssetWatcher(name=slug, trigger=trigger)])
    with DAG(f"on_{slug}", schedule=asset):
        EmptyOperator(task_id="load")
