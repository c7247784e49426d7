"""The entry point of conversions: reads a file of any format, and writes its table as Parquet."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaDataError, PolyteiaError, log_cause
from airflow_provider_polyteia.storage import display_name, file_name, open_source, reason, to_path
from airflow_provider_polyteia.tables.conversion.csv_file import write_csv
from airflow_provider_polyteia.tables.conversion.json_file import write_geojson, write_json
from airflow_provider_polyteia.tables.conversion.options import (
    CSV,
    GEOJSON,
    JSON,
    NDJSON,
    PARQUET,
    TSV,
    WORKBOOK,
    parse,
    without_compression,
)
from airflow_provider_polyteia.tables.conversion.parquet_files import (
    WILDCARDS,
    find_folder,
    write_folder,
    write_parquet,
)
from airflow_provider_polyteia.tables.conversion.staged_file import member_name, stage
from airflow_provider_polyteia.tables.conversion.workbook import write_workbook
from airflow_provider_polyteia.tables.engine import MEMORY_LIMIT, Engine
from airflow_provider_polyteia.tables.file_checks.errors import NOTHING_SENT, Reject
from airflow_provider_polyteia.tables.interruptible import run_interruptible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO

    from airflow_provider_polyteia.storage import AnyPath
    from airflow_provider_polyteia.tables.staging import StagedTable

T = TypeVar("T")

log = logging.getLogger(__name__)

_WRITERS = {
    CSV: write_csv,
    TSV: write_csv,
    JSON: write_json,
    NDJSON: write_json,
    GEOJSON: write_geojson,
    PARQUET: write_parquet,
    WORKBOOK: write_workbook,
}


def convert_file(
    source: AnyPath | IO[bytes],
    convert: bool | Mapping[str, Any],
    *,
    previous: Mapping[str, str] | None = None,
    temp_dir: str | None = None,
) -> StagedTable:
    """Return the table in a file as Parquet, in a temporary file.

    :param source: as of `PolyteiaHook.upload_dataset`; a folder or a pattern for Parquet files.
    :param convert: True, or a mapping with ``format`` and options of its reader (docs/transfers.md#converting-files).
    :param previous: name -> type of each column at the last load, which is kept where the values fit it.
    :param temp_dir: directory of temporary files. Default: the system's temporary directory.
    :raises PolyteiaConfigurationError: if an option is unusable, or the format is not known.
    :raises PolyteiaDataError: if the file has not the format, or a value does not fit its type.
    :raises PolyteiaError: if the file cannot be read, or the temporary file not be written.
    """
    started = time.monotonic()
    with Engine(temp_dir) as engine:
        table = run_interruptible(
            lambda: _convert(engine, source, convert, previous=previous or {}, temp_dir=temp_dir),
            engine.cancel,
        )
    rows = f"{table.rows:,} row{'s' * (table.rows != 1)}"
    log.info("Converted %r: %s in %.1f s", display_name(_name(source)), rows, time.monotonic() - started)
    return table


def _convert(
    engine: Engine,
    source: Any,
    convert: bool | Mapping[str, Any],
    *,
    previous: Mapping[str, str],
    temp_dir: str | None,
) -> StagedTable:
    name = display_name(_name(source))
    try:
        folder = _from_storage(name, lambda: None if hasattr(source, "read") else find_folder(source))
        if folder is not None:
            return write_folder(engine, folder, parse(convert, f"x.{PARQUET}"), previous)
        opened = open_source(source)
        is_archive = name.lower().endswith(".zip")
        options = parse(convert, _from_storage(name, lambda: member_name(opened)) if is_archive else name)
        unpacks = is_archive or options.format != WORKBOOK
        with ExitStack() as unused:
            with _from_storage(name, lambda: stage(opened, temp_dir, is_archive=unpacks)) as file:
                table = unused.enter_context(_WRITERS[options.format](engine, file, options, previous))
            unused.pop_all()
            return table
    except Reject as rejected:
        log_cause(rejected.__cause__)
        raise PolyteiaDataError(
            f"{name!r} cannot be converted: it is {rejected.found}. {rejected.advice} {NOTHING_SENT}",
            not_applied=True,
        ) from None
    except duckdb.InterruptException:
        raise
    except duckdb.OutOfMemoryException:
        raise PolyteiaDataError(
            f"{name!r} cannot be converted: its rows are so large that DuckDB needs more memory for them than it may "
            f"use, {MEMORY_LIMIT}. Convert it to Parquet before the upload. {NOTHING_SENT}",
            not_applied=True,
        ) from None
    except (duckdb.Error, pa.ArrowException) as error:  # their texts may contain values
        raise PolyteiaDataError(
            f"{name!r} cannot be converted ({type(error).__name__}). {NOTHING_SENT}", not_applied=True
        ) from None


def _from_storage(name: str, read: Callable[[], T]) -> T:
    """Read from a storage, which may raise anything."""
    try:
        return read()
    except (PolyteiaError, Reject):
        raise
    except Exception as error:  # noqa: BLE001 - a storage layer may raise anything
        log_cause(error)
        raise PolyteiaError(f"{name!r} cannot be read: {reason(error)}.", not_applied=True) from None


def parquet_name(source: Any) -> str:
    """Return the file name of what a source is converted to."""
    name = without_compression(_name(source))
    stem, dot, _ = name.rpartition(".")
    stem = stem if dot else name
    return "data.parquet" if not stem or any(wildcard in stem for wildcard in WILDCARDS) else f"{stem}.parquet"


def _name(source: Any) -> str:
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return Path(name).name if isinstance(name, str) else "data"
    return file_name(to_path(source))
