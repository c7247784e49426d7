"""What the end of a Parquet file tells about its columns."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_polyteia.hooks.files import AnyPath


def columns_of(source: AnyPath) -> dict[str, str]:
    """Return name and type of each column of a Parquet file; nothing if pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        return {}
    import pyarrow.parquet as pq  # noqa: PLC0415 - imported when the task runs

    from airflow_provider_polyteia.hooks.files import path_of  # noqa: PLC0415 - as above

    with path_of(source).open("rb") as file, pq.ParquetFile(file) as parquet:
        return {field.name: str(field.type) for field in parquet.schema_arrow}
