"""Reads a query from PostgreSQL through DuckDB's postgres scanner, which writes the rows to Parquet itself.

The scanner silently changes some values: NaN in a numeric becomes 0.00, text that is not valid UTF-8 stays as it is,
and a timestamp after 294246 becomes one long ago. So PostgreSQL looks for NaN, DuckDB for the others, and a row with
such a value ends the query with an error whose text is a problem of `_PROBLEMS` and the number of the column.
"""

from __future__ import annotations

import logging
import re
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.engine import Engine
from airflow_provider_polyteia.tables.readers import postgres
from airflow_provider_polyteia.tables.readers.base import ReadError, connect
from airflow_provider_polyteia.tables.readers.postgres_sessions import wrap_connection
from airflow_provider_polyteia.tables.sql_parts import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_polyteia.tables.readers.base import Query
    from airflow_provider_polyteia.tables.staging import StagedTable

log = logging.getLogger(__name__)

_PACKAGE = "duckdb_extension_postgres_scanner"  # contains the extension
_SOURCE = "source"
_NO_ENCODING = "SQL_ASCII"
_PADDED = {1042: "CASE WHEN {0} IS NOT NULL THEN concat({0}) END"}  # char(n), whose spaces DuckDB would remove
_NAN, _RANGE, _ENCODING = "nan", "range", "encoding"
_ERROR = re.compile(r"\b(?:ERROR|FATAL): +(.*)")  # of PostgreSQL
_UNFIT = re.compile(rf"unfit:({_NAN}|{_RANGE}|{_ENCODING}):(\d+)")


@dataclass(frozen=True, slots=True)
class _Query:
    """What PostgreSQL said about a query.

    :param sql: the query with its parameters.
    :param settings: of libpq, to connect in the same way.
    :param encoding: of the database.
    """

    sql: str
    schema: pa.Schema
    settings: dict[str, Any]
    encoding: str


class DuckDBReader:
    """Runs a query on the database of a PostgreSQL hook.

    :param hook: Airflow's PostgreSQL hook.
    :param query: The query.
    """

    def __init__(self, hook: Any, query: Query) -> None:
        self._hook = hook
        self._query = query
        self._engine: Engine | None = None
        self._connection: Any = None  # while it describes the query
        self._pid = 0  # of the session that runs it
        self._written = 0

    def progress(self) -> str:
        """Return the size of the Parquet file so far."""
        engine = self._engine
        written = engine.written if engine else self._written
        return f"{written / 1024 / 1024:,.1f} MiB of Parquet"

    def cancel(self) -> None:
        """Cancel the query. Called from another thread."""
        if self._connection is not None:
            self._connection.cancel()
        if self._engine is not None:
            self._engine.cancel()
        if self._pid:
            # DuckDB waits for PostgreSQL, and notices an interruption with the next row only.
            with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute("SELECT pg_cancel_backend(%s)", (self._pid,))

    def stage(self, temp_dir: str | None) -> StagedTable:
        """Run the query and return its rows, with the types that PostgreSQL reported before, as a Parquet file."""
        query = self._describe()
        check_names_for_duckdb(query.schema.names)
        # The scanner reads the rows of a query in one thread, so a second one would only take memory.
        with Engine(temp_dir, threads=1) as engine:
            self._attach(engine, query.settings)
            self._engine = engine
            try:
                table = self._copy(engine, query)
            finally:
                self._written = engine.written
                self._engine, self._pid = None, 0
                _end_transaction(engine)
        return _checked(table, query.schema)

    def _describe(self) -> _Query:
        """Return what PostgreSQL says about the query.

        Only the hook knows how to log in (extras, cloud tokens), so its driver connects first, and DuckDB connects with
        the resulting parameters.
        """
        with closing(connect(self._hook)) as connection:
            self._connection = connection
            session = wrap_connection(connection)
            described = postgres.describe(session, self._query, _PADDED)
            parameters = self._query.parameters
            sql = described.sql if parameters is None else session.literal(described.sql, parameters)
            query = _Query(sql, pa.schema(described.fields), session.settings(), session.server_encoding())
            self._connection = None
        return query

    def _attach(self, engine: Engine, settings: dict[str, Any]) -> None:
        """Connect to PostgreSQL.

        :param settings: of libpq.
        :raises PolyteiaError: if that fails; DuckDB's own exception would contain all settings but the password.
        """
        engine.execute(f"LOAD {literal(_find_extension(engine))}")
        settings = {**settings, "client_encoding": "UTF8"}  # the encoding of Parquet
        password = settings.pop("password", None)
        target = " ".join(
            f"{name}={_quoted(str(value))}" for name, value in settings.items() if value not in (None, "")
        )
        engine.execute(f"CREATE SECRET login (TYPE postgres, PASSWORD {literal(password or '')})")
        try:
            engine.execute(f"ATTACH {literal(target)} AS {_SOURCE} (TYPE postgres, READ_ONLY, SECRET login)")
        except duckdb.Error as error:
            why = str(error).replace(target, "...").strip()
            raise PolyteiaError(f"DuckDB cannot connect to PostgreSQL, so nothing was uploaded: {why}") from None

    def _copy(self, engine: Engine, query: _Query) -> StagedTable:
        """Run the query in one read-only transaction."""
        engine.execute("BEGIN TRANSACTION")
        (self._pid,) = engine.first(f"{_from('SELECT pg_backend_pid() AS pid')}")
        try:
            return engine.copy_to_parquet(_select(query), len(query.schema))
        except duckdb.OutOfMemoryException as error:
            failed: Exception = _too_wide(error)
        except duckdb.Error as error:
            failed = _unfit(str(error), query.schema) or ReadError(_without_sql(str(error), query.sql))
        raise failed  # not from DuckDB's exception, which has values in its text


