"""Start a DAG when new data has been uploaded to a dataset. Needs Airflow 3.

The triggerer polls the dataset every 20 seconds, even while no DAG runs. Each upload becomes an event of the asset, and
each event starts a run that reads the upload from the event and counts its rows. On Airflow 3.3 and newer, all watched
datasets of one solution share one poll.

To set: the connection `polyteia_default`, and the environment variable `POLYTEIA_SOLUTION_ID` where DAG files are
read: the id of your solution (default: the sandbox's). The dataset is the one that `example_holidays` creates
for the year 2026.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.sdk import Asset, AssetWatcher

from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedEventTrigger

upload = DatasetUploadedEventTrigger(
    solution_id=os.environ.get("POLYTEIA_SOLUTION_ID", "sol_musterhausen00000001"),
    slug="public_holidays_2026",
    poke_interval=20,
)
holidays = Asset("public_holidays_2026", watchers=[AssetWatcher(name="delivery", trigger=upload)])

with DAG("example_asset_triggered", schedule=holidays, tags=["polyteia", "example"], doc_md=__doc__):

    @task
    def latest_delivery(triggering_asset_events: Any) -> dict[str, Any]:
        """What was delivered: the dataset's id and slug, when, how many bytes, of which type."""
        events = triggering_asset_events[holidays]
        payload: dict[str, Any] = events[-1].extra["payload"]
        return payload

    delivery = latest_delivery()

    PolyteiaSqlOperator(
        task_id="count_rows",
        sql="SELECT count(*) AS row_count FROM {delivery}",
        datasets={"delivery": delivery["id"]},
    )
