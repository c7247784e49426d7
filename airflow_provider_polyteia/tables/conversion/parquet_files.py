"""Parquet files: one, several, or a folder of them, as Spark writes them."""

from __future__ import annotations

import glob
import logging
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import duckdb
import pyarrow.parquet as pq

from airflow_provider_polyteia.exceptions import PolyteiaError, log_cause
from airflow_provider_polyteia.storage import display_name, is_local, public_name, reason, to_path, versions
from airflow_provider_polyteia.tables.conversion.parquet_schemas import check_same_types, with_nulls
from airflow_provider_polyteia.tables.conversion.parquet_values import (
    check_values,
    has_wide_decimals,
    too_wide,
    with_narrow_decimals,
)
from airflow_provider_polyteia.tables.conversion.table import NULL, TEXT, Table, keeps_value
from airflow_provider_polyteia.tables.conversion.writer import Writer
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.parquet import check_parquet
from airflow_provider_polyteia.tables.file_checks.signatures import HEAD
from airflow_provider_polyteia.tables.sql_parts import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_polyteia.tables.conversion.options import Options
    from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile
    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

log = logging.getLogger(__name__)

_ANYWHERE = "**/*.[pP][aA][rR][qQ][uU][eE][tT]"
WILDCARDS = "*?["
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_POSITION = "file_index"  # of a row's file in the list of files; a column of DuckDB that is not part of `*`


@dataclass(frozen=True)
class Folder:
    """The Parquet files of a folder or a pattern.

    :ivar members: the files, in the order of their paths.
    """

    name: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Member:
    """A file of a folder.

    :ivar name: its path below the folder.
    :ivar partitions: the columns that folders with names such as ``year=2026`` hold, and their values.
    """

    path: Any
    name: str
    partitions: Mapping[str, str | None]

    @classmethod
    def of(cls, path: Any, root: Any) -> Member:
        """Return a file below a folder."""
        parts = _relative(_text(path), root)
        pairs = (part.partition("=") for part in parts[:-1] if "=" in part)
        partitions = {name: None if value == _NO_VALUE else unquote(value) for name, _, value in pairs}
        return cls(path, display_name("/".join(parts)), partitions)

    def version(self) -> versions.Version:
        """Return what shows whether the file was changed.

        :raises OSError: if it does not exist or is not reachable.
        """
        path = self.path
        return versions.of_status(path.stat()) if is_local(path) else versions.of_object(path.fs, path.path)


def find_folder(source: Any) -> Folder | None:
    """Return the files of a folder or a pattern such as ``s3://bucket/day/*.parquet``; None for anything else.

    Files whose names begin with ``_`` or ``.``, or lie in folders with such names, are not data.

    :raises Reject: if there are no Parquet files.
    :raises PolyteiaError: if the storage is not reachable.
    """
    path = to_path(source)
    try:
        if path.is_dir():
            root, pattern = path, _ANYWHERE
        elif any(wildcard in path.name for wildcard in WILDCARDS) and not path.exists():
            root, pattern = path.parent, path.name
        else:
            return None
        found = sorted(file for file in _matches(root, pattern) if file.is_file())
    except OSError as error:
        log_cause(error)
        raise PolyteiaError(f"{public_name(path)!r} cannot be read: {reason(error)}.", not_applied=True) from None
    if not found:
        raise Reject("a folder without Parquet files" if root is path else "a pattern that matches no file")
    return Folder(public_name(path), tuple(Member.of(file, root) for file in found))


def _matches(root: Any, pattern: str) -> Iterator[Any]:
    """Yield the paths of data below a folder that match a pattern. The name of the folder is not a pattern."""
    if is_local(root):
        yield from (file for file in root.glob(pattern) if _is_data(_relative(_text(file), root)))
        return
    for name in root.fs.glob(f"{glob.escape(root.path.rstrip('/'))}/{pattern}"):
        parts = _relative(name, root)
        if _is_data(parts):
            yield root.joinpath(*parts)


def _text(path: Any) -> str:
    return str(path) if is_local(path) else path.path


def _relative(path: str, root: Any) -> tuple[str, ...]:
    return PurePosixPath(path).parts[len(PurePosixPath(_text(root)).parts) :]


def _is_data(parts: tuple[str, ...]) -> bool:
    return not any(part.startswith(("_", ".")) for part in parts)


