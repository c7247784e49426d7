"""Reads uploaded files with DuckDB: columns, first rows, and the SQL of callers. Excel files are read with calamine."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from airflow_provider_polyteia.sandbox.backend import excel
from airflow_provider_polyteia.sandbox.backend.errors import bad_request

PARQUET = "application/vnd.apache.parquet"
CSV = "text/csv"
JSON = "application/json"

_EXCEL = (excel.XLSX, excel.XLS)
_READERS = {PARQUET: "read_parquet", CSV: "read_csv", JSON: "read_json"}
_WRITERS = {PARQUET: "FORMAT parquet, COMPRESSION zstd", CSV: "FORMAT csv, HEADER true"} | {
    JSON: "FORMAT json, ARRAY true"
}
_QUOTED_REFERENCE = re.compile(r"""(['"])(ds_[0-9a-z]+)\1""")
_REFERENCE = re.compile(r"\{\{\s*(ds_[0-9a-z]+)\s*\}\}")
_CANONICAL = {
    "number": r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL.*|FLOAT|DOUBLE)$",
    "boolean": r"BOOLEAN$",
    "date": r"DATE$",
    "datetime": r"TIMESTAMP",
    "time": r"TIME\b",
}

Parameters = Sequence[Any] | Mapping[str, Any]

Sources = Mapping[str, tuple[Path, str]]
"""File and content type of the datasets that a query can read, by id."""


class UnreadableError(Exception):
    """A stored file cannot be read as rows; the message contains the cause."""


def media_type(content_type: str) -> str:
    """Return a MIME type without parameters: `text/csv` for `text/csv; charset=utf-8`."""
    return content_type.partition(";")[0].strip().lower()


def can_read(content_type: str) -> bool:
    """Return True if files of this format can be read."""
    return media_type(content_type) in (*_READERS, *_EXCEL)


def can_write(content_type: str) -> bool:
    """Return True if exports can be written in this format."""
    return media_type(content_type) in _WRITERS


def describe(path: Path, content_type: str) -> dict[str, dict[str, str]]:
    """Return the physical and the canonical type of each column of a file, by name.

    :raises UnreadableError: if the content type does not match the file or is not supported.
    """
    with _open(path, content_type) as relation:
        types = zip(relation.columns, relation.types, strict=True)
        return {name: {"canonical_type": _canonical_type(str(kind)), "type": str(kind)} for name, kind in types}


def count_rows(path: Path, content_type: str) -> int:
    """Return the number of rows of a file.

    :raises UnreadableError: if the content type does not match the file or is not supported.
    """
    with _open(path, content_type) as relation:
        return int(relation.count("*").fetchall()[0][0])


def first_rows(path: Path, content_type: str, limit: int) -> tuple[list[str], list[list[Any]]]:
    """Return the column names and the first rows of a file, as JSON-serializable values.

    :raises UnreadableError: if the content type does not match the file or is not supported.
    """
    with _open(path, content_type) as relation:
        return list(relation.columns), _rows(relation.limit(limit))


def execute(sql: str, parameters: Parameters, sources: Sources) -> dict[str, Any]:
    """Return columns and JSON-serializable rows of a query on datasets.

    :raises BusinessError: 400, if the statement is not exactly one query or DuckDB rejects it.
    """
    with _connect() as connection, _sql_errors():
        query = _prepare(connection, _resolve_braces(sql, sources), sources)
        relation = connection.sql(query, params=parameters or None)
        types = zip(relation.columns, relation.types, strict=True)
        columns = [{"name": name, "type": str(kind)} for name, kind in types]
        return {"columns": columns, "rows": _rows(relation)}


def export(
    sql: str,
    parameters: Parameters,
    sources: Sources,
    destination: Path,
    content_type: str,
) -> None:
    """Write the rows of a query to a file.

    :raises BusinessError: 400, if the statement is not exactly one query or DuckDB rejects it.
    """
    with _connect() as connection, _sql_errors():
        query = _prepare(connection, _resolve_braces(sql, sources), sources, writable=destination)
        options = f"{_WRITERS[media_type(content_type)]}, USE_TMP_FILE false"
        connection.execute(f"COPY ({query}\n) TO {_quote(str(destination))} ({options})", parameters or None)


def stream(sql: str, parameters: Parameters, sources: Sources, destination: Path) -> None:
    """Write the rows of a query to a file, as a stream in Arrow's IPC format.

    Datasets are referenced by their quoted id, see `quoted_references`.

    :raises BusinessError: 400, if the statement is not exactly one query or DuckDB rejects it.
    """
    with _connect() as connection, _sql_errors():
        query = _prepare(connection, sql, sources)
        # The stream interface is the only one that all supported versions of DuckDB have without a deprecation warning.
        reader = pa.RecordBatchReader.from_stream(connection.sql(query, params=parameters or None))
        with pa.OSFile(str(destination), "wb") as file, pa.ipc.new_stream(file, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)


def quoted_references(sql: str) -> list[str]:
    """Return the ids of the datasets that a query reads and references as `'ds_...'` or `"ds_..."`, sorted.

    An id that is a value, such as in `WHERE id = 'ds_1'`, is not a reference. Returns an empty list if the statement is
    not a query.
    """
    quoted = {match[2] for match in _QUOTED_REFERENCE.finditer(sql)}
    with _own_connection().cursor() as connection:
        row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    return sorted(quoted & set(_table_names(json.loads(row[0])))) if row else []


def _table_names(node: Any) -> Iterator[str]:
    """Yield the names of all tables in a syntax tree of DuckDB."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield node["table_name"]
        for value in node.values():
            yield from _table_names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _table_names(value)


@contextmanager
def _sql_errors() -> Iterator[None]:
    """Raise errors of DuckDB and unreadable files as business errors with code 400."""
    try:
        yield
    except (duckdb.Error, UnreadableError) as error:
        raise bad_request(f"SQL: {error}") from error


@contextmanager
def _open(path: Path, content_type: str) -> Iterator[duckdb.DuckDBPyRelation]:
    with _own_connection().cursor() as connection, _file_errors(path, content_type):
        _create_view(connection, "data", path, content_type)
        yield connection.sql("FROM data")


@contextmanager
def _file_errors(path: Path, content_type: str) -> Iterator[None]:
    """Raise errors of DuckDB and calamine as `UnreadableError`, without the local path and our SQL."""
    try:
        yield
    except (duckdb.Error, excel.WorkbookError) as error:
        message = str(error).partition("\n")[0].replace(str(path), "the file")
        raise UnreadableError(f"not readable as {content_type}: {message}") from error


@functools.cache
def _own_connection() -> duckdb.DuckDBPyConnection:
    """Return a connection for the sandbox's own queries. It must not run the SQL of callers."""
    return _connect()


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    # By default, DuckDB resolves unknown table names as variables of this program.
    connection.execute("SET python_enable_replacements = false")
    return connection


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, path: Path, content_type: str) -> None:
    """Create a view of a file's rows, which exists as long as the connection.

    :raises UnreadableError: if the content type is not supported.
    """
    media = media_type(content_type)
    if media in _EXCEL:
        connection.register(name, excel.read_table(path))
    elif media in _READERS:
        connection.execute(f'CREATE TEMP VIEW "{name}" AS FROM {_READERS[media]}({_quote(str(path))})')
    else:
        raise UnreadableError(f"the sandbox stores {content_type}, but cannot read it")


