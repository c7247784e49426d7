"""DuckDB: it reports all types before a query runs, and gives the rows as batches of Arrow.

=====================================  ================================================================
DuckDB                                 Parquet
=====================================  ================================================================
types that every reader knows          the same
HUGEINT, UBIGINT                       decimal(38, 0), decimal(20, 0)
TIMESTAMP WITH TIME ZONE               timestamp in UTC
ENUM, UUID, JSON, BIT, INTERVAL, and   text
TIME WITH TIME ZONE
lists, structs, maps, unions           text, as JSON
infinite dates and timestamps          NULL
the time 24:00                         an exception, which names the column
=====================================  ================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_polyteia.tables.casts import cast_exactly
from airflow_provider_polyteia.tables.conversion.table import portable
from airflow_provider_polyteia.tables.error_texts import summary
from airflow_provider_polyteia.tables.readers.base import ReadError, check_declared, check_names
from airflow_provider_polyteia.tables.readers.drivers.base import Driver
from airflow_provider_polyteia.tables.readers.postgres import DAY, out_of_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_polyteia.tables.readers.base import Query

_ROWS = 10_240  # of a batch: five of DuckDB's own
_MAY_BE_INFINITE = ("DATE", "TIMESTAMP")
_TIME_WITH_OFFSET = "TIME WITH TIME ZONE"
# Errors about the statement. The texts of all others may have values of rows.
_ABOUT_SQL = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.IOException,
    duckdb.InterruptException,
    duckdb.ParserException,
)


class DuckDBDriver(Driver):
    """A connection of DuckDB, as Airflow's hook for it opens one."""

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query and yield its rows, whose types do not depend on the rows."""
        try:
            yield from self._read(query)
        except duckdb.Error as error:
            failed = ReadError(summary(error, query.sql) if isinstance(error, _ABOUT_SQL) else type(error).__name__)
        else:
            return
        raise failed

    def _read(self, query: Query) -> Iterator[pa.RecordBatch]:
        described = self._describe(query)
        names = [name for name, _ in described]
        check_names(names)
        check_declared(query.declared, names)
        reader = self._open(query, described)
        fields = zip(names, reader.schema, strict=True)
        schema = pa.schema([_field(name, query.declared, found) for name, found in fields])
        yield pa.RecordBatch.from_pylist([], schema)
        for batch in reader:
            columns = [_exact(column, field) for column, field in zip(batch.columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _describe(self, query: Query) -> list[tuple[str, str]]:
        """Return names and types of the columns; they may have equal names."""
        try:
            found = self._execute(f"DESCRIBE {query.sql}", query)
        except duckdb.ParserException:
            found = self._execute(f"DESCRIBE FROM (\n{query.sql}\n)", query)  # such as SHOW TABLES
        return [(name, sql_type) for name, sql_type, *_ in found.fetchall()]

    def _open(self, query: Query, described: Sequence[tuple[str, str]]) -> pa.RecordBatchReader:
        aliases = [f"c{number}" for number, _ in enumerate(described)]
        selected = ", ".join(_value(alias, sql_type) for alias, (_, sql_type) in zip(aliases, described, strict=True))
        source = f"(\n{query.sql}\n) AS q({', '.join(aliases)})"
        result = self._execute(f"SELECT {selected} FROM {source}", query)  # noqa: S608 - the DAG author's SQL
        # Its name before DuckDB 1.5.
        read: Any = getattr(result, "to_arrow_reader", None) or result.fetch_record_batch
        return read(_ROWS)

    def _execute(self, sql: str, query: Query) -> Any:
        return self.connection.execute(sql, query.parameters)


def _exact(column: pa.Array, field: pa.Field) -> pa.Array:
    """Return a column in its type. DuckDB has the time 24:00, which Parquet does not have."""
    if pa.types.is_time(column.type) and pc.any(pc.equal(column.view(pa.int64()), DAY)).as_py():
        raise out_of_range(pa.field(field.name, column.type))
    return cast_exactly(column, field)


def _value(alias: str, sql_type: str) -> str:
    value, _ = portable(alias, sql_type)
    if sql_type == _TIME_WITH_OFFSET:
        value = f"CAST({alias} AS VARCHAR)"
    elif sql_type.startswith(_MAY_BE_INFINITE) and not sql_type.endswith("]"):
        value = f"CASE WHEN isfinite({alias}) THEN {value} END"
    return f"{value} AS {alias}"


def _field(name: str, declared: Mapping[str, pa.DataType], found: pa.Field) -> pa.Field:
    if name in declared:
        return pa.field(name, declared[name])
    has_zone = pa.types.is_timestamp(found.type) and found.type.tz is not None
    return pa.field(name, pa.timestamp(found.type.unit, "UTC") if has_zone else found.type)
