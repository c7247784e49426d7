"""Tables before their conversion, and how the values of other sources than text reach Parquet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_polyteia.tables.sql_parts import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT = "VARCHAR"
NULL = '"NULL"'  # the type of a column without type
DECLARABLE = (
    "VARCHAR, BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, UTINYINT, USMALLINT, UINTEGER, FLOAT, DOUBLE, "
    "DECIMAL(digits, decimal places), DATE, TIME, TIMESTAMP and TIMESTAMP WITH TIME ZONE"
)
_DECLARABLE = (
    r"VARCHAR|BOOLEAN|U?(TINY|SMALL)INT|U?INTEGER|BIGINT|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)|DATE|TIME|"
    r"TIMESTAMP( WITH TIME ZONE)?"
)
_FLOATS = ("DOUBLE", "FLOAT")
_FLOAT_NOISE = "1e-14"  # relative, of calculations with floating-point numbers
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
    NULL: TEXT,
    "TIME WITH TIME ZONE": "TIME",  # of Parquet, which has no offsets: it is in UTC
    "TIMESTAMPTZ_NS": "TIMESTAMP WITH TIME ZONE",
    "UBIGINT": "DECIMAL(20,0)",
    "UHUGEINT": "DECIMAL(38,0)",
    "UUID": TEXT,
}

# Type -> types to which its values can be converted, if these hold them.
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
    """Return True if a type may hold all values of another one, or at least those of a table."""
    return other.partition("(")[0] in _WIDER.get(sql_type.partition("(")[0], ())


def checked_cast(sql: str, sql_type: str, wanted: str) -> str:
    """Return the SQL of a value in another type, which fails if that type does not hold it."""
    fits = f"({sql}) IS NULL OR {fits_cast(sql, sql_type, wanted)}"
    return f"CASE WHEN {fits} THEN CAST({sql} AS {wanted}) ELSE error('unfit') END"


def fits_cast(sql: str, sql_type: str, wanted: str) -> str:
    """Return the SQL for whether another type holds a value.

    It may change floating-point numbers by as much as their own rounding did: 0.30000000000000004 is 0.30. What is
    declared as such a number may be rounded to one.
    """
    fits = f"TRY_CAST({sql} AS {wanted}) IS NOT NULL"
    if wanted == TEXT or wanted in _FLOATS:
        return f"({fits})"
    if wanted == "TIME" and sql_type != "TIME":
        return "false"  # the day would be lost
    back = f"TRY_CAST(TRY_CAST({sql} AS {wanted}) AS {sql_type})"
    if sql_type in _FLOATS and wanted != "BOOLEAN":
        return f"({fits} AND abs({back} - {sql}) <= abs({sql}) * {_FLOAT_NOISE})"
    return f"({fits} AND {back} = {sql})"


def keeps_value(sql: str, sql_type: str, wanted: str) -> str:
    """Return the SQL for whether a value is exactly the same in another type."""
    back = f"TRY_CAST(TRY_CAST({sql} AS {wanted}) AS {sql_type})"
    return f"({sql}) IS NULL OR coalesce({back} = {sql}, false)"


def is_declarable(sql_type: str) -> bool:
    """Return True if values can be declared to have a type: Parquet stores it exactly."""
    return re.fullmatch(_DECLARABLE, sql_type) is not None


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
