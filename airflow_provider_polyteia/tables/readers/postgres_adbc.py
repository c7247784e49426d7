"""Reads a query from PostgreSQL through ADBC: rows arrive as Arrow data and are never converted to Python objects."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.tables.readers import postgres
from airflow_provider_polyteia.tables.readers.base import BATCH_BYTES
from airflow_provider_polyteia.tables.readers.postgres_sessions import wrap_connection
from airflow_provider_polyteia.tables.staging import cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_polyteia.tables.readers.base import Parameters

_BATCH_SIZE = "adbc.postgresql.batch_size_hint_bytes"


class AdbcReader:
    """Runs a query on the database of a PostgreSQL hook.

    :param hook: Airflow's PostgreSQL hook.
    :param sql: The query.
    :param parameters: Values for the placeholders, in the style of the hook's driver, or None.
    :param batch_bytes: Approximate size of a batch. Default: `BATCH_BYTES`.
    """

    def __init__(self, hook: Any, sql: str, parameters: Parameters, *, batch_bytes: int = BATCH_BYTES) -> None:
        self._hook = hook
        self._sql = sql
        self._parameters = parameters
        self._batch_bytes = batch_bytes
        self._cancel: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Cancel the query. Called from another thread."""
        if self._cancel is not None:
            self._cancel()

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        """Run the query and yield its rows, with the types that PostgreSQL reported before."""
        # Only the hook knows how to log in (extras, cloud tokens), so its driver connects first, and ADBC reuses the
        # resulting connection string.
        with closing(self._hook.get_conn()) as connection:
            self._cancel = connection.cancel
            session = wrap_connection(connection)
            described = postgres.describe(session, self._sql, self._parameters)
            sql = described.sql if self._parameters is None else session.literal(described.sql, self._parameters)
            target = session.connection_string()
            self._cancel = None
        schema = pa.schema(described.fields)
        yield _empty_batch(schema)
        for batch in self._run(target, sql):
            columns = [_to_field_type(*pair) for pair in zip(batch.columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _run(self, target: str, sql: str) -> Iterator[pa.RecordBatch]:
        """Run a query in a read-only transaction.

        Uses ADBC's low-level interface, because its DB-API interface imports pandas if it is installed, which takes a
        second.
        """
        import adbc_driver_manager as adbc  # noqa: PLC0415 - optional package
        import adbc_driver_postgresql  # noqa: PLC0415 - optional package

        with (
            closing(adbc_driver_postgresql.connect(target)) as database,
            closing(adbc.AdbcConnection(database)) as session,
        ):
            session.set_autocommit(False)
            with closing(adbc.AdbcStatement(session)) as statement:
                statement.set_sql_query("SET TRANSACTION READ ONLY")
                statement.execute_update()
            with closing(adbc.AdbcStatement(session)) as statement:
                self._cancel = statement.cancel
                statement.set_options(**{_BATCH_SIZE: str(self._batch_bytes)})
                statement.set_sql_query(sql)
                stream, _ = statement.execute_query()
                with pa.RecordBatchReader.from_stream(stream) as batches:
                    yield from batches


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _to_field_type(column: pa.Array, field: pa.Field) -> pa.Array:
    stored = column.storage if isinstance(column, pa.ExtensionArray) else column
    if pa.types.is_string(stored.type):
        _check_encoding(stored, field)
    return stored if stored.type == field.type else cast(stored, field)


def _check_encoding(column: pa.Array, field: pa.Field) -> None:
    """Check that a text column is valid UTF-8, because ADBC does not check the bytes it receives.

    :raises PolyteiaError: if the column contains invalid UTF-8; the error names the column.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise PolyteiaError(
            f"Column {field.name!r} contains text that is not valid UTF-8 (database encoding SQL_ASCII). Convert the "
            f"text in the SQL, for example with convert_from({field.name}::bytea, 'LATIN1'). Nothing was uploaded."
        ) from error
