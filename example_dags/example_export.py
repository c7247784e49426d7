"""Query a dataset and export the result to a file.

The number of rows is small enough for an XCom. The rows themselves go to a Parquet file, which appears under its name
only when it is complete.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of your dataset and the file.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator

with DAG(
    "example_export",
    schedule=None,
    params={
        "dataset_id": Param(type="string", pattern="^ds_[0-9a-z]+$", description="Id of the dataset, such as ds_..."),
        "file": Param("/tmp/bookings.parquet", type="string", description="Where the rows are written to"),  # noqa: S108 - an example
    },
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    # {bookings} stands for the dataset: Polyteia's own form, with two braces, means something else to Airflow.
    datasets = {"bookings": "{{ params.dataset_id }}"}

    count = PolyteiaSqlOperator(
        task_id="count_rows",
        sql="SELECT count(*) AS rows FROM {bookings}",
        datasets=datasets,
    )
    export = PolyteiaToFileOperator(
        task_id="export_rows",
        sql="SELECT * FROM {bookings} ORDER BY ALL",
        datasets=datasets,
        destination="{{ params.file }}",
    )
    count >> export
