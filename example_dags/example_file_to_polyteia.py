"""Publish a file: create the dataset, and fill it with a CSV, Parquet, JSON or Excel file.

The file may be large: it is streamed from where it is, a path on the worker or an object storage such as
`s3://conn_id@bucket/bookings.csv`. If the upload is interrupted, the whole file is sent again.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of your solution and the file.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

with DAG(
    "example_file_to_polyteia",
    schedule=None,
    params={
        "solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_..."),
        "file": Param(type="string", minLength=1, description="Path on the worker, or URL in an object storage"),
        "slug": Param("street_trees", type="string", minLength=1, description="Short name of the dataset"),
    },
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    create = CreateDatasetOperator(
        task_id="create_dataset",
        name="{{ params.slug }}",
        solution_id="{{ params.solution_id }}",
        slug="{{ params.slug }}",
    )
    FileToPolyteiaOperator(
        task_id="load_file",
        source="{{ params.file }}",
        dataset_id=create.output["id"],
        wait_for_upload=True,
    )
