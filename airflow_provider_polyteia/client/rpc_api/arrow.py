"""Reads Arrow streams, and writes them as Parquet, CSV or JSON in constant memory. Needs the optional pyarrow."""

from __future__ import annotations

import base64
import io
import json
import math
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.file_sink import write_failed
from airflow_provider_polyteia.client.formats import BY_EXTENSION, JSON, PARQUET, media_type
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError, log_cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from airflow_provider_polyteia.client.credentials import Credentials

CONTENT_TYPE = "application/vnd.apache.arrow.stream"
CONTINUATION = b"\xff\xff\xff\xff"  # begins each message of a stream
END = CONTINUATION + b"\x00\x00\x00\x00"
CSV = BY_EXTENSION[".csv"]
ROWS_PER_GROUP = 100_000

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
def _reading(credentials: Credentials, name: str) -> Iterator[None]:
    """Raise what pyarrow finds wrong with a stream as an exception of this provider."""
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, EOFError) as error:
        log_cause(error)
        raise errors.incomplete_response(
            credentials, name, f"the Arrow stream cannot be read ({type(error).__name__})"
        ) from None


class StreamEnd:
    """The check of a stream that arrives: where the response does not show its end, it must have its end marker."""

    shows_end = True

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the stream."""
        self._tail = (self._tail + chunk[-len(END) :])[-len(END) :]

    def problem(self, *, is_delimited: bool) -> str:
        """Return what is wrong with the stream; empty if it is complete."""
        return "" if is_delimited or self._tail == END else "a part of an Arrow stream"


def to_json(content: bytes, credentials: Credentials, name: str) -> dict[str, Any]:
    """Return ``columns`` (name and type) and ``rows`` of a stream as JSON values."""
    schema, batches = _open(io.BytesIO(content), credentials, name)
    columns = [{"name": field.name, "type": _sql_type(field.type)} for field in schema]
    return {"columns": columns, "rows": [list(row) for batch in batches for row in _rows(batch)]}


def _open(stream: IO[bytes], credentials: Credentials, name: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the schema of a stream, and its batches one by one.

    :param name: the name of the request in exceptions.
    """
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    with _reading(credentials, name):
        reader = pa.ipc.open_stream(stream)

    def batches() -> Iterator[pa.RecordBatch]:
        while True:
            with _reading(credentials, name):
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    return reader.schema, batches()


Convert: TypeAlias = "Callable[[IO[bytes], IO[bytes], Credentials, str], int]"
_Write: TypeAlias = "Callable[[pa.Schema, Iterator[pa.RecordBatch], IO[bytes]], None]"


def writer(content_type: str, name: str) -> Convert:
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


def _write(  # noqa: PLR0917 - the first two are bound by `writer`
    write: _Write, name: str, stream: IO[bytes], file: IO[bytes], credentials: Credentials, request_name: str
) -> int:
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    counted = _Counted(file, name)
    schema, batches = _open(stream, credentials, request_name)
    try:
        write(schema, batches, counted)  # type: ignore[arg-type]  # all that the writers need of a file
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        log_cause(error)
        columns = ", ".join(f"{field.name} {field.type}" for field in schema)
        raise PolyteiaError(
            f"{name!r} could not be written, because its format cannot represent a column of the result "
            f"({credentials.excerpt(columns)}). Convert the column in the query, or choose another format."
        ) from None
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
        except Exception as error:  # noqa: BLE001 - a storage layer may raise anything
            log_cause(error)
            raise write_failed(self._name, error) from None
        self.size += len(data)
        return len(data)


def _write_parquet(schema: pa.Schema, batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - an optional package
    import pyarrow.parquet as pq  # noqa: PLC0415 - an optional package

    with pq.ParquetWriter(file, schema, compression="zstd") as parquet:
        held: list[pa.RecordBatch] = []
        for batch in batches:
            held.append(batch)
            if sum(one.num_rows for one in held) >= ROWS_PER_GROUP:
                parquet.write_table(pa.Table.from_batches(held, schema))
                held = []
        if held:
            parquet.write_table(pa.Table.from_batches(held, schema))


def _write_csv(schema: pa.Schema, batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - an optional package
    import pyarrow.csv as pc  # noqa: PLC0415 - an optional package

    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    if nested:
        raise PolyteiaError(
            f"Column {nested[0]!r} holds lists or objects, which CSV cannot represent. Convert it in the query, or "
            "export Parquet or JSON."
        )
    with pc.CSVWriter(file, schema) as csv:
        for batch in batches:
            _check_dates(batch)
            csv.write_batch(batch)


def _check_dates(batch: pa.RecordBatch) -> None:
    """Raise for dates that have no text, such as infinity; CSV would hold a placeholder instead."""
    import pyarrow as pa  # noqa: PLC0415 - an optional package
    import pyarrow.compute as pc  # noqa: PLC0415 - an optional package

    for field, column in zip(batch.schema, batch.columns, strict=True):
        is_dated = pa.types.is_date(field.type) or pa.types.is_timestamp(field.type)
        if is_dated and pc.any(pc.match_substring(column.cast(pa.string()), "out of range")).as_py():
            raise _out_of_range(field.name)


def _write_json(schema: pa.Schema, batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> None:
    names, before = schema.names, "["
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PolyteiaError(
            f"The result has several columns {twice!r}; JSON needs different names. Use AS in the query."
        )
    for batch in batches:
        for row in _rows(batch):
            line = json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)
            file.write(f"{before}\n{line}".encode(errors="replace"))
            before = ","
    file.write(b"[]\n" if before == "[" else b"\n]\n")


_WRITERS: dict[str, _Write] = {PARQUET: _write_parquet, CSV: _write_csv, JSON: _write_json}


def _sql_type(kind: pa.DataType) -> str:
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return "TIMESTAMP WITH TIME ZONE"
    return _SQL_TYPES.get(str(kind), str(kind))


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a batch as JSON values."""
    columns = zip(batch.schema.names, batch.columns, strict=True)
    return zip(*([_json_value(value) for value in _values(name, column)] for name, column in columns), strict=True)


def _values(name: str, column: pa.Array) -> list[Any]:
    """Return the values of a column; those that Python cannot represent, such as nanoseconds, as text."""
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    # As text, no nanosecond is lost.
    has_nanoseconds = pa.types.is_temporal(column.type) and getattr(column.type, "unit", "") == "ns"
    try:
        if not has_nanoseconds:
            return list(column.to_pylist())
    except (ValueError, OverflowError, TypeError):  # e.g. the year 10000 in the column's time zone
        pass
    try:
        texts = list(column.cast(pa.string()).to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:  # ValueError: invalid UTF-8
        log_cause(error)
        raise _out_of_range(name) from None
    if any(text is not None and "out of range" in text for text in texts):
        raise _out_of_range(name)
    return texts


def _out_of_range(name: str) -> PolyteiaError:
    return PolyteiaError(
        f"Column {name!r} contains a value that cannot be represented, such as infinity. Convert it in the query."
    )


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
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return str(value)
