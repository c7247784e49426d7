"""Sheets of workbooks."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest
import xlsxwriter
from conversions import converted, named

from airflow_provider_polyteia.exceptions import PolyteiaDataError

pytestmark = pytest.mark.slow  # many conversions

WORKBOOKS = Path(__file__).parents[2] / "fixtures" / "workbooks"
SHEET = "xl/worksheets/sheet1.xml"
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


def postal_codes(num_format, rows):
    """Return an xlsx file with the numbers in a number format."""
    with xlsxwriter.Workbook(content := io.BytesIO()) as book:
        sheet, style = book.add_worksheet("A"), book.add_format({"num_format": num_format})
        sheet.write(0, 0, "PLZ")
        sheet.write(0, 1, "n")
        for number, cell in enumerate(rows, 1):
            sheet.write(number, 0, cell, style)
            sheet.write(number, 1, cell)
    return named(content.getvalue(), "x.xlsx")


def replaced(file, part, *changes):
    """Return a workbook with other XML."""
    with zipfile.ZipFile(file) as before, zipfile.ZipFile(content := io.BytesIO(), "w") as after:
        for member in before.namelist():
            xml = before.read(member).decode()
            for old, new in changes if member == part else ():
                assert old in xml
                xml = xml.replace(old, new)
            after.writestr(member, xml)
    return named(content.getvalue(), file.name)


def column(*cells):
    """Return a workbook with a column of cells."""
    return workbook(A=[["id", "v"], *([number, cell] for number, cell in enumerate(cells))])


def values(file, *arguments, **options):
    """Return the type and the values of a converted column."""
    types, rows = converted(named(file.getvalue(), file.name), *arguments, **options)
    return types["v"], [row["v"] for row in rows]


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
    "durations": (
        [dt.timedelta(hours=25, minutes=30), dt.timedelta(seconds=0.5), dt.timedelta(0), -dt.timedelta(hours=1)],
        "string",
        ["25:30:00", "00:00:00.500000", "00:00:00", "-01:00:00"],
    ),
    "midnight": ([dt.time(0), dt.time(23, 59)], "time64[us]", [dt.time(0), dt.time(23, 59)]),
    "texts and numbers with exponents": (
        ["k.A.", 1e20, 1e-7, 1e300],
        "string",
        ["k.A.", f"1{'0' * 20}", "0.0000001", "1.0e+300"],
    ),
    "nothing": ([None, None], "string", [None, None]),
    "whitespace": (["  ", "x"], "string", [None, "x"]),
}


@pytest.mark.parametrize(("cells", "sql_type", "expected"), COLUMNS.values(), ids=COLUMNS)
def test_columns(cells, sql_type, expected):
    """A column has the type that all of its cells have in common."""
    assert values(column(*cells)) == (sql_type, expected)


# Cells of a column -> its type and its values: the numbers in cells keep their values, whatever the texts are.
MIXED = {
    "texts with a comma": ([1.234, "2,5"], "decimal128(18, 3)", [Decimal("1.234"), Decimal("2.500")]),
    "texts with a point": ([1.125, "2.5"], "decimal128(18, 3)", [Decimal("1.125"), Decimal("2.500")]),
    "texts without a mark": ([1.125, "500"], "decimal128(18, 4)", [Decimal("1.125"), Decimal(500)]),
    "negative": ([-1.125, "500"], "decimal128(18, 4)", [Decimal("-1.125"), Decimal(500)]),
    "numbers that need no zero": (
        [1.125, 0.5, "500"],
        "decimal128(18, 3)",
        [Decimal("1.125"), Decimal("0.5"), Decimal(500)],
    ),
    "whole numbers": ([1234, "2,5"], "decimal128(18, 1)", [Decimal(1234), Decimal("2.5")]),
    "thousands separators": ([1.5, "1.234,50"], "decimal128(18, 2)", [Decimal("1.5"), Decimal("1234.5")]),
    "texts with either mark": ([2.5, "1.234"], "string", ["2.5", "1.234"]),
    "texts with both marks": ([1.125, "2,5", "2.5"], "string", ["1.125", "2,5", "2.5"]),
    "keys": ([1.125, "01067"], "string", ["1.125", "01067"]),
    "other texts": ([1.125, "k.A.", "2,5"], "string", ["1.125", "k.A.", "2,5"]),
    "dates": ([1.125, dt.date(2026, 12, 31), "500"], "string", ["1.125", "2026-12-31", "500"]),
    "tiny numbers": ([1e-300, "1,5"], "double", [1e-300, 1.5]),
}


@pytest.mark.parametrize(("cells", "sql_type", "expected"), MIXED.values(), ids=MIXED)
@pytest.mark.parametrize("other", ["1,5", "1.5"])
def test_numbers_and_texts(cells, sql_type, expected, other):
    """A number in a cell is never read with another decimal mark, whichever the texts and other columns have."""
    rows = [["v", "w"], *([cell, other] for cell in cells)]
    assert values(workbook(A=rows)) == (sql_type, expected)


def test_numbers_and_texts_in_ods():
    """Open formats are treated alike."""
    ods = named((WORKBOOKS / "haushalt.ods").read_bytes(), "x.ods")
    text = (
        'office:value-type="float" office:value="12"/>',
        'office:value-type="string"><text:p>2,5</text:p></table:table-cell>',
    )
    types, rows = converted(replaced(ods, "content.xml", ('office:value="1234.5"', 'office:value="1.234"'), text))
    assert (types["Betrag"], [row["Betrag"] for row in rows]) == (
        "decimal128(18, 3)",
        [Decimal("1.234"), Decimal("2.500")],
    )


@pytest.mark.parametrize("separator", [",", "."])
def test_numbers_with_a_separator(separator):
    """The option is for texts only."""
    found = values(column(1.125, "500", f"0{separator}5"), {"decimal_separator": separator})
    assert found == ("decimal128(18, 3)", [Decimal("1.125"), Decimal(500), Decimal("0.5")])
    whole = Decimal("1.234" if separator == "." else 1234)
    assert values(column(2.5, "1.234"), {"decimal_separator": separator})[1] == [Decimal("2.5"), whole]


# Declared type -> the value of a cell with 1.125 beside a text; None if it does not fit.
DECLARED = {
    "DECIMAL(12,2)": None,
    "DECIMAL(12,3)": Decimal("1.125"),
    "DECIMAL(12,4)": Decimal("1.125"),
    "DECIMAL(4,3)": Decimal("1.125"),
    "DECIMAL(7,3)": Decimal("1.125"),
    "DOUBLE": 1.125,
    "BIGINT": None,
    "TINYINT": None,
    "VARCHAR": "1.125",
}


@pytest.mark.parametrize(("sql_type", "expected"), DECLARED.items())
def test_declared_numbers_and_texts(sql_type, expected):
    """A number in a cell does not become another one to fit a declared type."""
    arguments = column(1.125, "2"), {"columns": {"v": sql_type}}
    if expected is None:
        with pytest.raises(PolyteiaDataError, match="row 2, column 'v': a number with a decimal point does not fit"):
            converted(*arguments)
    else:
        assert values(*arguments)[1][0] == expected


def test_ambiguous_texts(caplog):
    """Texts that are numbers with either mark are not read with that of the cells' numbers."""
    values(column(2.5, "1.234"))
    assert "Column 'v' of 'x.xlsx' becomes text: some of its numbers are stored as text" in caplog.text
    with pytest.raises(PolyteiaDataError, match=r"Column 'v' of 'x\.xlsx': some of .* Set 'decimal_separator' in"):
        converted(column(2.5, "1.234"), {"columns": {"v": "DECIMAL(12,2)"}})


