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
date, timestamp, timestamptz           the same, also BC and after 9999; timestamptz in UTC; ``infinity`` becomes
                                       NULL; timestamps after 294246 are an error
time                                   the same; ``24:00`` is an error
bytea                                  binary
arrays, composites, json, jsonb        text, as JSON
uuid, enums, interval, inet and more   text, as PostgreSQL formats it
=====================================  ==============================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.casts import MAX_DIGITS
from airflow_provider_polyteia.tables.error_texts import summary
from airflow_provider_polyteia.tables.readers.base import check_declared, check_names
from airflow_provider_polyteia.tables.schema import rows_to_batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_polyteia.tables.readers.base import Parameters, Query
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
# Declared type -> OID and name of the type to cast to. PostgreSQL does not have integers of 8 bits.
_DECLARED = {
    pa.string(): (25, "text"),
    pa.bool_(): (16, "boolean"),
    pa.int8(): (21, "smallint"),
    pa.int16(): (21, "smallint"),
    pa.int32(): (23, "integer"),
    pa.int64(): (20, "bigint"),
    pa.float32(): (700, "real"),
    pa.float64(): (701, "double precision"),
    pa.date32(): (1082, "date"),
    pa.time64("us"): (1083, "time"),
    pa.timestamp("us"): (1114, "timestamp"),
    pa.timestamp("us", "UTC"): (1184, "timestamptz"),
}
_NUMERIC = 1700
_MAX_PRECISION = 1000  # that a column can be declared with
_DEFAULT_SCALE = 9  # decimal places of a numeric without precision
_RECORDS = {2249, 2287}  # record and record[]: pseudo-types, whose category does not show that they are nested
_CAST = {26: ("bigint", pa.int64()), 790: ("numeric(38, 2)", pa.decimal128(38, 2))}  # oid, money

EARLIEST_TIMESTAMP = -210_866_803_200_000_000  # microseconds from 1970 to 4713 BC, where those of PostgreSQL begin
DAY = 86_400_000_000  # microseconds

# Numbers as Arrow has them: Python has neither dates BC nor after 9999. A timestamp that 64 bits do not hold is the
# smallest number.
_TIME = "(extract(epoch FROM {0}) * 1000000)::int8"
_TIMESTAMP = (
    "CASE WHEN isfinite({0}) AND {0} < '294247-01-01' THEN "
    f"({{0}}::date - date '1970-01-01')::int8 * {DAY} + {_TIME.format('{0}::time')} "
    "WHEN isfinite({0}) THEN -9223372036854775808 END"
)
AS_NUMBERS = {
    1082: "CASE WHEN isfinite({0}) THEN {0} - date '1970-01-01' END",
    1083: _TIME,
    1114: _TIMESTAMP,
    1184: _TIMESTAMP.replace("{0}", "({0} AT TIME ZONE 'UTC')"),
}
_NESTED_CATEGORIES = ("A", "C")  # arrays and composites
_NOT_A_QUERY = ("42601", "25006")  # syntax error, write in a read-only transaction


@dataclass(frozen=True, slots=True)
class DescribedQuery:
    """A wrapped query, whose columns are ``c0``, ``c1`` and so on, and the columns that are meant."""

    sql: str
    fields: list[pa.Field]


def describe(session: Session, query: Query, expressions: Mapping[int, str]) -> DescribedQuery:
    """Get the columns of a query from PostgreSQL, without running the query, in a read-only transaction.

    :param expressions: OID of a type -> expression that fetches a column ``{0}`` of this type. Default: as it is.
    :raises PolyteiaConfigurationError: if PostgreSQL reports that `sql` is not a query, or two columns have the same
        name, or a column that the user has declared does not exist.
    """
    sql = query.sql
    session.prepare()
    with session.cursor() as cursor:
        columns = _fetch_columns(cursor, f"SELECT * FROM (\n{sql}\n) AS q LIMIT 0", query.parameters)  # noqa: S608 - the DAG author's SQL
        names = [column[0] for column in columns]
        check_names(names)
        check_declared(query.declared, names)
        nested = _fetch_nested_types(cursor, [column[1] for column in columns])
    aliases = [f"c{i}" for i in range(len(columns))]
    declared = [query.declared.get(name) for name in names]
    selected = [
        _select_column(alias, column, nested, expressions)
        if wanted is None
        else _cast(alias, column[0], wanted, expressions)
        for alias, column, wanted in zip(aliases, columns, declared, strict=True)
    ]
    wanted = ", ".join(f"{expression} AS {alias}" for alias, (expression, _) in zip(aliases, selected, strict=True))
    wrapped = f"SELECT {wanted} FROM (\n{sql}\n) AS q({', '.join(aliases)})"  # noqa: S608 - the DAG author's SQL
    return DescribedQuery(wrapped, [field for _, field in selected])


