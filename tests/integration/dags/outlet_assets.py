"""Loads with outlets, and the DAGs that they trigger. The test replaces the names in @ with host and ids."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, BaseOperator, Context

from airflow_provider_polyteia.assets.polyteia import polyteia_asset
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

LOAD = {"sql": "SELECT 1 AS tree UNION ALL SELECT 2", "conn_id": "outlet_database"}
KNOWN = polyteia_asset("@KNOWN@", host="@HOST@")
LATER = AssetAlias("outlet_later")
BY_ID = "{{ dag_run.conf['dataset_id'] }}"
NAMED = {"by_alias": "@BY_ALIAS@", "twice": "@TWICE@"}
TRIGGERED = {"start_date": datetime(2026, 1, 1, tzinfo=UTC)}  # Airflow 2 requires it
HAS_NAMES = hasattr(Asset, "ref")  # not in Airflow 2


def named(name: str) -> Asset:
    """Return the asset of a dataset, under a name of its own where assets have names."""
    return polyteia_asset(NAMED[name], host="@HOST@", **({"name": f"outlet_named_{name}"} if HAS_NAMES else {}))


class Nothing(BaseOperator):
    """Do nothing."""

    def execute(self, context: Context) -> None:
        """Return None."""


with DAG("outlet_known", schedule=None):
    SqlToPolyteiaOperator(task_id="load", dataset_id="@KNOWN@", source_timestamp="2026-03-31", outlets=[KNOWN], **LOAD)

with DAG("outlet_later", schedule=None):
    SqlToPolyteiaOperator(task_id="load", dataset_id=BY_ID, outlets=[LATER], **LOAD)

with DAG("on_outlet_known", schedule=[KNOWN], **TRIGGERED):
    Nothing(task_id="nothing")

with DAG("on_outlet_later", schedule=[LATER], **TRIGGERED):
    Nothing(task_id="nothing")

for name, dataset_id in NAMED.items():
    alias, other_alias = AssetAlias(f"outlet_{name}"), AssetAlias(f"outlet_{name}_too")
    schedules = {"asset": named(name), "alias": alias, "other_alias": other_alias}
    outlets = [alias, other_alias, *([named(name)] if name == "twice" else [])]
    if HAS_NAMES:
        asset = named(name)
        schedules |= {"name": Asset.ref(name=asset.name), "uri": Asset.ref(uri=asset.uri)}
        outlets += [Asset.ref(name=asset.name), Asset.ref(uri=asset.uri)] if name == "twice" else []
    with DAG(f"outlet_{name}", schedule=None):
        SqlToPolyteiaOperator(task_id="load", dataset_id=dataset_id, outlets=outlets, **LOAD)
    for way, condition in schedules.items():
        with DAG(f"on_outlet_{name}_{way}", schedule=[condition], **TRIGGERED):
            Nothing(task_id="nothing")

if HAS_NAMES:
    with DAG("outlet_references", schedule=None):
        references = [Asset.ref(name="outlet_unknown"), Asset.ref(uri=KNOWN.uri), Asset.ref(uri=f"{KNOWN.uri}_unknown")]
        SqlToPolyteiaOperator(task_id="load", dataset_id="@KNOWN@", outlets=references, **LOAD)
