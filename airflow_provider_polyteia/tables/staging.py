"""Record batches into one temporary Parquet file, even if the types of columns are only known at the end.

As long as the batches have the same schema, they go into one file, and that is the result. A new segment begins when
the schema changes. In the end, the segments are rewritten as one file if there are several, or if a column's type was
only provisional: a column without values (it becomes text), or `number` (it becomes a decimal with as many places as
its values need).
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Iterator

# One row group at a time is in memory. This is half of DuckDB's own size, and saves a quarter of a transfer's memory.
ROW_GROUP_ROWS = 61_440
ROW_GROUP_BYTES = 32 * 1024 * 1024
MOST_DIGITS = 38
_NUMBER = {b"provisional": b"number"}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in a temporary Parquet file, open for reading. It is gone when it is closed, or when the process ends."""

    file: IO[bytes]
    rows: int
    schema: pa.Schema

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.file.close()

    @property
    def columns(self) -> dict[str, str]:
        """Names and types of the columns, as texts."""
        return {field.name: str(field.type) for field in self.schema}


def number(name: str) -> pa.Field:
    """Return the field of a column of exact numbers, written as text until it is known how many places they need."""
    return pa.field(name, pa.string(), metadata=_NUMBER)


def is_number(field: pa.Field) -> bool:
    """Tell whether a field was made by `number`."""
    return bool(field.metadata) and _NUMBER.items() <= field.metadata.items()


class Spool:
    """Takes record batches, and gives them back as a `Table`; a context manager that removes what is left.

    :param directory: where the temporary files are; None: where the system has them.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._directory = directory
        self._segments: list[_Segment] = []
        self._places: dict[str, int] = {}
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for segment in self._segments:
            segment.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows.

        :raises PolyteiaError: if they cannot be written, e.g. because the disk is full.
        """
        if not self._segments or not self._segments[-1].schema.equals(batch.schema, check_metadata=True):
            if self._segments and self._segments[-1].rows == 0:
                self._segments.pop().close()
            if self._segments:
                self._segments[-1].finish()  # only one of them may hold rows in memory
            self._segments.append(_Segment(batch.schema, self._directory))
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if is_number(field):
                self._places[field.name] = max(self._places.get(field.name, 0), _places(column))
        self._segments[-1].write(batch)
        self.rows += batch.num_rows

    def finish(self) -> Table:
        """Return all rows as one file. There must have been at least one batch, though it may be empty.

        :raises PolyteiaError: if the file cannot be written, or a value does not fit.
        """
        last = self._segments[-1]
        last.finish()
        schema = pa.schema([self._settled(field) for field in last.schema])
        if len(self._segments) > 1 or not schema.equals(last.schema, check_metadata=True):
            last = self._rewritten(schema)
        else:
            self._segments.remove(last)  # not to be closed
        last.file.seek(0)
        return Table(last.file, self.rows, schema)

    def _settled(self, field: pa.Field) -> pa.Field:
        if is_number(field):
            return pa.field(field.name, pa.decimal128(MOST_DIGITS, min(self._places.get(field.name, 0), MOST_DIGITS)))
        return pa.field(field.name, pa.string()) if pa.types.is_null(field.type) else field.remove_metadata()

    def _rewritten(self, schema: pa.Schema) -> _Segment:
        result = _Segment(schema, self._directory)
        try:
            while self._segments:
                for batch in self._segments[0].batches():
                    columns = [cast(*pair) for pair in zip(batch.columns, schema, strict=True)]
                    result.write(pa.RecordBatch.from_arrays(columns, schema=schema))
                self._segments.pop(0).close()
            result.finish()
        except BaseException:
            result.close()
            raise
        return result


class _Segment:
    """A temporary Parquet file with one schema."""

    def __init__(self, schema: pa.Schema, directory: str | None) -> None:
        self.schema = schema
        self._directory = directory or tempfile.gettempdir()
        self._waiting: list[pa.RecordBatch] = []
        self.rows = 0
        try:
            self.file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise PolyteiaConfigurationError(
                f"No temporary file can be made in {self._directory!r}: {error.strerror}. Choose another directory "
                "with the argument 'temp_dir'."
            ) from error
        # Arrow's own memory pool would keep what it has taken.
        pool = pa.system_memory_pool()
        self._writer = pq.ParquetWriter(self.file, schema, compression="zstd", memory_pool=pool)

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self.rows += batch.num_rows
        rows = sum(waiting.num_rows for waiting in self._waiting)
        if rows >= ROW_GROUP_ROWS or sum(waiting.nbytes for waiting in self._waiting) >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self.schema)
        self._waiting = []
        try:
            self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        except OSError as error:
            raise self._unwritable(error) from error

    def finish(self) -> None:
        if self._waiting:
            self._flush()
        try:
            self._writer.close()
            self.file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from pq.ParquetFile(self.file).iter_batches(ROW_GROUP_ROWS)

    def close(self) -> None:
        self._writer.is_open = False  # else it would write its footer when it is collected
        with suppress(OSError):  # what is still to be written is not wanted any more
            self.file.close()

    def _unwritable(self, error: OSError) -> PolyteiaError:
        return PolyteiaError(
            f"The temporary file in {self._directory!r} could not be written: {error.strerror or error}. Nothing was "
            "uploaded. Make room there, or choose another directory with the argument 'temp_dir'."
        )


def _places(column: pa.Array) -> int:
    """Return how many decimal places the numbers in a column of text have at the most."""
    point = pc.find_substring(column, ".")
    places = pc.subtract(pc.subtract(pc.binary_length(column), point), 1)
    return pc.max(pc.if_else(pc.greater_equal(point, 0), places, 0)).as_py() or 0


def cast(column: pa.Array, field: pa.Field) -> pa.Array:
    """Return a column in the type of a field.

    :raises PolyteiaError: naming the column, if a value does not fit.
    """
    if pa.types.is_boolean(column.type) and pa.types.is_decimal(field.type):
        column = column.cast(pa.int8())  # Arrow has no direct way
    if pa.types.is_integer(column.type) and pa.types.is_decimal(field.type):
        column = column.cast(pa.string())  # else Arrow would want room for the largest integer
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PolyteiaError(
            f"A value in column {field.name!r} does not fit: {error}. Cast the column to a definite type in the SQL, "
            f"such as numeric({MOST_DIGITS}, 6) or double precision. Nothing was uploaded."
        ) from error
