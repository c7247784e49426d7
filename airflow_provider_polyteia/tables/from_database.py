"""Stages the result of a query on a database that Airflow has a connection to as a Parquet file."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.error_texts import summary, without_values
from airflow_provider_polyteia.tables.interruptible import run_interruptible
from airflow_provider_polyteia.tables.optional_dependencies import is_installed, require
from airflow_provider_polyteia.tables.readers.base import ConnectError, Query, ReadError
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader
from airflow_provider_polyteia.tables.sql_connection import get_hook
from airflow_provider_polyteia.tables.sql_statement import single_query
from airflow_provider_polyteia.tables.sql_types import parse_columns
from airflow_provider_polyteia.tables.staging import is_provisional_decimal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.tables.readers.base import Parameters, Reader
    from airflow_provider_polyteia.tables.readers.postgres_duckdb import DuckDBReader
    from airflow_provider_polyteia.tables.staging import StagedTable

log = logging.getLogger(__name__)

Driver = Literal["auto", "duckdb", "dbapi"]

_EXTENSION = "duckdb_extension_postgres_scanner"


def stage_query(
    conn_id: str,
    sql: str,
    parameters: Parameters = None,
    *,
    driver: Driver = "auto",
    columns: Mapping[str, str] | None = None,
    last: Mapping[str, str] | None = None,
    hook_params: Mapping[str, Any] | None = None,
    temp_dir: str | None = None,
) -> StagedTable:
    """Run a query and return its rows as a temporary Parquet file. Nothing is committed in the database.

    :param conn_id: Airflow connection to a SQL database.
    :param parameters: Values for the placeholders, in the style of the connection's own driver.
    :param driver: ``"duckdb"`` reads PostgreSQL through DuckDB, the fastest way; ``"dbapi"`` uses the connection's
        hook; ``"auto"`` uses DuckDB for PostgreSQL if its extension is installed, otherwise the hook. Default:
        ``"auto"``.
    :param columns: Name -> SQL type of columns whose types are declared. Default: none.
    :param last: Name -> type of the columns at the last load, as Arrow writes it. Default: none.
    :param hook_params: Arguments for the connection's hook. Default: none.
    :param temp_dir: Directory of the temporary file. Default: the system's temporary directory.
    :raises PolyteiaConfigurationError: if `sql` is not a query, or the connection is not to a SQL database.
    :raises PolyteiaError: if the rows cannot be read or staged.
    """
    query = Query(single_query(sql), parameters, parse_columns(columns or {}), last or {})
    hook = get_hook(conn_id, hook_params)
    reader_class = _choose_reader(hook, conn_id, driver)
    log.info("Reading from connection %r with %s", conn_id, reader_class.__name__)
    reader = reader_class(hook, query)
    started = time.monotonic()
    table = run_interruptible(
        lambda: _stage(reader, conn_id, query.sql, temp_dir),
        reader.cancel,
        lambda: log.info("Reading from connection %r: %s so far", conn_id, reader.progress()),
    )
    log.info("Read %s rows from connection %r in %.1f s", f"{table.rows:,}", conn_id, time.monotonic() - started)
    return table


def describe_query(
    conn_id: str,
    sql: str,
    parameters: Parameters = None,
    *,
    driver: Driver = "auto",
    columns: Mapping[str, str] | None = None,
    last: Mapping[str, str] | None = None,
    hook_params: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return the columns of a query and their types, as Arrow writes them, and read no rows.

    The query is abandoned as soon as its types are known. PostgreSQL knows them before it runs the query; any other
    database begins to run it, and may sort or aggregate before that. A type that only the values show is that of the
    last load, or ``"null"``. Parameters and exceptions are those of `stage_query`.
    """
    query = Query(single_query(sql), parameters, parse_columns(columns or {}), last or {})
    hook = get_hook(conn_id, hook_params)
    reader_class = _choose_reader(hook, conn_id, driver)
    # What PostgreSQL says about a query does not depend on who reads it.
    reader = DbApiReader(hook, query)
    schema = run_interruptible(lambda: _describe(reader, conn_id, query.sql), reader.cancel)
    if reader_class is not DbApiReader:
        _check_for_duckdb(schema.names)
    return {field.name: _type_of(field, query.last) for field in schema}


def _choose_reader(hook: Any, conn_id: str, driver: Driver) -> type[DuckDBReader | DbApiReader]:
    if driver not in get_args(Driver):
        raise PolyteiaConfigurationError(
            f"The argument 'driver' is {driver!r}; it must be one of {', '.join(get_args(Driver))}."
        )
    is_postgres = hook.conn_type == "postgres"
    if driver == "dbapi" or (driver == "auto" and not (is_postgres and is_installed(_EXTENSION))):
        return DbApiReader
    if not is_postgres:
        raise PolyteiaConfigurationError(
            f"Connection {conn_id!r} has the type {hook.conn_type!r}, but driver='duckdb' supports 'postgres' only."
        )
    require(_EXTENSION, "postgres", "driver='duckdb'")
    from airflow_provider_polyteia.tables.readers.postgres_duckdb import DuckDBReader  # noqa: PLC0415 - optional packages

    return DuckDBReader


def _check_for_duckdb(names: list[str]) -> None:
    """Check that DuckDB, which would read the rows, regards all column names as different."""
    from airflow_provider_polyteia.tables.readers import postgres_duckdb  # noqa: PLC0415 - optional packages

    postgres_duckdb.check_names_for_duckdb(names)


def _describe(reader: DbApiReader, conn_id: str, sql: str) -> pa.Schema:
    """Return the columns of a query; its first batch comes before the first row is fetched."""
    try:
        batches: Any = reader.read_batches()  # a generator, whose `close` ends the query
        with closing(batches):
            return next(batches).schema
    except PolyteiaError:
        raise
    except Exception as error:  # noqa: BLE001 - each driver has exceptions of its own
        raise PolyteiaError(
            f"The columns of the query on connection {conn_id!r} could not be determined: {_why(error, sql)}"
        ) from None


def _type_of(field: pa.Field, last: Mapping[str, str]) -> str:
    follows_values = pa.types.is_null(field.type) or is_provisional_decimal(field)
    return last.get(field.name, str(pa.null())) if follows_values else str(field.type)


def _stage(reader: Reader, conn_id: str, sql: str, temp_dir: str | None) -> StagedTable:
    try:
        return reader.stage(temp_dir)
    except PolyteiaError:
        raise
    except Exception as error:  # noqa: BLE001 - each driver has exceptions of its own
        raise PolyteiaError(
            f"Reading from connection {conn_id!r} failed after {reader.progress()}, so nothing was uploaded: "
            f"{_why(error, sql)}"
        ) from None


def _why(error: Exception, sql: str) -> str:
    """Return what an exception of a database says. It is not chained, because its own text may contain values."""
    if isinstance(error, ConnectError):
        return str(error)
    return without_values(str(error), sql) if isinstance(error, ReadError) else summary(error, sql)
