"""Publish all tables of a database: a dataset for each table, which is created in the first run.

Each table is a task of its own, at most four at a time. A new table is picked up by the next run, and a table that
cannot be read does not stop the others. Run it as often as you like: each run replaces the data of the same datasets.

To set: the connections `polyteia_default` and `register_database` (type Postgres, MySQL or SQLite), and when you
trigger the DAG, the id of a solution. Install the provider with the extra `[postgres]` or `[parquet]`.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.operators.sql import SqlTablesOperator
from airflow_provider_polyteia.transfers.sql_table_to_polyteia import SqlTableToPolyteiaOperator

with DAG(
    "example_tables_to_polyteia",
    schedule=None,
    params={"solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_...")},
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    tables = SqlTablesOperator(task_id="list_tables", conn_id="register_database", exclude=["tmp_*"])
    SqlTableToPolyteiaOperator.partial(
        task_id="load_table",
        conn_id="register_database",
        solution_id="{{ params.solution_id }}",
        max_active_tis_per_dag=4,
    ).expand_kwargs(tables.output)
