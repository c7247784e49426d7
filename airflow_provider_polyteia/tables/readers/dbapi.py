"""Reads a query through the hook of any SQL database, with a server-side cursor if the driver has one."""

from __future__ import annotations

import importlib
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.readers import postgres
from airflow_provider_polyteia.tables.readers.base import BATCH_BYTES, check_names
from airflow_provider_polyteia.tables.readers.postgres_sessions import wrap_connection
from airflow_provider_polyteia.tables.schema import TypeInference
from airflow_provider_polyteia.tables.staging import ParquetStaging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from airflow_provider_polyteia.tables.readers.base import Parameters
    from airflow_provider_polyteia.tables.staging import StagedTable

    MakeBatch = Callable[[Sequence[Sequence[Any]]], pa.RecordBatch]

_FIRST_ROWS = 1_000
# Larger batches need more memory and also more time, because the garbage collector traverses their objects repeatedly.
_MAX_ROWS = 4_000
# Statements that make a session read-only.
_READ_ONLY = {"sqlite": "PRAGMA query_only = ON", "mysql": "SET SESSION TRANSACTION READ ONLY"}
# Drivers whose default cursor fetches the whole result at once, and the modules of their streaming cursors.
_STREAMING_CURSORS = {"MySQLdb": "MySQLdb.cursors", "pymysql": "pymysql.cursors"}


class DbApiReader:
    """Runs a query on the database of a hook.

    :param hook: Hook of a SQL database.
    :param sql: The query.
    :param parameters: Values for the placeholders, in the style of the hook's driver, or None.
    :param batch_bytes: Approximate size of a batch. Default: `BATCH_BYTES`.
    """

    def __init__(self, hook: Any, sql: str, parameters: Parameters, *, batch_bytes: int = BATCH_BYTES) -> None:
        self._hook = hook
        self._sql = sql
        self._parameters = parameters
        self._batch_bytes = batch_bytes
        self._connection: Any = None
        self._rows = 0

    def cancel(self) -> None:
        """Cancel the query if the driver supports it. Called from another thread."""
        for name in ("cancel", "interrupt"):
            if hasattr(self._connection, name):
                getattr(self._connection, name)()
                return

    def progress(self) -> str:
        """Return the number of rows that were read."""
        return f"{self._rows:,} rows"

    def stage(self, temp_dir: str | None) -> StagedTable:
        """Run the query and return its rows as a temporary Parquet file. Nothing is committed."""
        with ParquetStaging(temp_dir) as staging:
            for batch in self.read_batches():
                staging.write(batch)
                self._rows = staging.rows
            return staging.finish()

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        """Run the query and yield its rows in at least one batch, which may be empty."""
        with closing(self._hook.get_conn()) as self._connection:
            if self._hook.conn_type == "postgres":
                session = wrap_connection(self._connection)
                described = postgres.describe(session, self._sql, self._parameters, postgres.AS_NUMBERS)
                with closing(session.server_cursor()) as cursor:
                    _execute(cursor, described.sql, self._parameters)
                    yield from _fetch_batches(cursor, partial(postgres.to_batch, described.fields), self._batch_bytes)
            else:
                with closing(self._open_cursor()) as cursor:
                    _execute(cursor, self._sql, self._parameters)
                    yield from _fetch_batches(cursor, TypeInference(_column_names(cursor)).to_batch, self._batch_bytes)

    def _open_cursor(self) -> Any:
        """Make the session read-only and return a cursor, both if the database supports it."""
        if self._hook.conn_type in _READ_ONLY:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute(_READ_ONLY[self._hook.conn_type])
        driver = type(self._connection).__module__.partition(".")[0]
        if driver in _STREAMING_CURSORS:
            return self._connection.cursor(importlib.import_module(_STREAMING_CURSORS[driver]).SSCursor)
        return self._connection.cursor()


def _execute(cursor: Any, sql: str, parameters: Parameters) -> None:
    cursor.arraysize = _FIRST_ROWS
    # Drivers interpret % in the SQL as a placeholder only if parameters are passed.
    cursor.execute(sql) if parameters is None else cursor.execute(sql, parameters)


def _column_names(cursor: Any) -> list[str]:
    if cursor.description is None:
        raise PolyteiaConfigurationError(
            "The SQL returned no rows and no columns, so it is not a query. Nothing was uploaded or committed by this "
            "task (the connection may use autocommit)."
        )
    names = [column[0] for column in cursor.description]
    check_names(names)
    return names


def _fetch_batches(cursor: Any, make_batch: MakeBatch, batch_bytes: int) -> Iterator[pa.RecordBatch]:
    """Yield an empty batch, then batches of about `batch_bytes`, regardless of how wide the rows are."""
    yield make_batch([])
    count = _FIRST_ROWS
    while rows := cursor.fetchmany(count):
        batch = make_batch(rows)
        fitting = len(rows) * batch_bytes // max(batch.nbytes, 1)
        count = max(1, min(fitting, 2 * count, _MAX_ROWS))
        yield batch
