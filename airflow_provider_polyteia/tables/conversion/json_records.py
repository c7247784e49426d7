"""Records of JSON as a table: the types of their columns, and how their values are read."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from airflow_provider_polyteia.tables.conversion.json_lists import JsonList, find_lists
from airflow_provider_polyteia.tables.conversion.json_mistakes import MAX_RECORD, find_mistake
from airflow_provider_polyteia.tables.conversion.json_numbers import MarkedNumbers, NumberCheck, mark
from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile, copy_range, to_utf8
from airflow_provider_polyteia.tables.conversion.table import TEXT, Table
from airflow_provider_polyteia.tables.conversion.writer import Writer
from airflow_provider_polyteia.tables.file_checks import encodings
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.json_text import check_json
from airflow_provider_polyteia.tables.sql_parts import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_polyteia.tables.conversion.options import Options
    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

# Maximum bytes of a record. DuckDB's memory depends on it, so the larger size is for files that need it.
_RECORD_SIZES = (16 * 1024 * 1024, MAX_RECORD)
_JSON, _DOUBLE = "JSON", "DOUBLE"
_AS_THEY_ARE = ("BIGINT", _DOUBLE, "BOOLEAN")


class Field(NamedTuple):
    """A column.

    :ivar read_as: the type as which DuckDB reads its values.
    :ivar expression: SQL of its values.
    :ivar sql_type: the type of the expression.
    """

    read_as: str
    expression: str
    sql_type: str


@dataclass(frozen=True)
class Records:
    """Records in a file.

    :param form: how they are separated.
    :param max_size: maximum bytes of one of them.
    :param numbers: how those are marked that DuckDB would round.
    :param check: what is known about the file.
    :param within: the key of the object that contains the columns; empty if it is the record itself.
    """

    engine: Engine
    file: StagedFile
    form: str
    max_size: int
    numbers: MarkedNumbers
    check: NumberCheck
    within: str

    @property
    def top(self) -> Records:
        """The same records, whose columns are their own keys."""
        return replace(self, within="")

    def read(self, columns: Mapping[str, str] | None = None) -> str:
        """Return the SQL of a table of all records.

        :param columns: name -> type of each column. Default: DuckDB finds them.
        """
        settings = {"format": literal(self.form), "maximum_object_size": str(self.max_size)}
        if columns:
            typed = ", ".join(f"{literal(name)}: {literal(sql_type)}" for name, sql_type in columns.items())
            settings["columns"] = f"{{{typed}}}"
        else:
            # Neither maps nor JSON instead of columns, however seldom a key occurs.
            settings |= {"sample_size": "-1", "map_inference_threshold": "-1", "field_appearance_threshold": "0"}
            settings |= {"records": "true"}
        values = ", ".join(f"{name} = {value}" for name, value in settings.items())
        return f"read_json({literal(self.file.path)}, {values})"

    def read_columns(self, types: Mapping[str, str]) -> str:
        """Return the SQL of a table whose columns `reference` refers to.

        :param types: key -> type as which it is read.
        """
        return self.read(self.nested(types))

    def nested(self, types: Mapping[str, str]) -> dict[str, str]:
        """Return the types of the keys of a record."""
        if not self.within:
            return dict(types)
        fields = ", ".join(f"{quoted(name)} {sql_type}" for name, sql_type in types.items())
        return {self.within: f"STRUCT({fields})"} if fields else {}

    def reference(self, key: str) -> str:
        """Return the SQL of the values of a key."""
        return f"struct_extract({quoted(self.within)}, {literal(key)})" if self.within else quoted(key)

    def columns(self) -> dict[str, str]:
        """Return the keys of all records, and the types of their values.

        :raises Reject: if there are values that are not records.
        """
        found = self.engine.columns(self.read())
        if self.check.has_other_words:
            raise self.mistake("JSON with invalid constants, such as NaN")
        if self.check.has_null_items and self.has("coalesce(json_type(json), '') <> 'OBJECT'"):
            raise self.mistake("JSON with values that are not records")
        return found

    def all_keys(self) -> set[str]:
        """Return the keys of all objects that contain columns."""
        keys = f"json_keys(json{self._path()})"
        found = self.engine.rows(f"SELECT DISTINCT unnest({keys}) FROM {self._objects()}")
        return {key for (key,) in found}

    def has(self, condition: str) -> bool:
        """Return True if a condition about ``json`` holds for a record."""
        return bool(self.engine.first(f"SELECT bool_or({condition}) FROM {self._objects()}")[0])

    def fields(self, found: Mapping[str, str]) -> dict[str, Field]:
        """Return how the columns are read, without changing a value.

        :param found: key -> type that DuckDB has found.
        """
        doubtful = [name for name, sql_type in found.items() if self._is_doubtful(sql_type)]
        exact: dict[str, str | None] = {}
        if doubtful:
            relation = self.read_columns(dict.fromkeys(doubtful, _JSON))
            values = [self.reference(name) for name in doubtful]
            exact = dict(zip(doubtful, self.numbers.exact_types(self.engine.rows, relation, values), strict=True))
        return {name: self._field(name, exact.get(name), sql_type) for name, sql_type in found.items()}

    def mistake(self, otherwise: str) -> Reject:
        """Return the exception for what is wrong with the records.

        :param otherwise: what the file is if it is not found.
        """
        with self.file.open() as opened:
            return find_mistake(opened, self.form, self.within) or Reject(otherwise)

    def _is_doubtful(self, sql_type: str) -> bool:
        """Return True for a type whose column may contain rounded or marked numbers."""
        if sql_type == _DOUBLE:
            return self.check.has_large_integers
        return bool(self.numbers.marker) and sql_type not in _AS_THEY_ARE

    def _field(self, name: str, exact: str | None, sql_type: str) -> Field:
        """Return how a column is read.

        :param exact: the type that its numbers need; None if they may stay as they are.
        """
        reference = self.reference(name)
        if exact and exact != TEXT:
            return Field(_JSON, f"CAST({self.numbers.number(reference)} AS {exact})", exact)
        sql_type = exact or sql_type
        if sql_type in _AS_THEY_ARE:
            return Field(sql_type, reference, sql_type)
        return Field(TEXT, self.numbers.text(reference), TEXT)

    def _objects(self) -> str:
        size = f"maximum_object_size = {self.max_size}"
        return f"read_json_objects({literal(self.file.path)}, format = {literal(self.form)}, {size})"

    def _path(self) -> str:
        return f", {literal(f'$.{self.within}')}" if self.within else ""


def table_of(
    fields: Mapping[str, Field],
    source: str,
    before: Mapping[str, Field] | None = None,
    after: Mapping[str, Field] | None = None,
) -> Table:
    """Return a table.

    :param fields: name -> how it is read; the types of those that are texts are inferred.
    :param source: SQL of the table whose columns are read.
    :param before: columns before them, whose types are certain. Default: none.
    :param after: columns after them, whose types are certain. Default: none.
    """
    columns = {**(before or {}), **fields, **(after or {})}
    expressions = ", ".join(f"{field.expression} AS {quoted(name)}" for name, field in columns.items())
    return Table(
        f"(SELECT {expressions} FROM {source})",
        {name: field.sql_type for name, field in columns.items()},
        texts=tuple(name for name, field in fields.items() if field.sql_type == TEXT),
        is_json=True,
    )


def check(file: StagedFile, options: Options) -> NumberCheck:
    """Check a file, and return what is known about its numbers.

    :raises Reject: if it is not valid JSON.
    """
    to_utf8(file, options.reader.get("encoding", ""))
    with file.open() as opened:
        size = os.fstat(opened.fileno()).st_size
    numbers = NumberCheck()
    for _ in check_json(file.open, file.head(), size, numbers.feed):
        pass  # what is suspicious as it is, is decided here
    numbers.end()
    return numbers


def lists_in(file: StagedFile) -> Iterator[JsonList]:
    """Return the lists in a document.

    :raises Reject: if it is not valid JSON.
    """
    with file.open() as opened:
        try:
            yield from find_lists(opened)
        except ValueError:  # of a key
            raise Reject("not valid JSON: it has a key that is not a string") from None


def keep(file: StagedFile, part: JsonList) -> None:
    """Continue with a list of a document."""
    with file.open() as opened:
        file.replace(copy_range(opened, part.start, part.end))


def write_records(
    engine: Engine,
    to_table: Callable[[Records], Table],
    file: StagedFile,
    form: str,
    *,
    options: Options,
    previous: Mapping[str, str],
    numbers: NumberCheck,
    within: str = "",
) -> StagedTable:
    """Write records to Parquet.

    :param to_table: returns their table.
    :param form: how they are separated.
    :param within: the key of the object that contains the columns. Default: the record itself.
    :raises Reject: if they cannot be read.
    """
    marker = ""
    if numbers.has_rounded and not numbers.has_other_words:
        marker = f"{uuid.uuid4().hex}:"
        with file.open() as opened:
            file.replace(mark(encodings.chunks(opened), marker))
    for size in _RECORD_SIZES:
        records = Records(engine, file, form, size, MarkedNumbers(marker), numbers, within)
        try:
            table = to_table(records)
            return Writer(engine, table, options, file.name, previous, lambda row: f"record {row}").write()
        except duckdb.Error as error:
            failed = error
        if isinstance(failed, duckdb.OutOfMemoryException | duckdb.InterruptException):
            raise failed
        if not isinstance(failed, duckdb.InvalidInputException):
            break  # not because of a record that is too large
    raise records.mistake(f"JSON that cannot be read as a table ({type(failed).__name__})")
