"""The tables of two databases, each as a dataset: at most four tasks of a database at once."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, TriggerRule

from airflow_provider_polyteia.operators.sql import SqlTablesOperator
from airflow_provider_polyteia.transfers.sql_table_to_polyteia import SqlTableToPolyteiaOperator

with DAG("many_tables", schedule=None, params={"solution_id": ""}):
    before = None
    for database in ("postgres", "mariadb"):
        tables = SqlTablesOperator(
            task_id=f"list_{database}",
            conn_id=f"register_{database}",
            include=[f"{database}_*"],
            # One after the other, even if tables of the first one fail, so that their times can be compared.
            trigger_rule=TriggerRule.ALL_DONE,
        )
        load = SqlTableToPolyteiaOperator.partial(
            task_id=f"load_{database}",
            conn_id=f"register_{database}",
            solution_id="{{ params.solution_id }}",
            max_active_tis_per_dag=4,
        ).expand_kwargs(tables.output)
        if before is not None:
            before >> tables
        before = load
