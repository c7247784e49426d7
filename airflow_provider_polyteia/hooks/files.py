"""What `PolyteiaHook` does around the transfer of a file: find its format, count its rows, describe the result."""

from __future__ import annotations

import logging
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypedDict

from airflow_provider_polyteia.client.file_sink import Destination
from airflow_provider_polyteia.client.formats import PARQUET, by_extension, media_type
from airflow_provider_polyteia.client.progress import format_size
from airflow_provider_polyteia.client.sql_references import Datasets, Query, resolve_references
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.storage import atomic_write, display_name, open_source, public_name, to_path
from airflow_provider_polyteia.tables.file_checks.check import check_file
from airflow_provider_polyteia.tables.file_checks.ends import new_end_check
from airflow_provider_polyteia.tables.file_checks.parquet import Contents
from airflow_provider_polyteia.tables.optional_dependencies import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.multipart import UploadSource
    from airflow_provider_polyteia.client.operation import Operation
    from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
    from airflow_provider_polyteia.storage import AnyPath


log = logging.getLogger(__name__)

VERIFY_TIME = 60.0  # seconds in which an upload becomes visible to queries


class Uploaded(TypedDict):
    """The result of an upload, as JSON, so that a task may return it.

    `rows` and `columns` (name -> type) are known for Parquet files if pyarrow is installed, otherwise None and empty.
    `ingest_id` is None where the platform has no ingests (command API).
    """

    dataset_id: str
    bytes: int
    rows: int | None
    columns: dict[str, str]
    content_type: str
    filename: str
    ingest_id: str | None


class Checked(TypedDict):
    """What could be found out about an upload without sending it, as JSON, so that a task may return it."""

    dataset_id: str | None
    may_upload: bool | None
    terms_acknowledged: bool | None


class Exported(TypedDict):
    """The result of an export, as JSON, so that a task may return it.

    `rows` is known for Parquet files if pyarrow is installed, otherwise None.
    """

    path: str
    bytes: int
    rows: int | None
    content_type: str
    datasets: list[str]


class CheckedFile(NamedTuple):
    """A file that can be uploaded.

    :ivar content_type: MIME type that it is sent as.
    """

    source: UploadSource
    content_type: str
    contents: Contents


def check(
    source: AnyPath | IO[bytes],
    content_type: str | None = None,
    filename: str | None = None,
    *,
    is_checked: bool = True,
) -> CheckedFile:
    """Find out the format of a file, and check it; see `PolyteiaHook.upload_dataset`.

    :param is_checked: whether to check it, or only to find out its format.
    """
    opened = open_source(source, filename)
    own_name = opened.name if hasattr(source, "read") else to_path(source).name
    kind = content_type or by_extension(own_name, "content_type")
    return CheckedFile(opened, kind, check_file(opened, kind) if is_checked else Contents())


@contextmanager
def convert(
    source: AnyPath | IO[bytes],
    options: bool | Mapping[str, Any],
    content_type: str | None = None,
    filename: str | None = None,
    *,
    previous: Mapping[str, str] | None = None,
    temp_dir: str | None = None,
) -> Iterator[CheckedFile]:
    """Convert a file to Parquet, which is there until the context is left; see `PolyteiaHook.upload_dataset`.

    :param options: the argument ``convert``.
    :param previous: name -> type of each column at the last load, which is kept where the values fit it.
    :raises PolyteiaConfigurationError: if an argument is unusable, or a package is not installed.
    :raises PolyteiaDataError: if the file cannot be converted.
    """
    if content_type is not None:
        raise PolyteiaConfigurationError(
            f"The argument 'content_type' is {content_type!r}, but with 'convert' the file is uploaded as Parquet. "
            "Remove it; the option 'format' of 'convert' sets the format of the source file."
        )
    for module in ("duckdb", "pyarrow"):
        require(module, "files", "The argument 'convert'")
    from airflow_provider_polyteia.tables.conversion.convert import convert_file, parquet_name  # noqa: PLC0415 - heavy

    with convert_file(source, options, previous=previous, temp_dir=temp_dir) as table:
        opened = open_source(table.file, filename or parquet_name(source))
        yield CheckedFile(opened, PARQUET, Contents(table.rows, table.columns))


