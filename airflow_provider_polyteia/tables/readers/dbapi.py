"""Reads a query through the hook of any SQL database, with a server-side cursor if the driver has one."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.tables.readers.base import connect
from airflow_provider_polyteia.tables.readers.drivers import driver_of
from airflow_provider_polyteia.tables.staging import ParquetStaging

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from airflow_provider_polyteia.tables.readers.base import Query
    from airflow_provider_polyteia.tables.readers.drivers.base import Driver
    from airflow_provider_polyteia.tables.staging import StagedTable


class DbApiReader:
    """Runs a query on the database of a hook.

    :param hook: Hook of a SQL database.
    :param query: The query.
    """

    def __init__(self, hook: Any, query: Query) -> None:
        self._hook = hook
        self._query = query
        self._driver: Driver | None = None
        self._rows = 0

    def cancel(self) -> None:
        """Cancel the query if the driver supports it. Called from another thread."""
        if self._driver is not None:
            self._driver.cancel()

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
        with closing(connect(self._hook)) as connection:
            self._driver = driver_of(connection, self._hook.get_conn)
            yield from self._driver.read(self._query)
