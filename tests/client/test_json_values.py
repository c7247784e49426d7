"""Values from the platform become values that JSON, msgpack and UTF-8 can encode."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polyteia.client.json_values import MAX_DEPTH, to_encodable

SURROGATES = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"])
ANY_TEXT = st.text(st.characters() | SURROGATES, max_size=8)
ANY_INTEGER = (
    st.integers() | st.integers(-(2**200), 2**200) | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
)


def json_values(text, numbers):
    return st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=10,
    )


ANY_JSON = json_values(ANY_TEXT, ANY_INTEGER | st.floats())
ENCODABLE_JSON = json_values(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
)


def encode(value):
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def nested(depth, wrap):
    value = "innermost"
    for _ in range(depth):
        value = wrap(value)
    return value


def depth_of(value):
    depth = 0
    while isinstance(value, list | dict):
        (value,) = value.values() if isinstance(value, dict) else value
        depth += 1
    return depth


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("Bürgeramt \x01 \U0001f600", "Bürgeramt \x01 \U0001f600"),
        ("a\x00b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        ("a\ud800", "a\ufffd"),
        ("\ud800b", "\ufffdb"),
        ("a\udc00b", "a\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud800\ud83d\ude00", "\ufffd\U0001f600"),
    ],
)
def test_surrogates(text, expected):
    """An unpaired surrogate and NUL become U+FFFD, a pair becomes its character; all other text is unchanged."""
    assert to_encodable(text) == expected
    assert to_encodable([{text: text}]) == [{expected: expected}]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, 0),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
        (10**100, "1" + 100 * "0"),
        (1.5, 1.5),
        (1.7976931348623157e308, 1.7976931348623157e308),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
    ],
)
def test_numbers(number, expected):
    """Integers beyond 64 bits, infinity and NaN become their text; all other numbers are unchanged."""
    converted = to_encodable({"size": [number]})
    assert converted == {"size": [expected]}
    assert type(converted["size"][0]) is type(expected)


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}], ids=["list", "object"])
def test_deep_nesting(wrap):
    """Of 10,000 levels of nesting, 100 are kept; 100 levels are unchanged."""
    converted = to_encodable(nested(10_000, wrap))
    assert depth_of(converted) == MAX_DEPTH
    assert b'"..."' in encode(converted)
    assert to_encodable(nested(MAX_DEPTH, wrap)) == nested(MAX_DEPTH, wrap)


def test_keys():
    """Keys become encodable strings."""
    value = {1: "a", None: "b", "\ud800": "c", 2**70: "d", "ü": "e"}
    assert to_encodable(value) == {"1": "a", "None": "b", "\ufffd": "c", str(2**70): "d", "ü": "e"}


def test_other_types():
    """A tuple becomes a list, and a value that is not JSON becomes its text."""
    when = datetime(2026, 3, 1, tzinfo=UTC)
    assert to_encodable((1, (when,))) == [1, ["2026-03-01T00:00:00+00:00"]]


@given(ANY_JSON)
def test_any_value_is_encodable_as_json(value):
    """Any JSON value becomes one that strict JSON in UTF-8 can encode."""
    converted = to_encodable(value)
    assert json.loads(encode(converted)) == converted


@pytest.mark.parametrize("library", ["msgpack", "msgspec.msgpack"])
@given(value=ANY_JSON)
def test_any_value_is_encodable_as_msgpack(library, value):
    """Any JSON value becomes one that both msgpack libraries can encode."""
    module = pytest.importorskip(library)
    pack, unpack = (module.packb, module.unpackb) if library == "msgpack" else (module.encode, module.decode)
    converted = to_encodable(value)
    assert unpack(pack(converted)) == converted


@given(ANY_JSON)
def test_idempotent(value):
    """A converted value is not converted again."""
    converted = to_encodable(value)
    assert repr(to_encodable(converted)) == repr(converted)


@given(ENCODABLE_JSON)
def test_encodable_values_are_unchanged(value):
    """A value that is already encodable is unchanged."""
    assert repr(to_encodable(value)) == repr(value)
