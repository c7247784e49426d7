"""JSON documents, JSON Lines and GeoJSON."""

from __future__ import annotations

import datetime as dt
import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polyteia.exceptions import PolyteiaDataError
from airflow_provider_polyteia.tables.conversion import json_lists
from airflow_provider_polyteia.tables.conversion.json_lists import find_lists, list_items
from airflow_provider_polyteia.tables.conversion.json_numbers import mark
from airflow_provider_polyteia.tables.conversion.staged_file import copy_range

json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def features(*properties, **more):
    geometry = {"type": "Point", "coordinates": [1.5, 2]}
    listed = [{"type": "Feature", "properties": these, "geometry": geometry} for these in properties]
    return json.dumps({"type": "FeatureCollection", **more, "features": listed})


def test_types(convert):
    """Numbers, booleans, ISO dates and timestamps have their types; whatever else is a text stays one."""
    record = {
        "n": 1,
        "f": 1.5,
        "b": True,
        "plz": "01067",
        "d": "2026-12-31",
        "t": "2026-12-31T10:00:00Z",
        "g": "31.12.2026",
        "x": None,
        "list": [1, {"a": "ü"}],
        "nested": {"a": 1},
    }
    types, (row,) = convert(json.dumps([record]), name="x.json")
    assert types == {
        "n": "int64",
        "f": "double",
        "b": "bool",
        "plz": "string",
        "d": "date32[day]",
        "t": "timestamp[us, tz=UTC]",
        "g": "string",
        "x": "string",
        "list": "string",
        "nested": "string",
    }
    assert row == record | {
        "d": dt.date(2026, 12, 31),
        "t": dt.datetime(2026, 12, 31, 10, tzinfo=dt.UTC),
        "list": '[1,{"a":"ü"}]',
        "nested": '{"a":1}',
    }


def test_large_integers(convert):
    """Integers of more than 63 bits are exact."""
    types, rows = convert(json.dumps([{"n": 1}, {"n": 2**64 - 1}]), name="x.json")
    assert (types["n"], rows[1]["n"]) == ("decimal128(38, 0)", Decimal(2**64 - 1))


@pytest.mark.parametrize(
    ("numbers", "sql_type"),
    {
        "more than 64 bits": (("18446744073709551616", "1"), "decimal128(38, 0)"),
        "many digits": (("12345678901234567890123",), "decimal128(38, 0)"),
        "negative": (("-9223372036854775809",), "decimal128(38, 0)"),
        "large and decimal": (("9007199254740993", "1.5"), "decimal128(38, 1)"),
        "large and small": (("9007199254740993", "0.00001", "-2"), "decimal128(38, 5)"),
        "many decimal places": (("0.1000000000000000055511151231257827", "1"), "decimal128(38, 34)"),
        "large": (("9007199254740993", "1"), "int64"),
        "the largest exact": (("9007199254740992", "1.5"), "double"),
        "the digits of a double": (("0.30000000000000004", "0.10000000000000001", "1.10", "1E5", "1e-7"), "double"),
        "zeros": (("0e-999", "-0.0000000000000000000000"), "double"),
    }.values(),
)
@pytest.mark.parametrize("name", ["x.json", "x.ndjson"])
def test_exact_numbers(convert, numbers, sql_type, name):
    """No number is rounded."""
    records = [f'{{"a":{number}}}' for number in numbers]
    content = f"[{','.join(records)}]" if name == "x.json" else "\n".join(records)
    types, rows = convert(content, name=name)
    assert types == {"a": sql_type}
    assert [row["a"] for row in rows] == [
        float(number) if sql_type == "double" else Decimal(number) for number in numbers
    ]