def _prepare(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    sources: Sources,
    writable: Path | None = None,
) -> str:
    """Create a view for each dataset, restrict the connection to these files, and return the query to run."""
    for dataset_id, (path, content_type) in sources.items():
        with _file_errors(path, content_type):
            _create_view(connection, dataset_id, path, content_type)
    allowed = [str(path) for path, _ in sources.values()] + ([str(writable)] if writable else [])
    connection.execute(f"SET allowed_paths = [{', '.join(map(_quote, allowed))}]")
    # From here on, only these files are accessible, and the statement cannot change these settings.
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    query = sql.strip().rstrip(";")
    _require_one_query(connection, query)
    return query


def _resolve_braces(sql: str, sources: Sources) -> str:
    """Return the SQL with ids in place of references such as `{{ds_1}}` (docs/platform-api.md#dataset-references).

    :raises BusinessError: 400, if a dataset is not one of the sources.
    """
    unlisted = set(_REFERENCE.findall(sql)) - set(sources)
    if unlisted:
        raise bad_request(f"{', '.join(sorted(unlisted))}: used in the SQL, but missing from `datasets`")
    return _REFERENCE.sub(r"\1", sql)


def _require_one_query(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = connection.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise bad_request("SQL: the statement must be exactly one query, and it must not write")


def _rows(relation: duckdb.DuckDBPyRelation) -> list[list[Any]]:
    # Arrow converts timestamps with a time zone; DuckDB's own conversion requires another package (pytz).
    columns = relation.to_arrow_table().columns
    values = (map(_json_safe, column.to_pylist()) for column in columns)
    return [list(row) for row in zip(*values, strict=True)]


def _json_safe(value: Any) -> Any:
    """Return a value that JSON can represent without losing digits: decimals with a fraction become strings."""
    match value:
        case None | bool() | int() | str():
            safe: Any = value
        case float():
            safe = value if math.isfinite(value) else None
        case Decimal():
            safe = int(value) if value.as_tuple().exponent == 0 else str(value)
        case dt.datetime() | dt.date() | dt.time():
            safe = value.isoformat()
        case bytes():
            safe = base64.b64encode(value).decode()
        case dict():
            safe = {str(key): _json_safe(item) for key, item in value.items()}
        case list() | tuple():
            safe = [_json_safe(item) for item in value]
        case _:
            safe = str(value)
    return safe


def _canonical_type(physical: str) -> str:
    for canonical, pattern in _CANONICAL.items():
        if re.match(pattern, physical):
            return canonical
    return "text"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
