"""Sheets of Excel and OpenDocument workbooks, read by calamine, in memory."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from airflow_provider_polyteia.tables.conversion.dialect import unique_names
from airflow_provider_polyteia.tables.conversion.table import TEXT, Table
from airflow_provider_polyteia.tables.conversion.writer import Writer
from airflow_provider_polyteia.tables.file_checks.csv_sample import find_beginning
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.signatures import OFFICE, OLE, ZIP, recognize
from airflow_provider_polyteia.tables.optional_dependencies import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_polyteia.tables.conversion.options import Options
    from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile
    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

_MAX_EXACT = 2**53  # of the integers that a cell can hold
_CELLS = "cells"


def write_workbook(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return a sheet as Parquet. Cells with errors, such as ``#N/A``, are empty.

    :raises Reject: if it is not a workbook, or the sheet or the header is ambiguous.
    """
    require("python_calamine", "files", "Converting workbooks")
    found = recognize(file.head()).found
    if found not in (ZIP, OFFICE, OLE):
        raise Reject(f"{found}, not a workbook" if found else "not a workbook")
    rows = _read_sheet(file, options.reader.get("sheet"))
    numbered = [(number, row) for number, row in enumerate(rows, 1) if any(cell != "" for cell in row)]
    if "skip" in options.reader:
        numbered = [(number, row) for number, row in numbered if number > options.reader["skip"]]
    else:
        _check_beginning(numbered)
    if not numbered:
        raise Reject("a workbook whose sheet is empty")
    return _write(engine, file, options, previous, numbered)


def _write(
    engine: Engine,
    file: StagedFile,
    options: Options,
    previous: Mapping[str, str],
    rows: list[tuple[int, list[Any]]],
) -> StagedTable:
    has_header = options.reader.get("header", True)
    header = [_text(cell) or "" for cell in rows[0][1]] if has_header else [""] * len(rows[0][1])
    names, unnamed = unique_names(header)
    numbers = [number for number, _ in rows[has_header:]]
    nulls = options.reader.get("nullstr", [])
    nulls = {"", nulls} if isinstance(nulls, str) else {"", *nulls}
    cells = zip(*(row for _, row in rows[has_header:]), strict=True)
    columns = [_column([None if _is_in(cell, nulls) else cell for cell in column]) for column in cells]
    columns = columns or [pa.array([], pa.string()) for _ in names]
    engine.register(_CELLS, pa.table(columns, names=list(names)))
    types = engine.columns(_CELLS)
    texts = tuple(name for name, sql_type in types.items() if sql_type == TEXT)
    left_out = frozenset(unnamed) & frozenset(texts) if has_header else frozenset[str]()
    table = Table(_CELLS, types, texts=texts, unnamed=left_out)
    try:
        return Writer(engine, table, options, file.name, previous, lambda row: f"row {numbers[row - 1]}").write()
    except duckdb.Error as error:
        raise Reject(f"a workbook that cannot be converted ({type(error).__name__})") from None


def _is_in(cell: Any, nulls: set[str]) -> bool:
    return isinstance(cell, str) and cell.strip() in nulls


def _read_sheet(file: StagedFile, sheet: str | int | None) -> list[list[Any]]:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError  # noqa: PLC0415 - optional

    try:
        with file.open() as opened:
            workbook = CalamineWorkbook.from_filelike(opened)
            names = workbook.sheet_names
            there = ", ".join(map(repr, names))
            if sheet is None and len(names) > 1:
                raise Reject(
                    f"a workbook with {len(names)} sheets: {there}", "Set 'sheet' in the argument 'convert' to one."
                )
            wanted = names[sheet] if isinstance(sheet, int) and sheet < len(names) else sheet or names[0]
            if wanted not in names:
                raise Reject(f"a workbook without a sheet {wanted!r}; it has {there}")
            rows: list[list[Any]] = workbook.get_sheet_by_name(wanted).to_python(skip_empty_area=False)
            return rows
    except PasswordError as error:
        raise Reject("a workbook with a password", "Save it without a password.") from error
    except CalamineError as error:
        raise Reject("a workbook that is incomplete or damaged", "Run the task after the file is complete.") from error


def _check_beginning(rows: Sequence[tuple[int, list[Any]]]) -> None:
    """Refuse a sheet whose first row seems to be a title."""
    begins = find_beginning(rows) if rows else None
    if begins is not None:
        raise Reject(
            f"a workbook whose table seems to begin in row {begins}",
            f"Set 'skip' in the argument 'convert' to {begins - 1}, or to 0 if it begins at the top.",
        )


def _column(cells: list[Any]) -> pa.Array:
    """Return the cells of a column in the type that they have in common, otherwise as texts."""
    types = {type(cell) for cell in cells if cell is not None}
    if types and types <= {int, float}:
        if all(cell is None or (cell == int(cell) and abs(cell) < _MAX_EXACT) for cell in cells):
            return pa.array([None if cell is None else int(cell) for cell in cells], pa.int64())
        return pa.array(cells, pa.float64())
    if types and types <= {dt.date, dt.datetime} and dt.datetime in types:
        return pa.array([_timestamp(cell) for cell in cells], pa.timestamp("us"))
    one = next(iter(types)) if len(types) == 1 else str
    if one in _ARROW_TYPES:
        return pa.array(cells, _ARROW_TYPES[one])
    return pa.array([_text(cell) for cell in cells], pa.string())


_ARROW_TYPES = {bool: pa.bool_(), dt.date: pa.date32(), dt.time: pa.time64("us")}


def _timestamp(cell: dt.date | None) -> dt.datetime | None:
    if cell is None or isinstance(cell, dt.datetime):
        return cell
    return dt.datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001 - cells have no time zone


def _text(cell: Any) -> str | None:
    if isinstance(cell, float) and cell == int(cell) and abs(cell) < _MAX_EXACT:
        return str(int(cell))
    return None if cell is None else str(cell)