@pytest.mark.parametrize(
    "numbers",
    [
        ("1e400", "1.5"),
        ("1e-400",),
        ("12345678901234567890123456789012345678901",),
        ("1" * 5_000,),
        ("9007199254740993", "1e+300"),
        ("18446744073709551616", "true"),
    ],
)
def test_numbers_as_text(convert, numbers):
    """Numbers that neither a decimal nor a floating-point number holds are text."""
    types, rows = convert(
        json.dumps([{"a": "x"}]).replace('{"a": "x"}', ",".join(f'{{"a":{n}}}' for n in numbers)), name="x.json"
    )
    assert (types, [row["a"] for row in rows]) == ({"a": "string"}, list(numbers))


def test_exact_numbers_among_others(convert):
    """Numbers that are not rounded do not change the texts and nested values around them."""
    nested = '"l":[1e400,{"x":18446744073709551616}]'
    record = r'{"n":18446744073709551616,"t":"a\"18446744073709551616\\","d":"2026-12-31",' + nested + "}"
    types, (row,) = convert(f"[{record}]", name="x.json")
    assert types == {"n": "decimal128(38, 0)", "t": "string", "d": "date32[day]", "l": "string"}
    assert row == {
        "n": Decimal(2**64),
        "t": 'a"18446744073709551616\\',
        "l": '[1e400,{"x":18446744073709551616}]',
        "d": dt.date(2026, 12, 31),
    }


@given(st.text('0123456789.-+eE,:[]{}\\" nul', max_size=80), st.integers(1, 5))
def test_marked_numbers(text, chunk):
    """Only numbers are marked, and nothing else changes, whatever the parts of the file are."""
    content = f'[{{"t": {json.dumps(text)}, "n": [1e300,12345678901234567890123, 1e400]}}]'.encode()
    parts = (content[start : start + chunk] for start in range(0, len(content), chunk))
    marked = json.loads(b"".join(mark(parts, "M")))
    assert marked == [{"t": text, "n": [1e300, "M12345678901234567890123", "M1e400"]}]


@given(json_values, st.integers(1, 40))
def test_list_items(value, chunk):
    """The items of a list are found, whatever its parts are."""
    items = [value, 1, "a,]", value]
    document = f" [ {', '.join(map(json.dumps, items))} ] ".encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "CHUNK", chunk)
        found = list(list_items(io.BytesIO(document)))
    assert [json.loads(document[start:end]) for start, end in found] == items


def test_key_json(convert):
    """A key may be called json."""
    assert convert('[{"json":1}]', name="x.json")[1] == [{"json": 1}]


def test_whole_file_decides(convert):
    """Keys and types far behind the first records count; a key that occurs once is a column."""
    records = [{"a": 1, "d": "2026-12-31"}] * 6_000 + [{"a": 1.5, "d": "unknown", "z": 1}]
    types, rows = convert(json.dumps(records), name="x.json")
    assert types == {"a": "double", "d": "string", "z": "int64"}
    assert (rows[0], rows[-1]) == ({"a": 1.0, "d": "2026-12-31", "z": None}, {"a": 1.5, "d": "unknown", "z": 1})


def test_many_rare_keys(convert):
    """Records with different keys are not a map."""
    types, rows = convert(json.dumps([{f"k{number}": number} for number in range(300)]), name="x.json")
    assert list(types) == [f"k{number}" for number in range(300)]
    assert rows[7]["k7"] == 7


def test_mixed_values(convert):
    """A column with values of several kinds is text, without quotes around its texts."""
    rows = convert('[{"a":1},{"a":"x"},{"a":{"n":[1]}},{"a":null}]', name="x.json")[1]
    assert [row["a"] for row in rows] == ["1", "x", '{"n":[1]}', None]


@pytest.mark.parametrize("name", ["x.json", "x.ndjson", "x.jsonl"])
def test_lines(convert, name):
    """JSON Lines are recognized under any name; blank lines do not matter."""
    assert convert('{"a":1}\n\n{"a":2,"b":"x"}\n', name=name)[1] == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


