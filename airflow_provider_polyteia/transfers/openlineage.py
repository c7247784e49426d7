"""What transfers report to OpenLineage, if its provider is installed: datasets and files, columns, counts, SQL."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.openlineage.facet import (
    Dataset,
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    SchemaDatasetFacet,
    SchemaDatasetFacetFields,
    SQLJobFacet,
)
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_polyteia.assets.polyteia import openlineage_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.providers.openlineage.extractors import OperatorLineage

log = logging.getLogger(__name__)


def lineage(inputs: Iterable[Dataset], outputs: Iterable[Dataset], sql: str | None = None) -> OperatorLineage:
    """Return what a task has read and written, and the query that it ran."""
    from airflow.providers.openlineage.extractors import OperatorLineage  # noqa: PLC0415 - an optional package

    facets = {"sql": SQLJobFacet(query=sql)} if sql else {}
    return OperatorLineage(inputs=list(inputs), outputs=list(outputs), job_facets=facets)


def dataset(uri: str) -> Dataset:
    """Return a dataset of Polyteia that was read."""
    namespace, name = openlineage_name(uri)
    return Dataset(namespace=namespace, name=name)


def loaded_dataset(uri: str, *, size: int, rows: int | None, columns: Mapping[str, str] | None) -> OutputDataset:
    """Return a dataset of Polyteia that was loaded, with columns and counts."""
    namespace, name = openlineage_name(uri)
    fields = [SchemaDatasetFacetFields(name=column, type=kind) for column, kind in (columns or {}).items()]
    return OutputDataset(
        namespace=namespace,
        name=name,
        facets={"schema": SchemaDatasetFacet(fields=fields)} if fields else {},
        outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows, size=size)},
    )


def file(uri: str) -> Dataset:
    """Return a file that was read, as OpenLineage names files."""
    namespace, name = _file_name(uri)
    return Dataset(namespace=namespace, name=name)


def written_file(uri: str, *, size: int, rows: int | None) -> OutputDataset:
    """Return a file that was written, with its counts."""
    namespace, name = _file_name(uri)
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=rows, size=size)
    return OutputDataset(namespace=namespace, name=name, outputFacets={"outputStatistics": statistics})


def _file_name(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")


def tables(sql: str, conn_id: str, hook_params: Mapping[str, Any] | None) -> list[Dataset]:
    """Return the tables that a query reads, as far as OpenLineage can parse the query."""
    from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql  # noqa: PLC0415 - slow to import

    connection: Any = BaseHook.get_connection(conn_id)
    hook = connection.get_hook(hook_params=dict(hook_params or {}))
    try:
        found = get_openlineage_facets_with_sql(
            hook=hook, sql=sql, conn_id=conn_id, database=connection.schema, use_connection=False
        )
    except Exception as error:  # noqa: BLE001 - not every dialect is known, and the rest of the lineage must not be lost
        log.warning("OpenLineage could not parse which tables the query reads: %s", error)
        return []
    return list(found.inputs) if found else []
