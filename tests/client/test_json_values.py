"""What Airflow can store: any value from the platform becomes valid JSON, msgpack and UTF-8."""

from __future__ import annotations

import json
import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polyteia.client.json_values import MAX_DEPTH, to_encodable

TEXT = st.text(st.characters())  # lone surrogates included
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(min_value=2**63) | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


def encode(value):
    """What Airflow does with events and XComs, and its database with JSON."""
    msgpack.packb(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@given(VALUES)
def test_any_value_becomes_encodable(value):
    """Whatever the platform sends can be encoded, and encoding it twice changes nothing more."""
    encodable = to_encodable(value)
    encode(encodable)
    assert to_encodable(encodable) == encodable


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1), st.lists, max_leaves=5))
def test_encodable_values_are_unchanged(value):
    """What can be encoded already is left unchanged."""
    assert to_encodable(value) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("Straße 😀", "Straße 😀"),
        (2**63, "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
        (2**63 - 1, 2**63 - 1),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (True, True),
        ({"\ud800": [2**70]}, {"\ufffd": [str(2**70)]}),
        ({1: ("a",)}, {"1": ["a"]}),
    ],
)
def test_what_cannot_be_encoded(value, expected):
    """Unpaired surrogates become U+FFFD, and numbers out of range become text."""
    assert to_encodable(value) == expected


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_deep_nesting(wrap):
    """What is nested too deeply is cut off, and the rest is kept."""
    value = "bottom"
    for _ in range(5_000):
        value = wrap(value)
    encoded = encode(to_encodable(value))
    assert encoded.count(b"[") + encoded.count(b"{") == MAX_DEPTH
    assert b'"..."' in encoded


@pytest.mark.parametrize("value", ["a\ud800", 2**70, math.inf])
def test_encoding_really_fails(value):
    """Airflow's encoding rejects these values as they are."""
    with pytest.raises((UnicodeEncodeError, OverflowError, ValueError)):
        encode(value)
