"""The types of text columns: all values decide."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError

# Values of a column -> its type and what they become.
INFERRED = {
    "integers": (["1", "-2", "0"], "int64", [1, -2, 0]),
    "integers of 18 digits": (["9" * 18], "int64", [10**18 - 1]),
    "more than 18 digits": (["9" * 19, "1"], "decimal128(38, 0)", [Decimal("9" * 19), Decimal(1)]),
    "more than 38 digits": (["9" * 39], "string", ["9" * 39]),
    "leading zeros": (["10115", "01067"], "string", ["10115", "01067"]),
    "a telephone number": (["+49301234"], "string", ["+49301234"]),
    "decimal points": (["1.5", "2.25", "3"], "decimal128(18, 2)", [Decimal("1.50"), Decimal("2.25"), Decimal("3.00")]),
    "decimal commas": (["1,5", "-,25"], "decimal128(18, 2)", [Decimal("1.50"), Decimal("-0.25")]),
    "thousands points": (["1.234,5", "12.345.678"], "decimal128(18, 1)", [Decimal("1234.5"), Decimal(12345678)]),
    "thousands commas": (["1,234.5", "12,345,678"], "decimal128(18, 1)", [Decimal("1234.5"), Decimal(12345678)]),
    "two thousands points": (["1.234.567", "1.234"], "int64", [1234567, 1234]),
    "many decimal places": (["1.12345678901234567"], "decimal128(18, 17)", [Decimal("1.12345678901234567")]),
    "a sign behind": (["5,00-", "1,00"], "decimal128(18, 2)", [Decimal("-5.00"), Decimal("1.00")]),
    "a sign behind an integer": (["5-", "1"], "string", ["5-", "1"]),
    "exponents": (["1.5E+3", "2.5"], "double", [1500.0, 2.5]),
    "an exponent without decimal places": (["1E5"], "string", ["1E5"]),
    "hexadecimal numbers": (["0x1F"], "string", ["0x1F"]),
    "underscores": (["1_000"], "string", ["1_000"]),
    "not a number": (["nan", "1.5"], "string", ["nan", "1.5"]),
    "wrong groups": (["1.23.456"], "string", ["1.23.456"]),
    "numbers with spaces around": ([" 1", "2 "], "int64", [1, 2]),
    "texts with spaces around": ([" a", "b "], "string", [" a", "b "]),
    "booleans": (["ja", "Nein", "JA"], "bool", [True, False, True]),
    "English booleans": (["true", "False"], "bool", [True, False]),
    "a mixture of booleans and texts": (["ja", "vielleicht"], "string", ["ja", "vielleicht"]),
    "ISO dates": (["2026-12-31"], "date32[day]", [dt.date(2026, 12, 31)]),
    "German dates": (["31.12.2026", "1.2.2026"], "date32[day]", [dt.date(2026, 12, 31), dt.date(2026, 2, 1)]),
    "days that do not exist": (["31.02.2026"], "string", ["31.02.2026"]),
    "years of two digits": (["31.12.26"], "string", ["31.12.26"]),
    "both kinds of dates": (["31.12.2026", "2026-12-31"], "string", ["31.12.2026", "2026-12-31"]),
    "infinite dates": (["infinity", "2026-01-01"], "string", ["infinity", "2026-01-01"]),
    "timestamps": (
        ["2026-12-31 10:00:00", "2026-12-31T10:00", "2026-12-31", "2026-12-31 10:00:00.5"],
        "timestamp[us]",
        [
            dt.datetime(2026, 12, 31, 10),
            dt.datetime(2026, 12, 31, 10),
            dt.datetime(2026, 12, 31),
            dt.datetime(2026, 12, 31, 10, 0, 0, 500_000),
        ],
    ),
    "German timestamps": (
        ["31.12.2026 10:05", "31.12.2026 10:05:06", "31.12.2026"],
        "timestamp[us]",
        [dt.datetime(2026, 12, 31, 10, 5), dt.datetime(2026, 12, 31, 10, 5, 6), dt.datetime(2026, 12, 31)],
    ),
    "timestamps with offsets": (
        ["2026-12-31T10:00:00Z", "2026-12-31 10:00+02:00"],
        "timestamp[us, tz=UTC]",
        [dt.datetime(2026, 12, 31, 10, tzinfo=dt.UTC), dt.datetime(2026, 12, 31, 8, tzinfo=dt.UTC)],
    ),
    "times": (["7:30", "23:59:59"], "time64[us]", [dt.time(7, 30), dt.time(23, 59, 59)]),
    "hours beyond a day": (["36:00"], "string", ["36:00"]),
    "nothing": (["", ""], "string", [None, None]),
    "gaps": (["1", "", " "], "int64", [1, None, None]),
}


def column(values):
    return "id;v\n" + "".join(f"{number};{value}\n" for number, value in enumerate(values))


@pytest.mark.parametrize(("values", "sql_type", "expected"), INFERRED.values(), ids=INFERRED)
def test_inferred(convert, values, sql_type, expected):
    """The type is the one that all values agree with; whatever looks like an identifier stays text."""
    types, rows = convert(column(values))
    assert (types["v"], [row["v"] for row in rows]) == (sql_type, expected)


def test_inferred_at_the_end(convert):
    """It is the same if the values come after many rows without any: the whole file decides, not a sample."""
    columns = [values + [""] * (4 - len(values)) for values, *_ in INFERRED.values()]
    blank = ";" * (len(INFERRED) - 1)
    header = ";".join(name.replace(" ", "_") for name in INFERRED)
    types, found = convert("\n".join([header, *[blank] * 5_100, *map(";".join, zip(*columns, strict=True))]))
    for (values, sql_type, expected), name in zip(INFERRED.values(), types, strict=True):
        assert (name, types[name]) == (name, sql_type)
        assert [row[name] for row in found[5_100 : 5_100 + len(values)]] == expected


def test_leading_zero_in_row_60001(convert):
    """One leading zero far behind the sample makes a column text."""
    types, rows = convert(column(["10115"] * 60_000 + ["01067"]))
    assert types["v"] == "string"
    assert (rows[0]["v"], rows[-1]["v"]) == ("10115", "01067")


@pytest.mark.parametrize(
    ("last", "sql_type"),
    [("1.25", "decimal128(18, 2)"), ("9" * 19, "decimal128(38, 0)"), ("x", "string"), ("1.5E-3", "double")],
)
def test_wider_type_behind_the_sample(convert, last, sql_type):
    """A value that the type of the sample does not hold changes the type, and no value is rounded."""
    types, rows = convert(column(["1"] * 6_000 + [last]))
    assert types["v"] == sql_type
    assert Decimal(str(rows[-1]["v"])) == Decimal(last) if sql_type != "string" else rows[-1]["v"] == last


def test_ambiguous_numbers(convert, caplog):
    """What is 1234 in Germany and 1.234 elsewhere stays text, unless something else in the file decides."""
    types, rows = convert("a;b\n1.234;x\n5.678;y\n")
    assert (types["a"], rows[0]["a"]) == ("string", "1.234")
    assert "Set 'decimal_separator'" in caplog.text
    assert convert("a;b\n1.234;1,5\n")[1] == [{"a": 1234, "b": Decimal("1.5")}]
    assert convert("a;b\n1.234;1.50\n")[1] == [{"a": Decimal("1.234"), "b": Decimal("1.50")}]
    assert convert("a;b\n1.234;x\n", {"decimal_separator": ","})[1] == [{"a": 1234, "b": "x"}]
    assert convert("a;b\n1.234;x\n", {"decimal_separator": "."})[1] == [{"a": Decimal("1.234"), "b": "x"}]


@pytest.mark.parametrize("previous", ["", "int64", "decimal128(18, 3)"])
def test_ambiguous_numbers_behind_the_sample(convert, previous, caplog):
    """A mark behind the sample counts: if nothing says what it means, the column is text."""
    types, rows = convert(column(["1"] * 6_000 + ["1,234"]), previous={"v": previous})
    assert (types["v"], rows[-1]["v"]) == ("string", "1,234")
    assert "Set 'decimal_separator'" in caplog.text
    types, rows = convert(column(["1"] * 6_000 + ["1,234", "0,5"]), previous={"v": previous})
    assert (types["v"], rows[-2]["v"]) == ("decimal128(18, 3)", Decimal("1.234"))


def test_contradictory_numbers(convert):
    """Columns with points and columns with commas decide nothing for a third one."""
    assert convert("a;b;c\n1.234;1,5;1.5\n")[0] == {
        "a": "string",
        "b": "decimal128(18, 1)",
        "c": "decimal128(18, 1)",
    }


DECLARED = {
    "text": ("VARCHAR", ["1", "2"], "string", ["1", "2"]),
    "decimal": ("DECIMAL(12,2)", ["1.234,5"], "decimal128(12, 2)", [Decimal("1234.50")]),
    "leading zeros": ("INTEGER", ["007", "+1"], "int32", [7, 1]),
    "double": ("DOUBLE", ["1,5", "2"], "double", [1.5, 2.0]),
    "date": ("DATE", ["31.12.2026"], "date32[day]", [dt.date(2026, 12, 31)]),
    "timestamp": ("TIMESTAMP", ["2026-12-31", ""], "timestamp[us]", [dt.datetime(2026, 12, 31), None]),
    "boolean": ("BOOLEAN", ["ja"], "bool", [True]),
    "without values": ("DATE", [""], "date32[day]", [None]),
    "an alias": ("numeric(9, 3)", ["1,5"], "decimal128(9, 3)", [Decimal("1.500")]),
}


@pytest.mark.parametrize(("declared", "values", "sql_type", "expected"), DECLARED.values(), ids=DECLARED)
def test_declared(convert, declared, values, sql_type, expected):
    """A declared type is the type, also of values that would be text or another type."""
    types, rows = convert(column(values), {"columns": {"v": declared}})
    assert (types["v"], [row["v"] for row in rows]) == (sql_type, expected)


UNFIT = {
    "text": ("DATE", ["2026-12-31", "Müller"], "line 3, column 'v': a string of 6 characters"),
    "behind the sample": ("DATE", ["2026-12-31"] * 6_000 + ["x"], "line 6002, column 'v': a string of 1 character "),
    "decimal places": ("DECIMAL(12,1)", ["1,5", "1,25"], "line 3, column 'v': a number with a decimal comma"),
    "too large": ("TINYINT", ["1", "300"], "line 3, column 'v': a whole number"),
    "a German date": ("INTEGER", ["31.12.2026"], "line 2, column 'v': a German date"),
    "a line break before": ("INTEGER", ['"x\ny"'], "line 2, column 'v': a string of 3 characters"),
    "both kinds of dates": ("DATE", ["2026-12-31", "31.12.2026"], "several lines, column 'v'"),
}


@pytest.mark.parametrize(("declared", "values", "why"), UNFIT.values(), ids=UNFIT)
def test_unfit(convert, declared, values, why):
    """A value that does not fit fails the load; the exception names the line and the kind of value, not the value."""
    with pytest.raises(PolyteiaDataError) as rejected:
        convert(column(values), {"columns": {"v": declared}})
    assert f"'x.csv', {why}" in str(rejected.value)
    assert f"does not fit the type {declared}" in str(rejected.value)
    assert "Müller" not in str(rejected.value)


def test_declared_columns_must_exist(convert):
    """A declared column that is missing fails the load, and so does a type that does not exist."""
    with pytest.raises(PolyteiaDataError, match="has no column 'w', which 'columns'"):
        convert(column(["1"]), {"columns": {"w": "DATE"}})
    with pytest.raises(PolyteiaConfigurationError, match="gives 'v' the type 'DATUM', which DuckDB does not know"):
        convert(column(["1"]), {"columns": {"v": "DATUM"}})


def test_declared_ambiguous(convert):
    """A declared number that means two things needs `decimal_separator`."""
    for declared in ("DOUBLE", "DECIMAL(9,2)", "DECIMAL(9,3)"):
        with pytest.raises(PolyteiaDataError, match="Set 'decimal_separator'"):
            convert(column(["1.234"]), {"columns": {"v": declared}})
    assert convert(column(["1.234"]), {"columns": {"v": "INTEGER"}})[1][0]["v"] == 1234
    declared = {"columns": {"v": "DECIMAL(9,2)"}}
    assert convert(column(["1.234", "0,50"]), declared)[1][0]["v"] == Decimal("1234.00")
    assert convert("v;w\n1.234;0,5\n", declared)[1][0]["v"] == Decimal("1234.00")


def test_formats(convert):
    """`dateformat` and `timestampformat` decide about dates, `nullstr` about missing values."""
    options = {"dateformat": "%d/%m/%y", "timestampformat": "%Y%m%d%H%M", "nullstr": ["k.A.", "-"]}
    assert convert("d;t;n\n31/12/26;202612311005;1\nk.A.;-;-\n", options) == (
        {"d": "date32[day]", "t": "int64", "n": "int64"},
        [{"d": dt.date(2026, 12, 31), "t": 202612311005, "n": 1}, {"d": None, "t": None, "n": None}],
    )
    declared = {**options, "columns": {"t": "TIMESTAMP"}}
    assert convert("t;n\n202612311005;1\n", declared)[1] == [{"t": dt.datetime(2026, 12, 31, 10, 5), "n": 1}]


# Type at the last load, tonight's values -> tonight's type.
STICKY = {
    "fewer decimal places": ("decimal128(18, 2)", ["1"], "decimal128(18, 2)"),
    "more decimal places": ("decimal128(18, 2)", ["1.1255"], "decimal128(18, 4)"),
    "dates among timestamps": ("timestamp[us]", ["2026-12-31"], "timestamp[us]"),
    "German dates among timestamps": ("timestamp[us]", ["31.12.2026"], "timestamp[us]"),
    "numbers among texts": ("string", ["1"], "string"),
    "integers among floats": ("double", ["1"], "double"),
    "nothing": ("date32[day]", [""], "date32[day]"),
    "leading zeros": ("int64", ["01067"], "string"),
    "text": ("date32[day]", ["x"], "string"),
    "text behind the sample": ("int64", ["1"] * 6_000 + ["x"], "string"),
    "a type that is not known": ("list<int64>", ["1"], "int64"),
}


@pytest.mark.parametrize(("previous", "values", "expected"), STICKY.values(), ids=STICKY)
def test_sticky(convert, previous, values, expected):
    """The type of the last load is kept as long as all values fit it."""
    types, _ = convert(column(values), previous={"v": previous, "gone": "int64"})
    assert types["v"] == expected


def test_sticky_types_of_ambiguous_numbers(convert):
    """Where the meaning of numbers is not clear, the last type does not decide: 1.234 could be 1234."""
    types, rows = convert(column(["1.234"]), previous={"v": "decimal128(18, 3)"})
    assert (types["v"], rows[0]["v"]) == ("string", "1.234")
