"""What the values of text columns have in common, counted by DuckDB in one pass over all of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import repeat
from typing import TYPE_CHECKING

from airflow_provider_polyteia.tables.conversion import value_notations
from airflow_provider_polyteia.tables.conversion.number_style import (
    COMMA,
    POINT,
    NumberStyle,
    is_number,
)
from airflow_provider_polyteia.tables.sql_parts import quoted, trimmed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_polyteia.tables.conversion.options import Formats
    from airflow_provider_polyteia.tables.conversion.value_notations import Notation

MARKS = (POINT, COMMA)
_MAX_LENGTH = 128  # of a value that is not text, with its separators


@dataclass(frozen=True)
class Candidates:
    """In which ways the values of a column may be written.

    :param marks: decimal marks of numbers.
    :param notations: of other values, in the order in which they are preferred.
    :param is_declared: whether the column is declared to have the type of the candidates.
    """

    marks: tuple[str, ...]
    notations: tuple[Notation, ...]
    is_declared: bool = False

    def __bool__(self) -> bool:
        return bool(self.marks or self.notations)

    def styles(self) -> Iterator[NumberStyle]:
        """Return the styles of numbers."""
        return (NumberStyle(mark, self.is_declared) for mark in self.marks)

    def remaining(self, profile: Profile) -> Candidates:
        """Return the candidates that a profile of some of the rows has not excluded."""
        marks = tuple(mark for mark in self.marks if not profile.numbers[mark].unfit_for_floats)
        notations = tuple(notation for notation in self.notations if not profile.unfit[notation])
        return Candidates(marks, notations, self.is_declared)


@dataclass(frozen=True)
class Numbers:
    """How well the values of a column are numbers with one decimal mark.

    :ivar unfit: values that are not exact numbers.
    :ivar unfit_for_floats: values that are not numbers at all.
    :ivar rounded: numbers that a floating-point number does not hold.
    :ivar scale: maximum number of decimal places.
    :ivar integer_digits: maximum number of digits before the decimal mark.
    """

    unfit: int
    unfit_for_floats: int
    rounded: int
    scale: int
    integer_digits: int


@dataclass(frozen=True)
class Profile:
    """What the values of a column have in common.

    :ivar values: number of values that are not blank.
    :ivar with_marks: number of values with a point or a comma.
    :ivar numbers: decimal mark -> how well they are numbers.
    :ivar unfit: notation -> number of values that are not written in it.
    """

    values: int
    with_marks: int = 0
    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    unfit: Mapping[Notation, int] = field(default_factory=dict)


ISO_DATES = Candidates(
    (), (value_notations.ISO_DATE, value_notations.ISO_TIMESTAMP, value_notations.TIMESTAMP_WITH_OFFSET)
)


def undeclared(formats: Formats) -> Candidates:
    """Return the candidates for a column whose type is inferred."""
    marks = (formats.decimal_separator,) if formats.decimal_separator else MARKS
    return Candidates(
        marks, (value_notations.BOOLEAN, *_dates(formats), value_notations.TIMESTAMP_WITH_OFFSET, value_notations.TIME)
    )


def declared(sql_type: str, formats: Formats) -> Candidates:
    """Return the candidates for a column whose type is declared."""
    if is_number(sql_type):
        return Candidates((formats.decimal_separator,) if formats.decimal_separator else MARKS, (), is_declared=True)
    known = (value_notations.BOOLEAN, *_dates(formats), value_notations.TIMESTAMP_WITH_OFFSET, value_notations.TIME)
    notations = tuple(notation for notation in known if notation.sql_type == sql_type)
    if notations or sql_type == "VARCHAR":
        return Candidates((), notations, is_declared=True)
    return Candidates((), (value_notations.Notation(sql_type, f"TRY_CAST({{text}} AS {sql_type})"),), is_declared=True)


def _dates(formats: Formats) -> tuple[Notation, ...]:
    dates = (
        (value_notations.formatted("DATE", formats.dateformat), value_notations.ISO_DATE)
        if formats.dateformat
        else (value_notations.ISO_DATE, value_notations.GERMAN_DATE)
    )
    if formats.timestampformat:
        has_offset = "%z" in formats.timestampformat.lower()
        sql_type = value_notations.TIMESTAMPTZ if has_offset else "TIMESTAMP"
        return *dates, value_notations.formatted(sql_type, formats.timestampformat)
    return *dates, value_notations.ISO_TIMESTAMP, value_notations.GERMAN_TIMESTAMP


def profile_columns(
    rows_of: Callable[[str], list[tuple[int, ...]]], relation: str, candidates: Mapping[str, Candidates]
) -> dict[str, Profile]:
    """Return the profile of each column.

    Columns with the same candidates are profiled together, as one long column: each regular expression takes megabytes,
    however many columns share it.

    :param rows_of: runs a query, and returns its rows.
    :param relation: SQL of the table, for its FROM clause.
    :param candidates: column -> how its values may be written.
    """
    groups: dict[Candidates, list[str]] = {}
    for name, column in candidates.items():
        groups.setdefault(column, []).append(name)
    profiles: dict[str, Profile] = {}
    for column, names in groups.items():
        texts = ", ".join(_shortened(trimmed(quoted(name)), column) for name in names)
        values = f"(SELECT unnest(range({len(names)})) AS number, unnest([{texts}]) AS value FROM {relation})"
        counts = ", ".join(_expressions("value", column))
        found = rows_of(f"SELECT number, {counts} FROM {values} WHERE value <> '' GROUP BY number")
        read = {names[number]: _read(iter(rest), column) for number, *rest in found}
        profiles |= {name: read.get(name) or _without_values(column) for name in names}
    return profiles


def _shortened(text: str, candidates: Candidates) -> str:
    """Return another text for one that is too long for everything but text, and would take the most time."""
    return text if candidates.is_declared else f"CASE WHEN strlen({text}) > {_MAX_LENGTH} THEN 'text' ELSE {text} END"


def _expressions(text: str, candidates: Candidates) -> Iterator[str]:
    yield "count(*)"
    if candidates.marks:
        yield f"count(*) FILTER (WHERE contains({text}, '.') OR contains({text}, ','))"
    for style in candidates.styles():
        for pattern in (style.pattern(), style.float_pattern()):
            yield f"count(*) FILTER (WHERE NOT regexp_full_match({text}, '{pattern}'))"
        yield f"count(*) FILTER (WHERE {style.is_rounded(text)})"
        yield f"max({style.scale(text)})"
        yield f"max({style.integer_digits(text)})"
    for notation in candidates.notations:
        yield f"count(*) FILTER (WHERE ({notation.convert(text)}) IS NULL)"


def _read(counts: Iterator[int], candidates: Candidates) -> Profile:
    values = next(counts)
    with_marks = next(counts) if candidates.marks else 0
    numbers = {mark: Numbers(*(next(counts) for _ in fields(Numbers))) for mark in candidates.marks}
    return Profile(values, with_marks, numbers, {notation: next(counts) for notation in candidates.notations})


def _without_values(candidates: Candidates) -> Profile:
    return _read(repeat(0), candidates)


def notations_of(sql_type: str, candidates: Candidates) -> list[Notation]:
    """Return each way in which the values of a type may be written."""
    numbers = [style.notation(sql_type) for style in candidates.styles()]
    return numbers + [notation for notation in candidates.notations if notation.sql_type == sql_type]
