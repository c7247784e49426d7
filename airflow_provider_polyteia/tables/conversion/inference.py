"""Chooses the types of text columns.

All values of a column decide, not a sample: the type is the first of number, boolean, date, timestamp and time that
every value agrees with, otherwise text. A declared type, or the type of the last load, comes first.

A sample of the rows is profiled first. What it excludes is excluded for good, so if all other values agree with the
types of the sample, these are the types of the whole file, and it was read only once. Otherwise the whole file is
profiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_polyteia.tables.conversion.number_style import (
    NumberStyle,
    exact_type,
    is_float,
    is_number,
    max_integer_digits,
    scale_of,
)
from airflow_provider_polyteia.tables.conversion.table import TEXT
from airflow_provider_polyteia.tables.conversion.value_notations import (
    AS_TEXT,
    UNDECIDED,
    Notation,
    without_values,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_polyteia.tables.conversion.profile import Candidates, Profile


@dataclass(frozen=True)
class Column:
    """A text column, and what is known about its type.

    :ivar declared: the type that the DAG declares; empty if it is inferred.
    :ivar previous: the type at the last load; empty if it is not known.
    """

    name: str
    candidates: Candidates
    declared: str = ""
    previous: str = ""


@dataclass(frozen=True)
class Choice:
    """The result for a column.

    :ivar notation: how its values are written; None if they do not fit the declared type.
    :ivar is_ambiguous: whether its numbers have one meaning with a decimal point and another with a decimal comma.
    :ivar decided_by: another column, whose numbers decided which of the two it is; empty if none did.
    """

    notation: Notation | None
    is_ambiguous: bool = False
    decided_by: str = ""


def choose(columns: Mapping[str, Column], profiles: Mapping[str, Profile]) -> dict[str, Choice]:
    """Return the notation of each column."""
    marks = {name: _possible_marks(profiles[name], column) for name, column in columns.items()}
    evident: dict[str, str] = {}
    for name, possible in marks.items():
        if len(possible) == 1 and profiles[name].with_marks:
            evident.setdefault(possible[0], name)
    return {name: _choose(column, profiles[name], marks[name], evident) for name, column in columns.items()}


def _possible_marks(profile: Profile, column: Column) -> list[str]:
    """Return the decimal marks with which all values are numbers."""
    is_number_with = _is_number if column.declared else _number
    return [mark for mark in column.candidates.marks if profile.values and is_number_with(profile, mark)]


def _is_number(profile: Profile, mark: str) -> bool:
    return not profile.numbers[mark].unfit_for_floats


def _choose(column: Column, profile: Profile, marks: list[str], evident: Mapping[str, str]) -> Choice:
    """Return the choice for a column.

    :param marks: with which its values are numbers.
    :param evident: decimal marks of the file -> a column whose values show it.
    """
    is_ambiguous = len(marks) > 1 and bool(profile.with_marks)
    decided_by = ""
    if is_ambiguous and len(evident) == 1 and not _had_thousandths(column):
        ((mark, decided_by),) = evident.items()
        marks = [mark]
    if column.declared:
        fitting = [mark for mark in marks if _fits(column.declared, column, profile, mark)]
        # 1.234 is an integer in one way only, but a decimal with two places may be one that has too many.
        is_ambiguous = is_ambiguous and not (len(fitting) == 1 and (decided_by or not scale_of(column.declared)))
        marks = fitting
        return Choice(_notation_of(column.declared, column, profile, marks), is_ambiguous, decided_by)
    if is_ambiguous and not decided_by:
        return Choice(AS_TEXT, is_ambiguous=True)
    notation = _notation_of(column.previous, column, profile, marks) if column.previous else None
    return Choice(notation or _inferred(column, profile, marks), decided_by=decided_by)


def _had_thousandths(column: Column) -> bool:
    """Return True if the numbers at the last load had three decimal places: 52.123 may be one of them."""
    return is_float(column.previous) or scale_of(column.previous) >= len("000")


def _inferred(column: Column, profile: Profile, marks: Sequence[str]) -> Notation:
    """Return the notation of the first type that all values agree with."""
    if not profile.values:
        return UNDECIDED
    if marks and (sql_type := _number(profile, marks[0])):
        return _style(column, profile, marks).notation(sql_type)
    fitting = (notation for notation in column.candidates.notations if not profile.unfit[notation])
    return next(fitting, AS_TEXT)


def _number(profile: Profile, mark: str) -> str | None:
    """Return the type of a column's numbers, or None if they are not numbers."""
    numbers = profile.numbers[mark]
    if not numbers.unfit:
        return exact_type(numbers.scale, numbers.integer_digits, fits_float=not numbers.rounded)
    return None if numbers.unfit_for_floats or numbers.rounded else "DOUBLE"


def _style(column: Column, profile: Profile, marks: Sequence[str]) -> NumberStyle:
    """Return how a column's numbers are written. If these were a sample without marks, others decide about them."""
    return NumberStyle(marks[0] if profile.with_marks else "", column.candidates.is_declared)


def _notation_of(sql_type: str, column: Column, profile: Profile, marks: Sequence[str]) -> Notation | None:
    """Return the notation of a type; None if not all values fit it."""
    if sql_type == TEXT:
        return AS_TEXT
    if is_number(sql_type):
        if profile.values and not (marks and _fits(sql_type, column, profile, marks[0])):
            return None
        return _style(column, profile, marks).notation(sql_type)
    if not profile.values:
        return without_values(sql_type)
    notations = [notation for notation in column.candidates.notations if notation.sql_type == sql_type]
    fitting = (notation for notation in notations if not profile.unfit[notation])
    return next(fitting, None)


def _fits(sql_type: str, column: Column, profile: Profile, mark: str) -> bool:
    """Return True if all values are numbers that a type holds without rounding.

    Of a declared type, whether it holds the largest ones is found when they are written.
    """
    numbers = profile.numbers[mark]
    if is_float(sql_type):
        return not numbers.unfit_for_floats and not numbers.rounded
    max_digits = max_integer_digits(sql_type, always=not column.declared)
    return numbers.scale <= scale_of(sql_type) and numbers.integer_digits <= max_digits and not numbers.unfit
