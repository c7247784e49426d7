"""Converts columns of Arrow to other types, and says which one does not fit.

No exception contains a value, because it may be personal data. Neither does one refer to that of Arrow, which does.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_polyteia.exceptions import PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_DIGITS = 38  # of a decimal128

_INTEGER = r"^[+-]?[0-9]+$"
_TIME = r"^[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?$"
_INFINITE = r"^[+-]?inf(inity)?$"
_FAILURES = (pa.ArrowException, TypeError, ValueError, OverflowError, InvalidOperation)


def unfit(field: pa.Field) -> PolyteiaError:
    """Return the exception for a column with a value that does not fit its type."""
    return PolyteiaError(
        f"A value in column {field.name!r} does not fit the type {field.type}. Convert the column in the SQL to a "
        f"suitable type, such as numeric({MAX_DIGITS}, 6) or double precision, or declare its type with 'columns'. "
        "Nothing was uploaded.",
        not_applied=True,
    )


def build(field: pa.Field, values: Iterable[Any]) -> pa.Array:
    """Return Python values as a column.

    :raises PolyteiaError: if a value does not fit the type; the error names the column.
    """
    with suppress(*_FAILURES):
        return pa.array(values, field.type)
    raise unfit(field)


def cast(column: pa.Array, field: pa.Field) -> pa.Array:
    """Return a column converted to the type of a field.

    :raises PolyteiaError: if a value does not fit the type; the error names the column.
    """
    if pa.types.is_boolean(column.type) and pa.types.is_decimal(field.type):
        column = column.cast(pa.int8())  # Arrow cannot cast booleans to decimals directly
    if pa.types.is_integer(column.type) and pa.types.is_decimal(field.type):
        column = column.cast(pa.string())  # a direct cast would require enough digits for the largest integer
    with suppress(*_FAILURES):
        if pa.types.is_string(column.type) and pa.types.is_decimal(field.type) and _may_overflow(column, field.type):
            return pa.array([None if text is None else Decimal(text) for text in column.to_pylist()], field.type)
        return column.cast(field.type)
    raise unfit(field)


def cast_exactly(column: pa.Array, field: pa.Field) -> pa.Array:
    """Return a column converted to the type of a field. Only floating-point numbers are rounded.

    :raises PolyteiaError: if a value does not fit the type, or would be another one; the error names the column.
    """
    source, target = column.type, field.type
    if source == target:
        return column
    if _is_forbidden(source, target):
        raise unfit(field)
    if pa.types.is_string(source):
        column = _checked_texts(column, field)
        if pa.types.is_time(target):
            return _parse_times(column, field)
    if pa.types.is_floating(source) and pa.types.is_decimal(target):
        column = column.cast(pa.string())  # Arrow would round
    result = cast(column, field)
    if _may_change(source, target) and not result.cast(source).equals(column):
        raise unfit(field)
    if pa.types.is_floating(target) and _count_infinite(result) > _count_infinite(column):
        raise unfit(field)
    return result


def _is_forbidden(source: pa.DataType, target: pa.DataType) -> bool:
    """Return True if no value of a type is one of the other: Arrow would take a number for microseconds."""
    if pa.types.is_string(source) or pa.types.is_null(source) or pa.types.is_string(target):
        return False
    if not (_is_temporal(source) and _is_temporal(target)):
        return _is_temporal(source) or _is_temporal(target)
    if pa.types.is_timestamp(source) and pa.types.is_timestamp(target):
        return source.tz is None and target.tz is not None  # of an unknown zone
    return bool(pa.types.is_time(source) or pa.types.is_time(target))


def _checked_texts(texts: pa.Array, field: pa.Field) -> pa.Array:
    """Return texts that Arrow can parse; it would accept more than numbers and times, such as ``0xff``.

    :raises PolyteiaError: if another one is among them.
    """
    if pa.types.is_integer(field.type):
        texts, pattern = pc.replace_substring_regex(texts, r"\.0+$", ""), _INTEGER
    elif pa.types.is_time(field.type):
        pattern = _TIME
    else:
        return texts
    if not pc.all(pc.match_substring_regex(texts, pattern)).as_py() and texts.null_count < len(texts):
        raise unfit(field)
    return texts


def _parse_times(texts: pa.Array, field: pa.Field) -> pa.Array:
    """Return times of a text column, which Arrow cannot parse."""
    with suppress(ValueError):
        return build(field, [None if text is None else dt.time.fromisoformat(text) for text in texts.to_pylist()])
    raise unfit(field)


def _count_infinite(column: pa.Array) -> int:
    """Return how many numbers are infinite, also as texts."""
    if pa.types.is_string(column.type):
        infinite = pc.match_substring_regex(column, _INFINITE, ignore_case=True)
    elif pa.types.is_floating(column.type):
        infinite = pc.is_inf(column)
    else:
        return 0
    return pc.sum(infinite).as_py() or 0


def _may_overflow(texts: pa.Array, decimal: pa.DataType) -> bool:
    """Return True if numbers may have too many digits, or an exponent: Arrow would silently return others."""
    is_long = (pc.max(pc.binary_length(texts)).as_py() or 0) + decimal.scale > MAX_DIGITS
    return is_long or bool(pc.any(pc.match_substring(texts, "e", ignore_case=True)).as_py())


def _is_temporal(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(arrow_type))


def _may_change(source: pa.DataType, target: pa.DataType) -> bool:
    """Return True if Arrow converts values of a type that the other one does not have."""
    if pa.types.is_timestamp(source):
        return bool(pa.types.is_date(target))
    return bool(pa.types.is_boolean(target) and (pa.types.is_integer(source) or pa.types.is_floating(source)))
