"""The envelope of the RPC API: what is sent survives, and what is received never breaks the client."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polyteia.client.json_values import NotJSONError
from airflow_provider_polyteia.client.rpc_api.envelope import Dialect, decode_output, encode_input, format_date

MILLISECONDS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | TEXT | MILLISECONDS | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.text(max_size=3) | st.sampled_from(["date", "map", "a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["json", "meta", "a"]), inner),
    max_leaves=20,
)


def received(value):
    """A value as it comes back: dates as text, numbers unchanged."""
    if isinstance(value, date):
        return format_date(value)
    if isinstance(value, dict):
        return {key: received(item) for key, item in value.items()}
    return [received(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(TEXT, VALUES, max_size=4), st.sampled_from(Dialect))
def test_round_trip(content, dialect):
    """Whatever is sent comes back unchanged, through JSON and in both dialects."""
    body = json.loads(json.dumps(encode_input(content).envelope(dialect)))
    output = decode_output(body)
    assert output.value == received(content)
    assert output.dialect in (dialect, None)


@given(JSON, JSON)
def test_hostile_responses(content, meta):
    """No `meta` raises, whatever it contains."""
    decode_output({"json": content, "meta": meta})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2026, 1, 31), "2026-01-31T00:00:00.000Z"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00.000Z"),
        (datetime(2026, 1, 31, 12), "2026-01-31T12:00:00.000Z"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))), "2026-01-31T11:00:00.000Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 999999, UTC), "2026-01-31T12:00:00.999Z"),
    ],
)
def test_dates(value, text):
    """Dates are sent in UTC with milliseconds, and named in `meta`."""
    assert encode_input({"at": value}).envelope(Dialect.NUMBERS) == {"json": {"at": text}, "meta": [[1, "at"]]}
    assert encode_input({"at": value}).envelope(Dialect.WORDS)["meta"] == [["date", "at"]]


def test_fields_that_must_be_dates():
    """Text in such a field is sent as a date; null is not named in `meta`; an invalid timestamp is rejected."""
    sent = encode_input({"dataAsOf": "2026-01-31", "name": "2026-01-31"}, ("dataAsOf",)).envelope(Dialect.NUMBERS)
    assert sent == {"json": {"dataAsOf": "2026-01-31T00:00:00.000Z", "name": "2026-01-31"}, "meta": [[1, "dataAsOf"]]}
    assert encode_input({"dataAsOf": None}, ("dataAsOf",)).envelope(Dialect.NUMBERS) == {"json": {"dataAsOf": None}}
    for invalid in ("2026-02-30", "soon", 5):
        with pytest.raises(NotJSONError, match="dataAsOf"):
            encode_input({"dataAsOf": invalid}, ("dataAsOf",))


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, float("nan"), object(), "\ud800"])
def test_what_json_cannot_represent(value):
    """The exception names where the value is."""
    with pytest.raises(NotJSONError, match="parameters"):
        encode_input({"deep": [value]})


@pytest.mark.parametrize("number", [2**1024, -(2**1024), 10**5000], ids=["positive", "negative", "unprintable"])
def test_numbers_without_end(number):
    """An integer that is too large for any receiver is rejected by its path, even one that Python cannot print."""
    with pytest.raises(NotJSONError, match=r"parameters\['a'\]\[0\] is too large"):
        encode_input({"a": [number]})


def test_list_that_contains_itself_twice():
    """A recursive value is rejected at once; following each of its paths would take forever."""
    recursive = []
    recursive += [recursive, recursive]
    with pytest.raises(NotJSONError, match="recursive"):
        encode_input({"a": recursive})


@pytest.mark.parametrize(
    ("code", "value", "expected"),
    [
        (0, "9007199254740993", 9007199254740993),
        ("bigint", "-5", -5),
        (0, "12.5", "12.5"),
        (1, "2026-01-31T00:00:00.000Z", "2026-01-31T00:00:00.000Z"),
        (2, None, None),
        ("set", [1], [1]),
        (7, [["a", 1]], {"a": 1}),
        ("map", [[1, "a"]], [[1, "a"]]),
        (21, "raw", "raw"),
        ("point", [1, 2], [1, 2]),
    ],
)
def test_types(code, value, expected):
    """Each type becomes the Python value that stands for it; unknown ones are kept as they are."""
    assert decode_output({"json": {"a": [value]}, "meta": [[code, "a", 0]]}).value == {"a": [expected]}


def test_dates_of_a_response():
    """The paths of dates are kept, and show the dialect."""
    output = decode_output({"json": {"a": {"b": "2026-01-31T00:00:00.000Z"}}, "meta": [["date", "a", "b"]]})
    assert (output.dates, output.dialect) == ((("a", "b"),), Dialect.WORDS)
