"""Files as administrations deliver them: what a person would expect of them, from every kind of source."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from conversions import converted, named

from airflow_provider_polyteia.exceptions import PolyteiaDataError

CASES = Path(__file__).parents[2] / "fixtures" / "files"
GERMAN = (
    {
        "AGS": "string",
        "PLZ": "string",
        "Straße": "string",
        "Betrag": "decimal128(18, 2)",
        "Datum": "date32[day]",
        "Aktiv": "bool",
    },
    [
        ("14612000", "01067", "Müllerstraße 5", Decimal("1234.50"), dt.date(2026, 12, 31), True),
        ("01001000", "24937", "Große Gasse", Decimal("-0.99"), dt.date(2026, 2, 1), False),
        ("09162000", "80331", 'Am "Ring"; Hof', Decimal("12.00"), dt.date(2026, 6, 15), True),
    ],
)
TREE = '{{"type":"Point","coordinates":[56500{}.1,5930000.2]}}'
# File, options -> types and rows.
CONVERTED = {
    ("cp1252.csv", None): GERMAN,
    ("utf16.csv", None): GERMAN,
    ("utf8.csv", None): GERMAN,
    ("pipe_sap.csv", None): (
        {
            "Mandant": "int64",
            "Buchungskreis": "int64",
            "Betrag Hauswährung": "decimal128(18, 2)",
            "Währung": "string",
        },
        [(100, 1000, Decimal("-1234.56"), "EUR"), (100, 1000, Decimal("99.00"), "EUR")],
    ),
    ("preamble.csv", ("skip", 3)): (
        {"Stadtteil": "string", "Einwohner": "int64", "Anteil": "decimal128(18, 1)"},
        [
            ("Nord", 1234, Decimal("12.5")),
            ("Süd", 987, Decimal("10.1")),
            ("Summe", 2221, Decimal("22.6")),
            ("1) vorläufig", None, None),
        ],
    ),
    ("newline_quoted.csv", None): ({"id": "int64", "text": "string"}, [(1, "Zeile 1\nZeile 2"), (2, "x")]),
    ("baeume.geojson", None): (
        {"baumnr": "string", "art": "string", "höhe_m": "double", "gepflanzt": "string", "geometry": "string"},
        [(f"0000{n}", "Linde", 12.5, "01.04.1987", TREE.format(n)) for n in range(3)],
    ),
    ("w.json", ("records", "results")): ({"a": "int64"}, [(1,), (2,)]),
    ("l.json", None): ({"a": "int64", "p": "string"}, [(1, "01067"), (2, "24937")]),
    ("bom.json", None): ({"a": "string"}, [("ä",)]),
    ("lat.json", None): ({"a": "string"}, [("ä",)]),
    ("misc.parquet", None): (
        {
            "ls": "string",
            "d": "string",
            "st": "string",
            "m": "string",
            "dec": "decimal128(38, 2)",
            "nul": "string",
            "ns": "timestamp[us, tz=UTC]",
            "t": "time64[us]",
            "u": "decimal128(20, 0)",
            "f16": "float",
            "fsb": "binary",
        },
        [
            (
                "a",
                "x",
                '{"a":1,"b":[1,2]}',
                '{"k":1}',
                Decimal("1.50"),
                None,
                dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
                dt.time(0, 0, 1),
                Decimal(2**64 - 1),
                1.5,
                b"abcd",
            )
        ],
    ),
    ("pandas_index.parquet", None): (
        {
            "plz": "string",
            "n": "double",
            "t": "timestamp[us]",
            "c": "string",
            "__index_level_0__": "int64",
        },
        [
            ("01067", 1.0, dt.datetime(2026, 12, 31), "a", 5),
            ("24937", None, dt.datetime(1677, 9, 22), "b", 9),
        ],
    ),
    ("bericht.xlsx", ("sheet", "Daten"), ("skip", 2)): (
        {"AGS": "string", "m": "string", "w": "double"},
        [("01001000", "1", 2.0), ("14612000", "2026-12-31", 0.1)],
    ),
}
# File, options -> what the exception says.
REJECTED = {
    ("html.csv", None): "it is an HTML page",
    ("empty.csv", None): "it is empty (0 bytes)",
    ("err.json", None): "it is one JSON object, not a list",
    ("alt.xls", None): "it is an HTML page, not a workbook",
    ("preamble.csv", None): "whose table seems to begin in line 4. Set 'skip' in the argument 'convert' to 3",
    ("ragged.csv", None): "whose line 3 has 2 columns, not 3",
    ("trunc.csv", None): "whose line 4 has 3 columns, not 6",
    ("w.json", None): "Set 'records' in the argument 'convert' to the key of its list: 'results'",
    ("w.json", ("records", "rows")): "without a list 'rows'. Set 'records' in the argument 'convert' to the key of its",
    ("bericht.xlsx", None): "a workbook with 2 sheets: 'Deckblatt', 'Daten'. Set 'sheet'",
    (
        "bericht.xlsx",
        ("sheet", "Daten"),
    ): "whose table seems to begin in row 3. Set 'skip' in the argument 'convert' to 2",
    ("bericht.xlsx", ("sheet", "Tabelle1")): "a workbook without a sheet 'Tabelle1'; it has 'Deckblatt', 'Daten'",
    ("torn.parquet", None): "it is Parquet that cannot be read",
    ("trunc.parquet", None): "not a complete Parquet file: its end is missing",
    ("cp1252.csv", ("encoding", "utf-8")): "not in the encoding UTF-8 (line 1, character 13). Set 'encoding'",
}


def test_every_case_is_tested():
    """No file of the cases is forgotten."""
    assert {name for name, *_ in (*CONVERTED, *REJECTED)} == {path.name for path in CASES.iterdir()}


@pytest.fixture(params=["path", "object storage", "file object"])
def source_of(request):
    """Provides a file of the cases in each of the ways in which a task may have it."""

    def provide(name):
        if request.param == "path":
            return str(CASES / name)
        content = (CASES / name).read_bytes()
        if request.param == "file object":
            return named(content, name)
        stored = ObjectStoragePath(request.getfixturevalue("object_storage")) / name
        stored.write_bytes(content)
        return str(stored)

    return provide


@pytest.mark.parametrize(("case", "expected"), CONVERTED.items(), ids=lambda case: case[0] if case else "")
def test_converted(source_of, case, expected):
    """The values are those that a person would expect."""
    name, *options = case
    types, rows = converted(source_of(name), dict(filter(None, options)) or True)
    assert (types, [tuple(row.values()) for row in rows]) == expected


@pytest.mark.parametrize(("case", "why"), REJECTED.items(), ids=lambda case: case[0] if isinstance(case, tuple) else "")
def test_refused(source_of, case, why):
    """The exception says what the file is and what to do."""
    name, *options = case
    with pytest.raises(PolyteiaDataError) as rejected:
        converted(source_of(name), dict(filter(None, options)) or True)
    assert f"{name!r} cannot be converted" in str(rejected.value)
    assert why in str(rejected.value)
    assert "Nothing was sent" in str(rejected.value)


@pytest.mark.parametrize(
    ("name", "logged"),
    {
        "baeume.geojson": "urn:ogc:def:crs:EPSG::25832",
        "cp1252.csv": "seems to be windows-1252",
        "utf16.csv": "seems to be UTF-16",
        "lat.json": "seems to be windows-1252",
    }.items(),
)
def test_logged(name, logged, caplog):
    """The log names the encoding that was detected, and the coordinate system."""
    caplog.set_level("INFO")
    converted(str(CASES / name))
    assert logged in caplog.text
