"""Any DB-API driver: nothing is assumed of it beyond the mandatory part of PEP 249."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.columns import InferredColumn, to_batch
from airflow_provider_polyteia.tables.readers.base import check_names, declare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.readers.base import Parameters, Query

    MakeBatch = Callable[[Sequence[Sequence[Any]]], pa.RecordBatch]

_ARRAY_SIZE = 1_000
_FIRST_ROWS = 16  # because it is not known yet how wide they are
# Larger batches need more memory and also more time, because the garbage collector traverses their objects repeatedly.
_MAX_ROWS = 4_000


class Driver:
    """A connection through a driver of which nothing else is known: the values decide about the types.

    :param connection: that a hook has opened; it is closed by the caller.
    :param open_connection: opens a second one.
    :ivar array_size: number of rows that the driver may fetch at a time.
    """

    array_size = _ARRAY_SIZE

    def __init__(self, connection: Any, open_connection: Callable[[], Any]) -> None:
        self.connection = connection
        self.open_connection = open_connection

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query and yield its rows in at least one batch, which may be empty.

        :raises PolyteiaError: if a value does not fit its type.
        :raises Exception: any other, if the database fails.
        """
        self.prepare(query)
        cursor = self.open_cursor()
        try:
            execute(cursor, query.sql, query.parameters, self.array_size)
            check_columns(cursor)
            columns = declare(self.columns(cursor, query), query.declared)
            yield from fetch_batches(cursor, partial(to_batch, columns), query.batch_bytes)
        except BaseException:
            self.abandon(cursor)
            raise
        cursor.close()
        for column in columns:
            column.report()

    def prepare(self, query: Query) -> None:
        """Make the session read-only, if the database can do that."""

    def open_cursor(self) -> Any:
        """Return a cursor that fetches rows on demand, if the driver has one."""
        return self.connection.cursor()

    def columns(self, cursor: Any, query: Query) -> list[Column]:
        """Return the columns of a query that was executed; their names are unique."""
        return [InferredColumn(name, query.last.get(name, "")) for name in names_of(cursor)]

    def abandon(self, cursor: Any) -> None:
        """Close a cursor after a failure, or before all rows were read. Never raises, as the connection may be lost."""
        with suppress(Exception):
            cursor.close()

    def cancel(self) -> None:
        """Cancel the query, if the driver can do that. Called from another thread."""
        for name in ("cancel", "interrupt"):
            if hasattr(self.connection, name):
                getattr(self.connection, name)()
                return


def execute(cursor: Any, sql: str, parameters: Parameters, array_size: int = _ARRAY_SIZE) -> None:
    """Run a query."""
    with suppress(AttributeError):  # DuckDB's cursors do not have it
        cursor.arraysize = array_size
    # Drivers interpret % in the SQL as a placeholder only if parameters are passed.
    cursor.execute(sql) if parameters is None else cursor.execute(sql, parameters)


def names_of(cursor: Any) -> list[str]:
    """Return the names of the columns of a query that was executed."""
    return [column[0] for column in cursor.description]


def check_columns(cursor: Any) -> None:
    """Check that a statement has returned columns with different names.

    :raises PolyteiaConfigurationError: if not.
    """
    if cursor.description is None:
        raise PolyteiaConfigurationError(
            "The SQL returned no rows and no columns, so it is not a query. Nothing was uploaded or committed by this "
            "task (the connection may use autocommit)."
        )
    check_names(names_of(cursor))


def days_to_iso(value: timedelta) -> str:
    """Return an interval of days and seconds in the notation of ISO 8601, such as ``-P1DT2H0.5S``."""
    size = abs(value)
    minutes, seconds = divmod(size.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f"{seconds}.{size.microseconds:06}".rstrip("0").rstrip(".")
    parts = [(str(size.days), "D"), ("", "T"), (str(hours), "H"), (str(minutes), "M"), (fraction, "S")]
    text = "".join(number + unit for number, unit in parts if number != "0").rstrip("T")
    return ("-" if value < timedelta() else "") + f"P{text or 'T0S'}"


def months_to_iso(value: int) -> str:
    """Return an interval of months in the notation of ISO 8601, such as ``-P1Y2M``."""
    years, months = divmod(abs(value), 12)
    text = "".join(f"{number}{unit}" for number, unit in ((years, "Y"), (months, "M")) if number)
    return ("-" if value < 0 else "") + f"P{text or '0M'}"


def fetch_batches(cursor: Any, make_batch: MakeBatch, batch_bytes: int) -> Iterator[pa.RecordBatch]:
    """Yield an empty batch, then batches of about `batch_bytes`, regardless of how wide the rows are."""
    yield make_batch([])
    count = _FIRST_ROWS
    while rows := cursor.fetchmany(count):
        batch = make_batch(rows)
        fitting = len(rows) * batch_bytes // max(batch.nbytes, 1)
        count = max(1, min(fitting, 2 * count, _MAX_ROWS))
        yield batch
