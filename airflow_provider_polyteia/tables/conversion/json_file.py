"""JSON documents, JSON Lines and GeoJSON.

A document is a list of records, or holds one under a key. JSON says which values are texts, so of these only dates and
timestamps of ISO 8601 get another type. Nested values become JSON texts.
"""

from __future__ import annotations

import json
import logging
import os
import re
from typing import TYPE_CHECKING

import duckdb

from airflow_provider_polyteia.tables.conversion.json_lists import JsonList, copy_range, find_lists
from airflow_provider_polyteia.tables.conversion.options import NDJSON, Options
from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile, to_utf8
from airflow_provider_polyteia.tables.conversion.table import TEXT, Table
from airflow_provider_polyteia.tables.conversion.writer import Writer
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.json_text import check_json
from airflow_provider_polyteia.tables.sql_parts import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

log = logging.getLogger(__name__)

_MAX_RECORD = 64 * 1024 * 1024  # bytes
_MAX_FRAME = 1024 * 1024  # bytes around the features that are searched for the coordinate system
_LINES, _LIST = "newline_delimited", "array"
_NUMBERS = ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE", "BOOLEAN")


def write_json(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return the records of a JSON document, or of JSON Lines, as Parquet.

    :raises Reject: if it is not valid JSON, or holds no list of records.
    """
    _check(file, options)
    if _is_feature_collection(file, options):
        return write_geojson(engine, file, options, previous)
    form = _records(file, options)
    try:
        found = engine.columns(_read_json(file.path, form))
        _check_keys(engine, file.path, form, found)
        relation = _read_json(file.path, form, {name: _read_as(sql_type) for name, sql_type in found.items()})
        return _write(
            engine, Table(relation, _types(found), texts=_texts(found), is_json=True), file, options, previous
        )
    except duckdb.Error as error:
        raise _unreadable(error) from None


def write_geojson(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return the features of GeoJSON as Parquet: their properties, and their geometry as GeoJSON text.

    :raises Reject: if it is not valid GeoJSON.
    """
    _check(file, options)
    features = next((found for found in _lists(file) if found.path == "features"), None)
    if features is None:
        raise Reject("not a FeatureCollection of GeoJSON")
    if features.is_empty:
        raise Reject("a FeatureCollection without features")
    _log_coordinate_system(file, features)
    _keep(file, features)
    try:
        table = _features(engine, file.path)
        return _write(engine, table, file, options, previous)
    except duckdb.Error as error:
        raise _unreadable(error) from None


def _check(file: StagedFile, options: Options) -> None:
    to_utf8(file, options.reader.get("encoding", ""))
    with file.open() as opened:
        size = os.fstat(opened.fileno()).st_size
    for _ in check_json(file.open, file.head(), size):
        pass  # what is suspicious as it is, is decided here


def _is_feature_collection(file: StagedFile, options: Options) -> bool:
    """Return True for GeoJSON under the name of JSON."""
    if options.format == NDJSON or "records" in options.reader:
        return False
    return b'"FeatureCollection"' in file.head() and any(found.path == "features" for found in _lists(file))


def _records(file: StagedFile, options: Options) -> str:
    """Leave the list of records in the file, and return its form."""
    path = options.reader.get("records", "")
    if options.format == NDJSON or (not path and _is_lines(file)):
        return _LINES
    lists = list(_lists(file))
    wanted = next((found for found in lists if found.path == path), None)
    if wanted is not None and wanted.is_empty:
        raise Reject("a list without records")
    if wanted is None:
        there = ", ".join(repr(found.path) for found in lists)
        advice = f"Set 'records' in the argument 'convert' to the key of its list: {there}." if there else ""
        raise Reject(f"one JSON object without a list {path!r}" if path else "one JSON object, no list", advice)
    if path:
        _keep(file, wanted)
    return _LIST


def _check_keys(engine: Engine, path: str, form: str, found: Mapping[str, str]) -> None:
    """Refuse keys that differ in case only: DuckDB renames one of them, and would then not find its values."""
    if list(found) == ["json"]:
        raise Reject("a list of values, not of records")
    names = {name.casefold() for name in found}
    renamed = [name for name in found if re.sub(r"(_\d+)+$", "", name).casefold() in names - {name.casefold()}]
    if renamed:
        objects = f"read_json_objects({literal(path)}, format = {literal(form)}, maximum_object_size = {_MAX_RECORD})"
        keys = engine.first(f"SELECT list(DISTINCT key) FROM (SELECT unnest(json_keys(json)) AS key FROM {objects})")[0]
        if not set(found) <= set(keys):
            raise Reject("JSON with keys that differ in upper and lower case only", "Rename one of them.")


def _is_lines(file: StagedFile) -> bool:
    """Return True if a file holds several documents, one per line."""
    with file.open() as opened:
        lines = iter(lambda: opened.readline(_MAX_RECORD), b"")
        filled = (line for line in lines if line.strip())
        first, second = next(filled, b""), next(filled, b"")
    if not second or not first.lstrip().startswith(b"{"):
        return False
    try:
        json.loads(first)
    except ValueError:
        return False
    return True


def _lists(file: StagedFile) -> Iterator[JsonList]:
    with file.open() as opened:
        yield from find_lists(opened)


def _keep(file: StagedFile, part: JsonList) -> None:
    with file.open() as opened:
        file.replace(copy_range(opened, part.start, part.end))


def _read_json(path: str, form: str, columns: Mapping[str, str] | None = None) -> str:
    settings = {"format": literal(form), "maximum_object_size": str(_MAX_RECORD)}
    if columns:
        typed = ", ".join(f"{literal(name)}: {literal(sql_type)}" for name, sql_type in columns.items())
        settings["columns"] = f"{{{typed}}}"
    else:
        # Neither maps nor JSON instead of columns, however seldom a key occurs.
        settings |= {"sample_size": "-1", "map_inference_threshold": "-1", "field_appearance_threshold": "0"}
        settings |= {"records": "true"}
    return f"read_json({literal(path)}, {', '.join(f'{name} = {value}' for name, value in settings.items())})"


def _read_as(sql_type: str) -> str:
    """Return the type as which values are read: numbers and booleans as they are, all others as text."""
    return sql_type if sql_type in _NUMBERS else TEXT


def _types(found: Mapping[str, str]) -> dict[str, str]:
    return {name: _read_as(sql_type) for name, sql_type in found.items()}


def _texts(found: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name, sql_type in found.items() if _read_as(sql_type) == TEXT)


def _features(engine: Engine, path: str) -> Table:
    found = engine.columns(_read_json(path, _LIST))
    properties: dict[str, str] = {}
    if found.get("properties", "").startswith("STRUCT("):
        properties = engine.columns(f"(SELECT unnest(properties) FROM {_read_json(path, _LIST)})")
    fields = ", ".join(f"{quoted(name)} {_read_as(sql_type)}" for name, sql_type in properties.items())
    columns = {"properties": f"STRUCT({fields})"} if fields else {}
    geometry = "geometry" if "geometry" not in map(str.casefold, properties) else "geometry_2"
    unnested = "unnest(properties), " if fields else ""
    read = _read_json(path, _LIST, {**columns, "geometry": "JSON"})
    relation = f"(SELECT {unnested}CAST(geometry AS {TEXT}) AS {geometry} FROM {read})"
    return Table(relation, {**_types(properties), geometry: TEXT}, texts=_texts(properties), is_json=True)


def _write(
    engine: Engine, table: Table, file: StagedFile, options: Options, previous: Mapping[str, str]
) -> StagedTable:
    return Writer(engine, table, options, file.name, previous, lambda row: f"record {row}").write()


def _log_coordinate_system(file: StagedFile, features: JsonList) -> None:
    with file.open() as opened:
        size = os.fstat(opened.fileno()).st_size
        if size - (features.end - features.start) > _MAX_FRAME:
            return
        before = b"".join(copy_range(opened, 0, features.start))
        after = b"".join(copy_range(opened, features.end, size))
    document = json.loads(before + b"[]" + after)
    name = document.get("crs") and document["crs"].get("properties", {}).get("name")
    log.info("The coordinates of %r are in %s", file.name, name or "WGS 84 (longitude, latitude), GeoJSON's own")


def _unreadable(error: duckdb.Error) -> Reject:
    """Return the exception for what DuckDB cannot read; its text would contain values."""
    return Reject(f"JSON that cannot be read as a table ({type(error).__name__})")