def _fetch_columns(cursor: Any, sql: str, parameters: Parameters) -> Sequence[Any]:
    try:
        cursor.execute(sql, parameters)
    except Exception as error:
        code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
        if code not in _NOT_A_QUERY:
            raise
        raise PolyteiaConfigurationError(
            "PostgreSQL does not accept the SQL as a query that returns rows and changes nothing: "
            f"{summary(error, sql)}"
        ) from None
    columns: Sequence[Any] = cursor.description
    return columns


def _fetch_nested_types(cursor: Any, types: Sequence[int]) -> set[int]:
    cursor.execute("SELECT oid, typcategory FROM pg_type WHERE oid = ANY(%s)", (list(types),))
    return {oid for oid, category in cursor.fetchall() if category in _NESTED_CATEGORIES} | _RECORDS


def _select_column(alias: str, column: Any, nested: set[int], expressions: Mapping[int, str]) -> tuple[str, pa.Field]:
    """Return the expression that selects a column, and the Arrow field of the result."""
    name, oid = column[0], column[1]
    if oid == _NUMERIC:
        precision, scale = _digits(column.precision, column.scale)
        field = pa.field(name, pa.decimal128(precision, scale))
        return f"{alias}::numeric({precision}, {scale})", field
    if oid in _NATIVE:
        return expressions.get(oid, "{0}").format(alias), pa.field(name, _NATIVE[oid])
    if oid in _CAST:
        target, arrow_type = _CAST[oid]
        return f"{alias}::{target}", pa.field(name, arrow_type)
    expression = f"to_json({alias})" if oid in nested else alias
    return f"{expression}::text", pa.field(name, pa.string())


def _cast(alias: str, name: str, wanted: pa.DataType, expressions: Mapping[int, str]) -> tuple[str, pa.Field]:
    """Return the expression that selects a column in a type that the user has declared, and its Arrow field."""
    if pa.types.is_decimal(wanted):
        return f"{alias}::numeric({wanted.precision}, {wanted.scale})", pa.field(name, wanted)
    oid, target = _DECLARED[wanted]
    return expressions.get(oid, "{0}").format(f"({alias}::{target})"), pa.field(name, _NATIVE[oid])


def _digits(precision: int | None, scale: int | None) -> tuple[int, int]:
    """Return the digits of a decimal, and how many of them are decimal places.

    They depend on the query only, so that all nights have the same type. For a numeric without precision, psycopg2
    reports values out of range.
    """
    if precision is None or scale is None or not 0 < precision <= _MAX_PRECISION or not 0 <= scale <= MAX_DIGITS:
        return MAX_DIGITS, _DEFAULT_SCALE
    return min(max(precision, scale), MAX_DIGITS), scale


def to_batch(fields: Sequence[pa.Field], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows that were fetched with `AS_NUMBERS` as a record batch.

    :raises PolyteiaError: if a value does not fit the type of its column; the error names the column.
    """
    batch = rows_to_batch(fields, rows)
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_timestamp(field.type) and _any(pc.less(column.view(pa.int64()), EARLIEST_TIMESTAMP)):
            raise out_of_range(field)
        if pa.types.is_time(field.type) and _any(pc.equal(column.view(pa.int64()), DAY)):
            raise out_of_range(field)
    return batch


def _any(conditions: pa.BooleanArray) -> bool:
    return bool(pc.any(conditions).as_py())


def out_of_range(field: pa.Field) -> PolyteiaError:
    """Return the exception for a column with a date or time that Parquet does not have."""
    limit = "24:00" if pa.types.is_time(field.type) else "a timestamp after the year 294246"
    return PolyteiaError(
        f"Column {field.name!r} contains {limit}, which does not fit the type {field.type}. Replace it in the SQL, or "
        f"convert the column to text with {field.name}::text. Nothing was uploaded.",
        not_applied=True,
    )
