"""Trino, through its own client, which reports the type of each column as Trino writes it.

=====================================  ================================================================
Trino                                  Parquet
=====================================  ================================================================
tinyint, smallint, integer, bigint     integers of 8, 16, 32 and 64 bits
boolean                                boolean
real, double                           floating-point numbers of 32 and 64 bits
decimal(p, s)                          decimal(p, s)
number                                 decimal with 38 digits, as many decimal places as the values need
date, time(p)                          date, time
timestamp(p)                           timestamp; the client rounds to microseconds
timestamp(p) with time zone            timestamp in UTC
varbinary                              binary
interval ...                           text in ISO 8601, such as P1DT2H and -P1Y2M
array, map, row                        text in JSON; decimals, dates and the like are texts in it
varchar, char, json, uuid and others   text
=====================================  ================================================================

Trino writes a timestamp with a time zone as local time. In the hour that a zone has twice a year, the client takes the
first one.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.tables.casts import MAX_DIGITS
from airflow_provider_polyteia.tables.columns import DeclaredColumn, InferredColumn
from airflow_provider_polyteia.tables.error_texts import without_values
from airflow_provider_polyteia.tables.readers.base import ReadError
from airflow_provider_polyteia.tables.readers.drivers.base import Driver, days_to_iso, months_to_iso
from airflow_provider_polyteia.tables.sql_types import parse_decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.readers.base import Query

_NUMBER = "number"  # a decimal without digits
_ANY_DECIMAL = f"decimal128({MAX_DIGITS}, "
_TYPES = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "varbinary": pa.binary(),
}
_PRECISION = re.compile(r"\(\d+\)")
_NESTED = ("array", "map", "row")
_BEGINNING = re.compile(r"[a-z]+")
# Trino says where in the SQL an error is if it finds it before the query runs, so the text has no values of rows.
_IN_SQL = re.compile(r"line \d+:\d+: ")
_DIGITS = re.compile(r"\d+")
_OF_CONNECTION = ("TrinoAuthError", "TrinoConnectionError")


class TrinoDriver(Driver):
    """A connection of Trino's client. It has no transaction: each query is one."""

    def __init__(self, connection: Any, open_connection: Callable[[], Any]) -> None:
        super().__init__(connection, open_connection)
        self._cursor: Any = None

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query and yield its rows, which are streamed."""
        exceptions = importlib.import_module("trino.exceptions")
        try:
            yield from super().read(query)
        except (exceptions.Error, exceptions.HttpError, ValueError, OverflowError) as error:
            raise _without_values(error, query.sql) from None

    def open_cursor(self) -> Any:
        """Return a cursor with Python values, even if the connection is set to those of the protocol."""
        self._cursor = self.connection.cursor(legacy_primitive_types=False)
        return self._cursor

    def columns(self, cursor: Any, query: Query) -> list[Column]:
        """Return the columns with the types that the client reports."""
        return [_to_column(column[0], column[1], query.last.get(column[0], "")) for column in cursor.description]

    def cancel(self) -> None:
        """Cancel the query. Called from another thread."""
        if self._cursor is not None:
            self._cursor.cancel()


def _to_column(name: str, type_name: str, last: str) -> Column:
    """Return the column for a type, as Trino writes it, such as ``timestamp(3) with time zone``."""
    if type_name == _NUMBER:
        return InferredColumn(name, last if last.startswith(_ANY_DECIMAL) else f"{_ANY_DECIMAL}0)")
    beginning = _BEGINNING.match(type_name)
    if beginning is not None and beginning[0] in _NESTED:
        return DeclaredColumn(name, pa.string(), _to_json)
    wanted = parse_decimal(type_name.upper()) or _TYPES.get(_PRECISION.sub("", type_name), pa.string())
    return DeclaredColumn(name, wanted, _CONVERTERS.get(type_name, str if pa.types.is_string(wanted) else None))


def _to_json(value: Any) -> str:
    return json.dumps(_to_plain(value), ensure_ascii=False, allow_nan=False)


def _to_plain(value: Any) -> Any:
    """Return a nested value as JSON has it: rows with names as objects, what JSON does not have as text."""
    if isinstance(value, dict):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = list(map(_to_plain, value))
        names = getattr(value, "__annotations__", {}).get("names", [])
        has_names = bool(names) and None not in names and len(set(names)) == len(names)
        return dict(zip(names, items, strict=True)) if has_names else items
    if isinstance(value, bytes):
        return value.hex()
    is_plain = (
        value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    )
    return value if is_plain else str(value)


def _months_to_text(value: Any) -> str:
    return months_to_iso(12 * value.years + value.months)


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "interval day to second": days_to_iso,
    "interval year to month": _months_to_text,
}


def _without_values(error: Exception, sql: str) -> ReadError:
    """Return the exception for an error of the client; its text has no value of a row or of a parameter."""
    kind, message = type(error).__name__, getattr(error, "message", "")
    name = getattr(error, "error_name", None)
    if kind in _OF_CONNECTION:
        return ReadError(f"{kind}: {error}")
    place = _IN_SQL.match(message)
    if place is not None:
        text = without_values(message[place.end() :], sql)
        text = _DIGITS.sub(lambda found: found[0] if found[0] in sql else "...", text)  # of a parameter
        return ReadError(f"{kind} {name}: {place[0]}{text}")
    return ReadError(f"{kind} {name or ''}".strip())
