"""Reads Arrow streams, and writes them as Parquet, CSV or JSON in constant memory. Needs the optional pyarrow."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.file_sink import write_failed
from airflow_provider_polyteia.client.formats import BY_EXTENSION, JSON, PARQUET, media_type
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from airflow_provider_polyteia.client.credentials import Credentials

CONTENT_TYPE = "application/vnd.apache.arrow.stream"
CONTINUATION = b"\xff\xff\xff\xff"  # begins each message of a stream
_END = CONTINUATION + b"\x00\x00\x00\x00"
CSV = BY_EXTENSION[".csv"]

# The names that the platform's SQL dialect has for Arrow's types; others are shown as Arrow writes them.
_SQL_TYPES = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "uint64": "UBIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "string_view": "VARCHAR",
    "binary": "BLOB",
    "large_binary": "BLOB",
    "date32[day]": "DATE",
    "time64[us]": "TIME",
    "timestamp[us]": "TIMESTAMP",
}


def require_pyarrow() -> None:
    """Check that pyarrow is installed.

    :raises PolyteiaConfigurationError: with the command that installs it.
    """
    if find_spec("pyarrow") is None:
        raise PolyteiaConfigurationError(
            "SQL on the RPC API needs the Python package 'pyarrow', which is not installed on this worker. Install it "
            'with: pip install "airflow-provider-polyteia[parquet]"'
        )


@contextmanager
def reading(credentials: Credentials, name: str) -> Iterator[None]:
    """Raise what pyarrow finds wrong with a stream as an exception of this provider."""
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, EOFError) as error:
        raise errors.incomplete_response(
            credentials, name, f"the Arrow stream cannot be read ({type(error).__name__})"
        ) from error


def has_end(stream: IO[bytes]) -> bool:
    """Return True if a stream ends with its end marker, as a complete one does."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - len(_END)))
    return stream.read() == _END


def to_json(content: bytes) -> dict[str, Any]:
    """Return ``columns`` (name and type) and ``rows`` of a stream as JSON values."""
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    with pa.ipc.open_stream(io.BytesIO(content)) as reader:
        columns = [{"name": field.name, "type": _sql_type(field.type)} for field in reader.schema]
        rows = [list(row) for batch in reader for row in _rows(batch)]
    return {"columns": columns, "rows": rows}


def writer(content_type: str, name: str) -> Callable[[IO[bytes], IO[bytes]], int]:
    """Return the function that writes a stream to a file of a format, and returns the file's size in bytes.

    :param name: the name of the file in exceptions.
    :raises PolyteiaConfigurationError: if there is none for the format.
    """
    found = _WRITERS.get(media_type(content_type))
    if found is None:
        raise PolyteiaConfigurationError(
            f"The format of {name!r} is {content_type!r}; on the RPC API, the result of a query can be written as "
            f"{', '.join(_WRITERS)}. A whole dataset can also be exported as xlsx."
        )
    return partial(_write, found, name)


def _write(
    write: Callable[[pa.RecordBatchReader, IO[bytes]], None], name: str, stream: IO[bytes], file: IO[bytes]
) -> int:
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    counted = _Counted(file, name)
    with pa.ipc.open_stream(stream) as reader:
        write(reader, counted)  # type: ignore[arg-type]  # all that the writers need of a file
    return counted.size


class _Counted(io.RawIOBase):
    """Counts what is written, and marks the exceptions of the storage: they say nothing about the stream."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        super().__init__()
        self.size = 0
        self._file = file
        self._name = name

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self.size

    def write(self, data: Any) -> int:
        """Write, and return the number of bytes.

        :raises PolyteiaError: if it cannot be written, e.g. because the disk is full.
        """
        try:
            self._file.write(data)
        except Exception as error:  # whatever a storage layer raises
            raise write_failed(self._name, error) from error
        self.size += len(data)
        return len(data)


def _write_parquet(reader: pa.RecordBatchReader, file: IO[bytes]) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - an optional package

    with pq.ParquetWriter(file, reader.schema, compression="zstd") as parquet:
        for batch in reader:
            parquet.write_batch(batch)


def _write_csv(reader: pa.RecordBatchReader, file: IO[bytes]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - an optional package
    import pyarrow.csv as pc  # noqa: PLC0415 - an optional package

    nested = [field.name for field in reader.schema if pa.types.is_nested(field.type)]
    if nested:
        raise PolyteiaError(
            f"Column {nested[0]!r} holds lists or objects, which CSV cannot represent. Convert it in the query, or "
            "export Parquet or JSON."
        )
    with pc.CSVWriter(file, reader.schema) as csv:
        for batch in reader:
            csv.write_batch(batch)


def _write_json(reader: pa.RecordBatchReader, file: IO[bytes]) -> None:
    names, before = reader.schema.names, "["
    for batch in reader:
        for row in _rows(batch):
            line = json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)
            file.write(f"{before}\n{line}".encode(errors="replace"))
            before = ","
    file.write(b"[]\n" if before == "[" else b"\n]\n")


_WRITERS: dict[str, Callable[[Any, Any], None]] = {PARQUET: _write_parquet, CSV: _write_csv, JSON: _write_json}


def _sql_type(kind: pa.DataType) -> str:
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return "TIMESTAMP WITH TIME ZONE"
    return _SQL_TYPES.get(str(kind), str(kind))


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a batch as JSON values."""
    return zip(*([_json_value(value) for value in _values(column)] for column in batch.columns), strict=True)


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    # Python has no nanoseconds; as text, none is lost.
    has_nanoseconds = pa.types.is_temporal(column.type) and getattr(column.type, "unit", "") == "ns"
    return list((column.cast(pa.string()) if has_nanoseconds else column).to_pylist())


def _json_value(value: Any) -> Any:  # noqa: PLR0911 - one per type
    """Return a value that JSON can represent without losing digits: decimals become text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    return [_json_value(item) for item in value]
