"""sqlite3: the types that the columns of a query were declared with.

SQLite stores any value in any column, and its driver does not report types. But a view of the query has columns with
the declared types of those that they come from.

=====================================  ================================================================
Declared in SQLite                     Parquet
=====================================  ================================================================
a type with INT in its name            integer of 64 bits
REAL, FLOAT, DOUBLE                    floating-point number of 64 bits
DECIMAL(p, s), NUMERIC(p, s)           decimal(p, s)
BOOLEAN                                boolean, of 0 and 1
DATE, TIME, DATETIME, TIMESTAMP        date, time, timestamp, of texts in ISO 8601
a type with CHAR, CLOB or TEXT         text
BLOB                                   binary
anything else, expressions, and        the narrowest type that holds all values
queries with UNION and the like
=====================================  ================================================================
"""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.tables.columns import DeclaredColumn, InferredColumn
from airflow_provider_polyteia.tables.readers.drivers.base import Driver, execute, names_of
from airflow_provider_polyteia.tables.sql_types import parse_decimal

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.readers.base import Query

_COMPOUND = re.compile(r"\b(UNION|INTERSECT|EXCEPT)\b", re.IGNORECASE)
_VIEW = "temp.polyteia_types"
_NAMED = {
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("us"),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
}
# SQLite's own rules, in their order.
_CONTAINED = {
    "INT": pa.int64(),
    "CHAR": pa.string(),
    "CLOB": pa.string(),
    "TEXT": pa.string(),
    "BLOB": pa.binary(),
    "REAL": pa.float64(),
    "FLOA": pa.float64(),
    "DOUB": pa.float64(),
}


class SQLiteDriver(Driver):
    """A connection of sqlite3."""

    def __init__(self, connection: Any, open_connection: Callable[[], Any]) -> None:
        super().__init__(connection, open_connection)
        self._declared: list[str] = []

    def prepare(self, query: Query) -> None:
        """Find the declared types, then make the session read-only."""
        self._declared = self._find_declared(query)
        self.connection.execute("PRAGMA query_only = ON")

    def columns(self, cursor: Any, query: Query) -> list[Column]:
        """Return the columns with their declared types, or with types that follow the values."""
        names = names_of(cursor)
        declared = map(_to_arrow, self._declared or [""] * len(names))
        return [
            InferredColumn(name, query.last.get(name, "")) if wanted is None else DeclaredColumn(name, wanted)
            for name, wanted in zip(names, declared, strict=True)
        ]

    def _find_declared(self, query: Query) -> list[str]:
        """Return the declared types of the query's columns; an empty list if it cannot be a view.

        The view of several queries would only have the types of the first one.
        """
        if _COMPOUND.search(query.sql):
            return []
        try:
            self.connection.execute(f"CREATE TEMP VIEW {_VIEW.partition('.')[2]} AS {self._with_literals(query)}")
        except sqlite3.Error:
            return []  # such as PRAGMA and EXPLAIN, or an error that the query itself will show
        declared = self.connection.execute(f"PRAGMA {_VIEW.replace('.', '.table_info(')})").fetchall()
        self.connection.execute(f"DROP VIEW {_VIEW}")
        return [column[2].upper() for column in declared]

    def _with_literals(self, query: Query) -> str:
        """Return the query with its parameters as literals, because a view cannot have any."""
        if query.parameters is None:
            return query.sql
        statements: list[str] = []
        self.connection.set_trace_callback(statements.append)
        try:
            execute(self.connection.cursor(), f"SELECT * FROM (\n{query.sql}\n) LIMIT 0", query.parameters)  # noqa: S608 - the DAG author's SQL
        finally:
            self.connection.set_trace_callback(None)
        return statements[-1]


def _to_arrow(declared: str) -> pa.DataType | None:
    """Return the type for the values of a column; None if it follows them."""
    plain = declared.replace("NUMERIC", "DECIMAL").replace(" ", "")
    decimal = parse_decimal(plain)
    if decimal is not None or declared in _NAMED:
        return decimal if decimal is not None else _NAMED[declared]
    return next((arrow_type for part, arrow_type in _CONTAINED.items() if part in declared), None)
