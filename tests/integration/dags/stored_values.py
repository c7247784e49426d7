"""A query and a statement whose results hold values that a database or JSON cannot take."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_polyteia.operators.polyteia import PolyteiaQueryOperator
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator

with DAG("stored_values", schedule=None):
    query = PolyteiaQueryOperator(task_id="query", query="get_thing", multiple_outputs=True)
    query >> PolyteiaSqlOperator(task_id="sql", sql="FROM 'ds_1'", datasets="ds_1")
