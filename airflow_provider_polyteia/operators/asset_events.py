"""The asset events that a task emits for its outlets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.client.json_values import to_encodable
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import BaseOperator, Context


def add_event_extra(
    context: Context, task: BaseOperator, base_url: str, dataset_id: str, extra: Mapping[str, Any]
) -> None:
    """Let a write to a dataset emit one asset event with this extra.

    The dataset is one of the task's outlets as an asset or a reference to one, or is added to an `AssetAlias` there,
    which is how a task declares a dataset that is only known at run time. Airflow emits an event for each outlet, so
    other outlets that mean the same dataset are removed: an event of an alias starts the DAGs of its asset, too.

    :param extra: JSON, e.g. ``{"rows": 16, "bytes": 4711}``; values that are None are omitted.
    """
    if not task.outlets:
        return
    events, uri = context["outlet_events"], dataset_uri(base_url, dataset_id)
    known = to_encodable({name: value for name, value in extra.items() if value is not None})
    aliases = [outlet for outlet in task.outlets if isinstance(outlet, AssetAlias)]
    assets = [(outlet, asset) for outlet in task.outlets if (asset := _find(events, outlet)) and asset.uri == uri]
    for _, asset in assets[:1]:
        events[asset].extra.update(known)
    if aliases:
        asset = assets[0][1] if assets else _find_uri(events, uri) or Asset(uri=uri)
        for alias in aliases:
            events[alias].add(asset, extra=_hashable(known))
    surplus = [outlet for outlet, _ in (assets if aliases else assets[1:])]
    if surplus:
        task.outlets = [outlet for outlet in task.outlets if not any(outlet is other for other in surplus)]


def _find(events: Any, outlet: Any) -> Asset | None:
    """Return the asset of an outlet that is one, or refers to one by name or URI; None for others."""
    if isinstance(outlet, Asset):
        return outlet
    try:
        from airflow.sdk.definitions.asset import AssetRef  # noqa: PLC0415 - Airflow 2 has no names of assets
    except ImportError:
        return None
    return _resolve(events, outlet) if isinstance(outlet, AssetRef) else None


def _find_uri(events: Any, uri: str) -> Asset | None:
    """Return the asset that Airflow knows by its URI; an event for one of another name would reach no DAG."""
    return _resolve(events, Asset.ref(uri=uri)) if AIRFLOW_V_3_0_PLUS else None


def _resolve(events: Any, reference: Any) -> Asset | None:
    """Ask Airflow for the asset of a reference; None if it knows none, or outside of a running task."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # noqa: PLC0415 - not in Airflow 2

    try:
        key = events[reference].key
    except ImportError:
        return None
    except AirflowRuntimeError as error:
        if error.error.error is ErrorType.ASSET_NOT_FOUND:
            return None
        raise
    return Asset(name=key.name, uri=key.uri)


def _hashable(extra: dict[str, Any]) -> dict[str, Any]:
    """Return an extra of an alias's event. Airflow 2 hashes the values, so lists and mappings become JSON text."""
    if AIRFLOW_V_3_0_PLUS:
        return extra
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in extra.items()}
