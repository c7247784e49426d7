"""What is specific to PostgreSQL: it reports the types of a query's columns before the query runs.

A query is wrapped as ``SELECT ... FROM (<query>) AS q``. PostgreSQL therefore rejects anything that is not a query, and
converts types that Parquet lacks to text, in the same way for every driver:

=====================================  ==============================================================
PostgreSQL                             Parquet
=====================================  ==============================================================
boolean, integers, floats, text        the same
numeric(p, s)                          decimal(p, s), p up to 38; values with more digits are an error
numeric without precision              decimal(38, 9), rounded to nine decimal places
money                                  decimal(38, 2)
date, timestamp, timestamptz, time     the same; timestamptz in UTC; ``infinity`` becomes NULL
bytea                                  binary
arrays, composites, json, jsonb        text, as JSON
uuid, enums, interval, inet and others text, as PostgreSQL formats it
=====================================  ==============================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.readers.base import check_names
from airflow_provider_polyteia.tables.staging import MAX_DIGITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_polyteia.tables.readers.base import Parameters
    from airflow_provider_polyteia.tables.readers.postgres_sessions import Psycopg2Session, Psycopg3Session

    Session = Psycopg2Session | Psycopg3Session

# Arrow types by PostgreSQL OID. The OIDs of built-in types are the same in every installation.
_NATIVE = {
    16: pa.bool_(),
    17: pa.binary(),
    19: pa.string(),  # name
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.string(),
    700: pa.float32(),
    701: pa.float64(),
    1042: pa.string(),  # char(n)
    1043: pa.string(),  # varchar
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}
_NUMERIC = 1700
_MAX_PRECISION = 1000  # that a column can be declared with
_DEFAULT_SCALE = 9  # decimal places of a numeric without precision
_RECORDS = {2249, 2287}  # record and record[]: pseudo-types, whose category does not show that they are nested
_CAST = {26: ("bigint", pa.int64()), 790: ("numeric(38, 2)", pa.decimal128(38, 2))}  # oid, money
_FINITE = "CASE WHEN isfinite({0}) THEN {0} END"
_EXPRESSIONS = {
    1042: "CASE WHEN {0} IS NOT NULL THEN concat({0}) END",  # char(n), whose spaces DuckDB would remove
    1082: _FINITE,
    1114: _FINITE,
    1184: _FINITE,
}
_NESTED_CATEGORIES = ("A", "C")  # arrays and composites
_NOT_A_QUERY = ("42601", "25006")  # syntax error, write in a read-only transaction


@dataclass(frozen=True, slots=True)
class DescribedQuery:
    """A wrapped query and the columns it returns."""

    sql: str
    fields: list[pa.Field]


def describe(session: Session, sql: str, parameters: Parameters) -> DescribedQuery:
    """Get the columns of a query from PostgreSQL, without running the query, in a read-only transaction.

    :raises PolyteiaConfigurationError: if PostgreSQL reports that `sql` is not a query, or two columns have the same
        name.
    """
    session.prepare()
    with session.cursor() as cursor:
        columns = _fetch_columns(cursor, f"SELECT * FROM (\n{sql}\n) AS q LIMIT 0", parameters)  # noqa: S608 - the DAG author's SQL
        check_names([column[0] for column in columns])
        nested = _fetch_nested_types(cursor, [column[1] for column in columns])
    aliases = [f"c{i}" for i in range(len(columns))]
    selected = [_select_column(*pair, nested) for pair in zip(aliases, columns, strict=True)]
    expressions = ", ".join(expression for expression, _ in selected)
    if parameters is not None:
        expressions = expressions.replace("%", "%%")
    wrapped = f"SELECT {expressions} FROM (\n{sql}\n) AS q({', '.join(aliases)})"  # noqa: S608 - the DAG author's SQL
    return DescribedQuery(wrapped, [field for _, field in selected])


def _fetch_columns(cursor: Any, sql: str, parameters: Parameters) -> Sequence[Any]:
    try:
        cursor.execute(sql, parameters)
    except Exception as error:
        code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
        if code not in _NOT_A_QUERY:
            raise
        raise PolyteiaConfigurationError(
            f"PostgreSQL does not accept the SQL as a query that returns rows and changes nothing: {str(error).strip()}"
        ) from error
    columns: Sequence[Any] = cursor.description
    return columns


def _fetch_nested_types(cursor: Any, types: Sequence[int]) -> set[int]:
    cursor.execute("SELECT oid, typcategory FROM pg_type WHERE oid = ANY(%s)", (list(types),))
    return {oid for oid, category in cursor.fetchall() if category in _NESTED_CATEGORIES} | _RECORDS


def _select_column(alias: str, column: Any, nested: set[int]) -> tuple[str, pa.Field]:
    """Return the expression that selects a column, and the Arrow field of the result."""
    name, oid = column[0], column[1]
    quoted = '"' + name.replace('"', '""') + '"'
    if oid == _NUMERIC:
        precision, scale = _digits(column.precision, column.scale)
        field = pa.field(name, pa.decimal128(precision, scale))
        return f"{alias}::numeric({precision}, {scale}) AS {quoted}", field
    if oid in _NATIVE:
        expression = _EXPRESSIONS.get(oid, "{0}").format(alias)
        return f"{expression} AS {quoted}", pa.field(name, _NATIVE[oid])
    if oid in _CAST:
        target, arrow_type = _CAST[oid]
        return f"{alias}::{target} AS {quoted}", pa.field(name, arrow_type)
    expression = f"to_json({alias})" if oid in nested else alias
    return f"{expression}::text AS {quoted}", pa.field(name, pa.string())


def _digits(precision: int | None, scale: int | None) -> tuple[int, int]:
    """Return the digits of a decimal, and how many of them are decimal places.

    They depend on the query only, so that all nights have the same type. For a numeric without precision, psycopg2
    reports values out of range.
    """
    if precision is None or scale is None or not 0 < precision <= _MAX_PRECISION or not 0 <= scale <= MAX_DIGITS:
        return MAX_DIGITS, _DEFAULT_SCALE
    return min(max(precision, scale), MAX_DIGITS), scale
