"""Tables before their conversion, and how the values of other sources than text reach Parquet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_polyteia.tables.sql_parts import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT = "VARCHAR"
_NESTED = ("STRUCT(", "MAP(", "UNION(")


@dataclass(frozen=True)
class Table:
    """A table that DuckDB can read.

    :ivar relation: SQL for a FROM clause.
    :ivar columns: name -> type.
    :ivar texts: the columns whose types are inferred from their texts.
    :ivar unnamed: columns that are left out if they have no values.
    :ivar is_json: whether its texts are never numbers, because JSON has a type for these.
    """

    relation: str
    columns: Mapping[str, str]
    texts: tuple[str, ...] = ()
    unnamed: frozenset[str] = frozenset()
    is_json: bool = False


def portable(column: str, sql_type: str) -> tuple[str, str]:
    """Return the SQL of a column and its type, in a type that every reader of Parquet knows.

    Parquet would store integers of 128 bits as floating-point numbers, for example.
    """
    name = quoted(column)
    if sql_type.endswith("]") or sql_type.startswith(_NESTED):
        return f"CAST(to_json({name}) AS {TEXT})", TEXT
    target = _PORTABLE.get(sql_type)
    if target is None and sql_type.startswith("ENUM("):
        target = TEXT
    return (f"CAST({name} AS {target})", target) if target else (name, sql_type)


_PORTABLE = {
    "BIT": TEXT,
    "HUGEINT": "DECIMAL(38,0)",
    "INTERVAL": TEXT,
    "JSON": TEXT,
    '"NULL"': TEXT,
    "TIME WITH TIME ZONE": "TIME",  # of Parquet, which has no offsets: it is in UTC
    "TIMESTAMPTZ_NS": "TIMESTAMP WITH TIME ZONE",
    "UBIGINT": "DECIMAL(20,0)",
    "UHUGEINT": "DECIMAL(38,0)",
    "UUID": TEXT,
}

# Type -> types that hold all of its values.
_WIDER = {
    "BIGINT": ("DECIMAL", "DOUBLE", TEXT),
    "INTEGER": ("BIGINT", "DECIMAL", "DOUBLE", TEXT),
    "DECIMAL": ("DOUBLE", TEXT),
    "DOUBLE": (TEXT,),
    "BOOLEAN": (TEXT,),
    "DATE": ("TIMESTAMP", TEXT),
    "TIMESTAMP": (TEXT,),
    "TIME": (TEXT,),
    "TIMESTAMP WITH TIME ZONE": (TEXT,),
}


def is_wider(other: str, sql_type: str) -> bool:
    """Return True if a type holds all values of another one."""
    return other.partition("(")[0] in _WIDER.get(sql_type.partition("(")[0], ())


def checked_cast(sql: str, sql_type: str, wanted: str) -> str:
    """Return the SQL of a value in another type, which fails if that type does not hold it."""
    fits = f"({sql}) IS NULL OR {fits_cast(sql, sql_type, wanted)}"
    return f"CASE WHEN {fits} THEN CAST({sql} AS {wanted}) ELSE error('unfit') END"


def fits_cast(sql: str, sql_type: str, wanted: str) -> str:
    """Return the SQL for whether another type holds a value. Decimal places are not rounded to integers."""
    fits = f"TRY_CAST({sql} AS {wanted}) IS NOT NULL"
    is_rounded = wanted.endswith(("INT", "INTEGER")) and sql_type.startswith(("DOUBLE", "FLOAT", "DECIMAL"))
    return f"({fits} AND ({sql}) = floor({sql}))" if is_rounded else f"({fits})"


def from_arrow(name: str) -> str:
    """Return the type that Arrow gives a name to, as DuckDB writes it; empty if there is none."""
    decimal = re.fullmatch(r"decimal128\((\d+), (\d+)\)", name)
    return f"DECIMAL({decimal[1]},{decimal[2]})" if decimal else _FROM_ARROW.get(name, "")


_FROM_ARROW = {
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "double": "DOUBLE",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "large_string": TEXT,
    "string": TEXT,
    "time64[us]": "TIME",
    "timestamp[us]": "TIMESTAMP",
    "timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE",
}