@pytest.mark.parametrize("key", ["results", "data.items"])
def test_records(convert, key):
    """`records` names the key of the list, also within other objects."""
    document = {"other": [{"a": 0}], "results": [{"a": [1, 2]}], "data": {"items": [{"a": [1, 2]}], "x": []}}
    assert convert(json.dumps(document), {"records": key}, name="x.json")[1] == [{"a": "[1,2]"}]


def test_sticky_types(convert):
    """A type that holds tonight's values is kept."""
    previous = {"a": "double", "d": "timestamp[us]", "x": "date32[day]", "s": "string"}
    types, rows = convert('[{"a":1,"d":"2026-12-31","x":null,"s":5}]', name="x.json", previous=previous)
    assert types == previous
    assert rows == [{"a": 1.0, "d": dt.datetime(2026, 12, 31), "x": None, "s": "5"}]


def test_declared_types(convert):
    """`columns` decides about numbers and texts."""
    options = {"columns": {"a": "DECIMAL(9,2)", "b": "INTEGER"}}
    assert convert('[{"a":1.5,"b":"7"}]', options, name="x.json")[1] == [{"a": Decimal("1.50"), "b": 7}]
    for value in ("1.5", "5000000000"):
        content = f'[{{"a":1}},{{"a":2.5}},{{"a":{value}}}]'.replace("2.5", "2.0")
        with pytest.raises(PolyteiaDataError, match=r"'x\.json', record 3, column 'a': a value does not fit"):
            convert(content, {"columns": {"a": "INTEGER"}}, name="x.json")


@pytest.mark.parametrize(
    ("content", "why"),
    {
        "an error": ('{"error":"unauthorized"}', "one JSON object, not a list. Check the source"),
        "several lists": (
            '{"a":[{}],"b":{"c":[]}}',
            "to the key of its list: 'a', 'b.c'",
        ),
        "nothing": ("[]", "a list without records"),
        "values": ("[1,2]", "a list without records"),
        "cut off": ('[{"a":1},{"a":', "JSON that ends in the middle of a value"),
        "not JSON": ('[{"a":1},]', "not valid JSON (line 1, character 10"),
        "HTML": ("<!doctype html><p>", "an HTML page"),
        "CSV": ("a,b\n1,2\n", "not JSON"),
        "keys that differ in case": (
            '[{"B":1,"b":2}]',
            "record 1 has keys that differ in upper and lower case only: 'B' and 'b'",
        ),
        "nested keys that differ in case": ('[{"a":{"x":1}},{"a":{"X":2}}]', "record 2 has keys that differ"),
        "an empty key": ('[{"b":2},{"":"Meier","b":2}]', "record 2 has an empty key"),
        "a repeated key": ('[{"a":1,"a":"Meier"}]', "record 1 has the key 'a' twice"),
        "a number among records": ('[{"a":1},5]', "record 2 is not an object, but a number"),
        "a text among records": ('[{"a":1},"Meier"]', "record 2 is not an object, but a string"),
        "lists": ("[[1],[2]]", "record 1 is not an object, but a list"),
        "null first": ('[null,{"a":1}]', "record 1 is not an object, but null"),
        "null last": ('[{"a":[null]}, null]', "record 2 is not an object, but null"),
        "a line with null": ('{"a":1}\nnull\n', "record 2 is not an object, but null"),
        "NaN": ('[{"a":1},{"a":NaN}]', "record 2 contains NaN"),
        "infinity": ('[{"a":[-Infinity]}]', "record 1 contains -Infinity"),
        "half a surrogate pair": (r'[{"a":"Meier\ud800"}]', "record 1 contains half of a surrogate pair"),
        "no keys": ("[{},{}]", "whose records have no keys"),
        "blank": (" \n", "blank"),
    }.values(),
)
def test_refused(convert, content, why):
    """Anything but a list of records is rejected."""
    with pytest.raises(PolyteiaDataError) as rejected:
        convert(content, name="x.json")
    assert why in str(rejected.value)
    assert "Meier" not in str(rejected.value)


def test_null_in_lists(convert):
    """Lists in records may contain null."""
    assert convert('[{"a":[null,1]},{"a":null}]', name="x.json")[1] == [{"a": "[null,1]"}, {"a": None}]


