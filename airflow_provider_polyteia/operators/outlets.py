"""What a task tells those who wait for its outlets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_polyteia.assets.polyteia import dataset_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import BaseOperator, Context


def describe_event(
    context: Context, task: BaseOperator, base_url: str, dataset_id: str, extra: Mapping[str, Any]
) -> None:
    """Fill the extra of the asset events that a write to a dataset causes.

    The dataset is among the task's outlets as an asset, or is added to an `AssetAlias` there, which is how a task
    says that its dataset is only known at run time.

    :param extra: JSON, e.g. ``{"rows": 16, "bytes": 4711}``; what is None is left out.
    """
    uri = dataset_uri(base_url, dataset_id) if task.outlets else ""
    known = {name: value for name, value in extra.items() if value is not None}
    for outlet in task.outlets:
        if isinstance(outlet, AssetAlias):
            context["outlet_events"][outlet].add(Asset(uri=uri), extra=known)
        elif getattr(outlet, "uri", None) == uri:
            context["outlet_events"][outlet].extra.update(known)
