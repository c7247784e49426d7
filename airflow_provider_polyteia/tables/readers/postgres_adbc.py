"""Read a query from PostgreSQL through ADBC: the rows come as Arrow, and never are Python objects."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.tables.readers import postgres
from airflow_provider_polyteia.tables.readers.base import BATCH_BYTES
from airflow_provider_polyteia.tables.readers.postgres_sessions import session_of
from airflow_provider_polyteia.tables.staging import cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_polyteia.tables.readers.base import Parameters

_BATCH_SIZE = "adbc.postgresql.batch_size_hint_bytes"


class AdbcReader:
    """Runs a query on the database that a PostgreSQL hook leads to."""

    def __init__(self, hook: Any, sql: str, parameters: Parameters) -> None:
        self._hook = hook
        self._sql = sql
        self._parameters = parameters
        self._stop: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Stop the query; called from another thread."""
        if self._stop is not None:
            self._stop()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Run the query and yield its rows, in the types that PostgreSQL has told beforehand."""
        # The hook knows how to log in (extras, tokens of clouds), so its driver does, and ADBC follows.
        with closing(self._hook.get_conn()) as connection:
            self._stop = connection.cancel
            session = session_of(connection)
            described = postgres.describe(session, self._sql, self._parameters)
            sql = described.sql if self._parameters is None else session.literal(described.sql, self._parameters)
            target = session.connection_string()
            self._stop = None
        schema = pa.schema(described.fields)
        yield _empty(schema)
        for batch in self._run(target, sql):
            columns = [_typed(*pair) for pair in zip(batch.columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _run(self, target: str, sql: str) -> Iterator[pa.RecordBatch]:
        """Run a query in a transaction that cannot write.

        By ADBC's own interface: its DB-API on top of that loads pandas where it is installed, which costs a second.
        """
        import adbc_driver_manager as adbc  # noqa: PLC0415 - only where it is used
        import adbc_driver_postgresql  # noqa: PLC0415 - as above

        with (
            closing(adbc_driver_postgresql.connect(target)) as database,
            closing(adbc.AdbcConnection(database)) as session,
        ):
            session.set_autocommit(False)
            with closing(adbc.AdbcStatement(session)) as statement:
                statement.set_sql_query("SET TRANSACTION READ ONLY")
                statement.execute_update()
            with closing(adbc.AdbcStatement(session)) as statement:
                self._stop = statement.cancel
                statement.set_options(**{_BATCH_SIZE: str(BATCH_BYTES)})
                statement.set_sql_query(sql)
                stream, _ = statement.execute_query()
                with pa.RecordBatchReader.from_stream(stream) as batches:
                    yield from batches


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _typed(column: pa.Array, field: pa.Field) -> pa.Array:
    stored = column.storage if isinstance(column, pa.ExtensionArray) else column
    if pa.types.is_string(stored.type):
        _check_encoding(stored, field)
    return stored if stored.type == field.type else cast(stored, field)


def _check_encoding(column: pa.Array, field: pa.Field) -> None:
    """Refuse what nobody could read: ADBC takes the bytes as they come.

    :raises PolyteiaError: naming the column.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise PolyteiaError(
            f"A text in column {field.name!r} is not in UTF-8: the database keeps texts without an encoding "
            f"(SQL_ASCII). Convert them in the SQL, such as convert_from({field.name}::bytea, 'LATIN1'). Nothing was "
            "uploaded."
        ) from error
