"""GeoJSON: a row per feature, with its id, its properties and its geometry."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.tables.conversion.json_mistakes import LIST
from airflow_provider_polyteia.tables.conversion.json_records import (
    Field,
    Records,
    check,
    keep,
    lists_in,
    table_of,
    write_records,
)
from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile, copy_range
from airflow_provider_polyteia.tables.conversion.table import TEXT, Table
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.sql_parts import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provider_polyteia.tables.conversion.json_lists import JsonList
    from airflow_provider_polyteia.tables.conversion.json_numbers import NumberCheck
    from airflow_provider_polyteia.tables.conversion.options import Options
    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

log = logging.getLogger(__name__)

FEATURES = "features"
_PROPERTIES, _GEOMETRY, _ID = "properties", "geometry", "id"
_MEMBERS = {"type", "bbox", "geometry_name", _PROPERTIES, _GEOMETRY, _ID}  # of a feature; one is of GeoServer
_MAX_FRAME = 1024 * 1024  # bytes around the features that are searched for the coordinate system
_UNNAMED = re.compile(r"(element\d+)?")  # how DuckDB names what an empty key contains


def write_geojson(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return the features of GeoJSON as Parquet: their ids, their properties, and their geometry as GeoJSON text.

    :raises Reject: if it is not valid GeoJSON.
    """
    return write_features(engine, file, options, previous, check(file, options))


def write_features(
    engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str], numbers: NumberCheck
) -> StagedTable:
    """Return the features of GeoJSON that is checked already.

    :raises Reject: if it is not valid GeoJSON.
    """
    found = [each for each in lists_in(file) if each.path == FEATURES]
    if not found:
        raise Reject("not a FeatureCollection of GeoJSON")
    if len(found) > 1:
        raise Reject(f"GeoJSON with the key {FEATURES!r} twice")
    features = found[0]
    if features.is_empty:
        raise Reject("a FeatureCollection without features")
    _log_coordinate_system(file, features)
    keep(file, features)
    unknown: set[str] = set()
    table = write_records(
        engine,
        lambda records: _features(records, unknown, previous),
        file,
        LIST,
        options=options,
        previous=previous,
        numbers=numbers,
        within=_PROPERTIES,
    )
    if unknown:
        log.warning(
            "The features of %r also have %s, which are left out: GeoJSON has no such members",
            file.name,
            ", ".join(map(repr, sorted(unknown))),
        )
    return table


def _features(records: Records, unknown: set[str], previous: Collection[str]) -> Table:
    """Return the table of features.

    :param unknown: set to which the keys are added that GeoJSON does not define.
    :param previous: names of the columns at the last load.
    """
    found = records.columns()
    unknown |= set(found) - _MEMBERS
    properties = records.fields(_properties(records, found))
    geometry = Field("JSON", records.numbers.text(f"CAST({quoted(_GEOMETRY)} AS {TEXT})"), TEXT)
    types = records.nested({name: field.read_as for name, field in properties.items()})
    ids: dict[str, Field] = {}
    name = _unique("feature_id" if _contains(properties, _ID) else _ID, properties)
    field = _id(records, found)
    if field and (name in previous or not _are_positions(records)):
        ids[name] = field
        types[_ID] = field.read_as
    source = records.read({**types, _GEOMETRY: geometry.read_as})
    return table_of(properties, source, before=ids, after={_unique(_GEOMETRY, (*ids, *properties)): geometry})


def _properties(records: Records, found: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of the properties, and the types of their values.

    :raises Reject: if they are not objects, or have an empty key.
    """
    if not found.get(_PROPERTIES, "").startswith("STRUCT("):
        if records.has(f"json_type(json, '$.{_PROPERTIES}') NOT IN ('OBJECT', 'NULL')"):
            raise records.mistake("GeoJSON with properties that are not objects")
        if "" in records.all_keys():
            raise records.mistake("GeoJSON with an empty key in the properties of a feature")
        return {}
    types = records.engine.columns(f"(SELECT unnest({_PROPERTIES}) FROM {records.read()})")
    if any(map(_UNNAMED.fullmatch, types)) and "" in records.all_keys():
        raise records.mistake("GeoJSON with an empty key in the properties of a feature")
    return types


def _id(records: Records, found: Mapping[str, str]) -> Field | None:
    """Return how the ids of the features are read, or None if none of them has an id."""
    if _ID not in found:
        return None
    top = records.top
    if found[_ID] == "JSON" and not top.has(f"json_type(json, '$.{_ID}') <> 'NULL'"):
        return None
    return top.fields({_ID: found[_ID]})[_ID]


def _are_positions(records: Records) -> bool:
    """Return True if the ids are the numbers of the features in the file, which say nothing about these."""
    numbered = f"(SELECT row_number() OVER () AS number, {_ID} FROM {records.top.read_columns({_ID: TEXT})})"
    same = (f"bool_and({_ID} IS NOT DISTINCT FROM CAST(number - {first} AS {TEXT}))" for first in (0, 1))
    return any(records.engine.first(f"SELECT {', '.join(same)} FROM {numbered}"))


def _contains(names: Collection[str], name: str) -> bool:
    return name.casefold() in map(str.casefold, names)


def _unique(name: str, others: Collection[str]) -> str:
    """Return a name that others do not have, in upper or lower case."""
    unique, number = name, 1
    while _contains(others, unique):
        number += 1
        unique = f"{name}_{number}"
    return unique


def _log_coordinate_system(file: StagedFile, features: JsonList) -> None:
    with file.open() as opened:
        size = os.fstat(opened.fileno()).st_size
        if size - (features.end - features.start) > _MAX_FRAME:
            return
        before = b"".join(copy_range(opened, 0, features.start))
        after = b"".join(copy_range(opened, features.end, size))
    try:
        document = json.loads(before + b"[]" + after)
    except (ValueError, RecursionError):
        return
    stated = document.get("crs")
    name = _coordinate_system(stated) or ("a system that cannot be read" if stated else "")
    log.info("The coordinates of %r are in %s", file.name, name or "WGS 84 (longitude, latitude), GeoJSON's own")


def _coordinate_system(stated: Any) -> str:
    """Return the name of a coordinate system, or the address of its definition, or an empty text."""
    if isinstance(stated, dict):
        properties = stated.get("properties")
        stated = (properties.get("name") or properties.get("href")) if isinstance(properties, dict) else None
    return stated if isinstance(stated, str) else ""