def test_numbers_as_text():
    """Numbers in a column that is text are written without point or exponent if they have no decimal places."""
    expected = "string", ["12", "2.5", f"1{'0' * 20}", "0"]
    numbers = column(12, 2.5, 1e20, -0.0)
    assert values(numbers, {"columns": {"v": "TEXT"}}) == expected
    assert values(numbers, previous={"v": "string"}) == expected


@pytest.mark.parametrize("num_format", ["00000", "[$-407]00000", "00000;@"])
def test_leading_zeros(num_format):
    """Numbers that Excel displays with leading zeros keep them."""
    content = postal_codes(num_format, [1067, 10115, None, 0]).getvalue()
    assert converted(named(content, "x.xlsx")) == (
        {"PLZ": "string", "n": "int64"},
        [
            {"PLZ": "01067", "n": 1067},
            {"PLZ": "10115", "n": 10115},
            {"PLZ": "00000", "n": 0},
        ],
    )
    for sql_type, plz in (("VARCHAR", "01067"), ("INTEGER", 1067)):
        assert converted(named(content, "x.xlsx"), {"columns": {"PLZ": sql_type}})[1][0] == {"PLZ": plz, "n": 1067}


@pytest.mark.parametrize("num_format", ["0", "0.00", "#,##0", "00.00", "00000"])
def test_no_leading_zeros(num_format):
    """Other formats, and numbers that are longer or not whole, change nothing."""
    assert converted(postal_codes(num_format, [123456, 1.5, -3]))[0] == {"PLZ": "double", "n": "double"}


