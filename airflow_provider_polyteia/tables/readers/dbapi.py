"""Read a query through the hook of any SQL database, with a cursor on the server where the driver has one."""

from __future__ import annotations

import importlib
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.readers import postgres
from airflow_provider_polyteia.tables.readers.base import BATCH_BYTES, check_names
from airflow_provider_polyteia.tables.readers.postgres_sessions import session_of
from airflow_provider_polyteia.tables.schema import Columns, typed_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from airflow_provider_polyteia.tables.readers.base import Parameters

    MakeBatch = Callable[[Sequence[Sequence[Any]]], pa.RecordBatch]

_FIRST_ROWS = 1_000
# More rows at once take more memory and, as the garbage collector looks at them again and again, more time.
_MOST_ROWS = 4_000
# How databases are told that nothing is to be changed.
_READ_ONLY = {"sqlite": "PRAGMA query_only = ON", "mysql": "SET SESSION TRANSACTION READ ONLY"}
# Drivers that fetch the whole result at once unless told otherwise.
_STREAMING_CURSORS = {"MySQLdb": "MySQLdb.cursors", "pymysql": "pymysql.cursors"}


class DbApiReader:
    """Runs a query on the database that a hook leads to."""

    def __init__(self, hook: Any, sql: str, parameters: Parameters) -> None:
        self._hook = hook
        self._sql = sql
        self._parameters = parameters
        self._connection: Any = None

    def cancel(self) -> None:
        """Stop the query, if the driver can; called from another thread."""
        for name in ("cancel", "interrupt"):
            if hasattr(self._connection, name):
                getattr(self._connection, name)()
                return

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Run the query and yield its rows. Nothing is committed."""
        with closing(self._hook.get_conn()) as self._connection:
            if self._hook.conn_type == "postgres":
                session = session_of(self._connection)
                described = postgres.describe(session, self._sql, self._parameters)
                with closing(session.server_cursor()) as cursor:
                    _execute(cursor, described.sql, self._parameters)
                    yield from _fetched(cursor, partial(typed_batch, described.fields))
            else:
                with closing(self._cursor()) as cursor:
                    _execute(cursor, self._sql, self._parameters)
                    yield from _fetched(cursor, Columns(_names(cursor)).batch)

    def _cursor(self) -> Any:
        if self._hook.conn_type in _READ_ONLY:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute(_READ_ONLY[self._hook.conn_type])
        driver = type(self._connection).__module__.partition(".")[0]
        if driver in _STREAMING_CURSORS:
            return self._connection.cursor(importlib.import_module(_STREAMING_CURSORS[driver]).SSCursor)
        return self._connection.cursor()


def _execute(cursor: Any, sql: str, parameters: Parameters) -> None:
    cursor.arraysize = _FIRST_ROWS
    # Without parameters, a % in the SQL is just that.
    cursor.execute(sql) if parameters is None else cursor.execute(sql, parameters)


def _names(cursor: Any) -> list[str]:
    if cursor.description is None:
        raise PolyteiaConfigurationError(
            "The SQL returned no rows and no columns: it is no query. Nothing was uploaded, and we have not committed "
            "it; whether the connection does so by itself is up to its settings."
        )
    names = [column[0] for column in cursor.description]
    check_names(names)
    return names


def _fetched(cursor: Any, make_batch: MakeBatch) -> Iterator[pa.RecordBatch]:
    """Yield batches of about `BATCH_BYTES`, however wide the rows are; an empty one first."""
    yield make_batch([])
    count = _FIRST_ROWS
    while rows := cursor.fetchmany(count):
        batch = make_batch(rows)
        fitting = len(rows) * BATCH_BYTES // max(batch.nbytes, 1)
        count = max(1, min(fitting, 2 * count, _MOST_ROWS))
        yield batch
