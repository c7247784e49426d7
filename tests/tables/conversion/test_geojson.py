"""GeoJSON: ids, properties, geometries and coordinate systems of features."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from airflow_provider_polyteia.exceptions import PolyteiaDataError

POINT = '{"type":"Point","coordinates":[1.5,2]}'


def collection(*members, more=""):
    """Return a FeatureCollection.

    :param members: JSON of each feature's members, without its type and geometry.
    :param more: JSON of other members of the collection.
    """
    features = ",".join(f'{{"type":"Feature","geometry":{POINT}{these and ","}{these}}}' for these in members)
    return f'{{"type":"FeatureCollection",{more}"features":[{features}]}}'


def test_exact_numbers(convert):
    """Numbers in properties, ids and geometries are not rounded."""
    content = collection(
        '"id":18446744073709551616,"properties":{"a":9007199254740993,"b":12345678901234567890123}',
        '"id":1,"properties":{"a":1.5,"b":1,"nested":[12345678901234567890123]}',
    ).replace("1.5,2]", "0.1000000000000000055511151231257827,2]", 1)
    types, rows = convert(content, name="x.geojson")
    assert types == {
        "id": "decimal128(38, 0)",
        "a": "decimal128(38, 1)",
        "b": "decimal128(38, 0)",
        "nested": "string",
        "geometry": "string",
    }
    assert [row["id"] for row in rows] == [Decimal(2**64), 1]
    assert [row["a"] for row in rows] == [Decimal(9007199254740993), Decimal("1.5")]
    assert [row["b"] for row in rows] == [Decimal(12345678901234567890123), 1]
    assert rows[1]["nested"] == "[12345678901234567890123]"
    assert "[0.1000000000000000055511151231257827,2]" in rows[0]["geometry"]


@pytest.mark.parametrize(
    ("members", "columns"),
    {
        "text": ('"id":"trees.1","properties":{"a":1}', {"id": "trees.1", "a": 1}),
        "a date stays text": ('"id":"2026-12-31","properties":{"a":1}', {"id": "2026-12-31", "a": 1}),
        "integer": ('"id":7,"properties":null', {"id": 7}),
        "also a property": ('"id":7,"properties":{"ID":"x"}', {"feature_id": 7, "ID": "x"}),
        "both names": (
            '"id":7,"properties":{"id":1,"Feature_ID":2}',
            {"feature_id_2": 7, "id": 1, "Feature_ID": 2},
        ),
        "null": ('"id":null,"properties":{"a":1}', {"a": 1}),
    }.values(),
)
def test_ids(convert, members, columns):
    """The ids of features are a column if one has an id."""
    assert convert(collection(members), name="x.geojson")[1] == [{**columns, "geometry": POINT}]


@pytest.mark.parametrize("ids", [(0, 1, 2), ("1", "2", "3")])
def test_positions_as_ids(convert, ids):
    """Ids that only number the features are left out, unless they were a column at the last load."""
    features = collection(*(f'"id":{json.dumps(each)},"properties":{{"a":1}}' for each in ids))
    assert list(convert(features, name="x.geojson")[0]) == ["a", "geometry"]
    assert list(convert(features, name="x.geojson", previous={"id": "int64"})[0]) == ["id", "a", "geometry"]


def test_mixed_ids(convert):
    """Ids that are texts and integers are texts; a feature without id has none."""
    rows = convert(collection('"id":"a"', '"id":5', ""), name="x.geojson")[1]
    assert [row["id"] for row in rows] == ["a", "5", None]


def test_name_of_geometry(convert):
    """The geometry gets a name that no property has."""
    rows = convert(collection('"properties":{"geometry":1,"Geometry_2":2}'), name="x.geojson")[1]
    assert rows == [{"geometry": 1, "Geometry_2": 2, "geometry_3": POINT}]


def test_names_of_properties(convert):
    """Any key is a name, also one with quotation marks."""
    properties = {'a"b': 1, "a'b": 2, "a.b": 3, "element1": 4, "type": 5}
    rows = convert(collection(f'"properties":{json.dumps(properties)}'), name="x.geojson")[1]
    assert rows == [{**properties, "geometry": POINT}]


def test_foreign_members(convert, caplog):
    """Members that features should not have are reported once."""
    convert(collection('"x":1,"properties":{}', '"y":"Müller","bbox":[1,2,1,2]'), name="x.geojson")
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "also have 'x', 'y', which are left out" in warning


@pytest.mark.parametrize(
    ("crs", "logged"),
    [
        ('"EPSG:25832"', "in EPSG:25832"),
        ('{"type":"link","properties":{"href":"http://x.test/crs"}}', "in http://x.test/crs"),
        ('{"type":"name","properties":null}', "in a system that cannot be read"),
        ('{"type":"name","properties":{"name":["a"]}}', "in a system that cannot be read"),
        ("[1]", "in a system that cannot be read"),
        ("null", "in WGS 84"),
    ],
)
def test_coordinate_systems(convert, caplog, crs, logged):
    """Whatever is stated as coordinate system, the features are converted."""
    caplog.set_level("INFO")
    convert(collection('"properties":{"a":1}', more=f'"crs":{crs},'), name="x.geojson")
    assert logged in caplog.text


@pytest.mark.parametrize(
    ("content", "why"),
    {
        "empty key": (collection('"properties":{"a":1}', '"properties":{"":"Meier","b":1}'), "record 2 has an empty"),
        "only an empty key": (collection('"properties":{"":"Meier"}'), "record 1 has an empty key in its 'properties'"),
        "a list": (collection('"properties":["Meier"]'), "record 1 has 'properties' that are not an object, but a"),
        "also a list": (
            collection('"properties":{"a":1}', '"properties":[1]'),
            "record 2 has 'properties' that are not an object, but a list",
        ),
        "keys that differ in case": (
            collection('"properties":{"a":1}', '"properties":{"A":2}'),
            "record 2 has keys that differ in upper and lower case only: 'properties.a' and 'properties.A'",
        ),
        "a repeated key": (collection('"properties":{"a":1,"a":2}'), "record 1 has the key 'a' twice"),
        "NaN": (collection('"properties":{"a":NaN}'), "record 1 contains NaN"),
        "null": (collection("").replace('"features":[', '"features":[null,'), "record 1 is not an object, but null"),
        "repeated features": (collection("", more='"features":[{}],'), "with the key 'features' twice"),
    }.values(),
)
def test_refused(convert, content, why):
    """What would lose values is rejected, without printing one."""
    with pytest.raises(PolyteiaDataError) as rejected:
        convert(content, name="x.geojson")
    assert why in str(rejected.value)
    assert "Meier" not in str(rejected.value)
