"""DuckDB as it is used here: without extensions from the network, bounded in threads and memory, and killable.

Parquet is written in one of two ways, both of which keep the order of the rows:

- Several threads, each with a row group of a fixed number of rows. It is fast, but needs much memory for wide rows.
- One thread, which ends a row group as soon as it has enough rows or bytes. DuckDB limits the bytes of a row group only
  if it may change the order of the rows, which a single thread has no opportunity to do.
"""

from __future__ import annotations

import logging
import os
from typing import IO, TYPE_CHECKING, Any, Self

import duckdb

from airflow_provider_polyteia.tables.staging import ROW_GROUP_BYTES, ROW_GROUP_ROWS, StagedTable
from airflow_provider_polyteia.tables.temporary import check_writable, open_temporary, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

log = logging.getLogger(__name__)

# Each thread holds a row group and several buffers of the file in memory.
_MAX_THREADS = 4
MEMORY_LIMIT = "1GB"
_ROW_GROUP_VALUES = 4_000_000  # at most, so that tables of many columns do not take more memory
_VECTOR_ROWS = 2_048  # as many as DuckDB processes at a time


class Engine:
    """A connection to a database in memory; a context manager that closes it.

    :param temp_dir: directory of temporary files. Default: the system's temporary directory.
    :param threads: maximum number of threads. Default: one per CPU, at most four.
    """

    def __init__(self, temp_dir: str | None = None, *, threads: int = _MAX_THREADS) -> None:
        self._temp_dir = temp_dir
        self._file: IO[bytes] | None = None  # that is being written
        self._written = 0  # bytes of the last file that could not be written
        self._threads = min(threads, os.cpu_count() or 1)
        self._connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": "",  # its files would have names, and stay there if the process is killed
                "threads": self._threads,
            }
        )
        self._connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def cancel(self) -> None:
        """End the query that is running, from another thread."""
        self._connection.interrupt()

    def first(self, sql: str) -> Any:
        """Return the first row of a query."""
        return self._connection.execute(sql).fetchone()

    def rows(self, sql: str) -> list[Any]:
        """Return all rows of a query."""
        return self._connection.execute(sql).fetchall()

    def columns(self, relation: str) -> dict[str, str]:
        """Return the names and types of a relation's columns.

        :param relation: SQL of a table, for a FROM clause.
        """
        described = self._connection.execute(f"DESCRIBE SELECT * FROM {relation}")  # noqa: S608 - built here
        return {name: sql_type for name, sql_type, *_ in described.fetchall()}

    def execute(self, sql: str) -> None:
        """Run a statement."""
        self._connection.execute(sql)

    def batches(self, query: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query while it runs.

        :param rows: number of rows per batch.
        """
        result = self._connection.execute(query)
        # Its name before DuckDB 1.5.
        read: Any = getattr(result, "to_arrow_reader", None) or result.fetch_record_batch
        yield from read(rows)

    def register(self, name: str, table: Any) -> None:
        """Give a name to a table of Arrow."""
        self._connection.register(name, table)

    def register_filesystem(self, filesystem: Any) -> None:
        """Let paths begin with the protocol of a file system of fsspec."""
        self._connection.register_filesystem(filesystem)

    def canonical_type(self, sql_type: str) -> str:
        """Return how DuckDB writes the name of a type.

        :raises duckdb.Error: if it does not exist.
        """
        name: str = self.first(f"SELECT typeof(CAST(NULL AS {sql_type}))")[0]
        return name

    @property
    def written(self) -> int:
        """Bytes of the Parquet file that is being written, or that could not be. Called from another thread."""
        file = self._file
        return self._written if file is None else os.fstat(file.fileno()).st_size

    def copy_to_parquet(self, query: str, width: int) -> StagedTable:
        """Return the rows of a query as a temporary Parquet file, in their order.

        :param width: number of its columns.
        :raises PolyteiaError: if the file cannot be written.
        :raises duckdb.Error: if the query fails.
        """
        if self._threads > 1:
            try:
                return self._copy(query, width)
            except duckdb.OutOfMemoryException:
                log.info("The rows are wide; reading them again in one thread, which needs less memory")
            self._threads = 1
            self.execute("SET threads = 1")
        self.execute("SET preserve_insertion_order = false")
        return self._copy(query, width, f", ROW_GROUP_SIZE_BYTES {ROW_GROUP_BYTES}")

    def _copy(self, query: str, width: int, options: str = "") -> StagedTable:
        file = self._file = open_temporary(self._temp_dir)
        row_group = max(min(ROW_GROUP_ROWS, _ROW_GROUP_VALUES // width), _VECTOR_ROWS)
        try:
            self._connection.execute(
                f"COPY ({query}) TO '{path_of(file)}' (FORMAT parquet, COMPRESSION zstd, "
                f"ROW_GROUP_SIZE {row_group}, USE_TMP_FILE false{options})"
            )
            return StagedTable.of(file)
        except BaseException as error:
            self._written = os.fstat(file.fileno()).st_size
            with file:
                if isinstance(error, duckdb.IOException):
                    check_writable(file, self._temp_dir)  # DuckDB does not tell whether reading or writing failed
            raise
        finally:
            self._file = None
