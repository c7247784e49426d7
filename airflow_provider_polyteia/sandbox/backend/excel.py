"""Reads the first sheet of Excel files with calamine, in memory."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLS = "application/vnd.ms-excel"

_ARROW_TYPES = {bool: pa.bool_(), dt.date: pa.date32(), dt.time: pa.time64("us")}
_MAX_EXACT = 2**53  # of the integers that a cell can hold


class WorkbookError(Exception):
    """A file is not a workbook with a table; the message contains the cause."""


def read_table(path: Path) -> pa.Table:
    """Return the rows of the first sheet. Its first row that is not empty is the header.

    A column whose cells have one type gets this type: whole numbers, other numbers, booleans, dates, timestamps or
    times. Others are text.

    :raises WorkbookError: if the file is not a workbook, is protected by a password, or has an empty first sheet.
    """
    header, *rows = _read_cells(path)
    columns = [_to_array([_value(row[index]) for row in rows]) for index in range(len(header))]
    return pa.table(columns, names=list(_unique_names(header)))


def _read_cells(path: Path) -> list[list[Any]]:
    """Return the cells of the first sheet, without empty rows, and without empty columns around them."""
    try:
        workbook = CalamineWorkbook.from_path(path)
        sheets = [sheet.name for sheet in workbook.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
        cells = workbook.get_sheet_by_name(sheets[0]).to_python() if sheets else []
    except PasswordError as error:
        raise WorkbookError("the workbook is protected by a password") from error
    except CalamineError as error:
        raise WorkbookError(f"the workbook cannot be read ({type(error).__name__})") from error
    except BaseException as error:
        # calamine panics at dates that are too large; PyO3 does not derive this exception from Exception.
        if not isinstance(error, OverflowError) and type(error).__name__ != "PanicException":
            raise
        raise WorkbookError("the workbook has dates or durations that are too large") from None
    rows = [row for row in cells if any(cell != "" for cell in row)]
    if not rows:
        raise WorkbookError("the first sheet is empty")
    return rows


def _value(cell: Any) -> Any:
    return None if cell == "" else cell


def _unique_names(header: Sequence[Any]) -> Iterator[str]:
    """Yield the names of the columns, which differ not only in case. Unnamed columns are numbered."""
    used: set[str] = set()
    for index, cell in enumerate(header):
        name = base = _text(cell) or f"column{index}"
        number = 0
        while name.casefold() in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name.casefold())
        yield name


def _to_array(cells: list[Any]) -> pa.Array:
    """Return the cells of a column in the type that they have in common, otherwise as text."""
    types = {type(cell) for cell in cells if cell is not None}
    if types and types <= {int, float}:
        if all(cell is None or (float(cell).is_integer() and abs(cell) <= _MAX_EXACT) for cell in cells):
            return pa.array([None if cell is None else int(cell) for cell in cells], pa.int64())
        return pa.array(cells, pa.float64())
    if dt.datetime in types and types <= {dt.date, dt.datetime}:
        return pa.array([_to_datetime(cell) for cell in cells], pa.timestamp("us"))
    if len(types) == 1 and (arrow_type := _ARROW_TYPES.get(*types)):
        return pa.array(cells, arrow_type)
    return pa.array([None if cell is None else _text(cell) for cell in cells], pa.string())


def _to_datetime(cell: dt.date | None) -> dt.datetime | None:
    if cell is None or isinstance(cell, dt.datetime):
        return cell
    return dt.datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001 - cells have no time zone


def _text(cell: Any) -> str:
    is_whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if is_whole else cell)