def test_cells_without_references():
    """The cells of a sheet need no references, and its elements may have a prefix."""
    plz = postal_codes("00000", [1067])
    changes = [(f' r="{place}"', "") for place in ("A1", "B1", "A2", "B2")]
    assert converted(replaced(plz, SHEET, *changes))[1] == [{"PLZ": "01067", "n": 1067}]
    prefixed = [
        ("<c ", "<x:c "),
        ("</c>", "</x:c>"),
        ("<v>", "<x:v>"),
        ("</v>", "</x:v>"),
        (" xmlns=", ' xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns='),
    ]
    assert converted(replaced(plz, SHEET, *prefixed))[1] == [{"PLZ": "01067", "n": 1067}]


@pytest.mark.parametrize("end", ["<v></v>", "<v/>", ""])
def test_formulas(end):
    """Formulas count with their values; without them, they would become NULL."""
    saved = workbook(Daten=[["a", "v"], [1, "=A2*2"]])
    assert values(saved) == ("int64", [0])
    with pytest.raises(
        PolyteiaDataError, match=r"sheet 'Daten' has formulas without saved values \(1, the first in row 2"
    ):
        converted(replaced(saved, SHEET, ("</f><v>0</v>", f"</f>{end}")))
    text = replaced(saved, SHEET, ('<c r="B2"><f>', '<c r="B2" t="str"><f>'), ("</f><v>0</v>", f"</f>{end}"))
    assert values(text) == ("string", [None])


def test_formulas_above_the_table():
    """Formulas in rows that are skipped do not count."""
    titled = replaced(workbook(A=[["=1+1"], ["v"], [1]]), SHEET, ("</f><v>0</v>", "</f><v></v>"))
    assert values(titled, {"skip": 1}) == ("int64", [1])


def test_errors(caplog):
    """A row of errors stays, and the log counts them."""
    rows = [["a", "v"], [1, "=NA()"], ["=NA()", "=NA()"], [2, 5]]
    broken = replaced(
        workbook(Daten=rows),
        SHEET,
        ("</f><v>0</v>", "</f><v>#N/A</v>"),
        *((f'r="{c}"><f', f'r="{c}" t="e"><f') for c in ("B2", "A3", "B3")),
    )
    assert converted(broken)[1] == [{"a": 1, "v": None}, {"a": None, "v": None}, {"a": 2, "v": 5}]
    assert "errors such as #N/A become NULL in sheet 'Daten' of 'x.xlsx', by column: 'a' (1), 'v' (2)" in caplog.text


