"""Load a CSV or Excel file of a specialist application as a table with types, and reject a bad one.

The file may have semicolons, decimal commas, German dates and an old encoding. Postal codes keep their leading zeros.
If it is a web page, is cut off, or has lost more than half of its rows since the last run, the dataset keeps its data.

Install `airflow-provider-polyteia[files]`. To set: the connection `polyteia_default`, and when you trigger the DAG, the
id of a solution and the file.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

with DAG(
    "example_csv_to_polyteia",
    schedule=None,
    params={
        "solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_..."),
        "file": Param(type="string", minLength=1, description="Path on the worker, or URL in an object storage"),
        "slug": Param("budget", type="string", minLength=1, description="Short name of the dataset"),
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
        task_id="load_table",
        source="{{ params.file }}",
        dataset_id=create.output["id"],
        convert=True,
        min_rows=1,
        max_shrink=0.5,
        on_schema_change="warn",
    )
