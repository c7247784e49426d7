"""No value is changed silently: by a declared type, the type of the last load, or an inferred one."""

from __future__ import annotations

import datetime as dt
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conversions import converted, named

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError

pytestmark = pytest.mark.slow  # many conversions


def csv(*values):
    return named(("id;v\n" + "".join(f"{number};{value}\n" for number, value in enumerate(values))).encode(), "x.csv")


def parquet(*values, arrow_type=None):
    file = io.BytesIO()
    pq.write_table(pa.table({"v": pa.array(values, arrow_type)}), file)
    return named(file.getvalue(), "x.parquet")


def value_of(source, *, previous="", declared=""):
    """The type of the column `v`, and its last value."""
    options = {"columns": {"v": declared}} if declared else True
    types, rows = converted(source, options, previous={"v": previous})
    return types["v"], rows[-1]["v"]


LONG = 9007199254740993  # which a floating-point number does not hold

# Type at the last load, tonight's values -> tonight's type and the last value.
STICKY = {
    "beyond 64 bits": ("int64", csv("1", "9223372036854775808"), "decimal128(38, 0)", Decimal(9223372036854775808)),
    "beyond 32 bits": ("int32", csv("9999999999"), "int64", 9999999999),
    "within 32 bits": ("int32", csv("999999999"), "int32", 999999999),
    "an integer that would be rounded": ("double", csv("1", str(LONG)), "int64", LONG),
    "decimal places that would be rounded": (
        "double",
        csv("0,12345678901234567890"),
        "decimal128(38, 20)",
        Decimal("0.12345678901234567890"),
    ),
    "behind the sample": ("double", csv(*["1.5"] * 6_000, str(LONG)), "decimal128(18, 1)", Decimal(LONG)),
    "an integer that is too large": ("decimal128(5, 2)", parquet(1, 123456), "int64", 123456),
    "an integer that fits": ("decimal128(9, 2)", parquet(1, 123456), "decimal128(9, 2)", Decimal("123456.00")),
    "an integer as a float": ("double", parquet(1, 2), "double", 2.0),
    "a large integer as a float": ("double", parquet(1, LONG), "int64", LONG),
    "a long decimal as a float": (
        "double",
        parquet(Decimal("1234567890123456789.12")),
        "decimal128(21, 2)",
        Decimal("1234567890123456789.12"),
    ),
    "another night of a calculation": ("double", csv("0.30000000000000004", "0.5"), "double", 0.5),
    "no value in a type of its own": ("int64", parquet(None, arrow_type=pa.null()), "int64", None),
    "no value in JSON": ("bool", named(b'[{"v":null}]', "x.json"), "bool", None),
    "no value in CSV": ("timestamp[us, tz=UTC]", csv(""), "timestamp[us, tz=UTC]", None),
    "coordinates beside German prices": (
        "decimal128(18, 6)",
        named(b"preis;v\n1,50;52.123\n", "x.csv"),
        "string",
        "52.123",
    ),
    "amounts beside German prices": (
        "decimal128(18, 2)",
        named(b"preis;v\n1,50;52.123\n", "x.csv"),
        "decimal128(18, 2)",
        Decimal("52123.00"),
    ),
    "a day as a timestamp": ("timestamp[us]", parquet(dt.date(2026, 1, 2)), "timestamp[us]", dt.datetime(2026, 1, 2)),
}


@pytest.mark.parametrize(("previous", "source", "sql_type", "value"), STICKY.values(), ids=STICKY)
def test_sticky(previous, source, sql_type, value):
    """The type of the last load is kept only if it holds tonight's values as they are."""
    assert value_of(source, previous=previous) == (sql_type, value)


INFERRED = {
    "an integer among exponents": (["1.5E+3", "1234567890123456789"], "string"),
    "an exponent that is too large": (["1.0E+400"], "string"),
    "an exponent that is too small": (["1.5E-400"], "string"),
    "results of calculations": (["1.2e-05", "0.30000000000000004", "3.5"], "double"),
    "results of calculations without exponents": (["0.30000000000000004", "-12.5"], "double"),
    "results of calculations in another form": (["0.10000000000000001"], "double"),
    "decimal places that floats do not hold": (["0.123456789012345678", "1"], "decimal128(38, 18)"),
    "exponents of programs": (["1e-05", "1E+06", "12.5E-05", "3"], "double"),
    "zero with an exponent": (["0.0E+00"], "double"),
    "the largest floating-point numbers": (["1.7E+308", "2.3E-308"], "double"),
    "an integer among exponents behind the sample": (["1.5E+3"] * 6_000 + [str(LONG)], "string"),
    "the year 0": (["0000-01-01"], "string"),
    "the German year 0": (["01.01.0000"], "string"),
    "the year 1": (["0001-01-01", "0010-01-01", "0200-01-01", "3000-01-01"], "date32[day]"),
    "an offset of more than 14 hours": (["2026-12-31T10:00:00+25:00"], "string"),
    "an offset of 14 hours": (["2026-12-31T10:00:00+14:00"], "timestamp[us, tz=UTC]"),
    "very long text": (["1" * 50_000], "string"),
}


