"""What the end of a Parquet file tells about it."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_polyteia.hooks.files import AnyPath

log = logging.getLogger(__name__)


def rows_and_columns(source: AnyPath) -> tuple[int | None, dict[str, str]]:
    """Return the number of rows, and name and type of each column; nothing where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        return None, {}
    import pyarrow as pa  # noqa: PLC0415 - imported when the task runs
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    from airflow_provider_polyteia.hooks.files import path_of  # noqa: PLC0415 - as above

    try:
        with path_of(source).open("rb") as file, pq.ParquetFile(file) as parquet:
            return parquet.metadata.num_rows, {field.name: str(field.type) for field in parquet.schema_arrow}
    except pa.ArrowInvalid as error:
        log.warning("%s was uploaded as Parquet, but cannot be read as such: %s", source, error)
        return None, {}
