"""One sensor for each way in which a wait can end and each mode, each with its own connection."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor

MODES = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferrable": {"deferrable": True},
}
CASES = {
    "success": {},
    "timeout": {"timeout": 15},
    "soft_timeout": {"timeout": 15, "soft_fail": True},
    "soft_401": {"soft_fail": True},
    "http_401": {},
    "http_403": {},
    "http_404": {},
    "transient": {},
    "malformed": {"max_attempts": 2},
}

with DAG("waiting_matrix", schedule=None, default_args={"retries": 1, "retry_delay": timedelta(0)}):
    for case, options in CASES.items():
        for name, mode in MODES.items():
            DatasetUploadedSensor(
                task_id=f"{case}.{name}",
                dataset_id="ds_1",
                uploaded_after="2026-01-01",
                # Airflow fails a task that resumes before the executor has reported that it was deferred.
                poke_interval=12,
                polyteia_conn_id=f"wait_{case}_{name}",
                **{"timeout": 300, **options, **mode},
            )
