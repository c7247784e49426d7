"""The columns of a query: each converts the values of its rows, batch by batch, to one column of a table.

A driver knows the type of a column (`DeclaredColumn`, or a class of its own), or the values decide (`InferredColumn`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from airflow_provider_polyteia.tables.casts import build, cast_exactly, unfit
from airflow_provider_polyteia.tables.schema import ColumnType, find_types, promote_all, transpose
from airflow_provider_polyteia.tables.staging import provisional_decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Python types that Arrow converts to one of its types without changing a value.
_EXACT = {
    ColumnType.BOOLEAN: pa.types.is_boolean,
    ColumnType.INTEGER: pa.types.is_integer,
    ColumnType.FLOAT: pa.types.is_float64,
    ColumnType.DECIMAL: pa.types.is_decimal,
    ColumnType.DATE: pa.types.is_date,
    ColumnType.TIME: pa.types.is_time,
    ColumnType.TIMESTAMP: lambda wanted: wanted == pa.timestamp("us"),
    ColumnType.TIMESTAMP_TZ: lambda wanted: wanted == pa.timestamp("us", "UTC"),
}
_LAST_DECIMAL = re.compile(r"decimal128\(38, (\d+)\)")


class Column(Protocol):
    """A column of a query."""

    name: str

    def to_array(self, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
        """Return the values of some rows, and the field that the column has by now.

        :raises PolyteiaError: if a value does not fit; the error names the column.
        """

    def declared(self, wanted: pa.DataType) -> Column:
        """Return the same column with another type, which the user has declared."""

    def report(self) -> None:
        """Log what the values of all rows have shown. Called after the last row."""


class InferredColumn:
    """A column whose type is the narrowest one that holds all of its values so far.

    :param last: the type that it had at the last load, as Arrow writes it: it is kept if the values fit it, and becomes
        the type of a column without values. Default: empty, none.
    :param convert: converts each value that is not NULL before. Default: it stays as it is.
    """

    def __init__(self, name: str, last: str = "", convert: Callable[[Any], Any] | None = None) -> None:
        self.name = name
        self._convert = convert
        self._type, self._places = _from_last(last)

    def to_array(self, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
        """Return the values with the type inferred so far, which is promoted if they do not fit it."""
        values = _converted(values, self._convert)
        found = find_types(values)
        self._type = promote_all(self._type, found)
        field = self._type.to_field(self.name)
        if self._type is ColumnType.DECIMAL:
            field = provisional_decimal(self.name, self._places)
        return field, _convert(self._type, field, values, found)

    def declared(self, wanted: pa.DataType) -> Column:
        """Return the column with a declared type."""
        return DeclaredColumn(self.name, wanted, self._convert)

    def report(self) -> None:
        """There is nothing to report: the column follows its values."""


class DeclaredColumn:
    """A column of Python values with a declared type.

    :param wanted: its type.
    :param convert: converts each value that is not NULL before. Default: it stays as it is.
    """

    def __init__(self, name: str, wanted: pa.DataType, convert: Callable[[Any], Any] | None = None) -> None:
        self.name = name
        self._field = pa.field(name, wanted)
        self._convert = convert

    def to_array(self, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
        """Return the values with the declared type."""
        return self._field, to_declared(self._field, _converted(values, self._convert))

    def declared(self, wanted: pa.DataType) -> Column:
        """Return the column with another declared type."""
        return DeclaredColumn(self.name, wanted, self._convert)

    def report(self) -> None:
        """There is nothing to report: no value was changed."""


def to_batch(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows as a record batch.

    :raises PolyteiaError: if a value does not fit the type of its column; the error names the column.
    """
    values = transpose(rows, len(columns))
    converted = [column.to_array(column_values) for column, column_values in zip(columns, values, strict=True)]
    return pa.RecordBatch.from_arrays([array for _, array in converted], schema=pa.schema([f for f, _ in converted]))


def to_declared(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    """Return Python values as a column of a type; those of another type are converted if that keeps them exactly.

    :raises PolyteiaError: if a value does not fit; the error names the column.
    """
    if pa.types.is_string(field.type):
        return build(field, ColumnType.TEXT.convert_all(values))
    found = find_types(values) - {ColumnType.NULL}
    if all(kind in _EXACT and _EXACT[kind](field.type) for kind in found):
        return build(field, values)
    kind = promote_all(ColumnType.NULL, found)
    if kind is ColumnType.DECIMAL and pa.types.is_temporal(field.type):
        raise unfit(field)  # its values are texts until here
    return cast_exactly(_convert(kind, kind.to_field(field.name), values, found), field)


def _converted(values: Sequence[Any], convert: Callable[[Any], Any] | None) -> Sequence[Any]:
    return values if convert is None else [None if value is None else convert(value) for value in values]


def _convert(kind: ColumnType, field: pa.Field, values: Sequence[Any], found: set[ColumnType]) -> pa.Array:
    if kind.always_converted or not found <= {ColumnType.NULL, kind}:
        return build(field, kind.convert_all(values))
    return build(field, values)


def _from_last(last: str) -> tuple[ColumnType, int]:
    """Return the type of the last load, and its decimal places."""
    decimal = _LAST_DECIMAL.fullmatch(last)
    if decimal:
        return ColumnType.DECIMAL, int(decimal[1])
    return ColumnType.from_name(last), 0
