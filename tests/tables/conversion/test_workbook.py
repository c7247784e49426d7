"""Sheets of workbooks."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path

import pytest
import xlsxwriter
from conversions import converted, named

from airflow_provider_polyteia.exceptions import PolyteiaDataError

WORKBOOKS = Path(__file__).parents[2] / "fixtures" / "workbooks"
FORMATS = {dt.datetime: "dd.mm.yyyy hh:mm", dt.date: "dd.mm.yyyy", dt.time: "hh:mm", dt.timedelta: "[hh]:mm"}


def workbook(**sheets):
    """Return an xlsx file with rows in its sheets; None is an empty cell."""
    with xlsxwriter.Workbook(content := io.BytesIO()) as book:
        formats = {kind: book.add_format({"num_format": form}) for kind, form in FORMATS.items()}
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                for place, cell in enumerate(row):
                    sheet.write(number, place, cell, formats.get(type(cell)))
    return named(content.getvalue(), "x.xlsx")


@pytest.mark.parametrize("extension", ["xls", "ods"])
def test_formats(extension):
    """Old and open formats are read like new ones."""
    assert converted(WORKBOOKS / f"haushalt.{extension}") == (
        {"AGS": "string", "Betrag": "double", "Datum": "date32[day]", "Aktiv": "bool"},
        [
            {"AGS": "01001000", "Betrag": 1234.5, "Datum": dt.date(2026, 12, 31), "Aktiv": True},
            {"AGS": "14612000", "Betrag": 12.0, "Datum": dt.date(2026, 2, 1), "Aktiv": False},
        ],
    )


# Cells of a column -> its type and what they become.
COLUMNS = {
    "integers": ([1, 2.0, None], "int64", [1, 2, None]),
    "numbers": ([1, 2.5], "double", [1.0, 2.5]),
    "large numbers": ([1e20, 1], "double", [1e20, 1.0]),
    "texts": (["01067", "10115"], "string", ["01067", "10115"]),
    "numbers as texts": (["1.234,50", "-1"], "decimal128(18, 2)", [Decimal("1234.50"), Decimal("-1.00")]),
    "dates as texts": (["31.12.2026"], "date32[day]", [dt.date(2026, 12, 31)]),
    "texts and numbers": (["k.A.", 5, 0.1], "string", ["k.A.", "5", "0.1"]),
    "keys of which some are numbers": (["01067", 10115], "string", ["01067", "10115"]),
    "dates": ([dt.date(2026, 12, 31), None], "date32[day]", [dt.date(2026, 12, 31), None]),
    "timestamps": (
        [dt.datetime(2026, 12, 31, 10, 5), dt.date(2026, 12, 31)],
        "timestamp[us]",
        [dt.datetime(2026, 12, 31, 10, 5), dt.datetime(2026, 12, 31)],
    ),
    "times": ([dt.time(10, 30)], "time64[us]", [dt.time(10, 30)]),
    "booleans": ([True, False], "bool", [True, False]),
    "durations": ([dt.timedelta(hours=36)], "string", ["1 day, 12:00:00"]),
    "nothing": ([None, None], "string", [None, None]),
    "whitespace": (["  ", "x"], "string", [None, "x"]),
}


@pytest.mark.parametrize(("cells", "sql_type", "expected"), COLUMNS.values(), ids=COLUMNS)
def test_columns(cells, sql_type, expected):
    """A column has the type that all of its cells have in common."""
    types, rows = converted(workbook(A=[["id", "v"], *([number, cell] for number, cell in enumerate(cells))]))
    assert (types["v"], [row["v"] for row in rows]) == (sql_type, expected)


def test_sheets():
    """A sheet is chosen by its name or number."""
    two = {"Deckblatt": [["Bericht"]], "Daten": [["a", "b"], [1, "x"]]}
    assert converted(workbook(**two), {"sheet": "Daten"})[1] == [{"a": 1, "b": "x"}]
    assert converted(workbook(**two), {"sheet": 1})[1] == [{"a": 1, "b": "x"}]
    for sheet in ("daten", 2):
        with pytest.raises(PolyteiaDataError, match=f"without a sheet {sheet!r}; it has 'Deckblatt', 'Daten'"):
            converted(workbook(**two), {"sheet": sheet})


def test_rows():
    """Empty rows and columns at any place do not count."""
    rows = [[], [None, "a", None, "b"], [], [None, 1, None, 2.5], [], []]
    assert converted(workbook(A=rows))[1] == [{"a": 1, "b": 2.5}]
    assert converted(workbook(A=[["a", None, "b"], [1, "x", 2]]))[1] == [{"a": 1, "column_2": "x", "b": 2}]


def test_header():
    """Numbers may be names, titles are skipped, and there may be no header."""
    assert list(converted(workbook(A=[["AGS", 2025, 2026], ["01", 1, 2]]))[0]) == ["AGS", "2025", "2026"]
    titled = [["Bericht"], [], ["a", "b"], [1, 2]]
    with pytest.raises(PolyteiaDataError, match=r"table seems to begin in row 3\. Set 'skip' in the .* to 2, or"):
        converted(workbook(A=titled))
    assert converted(workbook(A=titled), {"skip": 2})[1] == [{"a": 1, "b": 2}]
    assert converted(workbook(A=[[1, "x"]]), {"header": False})[1] == [{"column_1": 1, "column_2": "x"}]
    assert converted(workbook(A=[["a", "b"]])) == ({"a": "string", "b": "string"}, [])


def test_options():
    """Texts that stand for nothing, declared types, and the place of a value that does not fit."""
    rows = [["a", "b"], ["k.A.", 1.5], [5, 2]]
    assert converted(workbook(A=rows), {"nullstr": "k.A."})[1] == [{"a": None, "b": 1.5}, {"a": 5, "b": 2.0}]
    types, _ = converted(workbook(A=rows), {"nullstr": ["k.A."], "columns": {"a": "VARCHAR", "b": "DECIMAL(9,2)"}})
    assert types == {"a": "string", "b": "decimal128(9, 2)"}
    with pytest.raises(PolyteiaDataError, match="row 2, column 'a': a text of 4 characters does not fit"):
        converted(workbook(A=rows), {"columns": {"a": "INTEGER"}})


def test_sticky_types():
    """A type that holds tonight's cells is kept."""
    types, _ = converted(workbook(A=[["a", "b"], [1, "2"]]), previous={"a": "double", "b": "string"})
    assert types == {"a": "double", "b": "string"}


REFUSED = {
    "an HTML page, not a workbook": (b"<table><tr><td>1", "x.xls"),
    "not a workbook": (b"a,b\n1,2\n", "x.xlsx"),
    "empty": (b"", "x.xlsx"),
    "a workbook whose sheet is empty": (workbook(A=[[]]).getvalue(), "x.xlsx"),
    "a workbook that is incomplete or damaged": (workbook(A=[["a"]]).getvalue()[:-200], "x.xlsx"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused(why):
    """Anything but a complete workbook is refused."""
    with pytest.raises(PolyteiaDataError, match=why):
        converted(named(*REFUSED[why]))
