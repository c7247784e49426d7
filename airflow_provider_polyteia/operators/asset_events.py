"""The extra of the asset events that a task emits for its outlets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.client.json_values import to_encodable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import BaseOperator, Context


def add_event_extra(
    context: Context, task: BaseOperator, base_url: str, dataset_id: str, extra: Mapping[str, Any]
) -> None:
    """Fill the extra of the asset events that a write to a dataset emits.

    The dataset is one of the task's outlets as an asset, or is added to an `AssetAlias` there, which is how a task
    declares a dataset that is only known at run time.

    :param extra: JSON, e.g. ``{"rows": 16, "bytes": 4711}``; values that are None are omitted.
    """
    uri = dataset_uri(base_url, dataset_id) if task.outlets else ""
    known = to_encodable({name: value for name, value in extra.items() if value is not None})
    for outlet in task.outlets:
        if isinstance(outlet, AssetAlias):
            context["outlet_events"][outlet].add(Asset(uri=uri), extra=known)
        elif getattr(outlet, "uri", None) == uri:
            context["outlet_events"][outlet].extra.update(known)
