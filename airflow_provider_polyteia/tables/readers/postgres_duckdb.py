"""Reads a query from PostgreSQL through DuckDB's postgres scanner: rows arrive in binary form and stay columns.

The scanner reads NaN in a numeric as 0.00, without an error, so PostgreSQL itself looks for it.
"""

from __future__ import annotations

import logging
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.engine import Engine
from airflow_provider_polyteia.tables.readers import postgres
from airflow_provider_polyteia.tables.readers.postgres_sessions import wrap_connection
from airflow_provider_polyteia.tables.sql_parts import literal
from airflow_provider_polyteia.tables.staging import cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_polyteia.tables.readers.base import Parameters

log = logging.getLogger(__name__)

_PACKAGE = "duckdb_extension_postgres_scanner"  # contains the extension
_BATCH_ROWS = 2_048  # as many as DuckDB processes at a time
_SOURCE = "source"


class DuckDBReader:
    """Runs a query on the database of a PostgreSQL hook.

    :param hook: Airflow's PostgreSQL hook.
    :param sql: The query.
    :param parameters: Values for the placeholders, in the style of the hook's driver, or None.
    """

    def __init__(self, hook: Any, sql: str, parameters: Parameters) -> None:
        self._hook = hook
        self._sql = sql
        self._parameters = parameters
        self._engine: Engine | None = None
        self._connection: Any = None  # while it describes the query
        self._pid = 0  # of the session that runs it

    def cancel(self) -> None:
        """Cancel the query. Called from another thread."""
        if self._connection is not None:
            self._connection.cancel()
        if self._engine is not None:
            self._engine.cancel()
        if self._pid:
            # DuckDB waits for PostgreSQL, and notices an interruption with the next row only.
            with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute("SELECT pg_cancel_backend(%s)", (self._pid,))

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        """Run the query and yield its rows, with the types that PostgreSQL reported before."""
        # Only the hook knows how to log in (extras, cloud tokens), so its driver connects first, and DuckDB connects
        # with the resulting parameters.
        with closing(self._hook.get_conn()) as connection:
            self._connection = connection
            session = wrap_connection(connection)
            described = postgres.describe(session, self._sql, self._parameters)
            sql = described.sql if self._parameters is None else session.literal(described.sql, self._parameters)
            settings = session.settings()
            self._connection = None
        schema = pa.schema(described.fields)
        yield _empty_batch(schema)
        with Engine() as engine:
            self._attach(engine, settings)
            self._engine = engine
            try:
                for batch in self._run(engine, _guarded(sql, schema)):
                    yield _checked(batch, schema)
            finally:
                self._engine, self._pid = None, 0
                _end_transaction(engine)

    def _attach(self, engine: Engine, settings: dict[str, Any]) -> None:
        """Connect to PostgreSQL.

        :param settings: of libpq.
        :raises PolyteiaError: if that fails; DuckDB's own exception would contain all settings but the password.
        """
        engine.execute(f"LOAD {literal(_find_extension(engine))}")
        settings = {**settings, "client_encoding": "UTF8"}  # the encoding of Arrow strings
        password = settings.pop("password", None)
        target = " ".join(
            f"{name}={_quoted(str(value))}" for name, value in settings.items() if value not in (None, "")
        )
        engine.execute(f"CREATE SECRET login (TYPE postgres, PASSWORD {literal(password or '')})")
        try:
            engine.execute(f"ATTACH {literal(target)} AS {_SOURCE} (TYPE postgres, READ_ONLY, SECRET login)")
        except duckdb.Error as error:
            why = str(error).replace(target, "...").strip()
            raise PolyteiaError(f"DuckDB cannot connect to PostgreSQL, so nothing was uploaded: {why}") from None

    def _run(self, engine: Engine, sql: str) -> Iterator[pa.RecordBatch]:
        """Run a query in one read-only transaction."""
        engine.execute("BEGIN TRANSACTION")
        (self._pid,) = engine.first(_query("SELECT pg_backend_pid() AS pid"))
        yield from engine.batches(_query(sql), _BATCH_ROWS)


def _end_transaction(engine: Engine) -> None:
    """Roll back. If DuckDB did so while it is closed, the failure of a lost connection would end the process."""
    try:
        engine.execute("ROLLBACK")
    except duckdb.Error as error:
        log.debug("The read-only transaction could not be rolled back: %s", error)


def _guarded(sql: str, schema: pa.Schema) -> str:
    """Return the query with the number of a column that is NaN as its last column, and names that DuckDB accepts."""
    aliases = [f"c{number}" for number, _ in enumerate(schema)]
    decimals = [alias for alias, field in zip(aliases, schema, strict=True) if pa.types.is_decimal(field.type)]
    found = " ".join(f"WHEN {alias} = 'NaN' THEN {alias[1:]}" for alias in decimals)
    nan = f"CASE {found} END" if found else "NULL"
    return f"SELECT {', '.join(aliases)}, {nan}::int2 AS nan FROM (\n{sql}\n) AS q({', '.join(aliases)})"  # noqa: S608 - the DAG author's SQL


def _query(sql: str) -> str:
    return f"FROM postgres_query('{_SOURCE}', {literal(sql)})"  # the DAG author's SQL


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _find_extension(engine: Engine) -> str:
    """Return the path of the extension for the version of DuckDB that is installed."""
    (version,) = engine.first("SELECT library_version FROM pragma_version()")
    package = find_spec(_PACKAGE)
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        for path in Path(folder).glob(f"extensions/{version}/*.duckdb_extension"):
            return str(path)
    raise PolyteiaConfigurationError(
        f"The Python package {_PACKAGE!r} does not fit DuckDB {version}. Install both again with: pip install "
        '"airflow-provider-polyteia[postgres]"'
    )


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _checked(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with the types of a schema.

    :raises PolyteiaError: if a value does not fit; the error names the column.
    """
    *columns, nan = batch.columns
    if nan.null_count < len(nan):
        field = schema.field(pc.max(nan).as_py())
        raise PolyteiaError(
            f"A value in column {field.name!r} does not fit the type {field.type}: it is NaN. Replace it in the SQL, "
            f"for example with NULLIF({field.name}, 'NaN'). Nothing was uploaded."
        )
    converted = [_to_field_type(*pair) for pair in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(converted, schema=schema)


def _to_field_type(column: pa.Array, field: pa.Field) -> pa.Array:
    stored = column.storage if isinstance(column, pa.ExtensionArray) else column
    if pa.types.is_floating(stored.type) and not pa.types.is_floating(field.type):
        raise PolyteiaError(
            f"DuckDB reads column {field.name!r} as floating-point numbers, although PostgreSQL has {field.type}. Set "
            "driver='dbapi'. Nothing was uploaded."
        )
    if pa.types.is_string(stored.type):
        _check_encoding(stored, field)
    return stored if stored.type == field.type else cast(stored, field)


def _check_encoding(column: pa.Array, field: pa.Field) -> None:
    """Check that a text column is valid UTF-8, because DuckDB does not check the bytes that it receives.

    :raises PolyteiaError: if it is not; the error names the column.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise PolyteiaError(
            f"Column {field.name!r} contains text that is not valid UTF-8 (database encoding SQL_ASCII). Convert the "
            f"text in the SQL, for example with convert_from({field.name}::bytea, 'LATIN1'). Nothing was uploaded."
        ) from error
