"""Wait until new data has been uploaded to a dataset, then query it.

Other offices deliver by hand, by form or by jobs of their own. The sensor waits for that in the triggerer, where it
takes no worker's slot, for a dataset that need not exist yet. Then a query counts its rows.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of your solution and the slug of
a dataset in it.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor

with DAG(
    "example_wait_for_dataset",
    schedule=None,
    params={
        "solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_..."),
        "slug": Param("public_holidays_2026", type="string", minLength=1, description="Which dataset in there"),
        "since": Param("2026-01-01", type="string", minLength=1, description="Only data uploaded after this time"),
    },
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    delivered = DatasetUploadedSensor(
        task_id="wait_for_delivery",
        solution_id="{{ params.solution_id }}",
        slug="{{ params.slug }}",
        uploaded_after="{{ params.since }}",
        wait_for_creation=True,
        deferrable=True,
        poke_interval=30,
        timeout=12 * 60 * 60,
    )

    PolyteiaSqlOperator(
        task_id="count_rows",
        sql="SELECT count(*) AS row_count FROM {delivery}",
        datasets={"delivery": delivered.output["id"]},
    )
