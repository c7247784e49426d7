"""JSON documents, JSON Lines and GeoJSON.

A document is a list of records, or holds one under a key. JSON says which values are texts, so of these only dates and
timestamps of ISO 8601 get another type. Nested values become JSON texts.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from airflow_provider_polyteia.tables.conversion.geojson import FEATURES, write_features, write_geojson
from airflow_provider_polyteia.tables.conversion.json_mistakes import LINES, LIST, MAX_RECORD
from airflow_provider_polyteia.tables.conversion.json_records import (
    Records,
    check,
    keep,
    lists_in,
    table_of,
    write_records,
)
from airflow_provider_polyteia.tables.conversion.options import NDJSON, Options
from airflow_provider_polyteia.tables.file_checks.errors import Reject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile
    from airflow_provider_polyteia.tables.conversion.table import Table
    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

__all__ = ("write_geojson", "write_json")

_UNNAMED = re.compile(r"C\d+")  # how DuckDB names the column of an empty key


def write_json(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return the records of a JSON document, or of JSON Lines, as Parquet.

    :raises Reject: if it is not valid JSON, or holds no list of records.
    """
    numbers = check(file, options)
    if _is_feature_collection(file, options):
        return write_features(engine, file, options, previous, numbers)
    form = _find_records(file, options)
    return write_records(engine, _table, file, form, options=options, previous=previous, numbers=numbers)


def _is_feature_collection(file: StagedFile, options: Options) -> bool:
    """Return True for GeoJSON under the name of JSON."""
    if options.format == NDJSON or "records" in options.reader:
        return False
    return b'"FeatureCollection"' in file.head() and any(found.path == FEATURES for found in lists_in(file))


def _find_records(file: StagedFile, options: Options) -> str:
    """Leave the list of records in the file, and return its form."""
    path = options.reader.get("records", "")
    if options.format == NDJSON or (not path and _is_lines(file)):
        return LINES
    lists = list(lists_in(file))
    wanted = [found for found in lists if found.path == path]
    if len(wanted) > 1:
        raise Reject(f"JSON with several lists under the key {path!r}")
    if wanted and wanted[0].is_empty:
        raise Reject("a list without records")
    if not wanted:
        there = ", ".join(repr(found.path) for found in lists)
        advice = f"Set 'records' in the argument 'convert' to the key of its list: {there}." if there else ""
        raise Reject(f"one JSON object without a list {path!r}" if path else "one JSON object, not a list", advice)
    if path:
        keep(file, wanted[0])
    return LIST


def _is_lines(file: StagedFile) -> bool:
    """Return True if a file holds several documents, one per line."""
    with file.open() as opened:
        lines = iter(lambda: opened.readline(MAX_RECORD), b"")
        filled = (line for line in lines if line.strip())
        first, second = next(filled, b""), next(filled, b"")
    if not second or not first.lstrip().startswith(b"{"):
        return False
    try:
        json.loads(first, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True


def _table(records: Records) -> Table:
    found = records.columns()
    _check_keys(records, found)
    fields = records.fields(found)
    return table_of(fields, records.read_columns({name: field.read_as for name, field in fields.items()}))


def _check_keys(records: Records, found: Mapping[str, str]) -> None:
    """Reject keys that are empty or differ in case only: DuckDB renames these, and would then not find their values."""
    names = {name.casefold() for name in found}
    originals = {name: re.sub(r"(_\d+)+$", "", name) for name in found}
    renamed = [
        name
        for name, original in originals.items()
        if _UNNAMED.fullmatch(original) or original.casefold() in names - {name.casefold()}
    ]
    if renamed and not set(found) <= records.all_keys():
        raise records.mistake("JSON with keys that are empty, or differ in upper and lower case only")
