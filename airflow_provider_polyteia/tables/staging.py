"""Writes record batches to one temporary Parquet file, even if column types are only known at the end.

Batches with the same schema are written to one file. When the schema changes, a new segment (another temporary file)
begins. At the end, the segments are merged into one file if there are several, or if the type of a column was
provisional: a column without values becomes text, and a `provisional_decimal` becomes a decimal with as many decimal
places as its values need.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_polyteia.exceptions import log_cause
from airflow_provider_polyteia.tables.casts import MAX_DIGITS, cast
from airflow_provider_polyteia.tables.temporary import open_temporary, write_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

# One row group at a time is held in memory. This is half of DuckDB's default size and was measured to reduce the memory
# of a transfer by a quarter.
ROW_GROUP_ROWS = 61_440
ROW_GROUP_BYTES = 32 * 1024 * 1024
_MIN_PLACES = b"min_places"  # metadata of a provisional decimal


@dataclass(frozen=True, slots=True)
class StagedTable:
    """Rows in a temporary Parquet file that is open for reading and deleted when it is closed or the process ends."""

    file: IO[bytes]
    rows: int
    schema: pa.Schema

    @classmethod
    def of(cls, file: IO[bytes]) -> Self:
        """Return a Parquet file with what it says about itself."""
        parquet = pq.ParquetFile(file)
        file.seek(0)
        return cls(file, parquet.metadata.num_rows, parquet.schema_arrow)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.file.close()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self.file.fileno()).st_size

    @property
    def columns(self) -> dict[str, str]:
        """Column names and their types, as strings."""
        return {field.name: str(field.type) for field in self.schema}


def provisional_decimal(name: str, min_places: int = 0) -> pa.Field:
    """Return the field of a column of exact numbers, stored as text until their number of decimal places is known.

    :param min_places: minimum number of decimal places of the final type. Default: 0.
    """
    return pa.field(name, pa.string(), metadata={_MIN_PLACES: str(min_places)})


def is_provisional_decimal(field: pa.Field) -> bool:
    """Return True if a field was created by `provisional_decimal`."""
    return bool(field.metadata) and _MIN_PLACES in field.metadata


class ParquetStaging:
    """Collects record batches and returns them as a `StagedTable`; a context manager that closes unfinished files.

    :param directory: Directory of the temporary files. Default: the system's temporary directory.
    :param row_group_rows: Maximum number of rows in a row group. Default: `ROW_GROUP_ROWS`.
    """

    def __init__(self, directory: str | None = None, *, row_group_rows: int = ROW_GROUP_ROWS) -> None:
        self._directory = directory
        self._row_group_rows = row_group_rows
        self._segments: list[_Segment] = []
        self._decimal_places: dict[str, int] = {}
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for segment in self._segments:
            segment.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch.

        :raises PolyteiaError: if the rows cannot be written, e.g. because the disk is full.
        """
        segment = self._segment_for(batch.schema)
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if is_provisional_decimal(field):
                places = max(self._decimal_places.get(field.name, 0), _count_decimal_places(column))
                self._decimal_places[field.name] = places
        segment.write(batch)
        self.rows += batch.num_rows

    def _segment_for(self, schema: pa.Schema) -> _Segment:
        """Return the last segment if it has this schema, otherwise begin a new one."""
        last = self._segments[-1] if self._segments else None
        if last is not None and last.schema.equals(schema, check_metadata=True):
            return last
        if last is not None and last.rows == 0:
            self._segments.pop().close()
        elif last is not None:
            last.finish()  # only one segment may hold rows in memory
        self._segments.append(self._new_segment(schema))
        return self._segments[-1]

    def _new_segment(self, schema: pa.Schema) -> _Segment:
        return _Segment(schema, self._directory, self._row_group_rows)

    def finish(self) -> StagedTable:
        """Return all rows as one file. At least one batch must have been written; it may be empty.

        :raises PolyteiaError: if the file cannot be written, or a value does not fit the final type of its column.
        """
        last = self._segments[-1]
        last.finish()
        schema = pa.schema([self._final_field(field) for field in last.schema])
        if len(self._segments) > 1 or not schema.equals(last.schema, check_metadata=True):
            last = self._merge_segments(schema)
        else:
            self._segments.remove(last)  # so that `__exit__` leaves it open
        last.file.seek(0)
        return StagedTable(last.file, self.rows, schema)

    def _final_field(self, field: pa.Field) -> pa.Field:
        if is_provisional_decimal(field):
            places = min(max(self._decimal_places.get(field.name, 0), int(field.metadata[_MIN_PLACES])), MAX_DIGITS)
            return pa.field(field.name, pa.decimal128(MAX_DIGITS, places))
        return pa.field(field.name, pa.string()) if pa.types.is_null(field.type) else field.remove_metadata()

    def _merge_segments(self, schema: pa.Schema) -> _Segment:
        """Return one segment with the rows of all segments, which are closed one by one to free their disk space."""
        merged = self._new_segment(schema)
        try:
            while self._segments:
                for batch in self._segments[0].read_batches():
                    columns = [cast(*pair) for pair in zip(batch.columns, schema, strict=True)]
                    merged.write(pa.RecordBatch.from_arrays(columns, schema=schema))
                self._segments.pop(0).close()
            merged.finish()
        except BaseException:
            merged.close()
            raise
        return merged


class _Segment:
    """A temporary Parquet file with one schema."""

    def __init__(self, schema: pa.Schema, directory: str | None, row_group_rows: int) -> None:
        self.schema = schema
        self.rows = 0
        self._directory = directory
        self._row_group_rows = row_group_rows
        self._buffer: list[pa.RecordBatch] = []
        self.file = open_temporary(directory)
        # Arrow's default memory pool would not return freed memory to the system.
        pool = pa.system_memory_pool()
        self._writer = pq.ParquetWriter(self.file, schema, compression="zstd", memory_pool=pool)

    def write(self, batch: pa.RecordBatch) -> None:
        self._buffer.append(batch)
        self.rows += batch.num_rows
        rows = sum(buffered.num_rows for buffered in self._buffer)
        if rows >= self._row_group_rows or sum(buffered.nbytes for buffered in self._buffer) >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._buffer, self.schema)
        self._buffer = []
        try:
            self._writer.write_table(table, row_group_size=self._row_group_rows)
        except OSError as error:
            log_cause(error)
            raise write_failed(self._directory, error) from None

    def finish(self) -> None:
        if self._buffer:
            self._flush()
        try:
            self._writer.close()
            self.file.flush()
        except OSError as error:
            log_cause(error)
            raise write_failed(self._directory, error) from None

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        yield from pq.ParquetFile(self.file).iter_batches(self._row_group_rows)

    def close(self) -> None:
        self._writer.is_open = False  # otherwise the garbage collector would make it write its footer
        with suppress(OSError):  # closing flushes buffered data, which is no longer needed
            self.file.close()


def _count_decimal_places(column: pa.Array) -> int:
    """Return the maximum number of decimal places of the numbers in a text column."""
    point = pc.find_substring(column, ".")
    places = pc.subtract(pc.subtract(pc.binary_length(column), point), 1)
    return pc.max(pc.if_else(pc.greater_equal(point, 0), places, 0)).as_py() or 0
