"""Parquet files: one, several, or a folder of them, as Spark writes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.storage import display_name, is_local, reason, to_path
from airflow_provider_polyteia.tables.conversion.number_style import MAX_DIGITS
from airflow_provider_polyteia.tables.conversion.table import Table
from airflow_provider_polyteia.tables.conversion.writer import Writer
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.parquet import check_parquet
from airflow_provider_polyteia.tables.file_checks.signatures import HEAD
from airflow_provider_polyteia.tables.sql_parts import literal
from airflow_provider_polyteia.tables.staging import ROW_GROUP_ROWS
from airflow_provider_polyteia.tables.temporary import open_temporary

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provider_polyteia.tables.conversion.options import Options
    from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile
    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.file_checks.parquet import Contents
    from airflow_provider_polyteia.tables.staging import StagedTable

_EXTENSION = ".parquet"
WILDCARDS = "*?["


@dataclass(frozen=True)
class Folder:
    """The Parquet files of a folder or a pattern.

    :ivar paths: of the files, in order.
    :ivar partitions: the columns that folders with names such as ``year=2026`` hold.
    """

    name: str
    paths: tuple[Any, ...]
    partitions: frozenset[str]


def find_folder(source: Any) -> Folder | None:
    """Return the files of a folder or a pattern such as ``s3://bucket/day/*.parquet``; None for anything else.

    Files whose names begin with ``_`` or ``.``, or lie in folders with such names, are not data.

    :raises Reject: if there are no Parquet files.
    :raises PolyteiaError: if the storage is not reachable.
    """
    path = to_path(source)
    try:
        if path.is_dir():
            root, pattern = path, f"**/*{_EXTENSION}"
        elif any(wildcard in path.name for wildcard in WILDCARDS) and not path.exists():
            root, pattern = path.parent, path.name
        else:
            return None
        found = sorted(file for file in root.glob(pattern) if _is_data(_relative(file, root)) and file.is_file())
    except OSError as error:
        raise PolyteiaError(f"{str(path)!r} cannot be read: {reason(error)}.", not_applied=True) from error
    if not found:
        raise Reject("a folder without Parquet files" if root is path else "a pattern that matches no file")
    folders = (part for file in found for part in _relative(file, root)[:-1])
    return Folder(display_name(path), tuple(found), frozenset(part.split("=")[0] for part in folders if "=" in part))


def _relative(file: Any, root: Any) -> tuple[str, ...]:
    parts: tuple[str, ...] = PurePosixPath(file.path if hasattr(file, "path") else str(file)).parts
    above = PurePosixPath(root.path if hasattr(root, "path") else str(root)).parts
    return parts[len(above) :]


def _is_data(parts: tuple[str, ...]) -> bool:
    return not any(part.startswith(("_", ".")) for part in parts)


def write_parquet(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return a Parquet file in types that every reader knows (docs/transfers.md#converting-files).

    :raises Reject: if it is incomplete or damaged.
    """
    with file.open() as opened:
        size = os.fstat(opened.fileno()).st_size
    contents = check_parquet(file.open, file.head(), size)
    if _wide_decimals(contents):
        file.replace_with(_with_narrow_decimals(file))
    nulls = [name for name, arrow_type in contents.columns.items() if arrow_type == "null"]
    return _write(engine, f"read_parquet({literal(file.path)})", file.name, options, previous, nulls=nulls)


def _wide_decimals(contents: Contents) -> list[str]:
    """Return the columns of decimals that DuckDB does not have; it reads other numbers instead of them."""
    return [name for name, arrow_type in contents.columns.items() if arrow_type.startswith("decimal256")]


def _with_narrow_decimals(file: StagedFile) -> IO[bytes]:
    """Return the file with decimals of at most `MAX_DIGITS` digits.

    :raises Reject: if a value has more.
    """
    narrow = open_temporary(file.temp_dir)
    try:
        with file.open() as opened:
            parquet = pq.ParquetFile(opened)
            schema = pa.schema([_narrow(field) for field in parquet.schema_arrow])
            with pq.ParquetWriter(narrow, schema) as writer:
                for batch in parquet.iter_batches(ROW_GROUP_ROWS):
                    columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        narrow.flush()
    except pa.ArrowInvalid:
        narrow.close()
        raise _too_wide() from None
    except OSError as error:  # of a damaged file
        narrow.close()
        raise Reject("Parquet that cannot be read") from error
    except BaseException:
        narrow.close()
        raise
    return narrow


def _too_wide() -> Reject:
    return Reject(f"Parquet with decimals of more than {MAX_DIGITS} digits", "Round them.")


def _narrow(field: pa.Field) -> pa.Field:
    if not pa.types.is_decimal256(field.type):
        return field
    return field.with_type(pa.decimal128(MAX_DIGITS, min(field.type.scale, MAX_DIGITS)))


def write_folder(engine: Engine, folder: Folder, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return all rows of several Parquet files as one. A column that some of them do not have is empty there.

    :raises Reject: if one of them is incomplete or damaged.
    """
    for path in folder.paths:
        try:
            _check_member(path)
        except Reject as rejected:
            raise Reject(f"a folder whose file {path.name!r} is {rejected.found}", rejected.advice) from rejected
    if not is_local(folder.paths[0]):
        engine.register_filesystem(folder.paths[0].fs)
    paths = ", ".join(literal(_for_duckdb(path)) for path in folder.paths)
    partitions = f"hive_partitioning = {str(bool(folder.partitions)).lower()}, hive_types_autocast = false"
    relation = f"read_parquet([{paths}], union_by_name = true, {partitions})"
    return _write(engine, relation, folder.name, options, previous, partitions=folder.partitions)


def _check_member(path: Any) -> None:
    with path.open("rb") as opened:
        head = opened.read(HEAD)
    contents = check_parquet(lambda: path.open("rb"), head, path.stat().st_size)
    if _wide_decimals(contents):
        raise _too_wide()


def _for_duckdb(path: Any) -> str:
    return str(path) if is_local(path) else f"{path.protocol}://{path.path}"


def _write(
    engine: Engine,
    relation: str,
    name: str,
    options: Options,
    previous: Mapping[str, str],
    *,
    partitions: Collection[str] = (),
    nulls: Collection[str] = (),
) -> StagedTable:
    try:
        types = engine.columns(relation) | dict.fromkeys(nulls, '"NULL"')  # integers before DuckDB 1.5
        texts = tuple(column for column in types if column in partitions)
        table = Table(relation, types, texts=texts)
        return Writer(engine, table, options, name, previous, lambda row: f"row {row}").write()
    except duckdb.Error as error:
        raise Reject(f"Parquet that cannot be read ({type(error).__name__})") from None  # its text may contain values
