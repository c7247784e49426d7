"""Sheets of Excel and OpenDocument workbooks, read by calamine, in memory."""

from __future__ import annotations

import datetime as dt
import logging
import math
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaDataError
from airflow_provider_polyteia.tables.conversion.cells import Notes, read_notes
from airflow_provider_polyteia.tables.conversion.dialect import unique_names
from airflow_provider_polyteia.tables.conversion.number_style import (
    COMMA,
    MAX_DIGITS,
    POINT,
    NumberStyle,
    is_number,
)
from airflow_provider_polyteia.tables.conversion.table import TEXT, Table, from_arrow
from airflow_provider_polyteia.tables.conversion.writer import Writer
from airflow_provider_polyteia.tables.file_checks.csv_sample import find_beginning
from airflow_provider_polyteia.tables.file_checks.errors import NOTHING_SENT, Reject
from airflow_provider_polyteia.tables.file_checks.signatures import OFFICE, OLE, ZIP, recognize
from airflow_provider_polyteia.tables.optional_dependencies import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from python_calamine import CalamineWorkbook

    from airflow_provider_polyteia.tables.conversion.options import Options
    from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile
    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

log = logging.getLogger(__name__)

_MAX_EXACT = 2**53  # of the integers that a cell can hold
_CELLS = "cells"
_MARKS = POINT + COMMA
# Numbers with a decimal point that are also whole numbers with a thousands separator.
_GROUPED = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")


@dataclass(frozen=True)
class Sheet:
    """A sheet of a workbook.

    :ivar rows: number and cells of each row that is not empty; empty cells are empty strings.
    """

    name: str
    rows: list[tuple[int, list[Any]]]
    notes: Notes


