"""Values of Python that neither JSON nor Airflow's database can take, in the form in which they are stored."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from encodable import HUGE, assert_encodable

from airflow_provider_polyteia.client.json_values import to_encodable

# Value -> what is stored.
VALUES = {
    "NaN": (math.nan, "nan"),
    "infinity": ([math.inf, -math.inf], ["inf", "-inf"]),
    "unsigned integer": (2**64 - 1, "18446744073709551615"),
    "decimal": (Decimal("1.50"), "1.50"),
    "bytes": ({"a": b"\x00\xff"}, {"a": "AP8="}),
    "mutable bytes": ([bytearray(b"a"), memoryview(b"a")], ["YQ==", "YQ=="]),
    "date": (date(2026, 3, 1), "2026-03-01"),
    "datetime": (datetime(2026, 3, 1, 6, tzinfo=UTC), "2026-03-01T06:00:00+00:00"),
    "set": ({HUGE}, [str(HUGE)]),
    "range": (range(2), [0, 1]),
    "keys": ({1: "a", "1": "b", None: "c"}, {"1": "a", "1_": "b", "None": "c"}),
    "NUL": ("a\0", "a\ufffd"),
}


@pytest.mark.parametrize(("value", "stored"), VALUES.values(), ids=VALUES)
def test_stored_form(value, stored):
    """The rules of docs/operators.md#values-in-xcom."""
    assert to_encodable(value) == stored
    assert_encodable(to_encodable(value))