def test_repeated_list(convert):
    """A key that names several lists is rejected."""
    with pytest.raises(PolyteiaDataError, match="several lists under the key 'r'"):
        convert('{"r":[{"a":1}],"r":[{"a":2}]}', {"records": "r"}, name="x.json")


LONG_RECORD = json.dumps({"name": "Müller" * 20})


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ('{"name" "Meier"}]', "record 11,001 is not valid JSON (character 9: Expecting ':' delimiter)"),
        ('{"name":"Mei\ner"}]', "record 11,001 is not valid JSON (character 13: Invalid control character"),
        ("]", "record 11,001 is not valid JSON (character 1: Expecting value)"),
        ('{"name":tru}]', "record 11,001 is not valid JSON (character 9: Expecting value)"),
        ('{"name":"Meier"}] Meier', "not valid JSON after the list of its records"),
        ('{"name":nan}]', "record 11,001 is not valid JSON"),
    ],
)
def test_large_damaged_document(convert, end, why):
    """A mistake in a document that is too large to be parsed at once is found, and no value is printed."""
    with pytest.raises(PolyteiaDataError) as rejected:
        convert(f"[{LONG_RECORD}" + f",{LONG_RECORD}" * 10_999 + f",{end}", name="x.json")
    assert why in str(rejected.value)
    assert "Meier" not in str(rejected.value)


def test_large_damaged_lines(convert):
    """So is one in JSON Lines, and a key that is not a string."""
    for content, why in (
        (f"{LONG_RECORD}\n" * 11_000 + '\n{"name" "Meier"}\n', "record 11,001 is not valid JSON"),
        ('{"a":[{"name":"' + "x" * 2**20 + '"}],"\\x":[]}', "it has a key that is not a string"),
    ):
        with pytest.raises(PolyteiaDataError, match=why) as rejected:
            convert(content, name="x.json")
        assert "Meier" not in str(rejected.value)


@pytest.mark.parametrize("name", ["x.geojson", "x.json"])
def test_geojson(convert, name, caplog):
    """One row per feature: its properties with their types, and its geometry as text."""
    caplog.set_level("INFO")
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25832"}}
    content = features({"nr": "007", "n": 1, "geometry": "x"}, {"nr": "008", "new": {"a": [1]}}, crs=crs)
    point = '{"type":"Point","coordinates":[1.5,2]}'
    assert convert(content, name=name)[1] == [
        {"nr": "007", "n": 1, "geometry": "x", "new": None, "geometry_2": point},
        {"nr": "008", "n": None, "geometry": None, "new": '{"a":[1]}', "geometry_2": point},
    ]
    assert "are in urn:ogc:def:crs:EPSG::25832" in caplog.text


def test_geojson_without_properties(convert, caplog):
    """Properties and coordinate systems may be missing."""
    caplog.set_level("INFO")
    assert list(convert(features(None), name="x.geojson")[0]) == ["geometry"]
    assert "are in WGS 84" in caplog.text
    for content, why in ((features(), "without features"), ('{"type":"Feature"}', "not a FeatureCollection")):
        with pytest.raises(PolyteiaDataError, match=why):
            convert(content, name="x.geojson")


def lists_in(value, path=()):
    """Return the lists that are not within another one, with their paths."""
    if isinstance(value, list):
        yield ".".join(path), value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from lists_in(inner, (*path, key))


@given(json_values, st.booleans(), st.integers(1, 40))
def test_find_lists(value, is_ascii, chunk):
    """Lists are found at any place of any document, whatever its parts are."""
    document = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "CHUNK", chunk)
        found = list(find_lists(io.BytesIO(document)))
        parts = [b"".join(copy_range(io.BytesIO(document), one.start, one.end)) for one in found]
    assert [(one.path, json.loads(part)) for one, part in zip(found, parts, strict=True)] == list(lists_in(value))