def upload(
    client: PolyteiaClient,
    api: PlatformAPI,
    dataset_id: str,
    file: CheckedFile,
    *,
    timeout: float | None = None,
) -> Uploaded:
    """Replace a dataset's data with a file; see `PolyteiaHook.upload_dataset`."""
    opened = file.source
    started = client.clock()
    ingest_id = client.run(api.upload(dataset_id, opened, file.content_type, timeout)).ingest_id
    seconds = max(client.clock() - started, 1e-3)
    log.info(
        "Uploaded %r to dataset %r: %s%s in %.1f s (%s/s)%s",
        opened.name,
        dataset_id,
        _format_rows(file.contents.rows),
        format_size(opened.size),
        seconds,
        format_size(opened.size / seconds),
        f"; accepted as ingest {client.credentials.excerpt(ingest_id)!r}" if ingest_id else "",
    )
    return {
        "dataset_id": dataset_id,
        "bytes": opened.size,
        "rows": file.contents.rows,
        "columns": dict(file.contents.columns),
        "content_type": file.content_type,
        "filename": opened.name,
        "ingest_id": ingest_id,
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
    query = Query(statement, ids, list(args or ()))

    target = _destination(destination, content_type)
    return _export(client, api.export(query, target, timeout), target, to_path(destination), ids)


def export_dataset(
    client: PolyteiaClient,
    api: PlatformAPI,
    dataset_id: str,
    destination: AnyPath,
    *,
    content_type: str | None = None,
    timeout: float | None = None,
) -> Exported:
    """Write all data of a dataset to a file; see `PolyteiaHook.export_dataset`."""
    target = _destination(destination, content_type)
    operation = api.export_dataset(dataset_id, target, timeout)
    return _export(client, operation, target, to_path(destination), [dataset_id])


def verify_rows(client: PolyteiaClient, api: PlatformAPI, dataset_id: str, expected: int | None) -> int:
    """Count a dataset's rows on the platform after an upload, and return their number.

    :param expected: number of rows that were uploaded; None if it is not known.
    :raises PolyteiaError: if the platform does not show as many within a minute.
    """
    deadline, delay = client.clock() + VERIFY_TIME, 1.0
    while True:
        rows = _count_rows(client, api, dataset_id)
        if expected is None or rows == expected:
            log.info("Dataset %r has %s rows on the platform.", dataset_id, f"{rows:,}")
            return rows
        if client.clock() + delay > deadline:
            break
        client.sleep(delay)
        delay *= 2
    raise PolyteiaError(
        f"Dataset {dataset_id!r} has {rows:,} rows on the platform (connection {client.config.conn_id!r}), although "
        f"{expected:,} were uploaded. The platform may have stored only a part of them, or another upload may have "
        "replaced the data. Run the task again."
    )


def _count_rows(client: PolyteiaClient, api: PlatformAPI, dataset_id: str) -> int:
    """Count on the platform. As a file, the form of the result is known on both APIs."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and optional

    statement, ids = resolve_references("SELECT count(*) AS row_count FROM {dataset}", {"dataset": dataset_id})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "count.parquet"
        client.run(api.export(Query(statement, ids), _destination(path, PARQUET), None))
        return int(pq.read_table(path).column(0)[0].as_py())


def _destination(destination: AnyPath, content_type: str | None) -> Destination:
    path = to_path(destination)
    kind = content_type or by_extension(path.name, "format")
    return Destination(lambda: atomic_write(path), kind, public_name(path), partial(new_end_check, kind))


def _export(
    client: PolyteiaClient, operation: Operation[int], destination: Destination, path: Any, dataset_ids: list[str]
) -> Exported:
    started = client.clock()
    size = client.run(operation)
    seconds = client.clock() - started
    kind = destination.content_type
    rows = _count_exported_rows(path) if media_type(kind) == PARQUET else None
    log.info(
        "Exported %s%s from %s to %r in %.1f s",
        _format_rows(rows),
        format_size(size),
        " and ".join(map(repr, dataset_ids)) or "a query",
        destination.name,
        seconds,
    )
    return {"path": display_name(path), "bytes": size, "rows": rows, "content_type": kind, "datasets": dataset_ids}


def _format_rows(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,} row{'s' * (rows != 1)}, "


def _count_exported_rows(path: Any) -> int | None:
    """Count the rows of a file that is complete as far as could be checked."""
    try:
        return check_file(open_source(path), PARQUET).rows
    except PolyteiaError as error:
        log.warning("The rows of %r could not be counted: %s", public_name(path), error.__context__ or error)
        return None
