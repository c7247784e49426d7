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
    POINT,
    NumberStyle,
    exact_type,
    is_float,
    is_number,
    max_integer_digits,
    number_expression,
    scale_of,
)
from airflow_provider_polyteia.tables.conversion.sql import quoted, trimmed
from airflow_provider_polyteia.tables.conversion.table import TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.tables.conversion.profile import Candidates, Profile


@dataclass(frozen=True)
class Conversion:
    """How the texts of a column become values of a type.

    :ivar expression: SQL for the value of ``{text}``, which is NULL if the text does not fit; empty for text.
    """

    sql_type: str
    expression: str = ""

    def value(self, column: str) -> str:
        """Return the SQL for the values of a column, which fails at the first that does not fit."""
        name = quoted(column)
        if not self.expression:
            return name
        if self is UNDECIDED:
            return f"CASE WHEN {trimmed(name)} <> '' THEN error('unfit') ELSE {name} END"
        return f"coalesce({self._converted(name)}, CASE WHEN {trimmed(name)} <> '' THEN error('unfit') END)"

    def is_unfit(self, column: str) -> str:
        """Return the SQL that is true for the values of a column that do not fit."""
        name = quoted(column)
        if not self.expression:
            return "false"
        return f"{trimmed(name)} <> '' AND ({self._converted(name)}) IS NULL"

    def _converted(self, name: str) -> str:
        return self.expression.replace("{text}", trimmed(name))


UNDECIDED = Conversion(
    TEXT, f"CAST(NULL AS {TEXT})"
)  # of a column without values, which may only have none in a sample


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

    :ivar conversion: None if the values do not fit the declared type.
    :ivar is_ambiguous: whether its numbers have one meaning with a decimal point and another with a decimal comma.
    """

    conversion: Conversion | None
    is_ambiguous: bool = False


def choose(columns: Mapping[str, Column], profiles: Mapping[str, Profile]) -> dict[str, Choice]:
    """Return the conversion of each column."""
    marks = {name: _possible_marks(profiles[name], column) for name, column in columns.items()}
    evident = {possible[0] for name, possible in marks.items() if len(possible) == 1 and profiles[name].with_marks}
    return {name: _choose(column, profiles[name], marks[name], evident) for name, column in columns.items()}


def _possible_marks(profile: Profile, column: Column) -> list[str]:
    """Return the decimal marks with which all values are numbers, of the declared type if there is one."""
    return [
        mark
        for mark in column.candidates.marks
        if profile.values and (_fits(column.declared, profile, mark) if column.declared else _number(profile, mark))
    ]


def _choose(column: Column, profile: Profile, marks: list[str], evident: set[str]) -> Choice:
    is_ambiguous = len(marks) > 1 and bool(profile.with_marks)
    if is_ambiguous:
        marks = [mark for mark in marks if {mark} == evident]
    mark = marks[0] if marks else ""
    if column.declared:
        return Choice(_converted_to(column.declared, column, profile, mark), is_ambiguous and not mark)
    if column.previous:
        conversion = _converted_to(column.previous, column, profile, mark)
        if conversion is not None:
            return Choice(conversion)
    if is_ambiguous and not mark:
        return Choice(Conversion(TEXT), is_ambiguous=True)
    return Choice(_inferred(column, profile, mark))


def _inferred(column: Column, profile: Profile, mark: str) -> Conversion:
    """Return the conversion to the first type that all values agree with."""
    if not profile.values:
        return UNDECIDED
    if mark and (sql_type := _number(profile, mark)):
        return Conversion(sql_type, number_expression(sql_type, NumberStyle(mark)))
    fitting = (notation for notation in column.candidates.notations if not profile.unfit[notation])
    return next((Conversion(notation.sql_type, notation.expression) for notation in fitting), Conversion(TEXT))


def _number(profile: Profile, mark: str) -> str | None:
    """Return the type of a column's numbers; None if they are no numbers."""
    numbers = profile.numbers[mark]
    if not numbers.unfit:
        return exact_type(numbers.scale, numbers.integer_digits)
    return None if numbers.unfit_for_floats else "DOUBLE"


def _converted_to(sql_type: str, column: Column, profile: Profile, mark: str) -> Conversion | None:
    """Return the conversion to a type; None if not all values fit it."""
    if sql_type == TEXT:
        return Conversion(TEXT)
    if is_number(sql_type):
        if profile.values and not (mark and _fits(sql_type, profile, mark)):
            return None
        style = NumberStyle(mark or POINT, column.candidates.is_declared)
        return Conversion(sql_type, number_expression(sql_type, style))
    notations = [notation for notation in column.candidates.notations if notation.sql_type == sql_type]
    fitting = (notation for notation in notations if not profile.unfit[notation])
    return next((Conversion(sql_type, notation.expression) for notation in fitting), None)


def _fits(sql_type: str, profile: Profile, mark: str) -> bool:
    """Return True if all values are numbers that a type holds without rounding."""
    numbers = profile.numbers[mark]
    if is_float(sql_type):
        return not numbers.unfit_for_floats
    fits = numbers.scale <= scale_of(sql_type) and numbers.integer_digits <= max_integer_digits(sql_type)
    return fits and not numbers.unfit
