"""Checks of files before they replace anything, and what a Parquet file says about itself."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING

from airflow_provider_polyteia.client.formats import PARQUET_MAGIC
from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.storage import reason, to_path

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.multipart import UploadSource
    from airflow_provider_polyteia.storage import AnyPath


def parquet_rows(source: UploadSource) -> int | None:
    """Check both ends of a Parquet file, and return its number of rows; None if pyarrow is not installed.

    :raises PolyteiaError: if it is not a complete Parquet file, e.g. because it is still being written.
    """
    try:
        with source.open() as file:
            return _read_rows(file, source.size)
    except ValueError as error:
        raise PolyteiaError(
            f"{source.name!r} is not a complete Parquet file. Run the task after the file has been written completely, "
            "or set the argument 'content_type' to its format.",
            not_applied=True,
        ) from error
    except Exception as error:  # whatever a storage layer raises
        raise PolyteiaError(f"{source.name!r} cannot be read: {reason(error)}.", not_applied=True) from error


def parquet_columns(path: AnyPath) -> dict[str, str]:
    """Return name and type of each column of a Parquet file; an empty dict if pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        return {}
    import pyarrow.parquet as pq  # noqa: PLC0415 - imported when the task runs

    with to_path(path).open("rb") as file, pq.ParquetFile(file) as parquet:
        return {field.name: str(field.type) for field in parquet.schema_arrow}


def _read_rows(file: IO[bytes], size: int) -> int | None:
    """Return the number of rows; None if pyarrow is not installed.

    :raises ValueError: if it is not a complete Parquet file.
    """
    magic = len(PARQUET_MAGIC)
    head = file.read(magic)
    file.seek(max(0, size - 2 * magic), os.SEEK_CUR)
    if not head == file.read(magic) == PARQUET_MAGIC:
        raise ValueError("one of its ends is missing")
    if find_spec("pyarrow") is None:
        return None
    import pyarrow as pa  # noqa: PLC0415 - heavy, and optional
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and optional

    try:
        return int(pq.read_metadata(file).num_rows)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
