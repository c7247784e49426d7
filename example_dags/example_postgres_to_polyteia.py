"""Publish a table of a PostgreSQL database: create the dataset, and fill it with the rows of a query.

The rows are streamed into a Parquet file, uploaded when all of them are there; types arrive as types. Run it as often
as you like: there is one dataset, and each run replaces its data.

To set: the connections `polyteia_default` and `city_database` (type Postgres, with a table `bookings`), and when you
trigger the DAG, the id of your solution. Install the provider with the extra `[postgres]`.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

with DAG(
    "example_postgres_to_polyteia",
    schedule=None,
    params={
        "solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_..."),
        "as_of": Param("2026-03-31", type="string", format="date", description="Bookings up to this day"),
    },
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    create = CreateDatasetOperator(
        task_id="create_dataset",
        name="Bookings",
        solution_id="{{ params.solution_id }}",
        slug="bookings",
        description="All bookings of the treasury",
        source="PostgreSQL, table bookings",
    )
    SqlToPolyteiaOperator(
        task_id="load_bookings",
        conn_id="city_database",
        sql="SELECT * FROM bookings WHERE booked_on <= %(as_of)s ORDER BY id",
        parameters={"as_of": "{{ params.as_of }}"},
        dataset_id=create.output["id"],
        source_timestamp="{{ params.as_of }}",
    )
