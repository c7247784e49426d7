"""Oracle, through oracledb, in its thin or its thick mode.

The types are those that the server reports before the query runs, so that they do not depend on the rows:

=====================================  ================================================================
Oracle                                 Parquet
=====================================  ================================================================
NUMBER(p, s)                           decimal(p, s), p up to 38; a negative s counts as more digits
NUMBER, FLOAT, and most expressions    decimal with 38 digits, as many decimal places as the values need, and never
                                       fewer than at the last load
BINARY_FLOAT, BINARY_DOUBLE            floating-point numbers of the same size
BOOLEAN                                boolean
DATE, TIMESTAMP                        timestamp; digits below a microsecond are cut off
TIMESTAMP WITH (LOCAL) TIME ZONE       timestamp in UTC
INTERVAL ...                           text in ISO 8601, such as P1DT2H and -P1Y2M
RAW, LONG RAW, BLOB                    binary
CHAR, VARCHAR2, CLOB, LONG, ROWID ...  text
JSON, also as IS JSON; VECTOR          text in JSON
XMLTYPE                                text
objects such as SDO_GEOMETRY, BFILE,   an exception, which names the column and the function to convert it with
CURSOR
=====================================  ================================================================

oracledb drops the zone of a timestamp, and cannot read the name of a region at all. Values of JSON would become Python
objects, and XML is limited in the thick mode. So the server converts these types, in a query around the given one.

The driver can also fetch batches of Arrow (``fetch_df_batches``). These are not used: they do not ask the output type
handler, convert a timestamp with the time zone of the worker, and have no type for intervals, JSON and XML.
"""

from __future__ import annotations

