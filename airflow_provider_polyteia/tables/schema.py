"""Rows of Python values into record batches, where the database does not say of what types they are.

Each column has the narrowest type that holds all of its values so far; it never becomes narrower again. A column
without a value has the type null, which anything widens.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.tables.staging import is_number, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_INT64 = range(-(2**63), 2**63)
# Kinds of values, each with what it widens to when it meets another; whatever is not here widens to text.
_WIDER = {
    frozenset(("boolean", "integer")): "integer",
    frozenset(("boolean", "number")): "number",
    frozenset(("boolean", "float")): "float",
    frozenset(("integer", "number")): "number",
    frozenset(("integer", "float")): "float",
    frozenset(("number", "float")): "float",
    frozenset(("date", "timestamp")): "timestamp",
}
_FIELDS: dict[str, Callable[[str], pa.Field]] = {
    "null": lambda name: pa.field(name, pa.null()),
    "boolean": lambda name: pa.field(name, pa.bool_()),
    "integer": lambda name: pa.field(name, pa.int64()),
    "number": number,
    "float": lambda name: pa.field(name, pa.float64()),
    "date": lambda name: pa.field(name, pa.date32()),
    "time": lambda name: pa.field(name, pa.time64("us")),
    "timestamp": lambda name: pa.field(name, pa.timestamp("us")),
    "timestamp with zone": lambda name: pa.field(name, pa.timestamp("us", "UTC")),
    "bytes": lambda name: pa.field(name, pa.binary()),
    "text": lambda name: pa.field(name, pa.string()),
}
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "float",
    Decimal: "number",
    dt.date: "date",
    dt.time: "time",
    dt.datetime: "timestamp",
    bytes: "bytes",
    bytearray: "bytes",
    memoryview: "bytes",
}


class Columns:
    """Builds record batches, and widens the types of columns on the way."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._kinds = ["null"] * len(names)

    def batch(self, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
        """Return rows as a record batch, in the types found so far.

        :raises PolyteiaError: naming the column, if a value does not fit its type.
        """
        columns = _transposed(rows, len(self._names))
        found = [_kinds_in(column) for column in columns]
        self._kinds = [_widened(kind, kinds) for kind, kinds in zip(self._kinds, found, strict=True)]
        fields = [_FIELDS[kind](name) for kind, name in zip(self._kinds, self._names, strict=True)]
        converted = [
            _converted(column, kind) if kind in _ALWAYS_CONVERTED or not kinds <= {"null", kind} else column
            for column, kind, kinds in zip(columns, self._kinds, found, strict=True)
        ]
        return _build(fields, converted)


def typed_batch(fields: Sequence[pa.Field], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows as a record batch of known types.

    :raises PolyteiaError: naming the column, if a value does not fit its type.
    """
    columns = _transposed(rows, len(fields))
    kinds = ["number" if is_number(field) else _KIND_OF_TYPE.get(field.type.id, "") for field in fields]
    return _build(fields, [_converted(column, kind) for column, kind in zip(columns, kinds, strict=True)])


def _transposed(rows: Sequence[Sequence[Any]], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _build(fields: Sequence[pa.Field], columns: Sequence[Iterable[Any]]) -> pa.RecordBatch:
    arrays = [_array(field, column) for field, column in zip(fields, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _array(field: pa.Field, column: Iterable[Any]) -> pa.Array:
    try:
        return pa.array(column, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise PolyteiaError(
            f"A value in column {field.name!r} does not fit the type {field.type}: {error}. Cast the column to a "
            "definite type in the SQL. Nothing was uploaded."
        ) from error


def _converted(column: Sequence[Any], kind: str) -> Iterable[Any]:
    convert = _CONVERT.get(kind)
    return column if convert is None else (None if value is None else convert(value) for value in column)


def _widened(kind: str, kinds: set[str]) -> str:
    for other in kinds:
        if kind == "null":
            kind = other
        elif other not in ("null", kind):
            kind = _WIDER.get(frozenset((kind, other)), "text")
    return kind


def _kinds_in(column: Sequence[Any]) -> set[str]:
    kinds = {_KINDS.get(kind, "text") for kind in set(map(type, column))}
    if "integer" in kinds and any(value not in _INT64 for value in column if type(value) is int):
        kinds.add("number")
    if "timestamp" in kinds:
        kinds.remove("timestamp")
        moments = (value for value in column if type(value) is dt.datetime)
        kinds |= {"timestamp" if moment.tzinfo is None else "timestamp with zone" for moment in moments}
    return kinds


def _digits(value: Any) -> str:
    return format(Decimal(value), "f")


def _float(value: Any) -> float:
    number = float(value)
    if isinstance(value, int) and int(number) != value:
        raise ValueError(f"{value} is no exact float")
    return number


def _timestamp(value: dt.date) -> dt.datetime:
    return value if isinstance(value, dt.datetime) else dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - it has no zone


def _text(value: Any) -> str:
    """Return a value as text: JSON for what is nested, Arrow's form for what has a type of its own."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    kind = _KINDS.get(type(value))
    if kind in (None, "integer"):
        return str(value)
    if kind in _ALWAYS_CONVERTED:
        return _digits(value) if kind == "number" else bytes(value).decode()
    return str(pa.scalar(value).cast(pa.string()))


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "integer": int,
    "number": _digits,
    "float": _float,
    "timestamp": _timestamp,
    "bytes": bytes,
    "text": _text,
}
# These may have values of several Python types, or are written differently.
_ALWAYS_CONVERTED = ("number", "bytes", "text")
_KIND_OF_TYPE = {pa.string().id: "text", pa.binary().id: "bytes"}
