"""Datasets of Polyteia as Airflow assets: ``polyteia://<host>/<dataset id>``.

Airflow imports this module as soon as a DAG file names such an asset, so it must stay light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow.providers.common.compat.sdk import Asset

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

SCHEME = "polyteia"
DEFAULT_HOST = "app.polyteia.com"
ID_PREFIX = "ds_"  # docs/platform-api.md#ids
_DEFAULT_PORTS = {"https": 443, "": 443, "http": 80}


def polyteia_asset(dataset_id: str, *, host: str = DEFAULT_HOST, **kwargs: Any) -> Asset:
    """Return the asset of a dataset, for a task's outlets or a DAG's schedule.

    :param dataset_id: id of the dataset, ``ds_...``.
    :param host: the platform's host, or its URL as in the connection. Default: ``app.polyteia.com``.
    :param kwargs: further arguments of `Asset`: ``name``, ``group``, ``extra``, ``watchers``.
    :raises ValueError: if the id is not the id of a dataset.
    """
    return Asset(uri=dataset_uri(host, dataset_id), **kwargs)


def dataset_uri(address: str, dataset_id: str) -> str:
    """Return the URI of a dataset.

    :param address: the platform's host, or its URL.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return sanitize_uri(urlsplit(f"{SCHEME}://{_bracketed(parts.hostname or '')}{port}/{dataset_id}")).geturl()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check the URI of an asset, and return it in its canonical form; Airflow's asset handler.

    :raises ValueError: if it does not name a dataset.
    """
    dataset_id = uri.path.strip("/")
    named = uri.hostname and dataset_id.startswith(ID_PREFIX) and dataset_id.isascii() and "/" not in dataset_id
    if not named or uri.query or uri.fragment or "@" in uri.netloc:
        raise ValueError(f"The URI of a Polyteia asset must be polyteia://<host>/<dataset id>; got {uri.geturl()!r}.")
    return uri._replace(netloc=uri.netloc.lower(), path=f"/{dataset_id}")


def create_asset(*, host: str, dataset_id: str, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of a dataset; Airflow's asset factory for hook lineage."""
    return polyteia_asset(dataset_id, host=host, extra=extra)


def openlineage_name(uri: str) -> tuple[str, str]:
    """Return namespace and name of a dataset for OpenLineage: the platform, and the dataset's id."""
    parts = urlsplit(uri)
    return f"{SCHEME}://{parts.netloc}", parts.path.strip("/")


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:  # noqa: ARG001 - Airflow's signature
    """Return an asset as OpenLineage names it; Airflow's OpenLineage converter."""
    from airflow.providers.common.compat.openlineage.facet import Dataset  # noqa: PLC0415 - an optional package

    namespace, name = openlineage_name(asset.uri)
    return Dataset(namespace=namespace, name=name)