import importlib
import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.casts import MAX_DIGITS
from airflow_provider_polyteia.tables.columns import DeclaredColumn, InferredColumn
from airflow_provider_polyteia.tables.error_texts import without_values
from airflow_provider_polyteia.tables.readers.base import ReadError
from airflow_provider_polyteia.tables.readers.drivers.base import (
    Driver,
    check_columns,
    days_to_iso,
    months_to_iso,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.readers.base import Query

_READ_ONLY = "SET TRANSACTION READ ONLY"

_NUMBER = "DB_TYPE_NUMBER"
_OBJECT = "DB_TYPE_OBJECT"
_NO_SCALE = -127  # NUMBER without digits, and FLOAT, whose digits are binary
_ANY_DECIMAL = f"decimal128({MAX_DIGITS}, "

_TYPES = {
    "DB_TYPE_BINARY_DOUBLE": pa.float64(),
    "DB_TYPE_BINARY_FLOAT": pa.float32(),
    "DB_TYPE_BLOB": pa.binary(),
    "DB_TYPE_BOOLEAN": pa.bool_(),
    "DB_TYPE_CHAR": pa.string(),
    "DB_TYPE_CLOB": pa.string(),
    "DB_TYPE_DATE": pa.timestamp("us"),
    "DB_TYPE_INTERVAL_DS": pa.string(),
    "DB_TYPE_INTERVAL_YM": pa.string(),
    "DB_TYPE_JSON": pa.string(),
    "DB_TYPE_LONG": pa.string(),
    "DB_TYPE_LONG_NVARCHAR": pa.string(),
    "DB_TYPE_LONG_RAW": pa.binary(),
    "DB_TYPE_NCHAR": pa.string(),
    "DB_TYPE_NCLOB": pa.string(),
    "DB_TYPE_NVARCHAR": pa.string(),
    "DB_TYPE_RAW": pa.binary(),
    "DB_TYPE_ROWID": pa.string(),
    "DB_TYPE_TIMESTAMP": pa.timestamp("us"),
    "DB_TYPE_TIMESTAMP_LTZ": pa.timestamp("us", "UTC"),
    "DB_TYPE_TIMESTAMP_TZ": pa.timestamp("us", "UTC"),
    "DB_TYPE_UROWID": pa.string(),
    "DB_TYPE_VARCHAR": pa.string(),
    "DB_TYPE_VECTOR": pa.string(),
    "DB_TYPE_XMLTYPE": pa.string(),
}
# What the server converts. A cast without digits would round the last ones.
_IN_SQL = {
    "DB_TYPE_JSON": "JSON_SERIALIZE({} RETURNING CLOB)",
    "DB_TYPE_TIMESTAMP_LTZ": "SYS_EXTRACT_UTC(CAST({} AS TIMESTAMP(9) WITH TIME ZONE))",
    "DB_TYPE_TIMESTAMP_TZ": "SYS_EXTRACT_UTC({})",
    "DB_TYPE_XMLTYPE": "XMLSERIALIZE(CONTENT {} AS CLOB)",
}
# What is fetched with the rows as if it were of another type: a LOB would need a request for each value.
_INLINE = {
    "DB_TYPE_BLOB": "DB_TYPE_LONG_RAW",
    "DB_TYPE_CLOB": "DB_TYPE_LONG",
    "DB_TYPE_NCLOB": "DB_TYPE_LONG_NVARCHAR",
}
_LARGE = {*_INLINE, *_INLINE.values(), "DB_TYPE_JSON", "DB_TYPE_XMLTYPE"}
_LARGE_ARRAY_SIZE = 100

_GEOMETRY = "SDO_GEOMETRY"
_FUNCTIONS = {
    _GEOMETRY: "SDO_UTIL.TO_WKTGEOMETRY(column)",
    _OBJECT: "XMLSERIALIZE(CONTENT XMLTYPE(column) AS CLOB)",
    "DB_TYPE_BFILE": "TO_BLOB(column)",
    "DB_TYPE_CURSOR": "JSON_ARRAYAGG in a subquery instead of CURSOR",
}
_OTHER_FUNCTION = "TO_CHAR(column)"

# Errors whose texts have names and digits of the SQL only: syntax and names, then rights, cancellation, transactions,
# division by zero, old snapshots, disk space, lost connections, WITH. Any other text may quote a value of a row.
_SAFE_CODES = frozenset(
    [*range(900, 1000), 1013, 1031, 1456, 1476, 1555, 1652, *range(3113, 3151), *range(12150, 12700), 32034]
)
_SERVER_ERROR = "ORA-"


class OracleDriver(Driver):
    """A connection of oracledb."""

    def __init__(self, connection: Any, open_connection: Callable[[], Any]) -> None:
        super().__init__(connection, open_connection)
        self._described: Sequence[Any] = ()

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query in a read-only transaction, inside one that converts what the driver would change."""
        errors = (importlib.import_module("oracledb").Error, ValueError)  # the driver's values may not fit Python's
        try:
            self._begin()
            self._described = self._describe(query.sql)
            if any(_name_of(column) in _LARGE for column in self._described):
                self.array_size = _LARGE_ARRAY_SIZE
            yield from super().read(replace(query, sql=_with_conversions(query.sql, self._described)))
        except errors as error:
            raise _without_values(error, query.sql) from None

    def open_cursor(self) -> Any:
        """Return a cursor that fetches values without changing them, and large ones with their rows."""
        cursor = self.connection.cursor()
        cursor.outputtypehandler = _choose_variable
        cursor.prefetchrows = self.array_size
        return cursor

    def columns(self, cursor: Any, query: Query) -> list[Column]:  # noqa: ARG002 - known before
        """Return the columns with the types of the given query, not of the one around it."""
        return [self._to_column(column, query.last.get(column[0], "")) for column in self._described]

    def _begin(self) -> None:
        self.connection.autocommit = False  # otherwise the transaction would end with its first statement
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(_READ_ONLY)

    def _describe(self, sql: str) -> Sequence[Any]:
        """Return the description of a query, which is not run."""
        with closing(self.open_cursor()) as cursor:
            cursor.parse(sql)
            check_columns(cursor)
            described: Sequence[Any] = list(cursor.description)
        for column in described:
            _check_supported(column)
        return described

    def _to_column(self, column: Any, last: str) -> Column:
        name, type_name = column[0], _name_of(column)
        if type_name == _NUMBER:
            return _to_number_column(column, last)
        if _is_oson(column):
            return DeclaredColumn(name, pa.string(), self._decode_oson)
        if _is_json(column) and pa.types.is_binary(_TYPES[type_name]):
            return DeclaredColumn(name, pa.string(), _decode_json)
        return DeclaredColumn(name, _TYPES[type_name], _CONVERTERS.get(type_name))

    def _decode_oson(self, value: bytes) -> str:
        return _to_json(self.connection.decode_oson(value))


def _name_of(column: Any) -> str:
    """Return the name of a column's type."""
    name: str = column[1].name
    return name


def _is_json(column: Any) -> bool:
    """Return True if a column of text or bytes has the check constraint IS JSON."""
    return bool(getattr(column, "is_json", False)) and _name_of(column) != "DB_TYPE_JSON"


def _is_oson(column: Any) -> bool:
    """Return True if a BLOB has JSON in Oracle's own binary format."""
    return bool(getattr(column, "is_oson", False)) and _name_of(column) != "DB_TYPE_JSON"


def _check_supported(column: Any) -> None:
    """Check that the values of a column can be loaded.

    :raises PolyteiaConfigurationError: if not.
    """
    name = _name_of(column)
    if name in _TYPES or name == _NUMBER:
        return
    shown, function = name.removeprefix("DB_TYPE_"), _FUNCTIONS.get(name, _OTHER_FUNCTION)
    if name == _OBJECT:
        shown = getattr(getattr(column, "type", None), "name", shown)
        function = _FUNCTIONS.get(shown, function)
    raise PolyteiaConfigurationError(
        f"Column {column[0]!r} has the type {shown}, which cannot be loaded. Convert it in the SQL with {function}."
    )


def _with_conversions(sql: str, columns: Sequence[Any]) -> str:
    """Return a query around another one that converts some columns; the other one if there are none.

    :raises PolyteiaConfigurationError: if another query cannot refer to a column.
    """
    if not any(_name_of(column) in _IN_SQL for column in columns):
        return sql
    converted = ", ".join(map(_conversion, columns))
    # Oracle requires the hint for WITH FUNCTION in a subquery, and otherwise ignores it.
    return f"SELECT /*+ WITH_PLSQL */ {converted} FROM (\n{sql}\n)"  # noqa: S608 - the DAG author's SQL


def _conversion(column: Any) -> str:
    if '"' in column[0]:
        raise PolyteiaConfigurationError(
            f"The column {column[0]!r} has no name that another query can refer to; name it with AS."
        )
    quoted = f'"{column[0]}"'
    conversion = _IN_SQL.get(_name_of(column))
    return quoted if conversion is None else f"{conversion.format(quoted)} AS {quoted}"


def _choose_variable(cursor: Any, column: Any) -> Any:
    """Return the variable that fetches a column; None for the driver's default. It is the output type handler."""
    oracledb, name = importlib.import_module("oracledb"), _name_of(column)
    if name == _NUMBER:  # the default would be a float for some, and depends on settings of the connection
        return cursor.var(Decimal, arraysize=cursor.arraysize)
    if name in _INLINE:
        return cursor.var(getattr(oracledb, _INLINE[name]), arraysize=cursor.arraysize)
    if _is_json(column):  # the default would be Python objects
        return cursor.var(column[1], size=column[2] or 0, arraysize=cursor.arraysize)
    return None


def _to_number_column(column: Any, last: str) -> Column:
    number = _to_number(column[4], column[5])
    if number is None:
        return InferredColumn(column[0], last if last.startswith(_ANY_DECIMAL) else f"{_ANY_DECIMAL}0)")
    return DeclaredColumn(column[0], number)


def _to_number(precision: int | None, scale: int | None) -> pa.DataType | None:
    """Return the type for a NUMBER; None if it was declared without digits.

    :param scale: decimal places; a negative number if the last digits before the point are always zero.
    """
    if not precision or scale is None or scale == _NO_SCALE or scale > MAX_DIGITS:
        return None
    digits, places = max(precision, precision - scale, scale), max(scale, 0)
    return pa.decimal128(min(digits, MAX_DIGITS), places)


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


def _interval_to_text(value: Any) -> str:
    return months_to_iso(12 * value.years + value.months)


def _vector_to_json(value: Any) -> str:
    """Return a vector as Oracle writes it: the numbers of a dense one; size, positions and numbers of a sparse one."""
    if hasattr(value, "num_dimensions"):
        return json.dumps([value.num_dimensions, list(value.indices), list(value.values)])
    return json.dumps(list(value))


def _to_json(value: Any) -> str:
    """Return a decoded value of JSON as text; numbers stay exact."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_to_json(str(key))}: {_to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_to_json, value)) + "]"
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    return json.dumps(value.hex() if isinstance(value, bytes) else value, ensure_ascii=False, default=str)


def _decode_json(value: bytes) -> str:
    return value.decode(json.detect_encoding(value))


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "DB_TYPE_INTERVAL_DS": days_to_iso,
    "DB_TYPE_INTERVAL_YM": _interval_to_text,
    "DB_TYPE_TIMESTAMP_LTZ": _in_utc,
    "DB_TYPE_TIMESTAMP_TZ": _in_utc,
    "DB_TYPE_VECTOR": _vector_to_json,
}


def _without_values(error: Exception, sql: str) -> ReadError:
    """Return the exception for an error of the driver; its text has no value of a row or of a parameter."""
    detail = error.args[0] if error.args else None
    code, message = getattr(detail, "full_code", None) or "", getattr(detail, "message", "")
    is_safe = not code.startswith(_SERVER_ERROR) or int(code.removeprefix(_SERVER_ERROR)) in _SAFE_CODES
    if code and is_safe:
        return ReadError(without_values(message.partition("\n")[0], sql))
    return ReadError(f"{type(error).__name__} {code}".strip())