def _end_transaction(engine: Engine) -> None:
    """Roll back. If DuckDB did so while it is closed, the failure of a lost connection would end the process."""
    try:
        engine.execute("ROLLBACK")
    except duckdb.Error as error:
        log.debug("The read-only transaction could not be rolled back: %s", type(error).__name__)


def check_names_for_duckdb(names: list[str]) -> None:
    """Check that DuckDB regards all column names as different.

    :raises PolyteiaConfigurationError: if two differ in case only; it would rename one of them.
    """
    seen: dict[bytes, str] = {}
    for name in names:
        other = seen.setdefault(name.encode().lower(), name)  # of ASCII letters only
        if other != name:
            raise PolyteiaConfigurationError(
                f"The query returns the columns {other!r} and {name!r}, which are the same name for DuckDB. Rename one "
                "with AS, or set driver='dbapi'."
            )


def _select(query: _Query) -> str:
    """Return what DuckDB runs: the query, with its columns under their names, and an error for a row that is unfit."""
    aliases = [f"c{number}" for number, _ in enumerate(query.schema)]
    columns = list(zip(aliases, query.schema, strict=True))
    decimals = [alias for alias, field in columns if pa.types.is_decimal(field.type)]
    # NaN is shorter than most numbers, and looking at the size is faster than comparing.
    found = " ".join(f"WHEN pg_column_size({alias}) < 9 AND {alias} = 'NaN' THEN {alias[1:]}" for alias in decimals)
    nan = f", CASE {found} END::int2 AS nan" if found else ""
    source = f"SELECT {', '.join(aliases)}{nan} FROM (\n{query.sql}\n) AS q({', '.join(aliases)})"  # noqa: S608 - the DAG author's SQL
    selected = ", ".join(f"{_value(alias, field)} AS {quoted(field.name)}" for alias, field in columns)
    unfit = [f"WHEN nan IS NOT NULL THEN error('unfit:{_NAN}:' || nan)"] if nan else []
    unfit += _unfit_conditions(columns, has_encoding=query.encoding != _NO_ENCODING)
    where = f" WHERE CASE {' '.join(unfit)} ELSE true END" if unfit else ""
    return f"SELECT {selected} {_from(source)}{where}"


def _value(alias: str, field: pa.Field) -> str:
    is_day = pa.types.is_date(field.type) or pa.types.is_timestamp(field.type)
    return f"CASE WHEN isfinite({alias}) THEN {alias} END" if is_day else alias