def write_workbook(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return a sheet as Parquet. Cells with errors, such as ``#N/A``, are empty.

    :raises Reject: if it is not a workbook, the sheet or the header is ambiguous, or formulas have no values.
    :raises PolyteiaDataError: if a value does not fit the type of its column.
    """
    require("python_calamine", "files", "Converting workbooks")
    found = recognize(file.head()).found
    if found not in (ZIP, OFFICE, OLE):
        raise Reject(f"{found}, not a workbook" if found else "not a workbook")
    sheet = _read_sheet(file, options.reader.get("sheet"), options.reader.get("skip", 0))
    if "skip" not in options.reader:
        _check_beginning(sheet.rows)
    if not sheet.rows:
        raise Reject("a workbook whose sheet is empty")
    return _write(engine, file, options, previous, sheet)


def _write(
    engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str], sheet: Sheet
) -> StagedTable:
    has_header = options.reader.get("header", True)
    _check_numbers(file.name, sheet, has_header=has_header)
    header = [_text(cell) or "" if has_header else "" for cell in sheet.rows[0][1]]
    names, unnamed = unique_names(header)
    rows = sheet.rows[has_header:]
    numbers = [number for number, _ in rows]
    _report_errors(file.name, sheet, names, numbers)
    columns = [
        _Column(
            name,
            cells,
            _canonical_type(engine, options.columns.get(name, "")),
            from_arrow(previous.get(name, "")),
            options.formats.decimal_separator,
        )
        for name, cells in zip(names, _without_nulls(rows, len(names), options), strict=True)
    ]
    ambiguous = {column.name for column in columns if column.is_ambiguous}
    for column in columns:
        if column.is_ambiguous:
            _report_ambiguous(file.name, column)
    engine.register(_CELLS, pa.table([column.array() for column in columns], names=list(names)))
    types = engine.columns(_CELLS)
    texts = tuple(name for name, sql_type in types.items() if sql_type == TEXT and name not in ambiguous)
    left_out = frozenset(unnamed) & frozenset(texts) if has_header else frozenset[str]()
    table = Table(_CELLS, types, texts=texts, unnamed=left_out)
    try:
        return Writer(engine, table, options, file.name, previous, lambda row: f"row {numbers[row - 1]}").write()
    except duckdb.Error as error:
        raise Reject(f"a workbook that cannot be converted ({type(error).__name__})") from None


def _canonical_type(engine: Engine, sql_type: str) -> str:
    """Return how DuckDB writes a type; empty if it does not know it, which the `Writer` reports."""
    try:
        return engine.canonical_type(sql_type) if sql_type else ""
    except duckdb.Error:
        return ""


def _without_nulls(rows: Sequence[tuple[int, list[Any]]], width: int, options: Options) -> list[list[Any]]:
    """Return the cells of each column, with None for those that stand for nothing."""
    nulls = options.reader.get("nullstr", [])
    nulls = {"", nulls} if isinstance(nulls, str) else {"", *nulls}
    return [[None if _is_in(cells[place], nulls) else cells[place] for _, cells in rows] for place in range(width)]


def _is_in(cell: Any, nulls: set[str]) -> bool:
    return isinstance(cell, str) and cell.strip() in nulls


def _read_sheet(file: StagedFile, sheet: str | int | None, skip: int) -> Sheet:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError  # noqa: PLC0415 - optional

    try:
        with file.open() as opened:
            workbook = CalamineWorkbook.from_filelike(opened)
            name = _find_sheet(workbook, sheet)
            cells = _read_cells(workbook, name)
    except PasswordError as error:
        raise Reject("a workbook with a password", "Save it without a password.") from error
    except CalamineError as error:
        raise Reject("a workbook that is incomplete or damaged", "Run the task after the file is complete.") from error
    with file.open() as opened:
        notes = read_notes(opened, name)
    _check_formulas(name, notes, skip)
    for (row, column), digits in notes.zeros.items():
        cells[row - 1][column - 1] = digits
    with_errors = {row for row, _ in notes.errors}
    filled = [
        (row, values) for row, values in enumerate(cells, 1) if row in with_errors or any(v != "" for v in values)
    ]
    return Sheet(name, [(row, values) for row, values in filled if row > skip], notes)


def _read_cells(workbook: CalamineWorkbook, sheet: str) -> list[list[Any]]:
    try:
        cells: list[list[Any]] = workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    except BaseException as error:
        if (
            not isinstance(error, OverflowError) and type(error).__name__ != "PanicException"
        ):  # of PyO3, not an Exception
            raise
        # Its text contains the value, and calamine does not report the cell.
        raise Reject(
            f"a workbook whose sheet {sheet!r} has dates or durations that are too large", "Correct the cells."
        ) from None
    return cells


def _find_sheet(workbook: CalamineWorkbook, sheet: str | int | None) -> str:
    """Return the name of the sheet that the DAG chooses, otherwise of the only one that users see."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum  # noqa: PLC0415 - optional

    names = workbook.sheet_names
    if sheet is None:
        tables = [each for each in workbook.sheets_metadata if each.typ == SheetTypeEnum.WorkSheet]
        seen = [each.name for each in tables if each.visible == SheetVisibleEnum.Visible]
        names = seen or [each.name for each in tables] or names
        if len(names) > 1:
            raise Reject(
                f"a workbook with {len(names)} sheets: {_listed(names)}",
                "Set 'sheet' in the argument 'convert' to one.",
            )
    wanted = names[sheet] if isinstance(sheet, int) and sheet < len(names) else sheet or names[0]
    if wanted not in names:
        raise Reject(f"a workbook without a sheet {wanted!r}; it has {_listed(names)}")
    return str(wanted)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _check_beginning(rows: Sequence[tuple[int, list[Any]]]) -> None:
    """Reject a sheet whose first row seems to be a title."""
    begins = find_beginning(rows) if rows else None
    if begins is not None:
        raise Reject(
            f"a workbook whose table seems to begin in row {begins}",
            f"Set 'skip' in the argument 'convert' to {begins - 1}, or to 0 if it begins at the top.",
        )


def _check_formulas(sheet: str, notes: Notes, skip: int) -> None:
    """Reject a sheet with formulas whose values were not saved: they would become NULL."""
    rows = [row for row, _ in notes.unsaved if row > skip]
    if rows:
        raise Reject(
            f"a workbook whose sheet {sheet!r} has formulas without saved values ({len(rows):,}, the first in row "
            f"{min(rows)})",
            "Open and save it in Excel or LibreOffice, or write values instead of formulas.",
        )


def _check_numbers(file: str, sheet: Sheet, *, has_header: bool) -> None:
    """Reject numbers that are NaN or infinite, as 1E400 is."""
    header = sheet.rows[0][1]
    for row, cells in sheet.rows:
        for place, cell in enumerate(cells):
            if type(cell) is float and not math.isfinite(cell):
                name = header[place] if has_header and isinstance(header[place], str) else ""
                raise PolyteiaDataError(
                    f"{file!r}, sheet {sheet.name!r}, row {row}, column {name or place + 1!r}: the cell contains a "
                    f"number that is not finite. Correct the cell. {NOTHING_SENT}",
                    not_applied=True,
                )


def _report_errors(file: str, sheet: Sheet, names: Sequence[str], rows: Sequence[int]) -> None:
    """Log how many cells of each column contain errors, which become NULL."""
    kept = set(rows)
    counts = Counter(column for row, column in sheet.notes.errors if row in kept)
    if counts:
        listed = ", ".join(f"{names[column - 1]!r} ({counts[column]:,})" for column in sorted(counts))
        log.warning(
            "Cells with errors such as #N/A become NULL in sheet %r of %r, by column: %s", sheet.name, file, listed
        )


def _report_ambiguous(file: str, column: _Column) -> None:
    """Log that a column becomes text; raise an exception if it is declared to hold numbers."""
    why = (
        "some of its numbers are stored as text and are ambiguous, because their decimal separator may be a point or a "
        "comma. Set 'decimal_separator' in the argument 'convert'."
    )
    if column.is_number:
        raise PolyteiaDataError(f"Column {column.name!r} of {file!r}: {why} {NOTHING_SENT}", not_applied=True)
    log.warning("Column %r of %r becomes text: %s", column.name, file, why)


@dataclass(frozen=True)
class _Column:
    """The cells of a column, None if they are empty.

    :ivar declared: the type that the DAG declares; empty if it is inferred.
    :ivar previous: the type at the last load; empty if it is not known.
    :ivar separator: the decimal mark that the DAG sets; empty if it is inferred.
    """

    name: str
    cells: list[Any]
    declared: str
    previous: str
    separator: str

    @property
    def is_number(self) -> bool:
        """Whether it is declared to hold numbers."""
        return is_number(self.declared)

    @cached_property
    def is_ambiguous(self) -> bool:
        """Whether a decimal mark would have to be guessed to read all cells as numbers."""
        return len(self._marks) > 1 and any(mark in text for text in self._strings for mark in self._marks)

    def array(self) -> pa.Array:
        """Return the cells in the type that they have in common, otherwise as texts."""
        types, cells = self._types, self.cells
        if types and types <= {int, float} and not self._is_text:
            if all(cell is None or (cell == int(cell) and abs(cell) < _MAX_EXACT) for cell in cells):
                return pa.array([None if cell is None else int(cell) for cell in cells], pa.int64())
            return pa.array(cells, pa.float64())
        if types and types <= {dt.date, dt.datetime} and dt.datetime in types:
            return pa.array([_timestamp(cell) for cell in cells], pa.timestamp("us"))
        one = next(iter(types)) if len(types) == 1 else str
        if one in _ARROW_TYPES:
            return pa.array(cells, _ARROW_TYPES[one])
        return pa.array(self._texts(), pa.string())

    @cached_property
    def _types(self) -> set[type]:
        return {type(cell) for cell in self.cells if cell is not None}

    @property
    def _is_text(self) -> bool:
        return (self.declared or self.previous) == TEXT

    @property
    def _strings(self) -> list[str]:
        return [cell.strip(" ") for cell in self.cells if isinstance(cell, str)]

    @cached_property
    def _marks(self) -> list[str]:
        """The decimal marks with which all strings are numbers; none if the column needs no mark, or becomes text."""
        if self._is_text or not {float, str} <= self._types <= {int, float, str}:
            return []
        if all(type(cell) is not float or cell.is_integer() for cell in self.cells):
            return []
        patterns = {
            mark: re.compile(NumberStyle(mark, self.is_number).float_pattern()) for mark in self.separator or _MARKS
        }
        return [mark for mark, pattern in patterns.items() if all(map(pattern.fullmatch, self._strings))]

    def _texts(self) -> list[str | None]:
        """Return the cells as texts, in which a number can be read in one way only, as the number that it is."""
        texts = [_text(cell) for cell in self.cells]
        fractions = {
            place: text
            for place, text in enumerate(texts)
            if text and POINT in text and type(self.cells[place]) is float
        }
        if self._marks == [COMMA]:
            fractions = {place: text.replace(POINT, COMMA) for place, text in fractions.items()}
        elif len(self._marks) > 1 and not self.is_ambiguous and all(map(_GROUPED.fullmatch, fractions.values())):
            fractions = {place: self._ungrouped(text) for place, text in fractions.items()}
        for place, text in fractions.items():
            texts[place] = text
        return texts

    def _ungrouped(self, text: str) -> str:
        """Return a number with a zero, so that its point is not a thousands separator."""
        if self.is_number:
            return re.sub("([0-9])", r"0\1", text, count=1)  # has as many decimal places, which the type may limit
        return f"{text}0"  # without a declared type, numbers with leading zeros are text


_ARROW_TYPES = {bool: pa.bool_(), dt.date: pa.date32(), dt.time: pa.time64("us")}


def _timestamp(cell: dt.date | None) -> dt.datetime | None:
    if cell is None or isinstance(cell, dt.datetime):
        return cell
    return dt.datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001 - cells have no time zone


def _text(cell: Any) -> str | None:
    if type(cell) in (int, float):
        return _number_text(cell)
    if isinstance(cell, dt.timedelta):
        return _duration_text(cell)
    return None if cell is None else str(cell)


def _number_text(cell: float) -> str:
    """Return a number without an exponent, unless it would be too long to be read as a number."""
    number = Decimal(repr(cell))
    text = f"{number:.0f}" if number == number.to_integral_value() else f"{number:f}"
    if len(text.strip("-.")) > MAX_DIGITS:
        return f"{number:.1e}" if len(number.as_tuple().digits) <= 1 else f"{number:e}"
    return text.replace("-0", "0") if not number else text


def _duration_text(cell: dt.timedelta) -> str:
    """Return hours, minutes and seconds: durations may be longer than a day."""
    seconds, fraction = divmod(abs(cell), dt.timedelta(seconds=1))
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    text += f".{fraction.microseconds:06}" if fraction else ""
    return f"-{text}" if cell < dt.timedelta() else text
