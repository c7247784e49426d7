"""Types as SQL writes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.casts import MAX_DIGITS

if TYPE_CHECKING:
    from collections.abc import Mapping

_DECLARABLE = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
}
_DECIMAL = re.compile(r"DECIMAL\((\d+), ?(\d+)\)")


def parse_columns(columns: Mapping[str, str]) -> dict[str, pa.DataType]:
    """Return the types of columns.

    :param columns: name -> type, as SQL writes it.
    :raises PolyteiaConfigurationError: if a type is not one that can be declared.
    """
    return {name: _parse(name, text) for name, text in columns.items()}


def _parse(name: str, text: str) -> pa.DataType:
    upper = " ".join(text.upper().split()) if isinstance(text, str) else ""
    found = parse_decimal(upper) if _DECIMAL.fullmatch(upper) else _DECLARABLE.get(upper)
    if found is None:
        raise PolyteiaConfigurationError(
            f"The type of column {name!r} in 'columns' is {text!r}; it must be one of {', '.join(_DECLARABLE)} and "
            f"DECIMAL(digits, decimal places) with at most {MAX_DIGITS} digits."
        )
    return found


def parse_decimal(text: str) -> pa.DataType | None:
    """Return the type ``DECIMAL(digits, decimal places)``; None if it is another one, or not possible."""
    found = _DECIMAL.fullmatch(text)
    if found is None or not 0 <= int(found[2]) <= int(found[1]) <= MAX_DIGITS or int(found[1]) == 0:
        return None
    return pa.decimal128(int(found[1]), int(found[2]))
