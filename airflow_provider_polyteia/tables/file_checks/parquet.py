"""Checks that a Parquet file is complete, and what it says about itself."""

from __future__ import annotations

import os
from importlib.util import find_spec
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, NamedTuple

from airflow_provider_polyteia.client.formats import PARQUET_MAGIC
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.signatures import PARQUET, recognize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.tables.file_checks.text import Open

_INCOMPLETE = "Run the task after the file has been written completely."


class Contents(NamedTuple):
    """What is known about the table in a file.

    :ivar rows: number of rows; None if it is not known.
    :ivar columns: name -> type of each column; empty if they are not known.
    """

    rows: int | None = None
    columns: Mapping[str, str] = MappingProxyType({})


def check_parquet(open_file: Open, head: bytes, size: int) -> Contents:
    """Check a Parquet file, and return what it contains, as far as it is known without pyarrow.

    :param size: of the file, in bytes.
    :raises Reject: if one of its ends is missing, its metadata cannot be read, or it has no columns.
    """
    found = recognize(head).found
    if found != PARQUET:
        raise Reject(found or "not a complete Parquet file", _INCOMPLETE if not found else "")
    with open_file() as file:
        return _read_contents(file, size)


def _read_contents(file: IO[bytes], size: int) -> Contents:
    magic = len(PARQUET_MAGIC)
    file.seek(max(magic, size - magic), os.SEEK_CUR)
    if file.read(magic) != PARQUET_MAGIC:
        raise Reject("not a complete Parquet file: its end is missing", _INCOMPLETE)
    if find_spec("pyarrow") is None:
        return Contents()
    import pyarrow as pa  # noqa: PLC0415 - heavy, and optional
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and optional

    try:
        metadata = pq.read_metadata(file)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the storage; Arrow's own have no number
            raise
        raise Reject("not a complete Parquet file: its metadata is damaged", _INCOMPLETE) from error
    if not metadata.num_columns:
        raise Reject("a Parquet file without columns")
    return Contents(metadata.num_rows, {field.name: str(field.type) for field in schema})
