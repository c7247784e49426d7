"""What `PolyteiaHook` does around the transfer of a file: find its format, count its rows, describe the result."""

from __future__ import annotations

import logging
from typing import IO, TYPE_CHECKING, Any, TypedDict

from airflow_provider_polyteia.client.formats import PARQUET, by_extension, media_type
from airflow_provider_polyteia.client.progress import format_size
from airflow_provider_polyteia.client.sql_references import Datasets, Query, resolve_references
from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.storage import atomic_write, display_name, open_source, to_path
from airflow_provider_polyteia.tables.checks import parquet_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
    from airflow_provider_polyteia.storage import AnyPath

log = logging.getLogger(__name__)


class Uploaded(TypedDict):
    """The result of an upload, as JSON, so that a task may return it.

    `rows` is known for Parquet files if pyarrow is installed, otherwise None.
    """

    dataset_id: str
    bytes: int
    rows: int | None
    content_type: str
    filename: str


class Exported(TypedDict):
    """The result of an export, as JSON, so that a task may return it.

    `rows` is known for Parquet files if pyarrow is installed, otherwise None.
    """

    path: str
    bytes: int
    rows: int | None
    content_type: str
    datasets: list[str]


def upload(
    client: PolyteiaClient,
    api: PlatformAPI,
    dataset_id: str,
    source: AnyPath | IO[bytes],
    *,
    content_type: str | None = None,
    filename: str | None = None,
    timeout: float | None = None,
) -> Uploaded:
    """Replace a dataset's data with a file; see `PolyteiaHook.upload_dataset`."""
    opened = open_source(source, filename)
    own_name = opened.name if hasattr(source, "read") else to_path(source).name
    kind = content_type or by_extension(own_name, "content_type")
    rows = parquet_rows(opened) if media_type(kind) == PARQUET else None
    started = client.clock()
    client.run(api.upload(dataset_id, opened, kind, timeout))
    seconds = max(client.clock() - started, 1e-3)
    log.info(
        "Uploaded %r to dataset %r: %s in %.1f s (%s/s)",
        opened.name,
        dataset_id,
        format_size(opened.size),
        seconds,
        format_size(opened.size / seconds),
    )
    return {
        "dataset_id": dataset_id,
        "bytes": opened.size,
        "rows": rows,
        "content_type": kind,
        "filename": opened.name,
    }


def export(
    client: PolyteiaClient,
    api: PlatformAPI,
    sql: str,
    datasets: Datasets,
    destination: AnyPath,
    *,
    args: Sequence[Any] | None = None,
    content_type: str | None = None,
    timeout: float | None = None,
) -> Exported:
    """Write the result of a query to a file; see `PolyteiaHook.export`."""
    statement, ids = resolve_references(sql, datasets)
    path = to_path(destination)
    kind, name = content_type or by_extension(path.name, "format"), display_name(path)
    started = client.clock()
    query = Query(statement, ids, list(args or ()))
    operation = api.export(query, kind, lambda: atomic_write(path), name, timeout)
    size = client.run(operation)
    log.info("Exported %s to %r in %.1f s", format_size(size), name, client.clock() - started)
    rows = _count_exported_rows(path) if media_type(kind) == PARQUET else None
    return {"path": name, "bytes": size, "rows": rows, "content_type": kind, "datasets": ids}


def _count_exported_rows(path: Any) -> int | None:
    """Count the rows of a file that is complete as far as could be checked."""
    try:
        return parquet_rows(open_source(path))
    except PolyteiaError as error:
        log.warning("The rows of %r could not be counted: %s", display_name(path), error.__cause__ or error)
        return None
