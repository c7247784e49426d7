"""Random tables in random dialects come back as they were."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest
from conversions import converted, named
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow  # many conversions

ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "cp850", "utf-16", "utf-16-le")
LETTERS = "abcXYZäöüÄÖÜß019 .,;|\t\"'-\n"
COLUMNS = {
    # Kind -> values, and how the file writes them.
    "text": (st.text(LETTERS, min_size=1, max_size=12).map("T".__add__), lambda value, _: value),
    "key": (st.from_regex(r"0[0-9]{4}", fullmatch=True), lambda value, _: value),
    "integer": (st.integers(-(10**15), 10**15), lambda value, _: str(value)),
    "decimal": (
        st.decimals(-(10**9), 10**9, places=2),
        lambda value, mark: f"{value:.2f}".replace(".", mark),
    ),
    "grouped": (
        st.decimals(-(10**9), 10**9, places=2),
        lambda value, mark: (
            f"{value:,.2f}".replace(".", "#").replace(",", "." if mark == "," else ",").replace("#", mark)
        ),
    ),
    "date": (st.dates(dt.date(1000, 1, 1)), lambda value, _: value.isoformat()),
    "german": (st.dates(dt.date(1000, 1, 1)), lambda value, _: f"{value.day:02}.{value.month:02}.{value.year:04}"),
    "timestamp": (st.datetimes(dt.datetime(1000, 1, 1)), lambda value, _: value.isoformat(" ")),
    "boolean": (st.booleans(), lambda value, _: "ja" if value else "nein"),
}


@st.composite
def tables(draw):
    """Draw the kinds of the columns, and rows in which each column has a value in the first row."""
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=2, max_size=5))
    row = st.tuples(*(st.none() | COLUMNS[kind][0] for kind in kinds))
    first = draw(st.tuples(*(COLUMNS[kind][0] for kind in kinds)))
    return kinds, [first, *draw(st.lists(row, max_size=8))]


dialects = st.fixed_dictionaries(
    {
        "encoding": st.sampled_from(ENCODINGS),
        "delim": st.sampled_from(",;|\t"),
        "mark": st.sampled_from(".,"),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        "line_end": st.sampled_from(["\n", "\r\n"]),
        "ends": st.booleans(),
    }
)


def write(kinds, rows, dialect):
    """Return the table as a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter=dialect["delim"], quoting=dialect["quoting"], lineterminator=dialect["line_end"]
    )
    writer.writerow([f"Größe {number}" for number, _ in enumerate(kinds)])
    for row in rows:
        writer.writerow(
            [
                "" if value is None else COLUMNS[kind][1](value, dialect["mark"])
                for kind, value in zip(kinds, row, strict=True)
            ]
        )
    content = text.getvalue()
    if not dialect["ends"]:
        content = content.removesuffix(dialect["line_end"])
    return content.encode(dialect["encoding"])


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), dialects)
def test_round_trip(table, dialect):
    """All values come back, with the types of their columns; the options name the dialect."""
    kinds, rows = table
    options = {"encoding": dialect["encoding"], "delim": dialect["delim"], "decimal_separator": dialect["mark"]}
    types, found = converted(named(write(kinds, rows, dialect), "x.csv"), options)
    assert [tuple(row.values()) for row in found] == rows
    expected = {"text": "string", "key": "string", "integer": "int64", "boolean": "bool", "timestamp": "timestamp[us]"}
    for sql_type, kind in zip(types.values(), kinds, strict=True):
        assert sql_type == expected.get(kind, "date32[day]" if kind in ("date", "german") else "decimal128(18, 2)")


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), dialects)
def test_round_trip_of_an_unknown_dialect(table, dialect):
    """The dialect is found, where there is one column of numbers that only it can have written."""
    kinds, rows = table
    kinds = ["key", *kinds, "decimal"]
    rows = [("01067", *row, Decimal("-12345.60")) for row in rows]
    found = converted(named(write(kinds, rows, dialect | {"encoding": "utf-8"}), "x.csv"))[1]
    assert [tuple(row.values()) for row in found] == rows
