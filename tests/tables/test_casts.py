"""Columns in other types: each value is exactly the same, or the column does not fit."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.tables.columns import to_declared

NAIVE = dt.datetime(2026, 7, 1, 10)
AWARE = NAIVE.replace(tzinfo=dt.UTC)
FAR = "99345678901234567890"


@pytest.mark.parametrize(
    ("value", "wanted", "stored"),
    [
        ("12", pa.int8(), 12),
        ("-7.00", pa.int64(), -7),
        (Decimal("2.00"), pa.int64(), 2),
        ("1.5", pa.decimal128(5, 2), Decimal("1.5")),
        (1e3, pa.decimal128(5, 1), Decimal(1000)),
        ("1E+3", pa.decimal128(5, 1), Decimal(1000)),
        (0.1, pa.float32(), pytest.approx(0.1)),
        ("inf", pa.float64(), float("inf")),
        ("10:05", pa.time64("us"), dt.time(10, 5)),
        ("10:05:00.123456", pa.time64("us"), dt.time(10, 5, 0, 123456)),
        ("2026-07-01 10:00:00", pa.timestamp("us"), NAIVE),
        ("2026-07-01T12:00:00+02:00", pa.timestamp("us", "UTC"), AWARE),
        (AWARE, pa.timestamp("us"), NAIVE),
        (dt.date(2026, 7, 1), pa.timestamp("us"), NAIVE.replace(hour=0)),
        (NAIVE.replace(hour=0), pa.date32(), dt.date(2026, 7, 1)),
        (1, pa.bool_(), True),
        ("x", pa.string(), "x"),
        (7, pa.string(), "7"),
        (None, pa.int8(), None),
    ],
)
def test_exact(value, wanted, stored):
    """What is accepted is the same value."""
    found = to_declared(pa.field("x", wanted), [None, value])
    assert found.type == wanted
    assert found.to_pylist() == [None, stored]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (300, pa.int8()),
        ("0xff", pa.int8()),
        ("0x1A", pa.int64()),
        (" 5", pa.int64()),
        ("1.5", pa.int64()),
        (1.5, pa.int64()),
        (Decimal("2.50"), pa.int64()),
        (1.255, pa.decimal128(12, 2)),
        (Decimal("1.255"), pa.decimal128(12, 2)),
        ("1.255", pa.decimal128(12, 2)),
        (FAR, pa.decimal128(38, 20)),
        (int(FAR), pa.decimal128(38, 20)),
        (Decimal(FAR), pa.decimal128(38, 20)),
        ("9" * 39, pa.decimal128(38, 0)),
        ("9.9e38", pa.decimal128(38, 0)),
        ("1e400", pa.float64()),
        (1e300, pa.float32()),
        (2**60 + 1, pa.float64()),
        (2, pa.bool_()),
        (0.5, pa.bool_()),
        ("10:00:00.1234567", pa.time64("us")),
        ("10:00+02:00", pa.time64("us")),
        ("25:00", pa.time64("us")),
        ("20200101", pa.time64("us")),
        (Decimal(1000), pa.time64("us")),
        (20_200_101, pa.time64("us")),
        (NAIVE, pa.time64("us")),
        (NAIVE, pa.date32()),
        (NAIVE, pa.timestamp("us", "UTC")),
        (20_000, pa.date32()),
        (1_767_225_600, pa.timestamp("us")),
        (1.5, pa.timestamp("us")),
        (NAIVE, pa.int64()),
        (dt.time(10), pa.int64()),
        ("31.12.2026", pa.date32()),
    ],
)
def test_unfit(value, wanted):
    """What would be another value is an error that names the column; neither it nor what it refers to has the value."""
    with pytest.raises(PolyteiaError, match="column 'x y' does not fit the type") as caught:
        to_declared(pa.field("x y", wanted), [None, value])
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
