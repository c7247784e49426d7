"""The types that Python values have in a table, and how values of several types become one column.

A column has the narrowest type that holds all of its values so far. It is only ever promoted to a wider one.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from enum import Enum
from functools import reduce
from types import NoneType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.tables.casts import build
from airflow_provider_polyteia.tables.staging import is_provisional_decimal, provisional_decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_INT64 = range(-(2**63), 2**63)


def _field_factory(arrow_type: pa.DataType) -> Callable[[str], pa.Field]:
    return lambda name: pa.field(name, arrow_type)


def _to_digits(value: Any) -> str:
    return format(Decimal(value), "f")


def _to_float(value: Any) -> float:
    converted = float(value)
    if isinstance(value, int) and int(converted) != value:
        raise ValueError(f"{value} cannot be represented exactly as a float")
    return converted


def _to_datetime(value: dt.date) -> dt.datetime:
    return value if isinstance(value, dt.datetime) else dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a date has no time zone


def to_text(value: Any) -> str:
    """Return a value as text: nested values as JSON, values with an Arrow type in Arrow's format."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    match ColumnType.from_python_type(type(value)):
        case ColumnType.TEXT | ColumnType.INTEGER:
            return str(value)
        case ColumnType.DECIMAL:
            return _to_digits(value)
        case ColumnType.BINARY:
            return bytes(value).decode()
    return str(pa.scalar(value).cast(pa.string()))


class ColumnType(Enum):
    """The types a column can be inferred to have.

    Each member lists the Python types of its values, a factory for its Arrow field, a converter for values of other
    types (needed after a promotion), and whether even its own values need the converter, because they have several
    Python types or are stored in a different form.
    """

    # Python types, Arrow field, converter, whether always converted
    NULL = (NoneType,), _field_factory(pa.null())
    BOOLEAN = (bool,), _field_factory(pa.bool_())
    INTEGER = (int,), _field_factory(pa.int64()), int
    DECIMAL = (Decimal,), provisional_decimal, _to_digits, True
    FLOAT = (float,), _field_factory(pa.float64()), _to_float
    DATE = (dt.date,), _field_factory(pa.date32())
    TIME = (dt.time,), _field_factory(pa.time64("us"))
    TIMESTAMP = (dt.datetime,), _field_factory(pa.timestamp("us")), _to_datetime
    TIMESTAMP_TZ = (), _field_factory(pa.timestamp("us", "UTC"))  # datetimes too, but with a time zone
    BINARY = (bytes, bytearray, memoryview), _field_factory(pa.binary()), bytes, True
    TEXT = (str,), _field_factory(pa.string()), to_text, True  # and every Python type not listed here

    python_types: tuple[type, ...]
    to_field: Callable[[str], pa.Field]
    converter: Callable[[Any], Any] | None
    always_converted: bool

    def __init__(
        self,
        python_types: tuple[type, ...],
        to_field: Callable[[str], pa.Field],
        converter: Callable[[Any], Any] | None = None,
        always_converted: bool = False,
    ) -> None:
        self.python_types = python_types
        self.to_field = to_field
        self.converter = converter
        self.always_converted = always_converted

    @staticmethod
    def from_python_type(python_type: type) -> ColumnType:
        """Return the type of a column that contains values of a Python type."""
        return _BY_PYTHON_TYPE.get(python_type, ColumnType.TEXT)

    @staticmethod
    def from_name(name: str) -> ColumnType:
        """Return the type that Arrow writes as this name, except decimals; NULL if there is none, or for text."""
        found = _BY_NAME.get(name, ColumnType.NULL)
        return ColumnType.NULL if found is ColumnType.TEXT else found

    @staticmethod
    def from_field(field: pa.Field) -> ColumnType | None:
        """Return the type that is stored as this field, or None if there is no such type."""
        return ColumnType.DECIMAL if is_provisional_decimal(field) else _BY_ARROW_TYPE.get(field.type)

    def promote(self, other: ColumnType) -> ColumnType:
        """Return the narrowest type that holds the values of both types."""
        if other in (self, ColumnType.NULL):
            return self
        if self is ColumnType.NULL:
            return other
        for order in _PROMOTIONS:
            if self in order and other in order:
                return max(self, other, key=order.index)
        return ColumnType.TEXT

    def convert_all(self, values: Iterable[Any]) -> Iterable[Any]:
        """Return values, except None, converted for the Arrow field."""
        convert = self.converter
        return values if convert is None else (None if value is None else convert(value) for value in values)


_BY_PYTHON_TYPE = {python_type: column_type for column_type in ColumnType for python_type in column_type.python_types}
_BY_ARROW_TYPE = {member.to_field("").type: member for member in ColumnType if member is not ColumnType.DECIMAL}
_BY_NAME = {str(arrow_type): member for arrow_type, member in _BY_ARROW_TYPE.items()}
# Types in the order in which they are promoted. Types of different groups are promoted to text.
_PROMOTIONS = (
    (ColumnType.BOOLEAN, ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.FLOAT),
    (ColumnType.DATE, ColumnType.TIMESTAMP),
)


def rows_to_batch(fields: Sequence[pa.Field], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows as a record batch with known fields.

    :raises PolyteiaError: if a value does not fit the type of its column; the error names the column.
    """
    columns = transpose(rows, len(fields))
    return _build_batch(fields, [_convert_for_field(*pair) for pair in zip(fields, columns, strict=True)])


def _convert_for_field(field: pa.Field, column: Sequence[Any]) -> Iterable[Any]:
    column_type = ColumnType.from_field(field)
    if column_type is None or not column_type.always_converted:
        return column
    return column_type.convert_all(column)


def transpose(rows: Sequence[Sequence[Any]], width: int) -> list[tuple[Any, ...]]:
    """Return the columns of rows.

    :param width: number of the columns, for no rows.
    """
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _build_batch(fields: Sequence[pa.Field], columns: Sequence[Iterable[Any]]) -> pa.RecordBatch:
    arrays = [build(field, column) for field, column in zip(fields, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def promote_all(column_type: ColumnType, types: Iterable[ColumnType]) -> ColumnType:
    """Return the narrowest type that holds the values of a type and of others."""
    return reduce(ColumnType.promote, types, column_type)


def find_types(column: Sequence[Any]) -> set[ColumnType]:
    """Return the types of a column's values. Integers that do not fit into 64 bits count as decimals too."""
    types = {ColumnType.from_python_type(python_type) for python_type in set(map(type, column))}
    if ColumnType.INTEGER in types and any(value not in _INT64 for value in column if type(value) is int):
        types.add(ColumnType.DECIMAL)
    if ColumnType.TIMESTAMP in types:
        have_zones = {value.tzinfo is not None for value in column if type(value) is dt.datetime}
        types.discard(ColumnType.TIMESTAMP)
        types |= {ColumnType.TIMESTAMP_TZ if has_zone else ColumnType.TIMESTAMP for has_zone in have_zones}
    return types
