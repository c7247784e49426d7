"""A deferrable sensor."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor

with DAG("waiting_deferred", schedule=None, params={"dataset_id": Param(type="string")}):
    DatasetUploadedSensor(
        task_id="wait",
        dataset_id="{{ params.dataset_id }}",
        poke_interval=5,
        timeout=300,
        retries=3,
        deferrable=True,
        polyteia_conn_id="waiting",
    )