def _unfit_conditions(columns: list[tuple[str, pa.Field]], *, has_encoding: bool) -> Iterator[str]:
    for alias, field in columns:
        if pa.types.is_timestamp(field.type):
            yield f"WHEN epoch_us({alias}) < {postgres.EARLIEST_TIMESTAMP} THEN error('unfit:{_RANGE}:{alias[1:]}')"
        elif pa.types.is_time(field.type):
            yield f"WHEN epoch_us({alias}) = {postgres.DAY} THEN error('unfit:{_RANGE}:{alias[1:]}')"
        elif pa.types.is_string(field.type) and not has_encoding:
            invalid = f"{alias} IS NOT NULL AND TRY(decode(encode({alias}))) IS NULL"
            yield f"WHEN {invalid} THEN error('unfit:{_ENCODING}:{alias[1:]}')"


def _unfit(text: str, schema: pa.Schema) -> PolyteiaError | None:
    """Return the exception for an unfit value, or None if an error of DuckDB has another cause."""
    found = _UNFIT.search(text)
    return _PROBLEMS[found[1]](schema.field(int(found[2]))) if found else None


def _is_nan(field: pa.Field) -> PolyteiaError:
    return PolyteiaError(
        f"A value in column {field.name!r} does not fit the type {field.type}: it is NaN. Replace it in the SQL, for "
        f"example with NULLIF({field.name}, 'NaN'). Nothing was uploaded.",
        not_applied=True,
    )


def _not_utf8(field: pa.Field) -> PolyteiaError:
    return PolyteiaError(
        f"Column {field.name!r} contains text that is not valid UTF-8 (database encoding {_NO_ENCODING}). Convert the "
        f"text in the SQL, for example with convert_from({field.name}::bytea, 'LATIN1'). Nothing was uploaded.",
        not_applied=True,
    )


_PROBLEMS: dict[str, Callable[[pa.Field], PolyteiaError]] = {
    _NAN: _is_nan,
    _RANGE: postgres.out_of_range,
    _ENCODING: _not_utf8,
}


def _too_wide(error: duckdb.Error) -> PolyteiaError:
    return PolyteiaError(
        "The rows are so wide that DuckDB does not have enough memory for them. Set driver='dbapi', or read long "
        f"values in the SQL only where they are needed. Nothing was uploaded ({type(error).__name__}).",
        not_applied=True,
    )


def _without_sql(text: str, sql: str) -> str:
    """Return what PostgreSQL, or else DuckDB, says in one line: the query has the parameters, and DETAIL has values."""
    found = _ERROR.findall(text)
    first, *_ = found[-1:] or text.replace(sql, "...").strip().splitlines() or [""]
    return first


def _from(sql: str) -> str:
    return f"FROM postgres_query('{_SOURCE}', {literal(sql)})"  # the DAG author's SQL


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _find_extension(engine: Engine) -> str:
    """Return the path of the extension for the version of DuckDB that is installed."""
    (version,) = engine.first("SELECT library_version FROM pragma_version()")
    package = find_spec(_PACKAGE)
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        for path in Path(folder).glob(f"extensions/{version}/*.duckdb_extension"):
            return str(path)
    raise PolyteiaConfigurationError(
        f"The Python package {_PACKAGE!r} does not fit DuckDB {version}. Install both again with: pip install "
        '"airflow-provider-polyteia[postgres]"'
    )


def _checked(table: StagedTable, schema: pa.Schema) -> StagedTable:
    """Return the table, whose columns must have the names and types that PostgreSQL reported.

    :raises PolyteiaError: if not, e.g. because DuckDB reads a type in another way since a newer version.
    """
    for expected, field in zip(schema, table.schema, strict=True):
        if not field.equals(expected):
            table.file.close()
            raise PolyteiaError(
                f"DuckDB reads column {expected.name!r} as {field.type}, although PostgreSQL has {expected.type}. Set "
                "driver='dbapi'. Nothing was uploaded.",
                not_applied=True,
            )
    return table