def write_parquet(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return a Parquet file in types that every reader knows (docs/transfers.md#converting-files).

    :raises Reject: if it is incomplete or damaged, or a value would be changed.
    """
    with file.open() as opened:
        size = os.fstat(opened.fileno()).st_size
    contents = check_parquet(file.open, file.head(), size)
    with file.open() as opened:
        parquet = pq.ParquetFile(opened)
        _report_truncated(file.name, check_values(parquet))
        is_wide = has_wide_decimals(parquet.schema_arrow)
    if is_wide:
        file.replace_with(with_narrow_decimals(file))
    relation = f"read_parquet({literal(file.path)})"
    try:
        nulls = [name for name, arrow_type in contents.columns.items() if arrow_type == "null"]
        table = Table(relation, _columns(engine, relation, nulls))
        return Writer(engine, table, options, file.name, previous, lambda row: f"row {row}").write()
    except duckdb.Error as error:
        raise _unreadable(error) from None


def _report_truncated(name: str, columns: frozenset[str]) -> None:
    if columns:
        log.warning(
            "Values in %r of %r are truncated to microseconds. DuckDB keeps nanoseconds only of timestamps without "
            "time zone.",
            ", ".join(sorted(columns)),
            name,
        )


def _columns(engine: Engine, relation: str, nulls: Iterable[str]) -> dict[str, str]:
    return engine.columns(relation) | dict.fromkeys(nulls, NULL)  # which DuckDB describes as integers


def _unreadable(error: duckdb.Error) -> Exception:
    """Return the exception to raise for one of DuckDB, whose text may contain values."""
    if isinstance(error, duckdb.InterruptException | duckdb.OutOfMemoryException):
        return error
    return Reject(f"Parquet that cannot be read ({type(error).__name__})")


def write_folder(engine: Engine, folder: Folder, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return all rows of several Parquet files as one. A column that some of them do not have is empty there.

    :raises Reject: if one of them is incomplete or damaged, or a value would be changed.
    :raises PolyteiaError: if one of them was changed or removed while they were read.
    """
    with ExitStack() as unused, _reading(folder):
        found = {member.name: member.version() for member in folder.members}
        try:
            table = unused.enter_context(_write_folder(engine, folder, options, previous))
        except (Reject, OSError):  # a file that is being written may look damaged
            _check_unchanged(folder, found)
            raise
        _check_unchanged(folder, found)
        unused.pop_all()
    return table


@contextmanager
def _reading(folder: Folder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log_cause(error)
        raise PolyteiaError(f"{folder.name!r} cannot be read: {reason(error)}.", not_applied=True) from None


def _check_unchanged(folder: Folder, found: Mapping[str, versions.Version]) -> None:
    for member in folder.members:
        if member.version() != found[member.name]:
            raise PolyteiaError(
                f"The file {member.name!r} of {folder.name!r} was changed or replaced while it was read, so nothing "
                "was uploaded. The dataset is unchanged. Run the task after all files are complete.",
                not_applied=True,
            ) from None


def _write_folder(engine: Engine, folder: Folder, options: Options, previous: Mapping[str, str]) -> StagedTable:
    _check_partitions(folder)
    layouts: dict[_Layout, list[Member]] = {}
    for member in folder.members:
        try:
            layouts.setdefault(_check_member(member), []).append(member)
        except Reject as rejected:
            raise Reject(f"a folder whose file {member.name!r} is {rejected.found}", rejected.advice) from rejected
    folder, layouts = _filled(folder, layouts)
    _report_truncated(folder.name, frozenset.union(*(layout.truncated for layout in layouts)))
    path = folder.members[0].path
    if not is_local(path):
        engine.register_filesystem(path.fs)
    try:
        table = _united(engine, folder, layouts)
        return Writer(engine, table, options, folder.name, previous, lambda row: f"row {row}").write()
    except duckdb.Error as error:
        raise _unreadable(error) from None


class _Layout(NamedTuple):
    """What files with the same columns have in common.

    :ivar is_empty: whether they have no rows.
    :ivar nulls: the columns without type.
    :ivar truncated: the columns whose values lose parts of a microsecond.
    """

    schema: str
    is_empty: bool
    nulls: frozenset[str]
    truncated: frozenset[str]


def _check_partitions(folder: Folder) -> None:
    first = folder.members[0]
    for member in folder.members:
        if member.partitions.keys() != first.partitions.keys():
            raise Reject(
                f"a folder whose files lie in folders for different columns: {first.name!r}, {member.name!r}",
                "Put all files into folders such as 'year=2026' of the same columns, or none.",
            )


def _check_member(member: Member) -> _Layout:
    path = member.path
    if is_local(path) and "\\" in str(path) and glob.has_magic(str(path)):
        raise Reject(f"one with a backslash and one of {WILDCARDS} in its path, which DuckDB cannot open", "Rename it.")
    with path.open("rb") as opened:
        head = opened.read(HEAD)
    contents = check_parquet(lambda: path.open("rb"), head, path.stat().st_size)
    with path.open("rb") as opened:
        parquet = pq.ParquetFile(opened)
        if has_wide_decimals(parquet.schema_arrow):
            raise too_wide()
        truncated = check_values(parquet)
        schema = str(parquet.schema).partition("\n")[2]  # after an address in memory
        is_empty = not parquet.metadata.num_rows
    nulls = frozenset(name for name, arrow_type in contents.columns.items() if arrow_type == "null")
    return _Layout(schema, is_empty, nulls, truncated)


def _filled(folder: Folder, layouts: dict[_Layout, list[Member]]) -> tuple[Folder, dict[_Layout, list[Member]]]:
    """Return the files with rows, whose types count; all files if none of them has rows."""
    filled = {layout: members for layout, members in layouts.items() if not layout.is_empty}
    if not filled:
        return folder, layouts
    kept = {member.name for members in filled.values() for member in members}
    return Folder(folder.name, tuple(member for member in folder.members if member.name in kept)), filled


def _united(engine: Engine, folder: Folder, layouts: Mapping[_Layout, list[Member]]) -> Table:
    """Return the table of several files.

    :raises Reject: if a value would be changed.
    """
    files = {members[0].name: _own_columns(engine, members[0], layout) for layout, members in layouts.items()}

    def stays_same(column: str, own: str, united: str) -> bool:
        alike = [members for members in layouts.values() if files[members[0].name].get(column) == own]
        unfit = f"NOT ({keeps_value(quoted(column), own, united)})"
        row = engine.first(f"SELECT count(*) FROM {_read(member for each in alike for member in each)} WHERE {unfit}")
        return not row[0]

    relation = _read(folder.members)
    try:
        types = engine.columns(relation)
    except duckdb.Error:
        check_same_types(files, {}, stays_same)
        raise
    check_same_types(files, types, stays_same)
    return _with_partitions(folder, relation, with_nulls(types, files))


def _read(members: Iterable[Member]) -> str:
    paths = ", ".join(literal(_for_duckdb(member.path)) for member in members)
    return f"read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"


def _own_columns(engine: Engine, member: Member, layout: _Layout) -> dict[str, str]:
    """Return the columns of a file, without those that its folders hold."""
    types = _columns(
        engine, f"read_parquet({literal(_for_duckdb(member.path))}, hive_partitioning = false)", layout.nulls
    )
    return {name: sql_type for name, sql_type in types.items() if name.lower() not in _replaced(member)}


def _replaced(member: Member) -> set[str]:
    return {name.lower() for name in member.partitions}


def _with_partitions(folder: Folder, relation: str, types: Mapping[str, str]) -> Table:
    """Return a table with the columns that the names of folders hold. They replace those of the files."""
    partitions = sorted(folder.members[0].partitions)
    if not partitions:
        return Table(relation, types)
    if _POSITION in map(str.lower, types):
        raise Reject(f"a folder with partitions whose files have a column {_POSITION!r}", "Rename the column.")
    replaced = _replaced(folder.members[0])
    kept = {name: sql_type for name, sql_type in types.items() if name.lower() not in replaced}
    expressions = [
        *map(quoted, kept),
        *(
            f"{_partition_values(folder, name)}[CAST({_POSITION} AS BIGINT) + 1] AS {quoted(name)}"
            for name in partitions
        ),
    ]
    selected = f"(SELECT {', '.join(expressions)} FROM {relation})"
    return Table(selected, kept | dict.fromkeys(partitions, TEXT), texts=tuple(partitions))


def _partition_values(folder: Folder, name: str) -> str:
    values = (member.partitions[name] for member in folder.members)
    return f"CAST([{', '.join('NULL' if value is None else literal(value) for value in values)}] AS {TEXT}[])"


def _for_duckdb(path: Any) -> str:
    """Return a path as DuckDB reads it, which takes any path for a pattern."""
    escaped = glob.escape(_text(path))
    return escaped if is_local(path) else f"{path.protocol}://{escaped}"