@pytest.mark.parametrize(("values", "sql_type"), INFERRED.values(), ids=INFERRED)
def test_inferred(values, sql_type):
    """A type is inferred only if it holds all values."""
    found, value = value_of(csv(*values))
    assert found == sql_type
    assert sql_type != "string" or value == values[-1]


HELD = {
    "an exponent": (csv("1E5"), "DOUBLE", 100000.0),
    "leading zeros": (csv("00000012345"), "INTEGER", 12345),
    "leading zeros of a long number": (csv("00001234567890123456"), "BIGINT", 1234567890123456),
    "leading zeros of a decimal": (csv("000123,45"), "DECIMAL(5,2)", Decimal("123.45")),
    "approximate numbers": (csv(str(LONG)), "DOUBLE", float(LONG)),
    "rounding of a calculation": (parquet(0.1 + 0.2), "DECIMAL(12,2)", Decimal("0.30")),
    "a whole number": (parquet(3.0), "INTEGER", 3),
    "a timestamp at midnight": (parquet(dt.datetime(2026, 1, 2)), "DATE", dt.date(2026, 1, 2)),
    "0 and 1": (parquet(0, 1), "BOOLEAN", True),
    "a text with an integer": (parquet("0012"), "INTEGER", 12),
    "nothing": (parquet(None, arrow_type=pa.float64()), "DECIMAL(12,2)", None),
}


@pytest.mark.parametrize(("source", "declared", "value"), HELD.values(), ids=HELD)
def test_declared(source, declared, value):
    """A declared type holds the same value, at most without the rounding of a calculation before."""
    assert value_of(source, declared=declared)[1] == value


REJECTED = {
    "decimal places": (parquet(1.0, 1.255), "DECIMAL(12,2)"),
    "decimal places of a decimal": (parquet(Decimal("1.255")), "DECIMAL(12,2)"),
    "decimal places of a text": (parquet("1.2555"), "DECIMAL(12,2)"),
    "decimal places of JSON": (named(b'[{"v":1.255}]', "x.json"), "DECIMAL(12,2)"),
    "a rounded integer": (parquet(1.5), "INTEGER"),
    "a rounded text": (parquet("1.5"), "INTEGER"),
    "a number that is not a boolean": (parquet(0, 5), "BOOLEAN"),
    "a time that is lost": (parquet(dt.datetime(2026, 1, 2, 10)), "DATE"),
    "a day that is lost": (parquet(dt.datetime(2026, 1, 2, 10)), "TIME"),
    "an offset that is lost": (parquet("2026-01-01T10:00:00+02:00"), "TIMESTAMP"),
    "an underscore": (parquet("1_000"), "DOUBLE"),
    "not a number": (parquet("nan"), "DOUBLE"),
    "an infinite date": (parquet("infinity"), "DATE"),
    "nanoseconds": (parquet(1_700_000_000_000_000_001, arrow_type=pa.timestamp("ns")), "TIMESTAMP"),
    "an exponent that is too large": (csv("1.0E+400"), "DOUBLE"),
    "NaN": (parquet(float("nan")), "DECIMAL(12,2)"),
}


@pytest.mark.parametrize(("source", "declared"), REJECTED.values(), ids=REJECTED)
def test_refused(source, declared):
    """A value that the declared type would change is rejected; the exception names the column and not the value."""
    with pytest.raises(PolyteiaDataError, match=f"column 'v'.* does not fit the type {declared[:7]}") as rejected:
        value_of(source, declared=declared)
    assert "255" not in str(rejected.value)


@pytest.mark.parametrize("declared", ["HUGEINT", "UBIGINT", "TIMESTAMP_S", "UUID", "INTEGER[]", "STRUCT(a INTEGER)"])
def test_types_that_parquet_does_not_have(declared):
    """A type that would be stored as another one cannot be declared."""
    with pytest.raises(PolyteiaConfigurationError, match=r"which cannot be declared. Use one of VARCHAR, BOOLEAN"):
        value_of(csv("1"), declared=declared)