@pytest.mark.parametrize("number", ["NaN", "inf", "-INF", "1E400"])
def test_numbers_that_are_not_finite(number):
    """NaN and infinite numbers are rejected, with their place and without a value."""
    file = workbook(Daten=[["a", "v"], [1, 5], [2, 77.5]])
    place = "^'x.xlsx', sheet 'Daten', row 3, column 'v': the cell contains a number that is not finite"
    with pytest.raises(PolyteiaDataError, match=place) as rejected:
        converted(replaced(file, SHEET, ("<v>77.5</v>", f"<v>{number}</v>")))
    assert number not in str(rejected.value)
    with pytest.raises(PolyteiaDataError, match="row 1, column 2: the cell"):
        converted(replaced(workbook(A=[["a", 77.5], [1, 2]]), SHEET, ("<v>77.5</v>", f"<v>{number}</v>")))


def test_sheets():
    """A sheet is chosen by its name or number."""
    two = {"Deckblatt": [["Bericht"]], "Daten": [["a", "b"], [1, "x"]]}
    assert converted(workbook(**two), {"sheet": "Daten"})[1] == [{"a": 1, "b": "x"}]
    assert converted(workbook(**two), {"sheet": 1})[1] == [{"a": 1, "b": "x"}]
    for sheet in ("daten", 2):
        with pytest.raises(PolyteiaDataError, match=f"without a sheet {sheet!r}; it has 'Deckblatt', 'Daten'"):
            converted(workbook(**two), {"sheet": sheet})


def test_sheets_that_users_do_not_see():
    """Hidden sheets and charts need no choice, but a hidden sheet can be chosen."""
    with xlsxwriter.Workbook(content := io.BytesIO()) as book:
        for name in ("Codes", "Daten", "Listen"):
            book.add_worksheet(name).write_column(0, 0, ["v", name])
        book.worksheets()[0].hide()
        book.worksheets()[1].activate()
        book.worksheets()[1].set_first_sheet()
        book.worksheets()[2].very_hidden()
        chart = book.add_chart({"type": "line"})
        chart.add_series({"values": "=Daten!$A$1:$A$2"})
        book.add_chartsheet("Diagramm").set_chart(chart)
    file = named(content.getvalue(), "x.xlsx")
    assert values(file) == ("string", ["Daten"])
    assert values(file, {"sheet": "Codes"}) == ("string", ["Codes"])
    assert values(file, {"sheet": 2}) == ("string", ["Listen"])


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
    with pytest.raises(PolyteiaDataError, match="row 2, column 'a': a string of 4 characters does not fit"):
        converted(workbook(A=rows), {"columns": {"a": "INTEGER"}})


def test_sticky_types():
    """A type that holds tonight's cells is kept."""
    types, _ = converted(workbook(A=[["a", "b"], [1, "2"]]), previous={"a": "double", "b": "string"})
    assert types == {"a": "double", "b": "string"}


@pytest.mark.parametrize(("kind", "number"), [(dt.date, -1e300), (dt.timedelta, 1e300)])
def test_dates_that_are_too_large(kind, number):
    """Dates and durations that Python does not have are rejected without their values."""
    cell = {dt.date: dt.date(2026, 1, 1), dt.timedelta: dt.timedelta(days=46023)}[kind]
    file = replaced(workbook(Daten=[["v"], [cell]]), SHEET, ("<v>46023</v>", f"<v>{number}</v>"))
    with pytest.raises(PolyteiaDataError, match="sheet 'Daten' has dates or durations that are too large") as rejected:
        converted(file)
    assert rejected.value.__cause__ is None


REJECTED = {
    "an HTML page, not a workbook": (b"<table><tr><td>1", "x.xls"),
    "not a workbook": (b"a,b\n1,2\n", "x.xlsx"),
    "empty": (b"", "x.xlsx"),
    "a workbook whose sheet is empty": (workbook(A=[[]]).getvalue(), "x.xlsx"),
    "a workbook that is incomplete or damaged": (workbook(A=[["a"]]).getvalue()[:-200], "x.xlsx"),
}


@pytest.mark.parametrize("why", REJECTED)
def test_refused(why):
    """Anything but a complete workbook is rejected."""
    with pytest.raises(PolyteiaDataError, match=why):
        converted(named(*REJECTED[why]))
