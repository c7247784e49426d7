"""Two loads with outlets, and the DAGs that they trigger. The test replaces the names in @ with host and ids."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, AssetAlias, BaseOperator, Context

from airflow_provider_polyteia.assets.polyteia import polyteia_asset
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

LOAD = {"sql": "SELECT 1 AS tree UNION ALL SELECT 2", "conn_id": "outlet_database"}
KNOWN = polyteia_asset("@KNOWN@", host="@HOST@")
LATER = AssetAlias("outlet_later")


class Nothing(BaseOperator):
    """Do nothing."""

    def execute(self, context: Context) -> None:
        """Return None."""


with DAG("outlet_known", schedule=None):
    SqlToPolyteiaOperator(task_id="load", dataset_id="@KNOWN@", source_timestamp="2026-03-31", outlets=[KNOWN], **LOAD)

with DAG("outlet_later", schedule=None):
    SqlToPolyteiaOperator(task_id="load", dataset_id="{{ dag_run.conf['dataset_id'] }}", outlets=[LATER], **LOAD)

with DAG("on_outlet_known", schedule=[KNOWN]):
    Nothing(task_id="nothing")

with DAG("on_outlet_later", schedule=[LATER]):
    Nothing(task_id="nothing")