def test_words_are_not_dates():
    """With `dateformat`, words that DuckDB reads as dates are texts."""
    for word in ("infinity", "-Infinity", "epoch"):
        types, rows = converted(csv("31.12.2026", word), {"dateformat": "%d.%m.%Y"})
        assert (types["v"], rows[-1]["v"]) == ("string", word)


def test_format_with_offset():
    """A format with an offset gives timestamps in UTC."""
    options = {"timestampformat": "%Y-%m-%d %H:%M %z"}
    types, rows = converted(csv("2026-12-31 10:00 +0100"), options)
    assert (types["v"], rows[0]["v"]) == ("timestamp[us, tz=UTC]", dt.datetime(2026, 12, 31, 9, tzinfo=dt.UTC))


def test_other_columns_decide(caplog):
    """Where other columns decide what points mean, the log says so, because it may be wrong."""
    places = b"name;lat;preis\nA;52.123;1,50\n"
    assert converted(named(places, "x.csv"))[1][0]["lat"] == 52123
    assert "numbers in column 'lat' of 'x.csv' are read with the decimal separator of column 'preis'" in caplog.text
    caplog.clear()
    converted(named(places, "x.csv"), {"decimal_separator": ","})
    assert "decimal separator" not in caplog.text


def test_declared_against_other_columns():
    """A declared type does not turn 1.234 into 1234 if the other columns have decimal points."""
    english = b"a;b\n1.234;1.50\n2.500;2.25\n"
    for declared in ("INTEGER", "DECIMAL(12,2)"):
        with pytest.raises(PolyteiaDataError, match="Set 'decimal_separator'"):
            converted(named(english, "x.csv"), {"columns": {"a": declared}})


def test_columns_of_any_name():
    """The exception for an unfit value does not depend on the names of the columns."""
    for source in (named(b"number;value\n1;x\n", "x.csv"), named(b"id;number\n1;x\n", "x.csv")):
        column = "value" if b"value" in source.getvalue() else "number"
        with pytest.raises(PolyteiaDataError, match=f"line 2, column '{column}': a string of 1 character"):
            converted(source, {"columns": {column: "INTEGER"}})


def test_no_value_as_a_name():
    """Without a header, the first record is taken for one: the exception does not contain it."""
    with pytest.raises(PolyteiaDataError, match=r"has no column 'Nme', .* it has 3 columns") as rejected:
        converted(named(b"1;Meier;Hans\n2;Kunz;Eva\n", "x.csv"), {"columns": {"Nme": "VARCHAR"}})
    assert "Meier" not in str(rejected.value)
    with pytest.raises(PolyteiaDataError, match="Did you mean 'Name'"):
        converted(named(b"id;Name\n1;x\n", "x.csv"), {"columns": {"Nme": "VARCHAR"}})


def test_sticky_types_of_json():
    """They hold for JSON in the same way."""
    source = named(json.dumps([{"v": 900719925474099}]).encode(), "x.json")
    assert value_of(source, previous="decimal128(9, 2)") == ("int64", 900719925474099)


def test_decimals_of_json_keep_their_digits():
    """Numbers of a column that is decimal, or of nested values, have all of their digits."""
    text = '[{"v":13.377700000000001,"n":[52.516275000000004]},{"v":13.37770000000000012345,"n":[1]}]'
    types, rows = converted(named(text.encode(), "x.json"))
    assert types == {"v": "decimal128(38, 20)", "n": "string"}
    assert rows == [
        {"v": Decimal("13.37770000000000100000"), "n": "[52.516275000000004]"},
        {"v": Decimal("13.37770000000000012345"), "n": "[1]"},
    ]
    two = '[{"v":13.377700000000001,"w":1},{"v":1.5,"w":12345678901234567890}]'
    types, rows = converted(named(two.encode(), "x.json"))
    assert (types["v"], [row["v"] for row in rows]) == ("double", [13.377700000000001, 1.5])


def test_formats_beside_iso_dates():
    """A format of dates does not change those of ISO 8601."""
    types, _ = converted(named(b"a;b\n31.12.2026;2026-12-31\n", "x.csv"), {"dateformat": "%d.%m.%Y"})
    assert types == {"a": "date32[day]", "b": "date32[day]"}


@pytest.mark.parametrize("option", ["dateformat", "timestampformat"])
def test_unknown_formats(option):
    """A format that does not exist is named."""
    with pytest.raises(PolyteiaConfigurationError, match=f"{option}' of the argument 'convert' is '%q'"):
        converted(csv("x"), {option: "%q"})
