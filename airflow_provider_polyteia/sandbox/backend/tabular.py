"""Reading uploaded files, with DuckDB: their columns, their first rows, and the callers' SQL."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from airflow_provider_polyteia.sandbox.backend.errors import bad_request

PARQUET = "application/vnd.apache.parquet"
CSV = "text/csv"
JSON = "application/json"

_READERS = {PARQUET: "read_parquet", CSV: "read_csv", JSON: "read_json"}
_WRITERS = {PARQUET: "FORMAT parquet, COMPRESSION zstd", CSV: "FORMAT csv, HEADER true"} | {
    JSON: "FORMAT json, ARRAY true"
}
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
"""The datasets a query may read: id -> file and content type."""


class UnreadableError(Exception):
    """The stored bytes cannot be read as rows; the message says why."""


def media_type(content_type: str) -> str:
    """The MIME type without its parameters: `text/csv; charset=utf-8` is CSV."""
    return content_type.partition(";")[0].strip().lower()


def can_write(content_type: str) -> bool:
    """Tell whether exports come in this format."""
    return media_type(content_type) in _WRITERS


def describe(path: Path, content_type: str) -> dict[str, dict[str, str]]:
    """What is known of each column of a file: its physical type and its canonical one.

    :raises UnreadableError: the file is not what the content type says, or of a kind nobody reads here.
    """
    with _reading(path, content_type) as relation:
        types = zip(relation.columns, relation.types, strict=True)
        return {name: {"canonical_type": _canonical(str(kind)), "type": str(kind)} for name, kind in types}


def count_rows(path: Path, content_type: str) -> int:
    """The number of rows of a file.

    :raises UnreadableError: as `describe`.
    """
    with _reading(path, content_type) as relation:
        return int(relation.count("*").fetchall()[0][0])


def first_rows(path: Path, content_type: str, limit: int) -> tuple[list[str], list[list[Any]]]:
    """Column names and the first rows of a file, as JSON-safe values.

    :raises UnreadableError: as `describe`.
    """
    with _reading(path, content_type) as relation:
        return list(relation.columns), _rows(relation.limit(limit))


def execute(sql: str, parameters: Parameters, sources: Sources) -> dict[str, Any]:
    """Answer a query over these datasets: columns and JSON-safe rows.

    :raises ApiError: 400, the statement is not one query, or DuckDB refuses it.
    """
    with _connect() as connection, _refusing():
        query = _prepare(connection, sql, sources)
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

    :raises ApiError: as `execute`.
    """
    with _connect() as connection, _refusing():
        query = _prepare(connection, sql, sources, writable=destination)
        options = f"{_WRITERS[media_type(content_type)]}, USE_TMP_FILE false"
        connection.execute(f"COPY ({query}\n) TO {_quote(str(destination))} ({options})", parameters or None)


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell the caller what DuckDB, or a file, says against the query."""
    try:
        yield
    except (duckdb.Error, UnreadableError) as error:
        raise bad_request(f"SQL: {error}") from error


@contextmanager
def _reading(path: Path, content_type: str) -> Iterator[duckdb.DuckDBPyRelation]:
    with _trusted().cursor() as connection, _explaining(path, content_type):
        yield connection.sql(f"FROM {_scan(path, content_type)}")


@contextmanager
def _explaining(path: Path, content_type: str) -> Iterator[None]:
    """Say of DuckDB's message what matters, without our paths and statements."""
    try:
        yield
    except duckdb.Error as error:
        message = str(error).partition("\n")[0].replace(str(path), "the file")
        raise UnreadableError(f"not readable as {content_type}: {message}") from error


@functools.cache
def _trusted() -> duckdb.DuckDBPyConnection:
    """A connection for the sandbox's own questions; never for callers' SQL."""
    return _connect()


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    # Otherwise a table's name could mean a variable of this program.
    connection.execute("SET python_enable_replacements = false")
    return connection


def _scan(path: Path, content_type: str) -> str:
    reader = _READERS.get(media_type(content_type))
    if reader is None:
        raise UnreadableError(f"the sandbox stores {content_type}, but does not read it")
    return f"{reader}({_quote(str(path))})"


def _prepare(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    sources: Sources,
    writable: Path | None = None,
) -> str:
    """Make the datasets views by their ids, lock the connection to them, and return the query to run."""
    unlisted = set(_REFERENCE.findall(sql)) - set(sources)
    if unlisted:
        raise bad_request(f"{', '.join(sorted(unlisted))}: used in the SQL, but not listed in `datasets`")
    for dataset_id, (path, content_type) in sources.items():
        with _explaining(path, content_type):
            connection.execute(f'CREATE VIEW "{dataset_id}" AS FROM {_scan(path, content_type)}')
    allowed = [str(path) for path, _ in sources.values()] + ([str(writable)] if writable else [])
    connection.execute(f"SET allowed_paths = [{', '.join(map(_quote, allowed))}]")
    # From here on nothing but these files can be reached, and the statement cannot change that.
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    query = _REFERENCE.sub(r"\1", sql).strip().rstrip(";")
    _require_one_query(connection, query)
    return query


def _require_one_query(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = connection.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise bad_request("SQL: exactly one query is allowed, and nothing that writes")


def _rows(relation: duckdb.DuckDBPyRelation) -> list[list[Any]]:
    # Through Arrow: DuckDB's own Python values need one more package for timestamps with a zone.
    columns = relation.to_arrow_table().columns
    values = (map(_json_safe, column.to_pylist()) for column in columns)
    return [list(row) for row in zip(*values, strict=True)]


def _json_safe(value: Any) -> Any:
    """Turn a value into what JSON can hold without losing digits: decimals with a fraction become text."""
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


def _canonical(physical: str) -> str:
    for canonical, pattern in _CANONICAL.items():
        if re.match(pattern, physical):
            return canonical
    return "text"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
