"""Type inference: how the types of columns are inferred and promoted, up to the Parquet file."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from enum import Enum

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.tables.columns import InferredColumn, to_batch
from airflow_provider_polyteia.tables.staging import ParquetStaging

TIMESTAMP = dt.datetime(2026, 3, 1, 12, 30, 0, 123456)
TIMESTAMP_TZ = TIMESTAMP.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))


def stage(*batches, names=("x",)):
    """Stage batches of rows; return the table that was read back, and the staged one."""
    columns = [InferredColumn(name) for name in names]
    with ParquetStaging() as staging:
        for rows in batches:
            staging.write(to_batch(columns, rows))
        with staging.finish() as table:
            return pq.read_table(table.file), table


def column(*batches):
    """Stage one column in batches of values; return its type and its values."""
    read, table = stage(*[[(value,) for value in batch] for batch in batches])
    assert table.rows == sum(map(len, batches))
    assert read.schema.equals(table.schema)
    return str(read["x"].type), read["x"].to_pylist()


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "arrow_type", "stored"),
    [
        (True, "bool", True),
        (7, "int64", 7),
        (-(2**63), "int64", -(2**63)),
        (2**63, "decimal128(38, 0)", Decimal(2**63)),
        (0.5, "double", 0.5),
        (Decimal("12.340"), "decimal128(38, 3)", Decimal("12.340")),
        (Decimal("1E+3"), "decimal128(38, 0)", Decimal(1000)),
        (Decimal("-0.00001"), "decimal128(38, 5)", Decimal("-0.00001")),
        ("Müller", "string", "Müller"),
        ("", "string", ""),
        (b"\x00\xff", "binary", b"\x00\xff"),
        (bytearray(b"a"), "binary", b"a"),
        (memoryview(b"a"), "binary", b"a"),
        (dt.date(2026, 3, 1), "date32[day]", dt.date(2026, 3, 1)),
        (dt.time(12, 30), "time64[us]", dt.time(12, 30)),
        (TIMESTAMP, "timestamp[us]", TIMESTAMP),
        (TIMESTAMP_TZ, "timestamp[us, tz=UTC]", TIMESTAMP_TZ.astimezone(dt.UTC)),
        (dt.timedelta(days=1, hours=2), "string", "1 day, 2:00:00"),
        (uuid.UUID(int=1), "string", "00000000-0000-0000-0000-000000000001"),
        ({"ä": [1, None]}, "string", '{"ä": [1, null]}'),
        ([1, "x"], "string", '[1, "x"]'),
        (Color.RED, "string", "Color.RED"),
        (None, "string", None),
    ],
)
@pytest.mark.parametrize("nulls_first", [False, True])
def test_types(value, arrow_type, stored, nulls_first):
    """Each Python type is stored as the matching type, even if the first batches contain only NULL."""
    batches = [[None, None], [None], [value, None]] if nulls_first else [[value], [None]]
    found, values = column(*batches)
    assert found == arrow_type
    assert values == [None, None, None, stored, None][-len(values) :] if nulls_first else [stored, None]


@pytest.mark.parametrize(
    ("first", "second", "arrow_type", "stored"),
    [
        (True, 2, "int64", [1, 2]),
        (True, Decimal("2.5"), "decimal128(38, 1)", [Decimal(1), Decimal("2.5")]),
        (1, 2.5, "double", [1.0, 2.5]),
        (1, Decimal("2.5"), "decimal128(38, 1)", [Decimal(1), Decimal("2.5")]),
        (1, 2**70, "decimal128(38, 0)", [Decimal(1), Decimal(2**70)]),
        (Decimal("1.5"), 2.25, "double", [1.5, 2.25]),
        (dt.date(2026, 3, 1), TIMESTAMP, "timestamp[us]", [dt.datetime(2026, 3, 1), TIMESTAMP]),
        (1, "x", "string", ["1", "x"]),
        (True, "x", "string", ["true", "x"]),
        (0.1, "x", "string", ["0.1", "x"]),
        (b"a", "x", "string", ["a", "x"]),
        (dt.date(2026, 3, 1), 1, "string", ["2026-03-01", "1"]),
        (TIMESTAMP, "x", "string", ["2026-03-01 12:30:00.123456", "x"]),
        (Decimal("1.50"), "x", "string", ["1.50", "x"]),
        ({"a": 1}, 2, "string", ['{"a": 1}', "2"]),
    ],
)
def test_promotion(first, second, arrow_type, stored):
    """A column gets the narrowest type that holds all its values, regardless of batch boundaries and order."""
    for batches in ([[first], [second]], [[first, second]], [[first], [], [None], [second]]):
        found, values = column(*batches)
        assert found == arrow_type
        assert [value for value in values if value is not None] == stored
    found, values = column([second], [first])
    assert (found, values) == (arrow_type, stored[::-1])


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.decimals(-1000, 1000, places=3), st.text(max_size=5)
)


@given(cells=st.lists(CELLS, max_size=12), size=st.integers(1, 4))
def test_batches_do_not_matter(cells, size):
    """The same values give the same type, and the same column if it is not text, for any batch boundaries."""
    batches = [cells[start : start + size] for start in range(0, len(cells), size)]
    (whole_type, whole), (parts_type, parts) = column(cells), column(*batches or [[]])
    assert whole_type == parts_type
    assert whole_type == "string" or whole == parts
    assert [cell is None for cell in parts] == [cell is None for cell in cells]


def test_no_rows():
    """A result without rows has all columns."""
    read, table = stage([], names=("straße", "b"))
    assert (table.rows, read.column_names) == (0, ["straße", "b"])
    assert table.columns == {"straße": "string", "b": "string"}


def test_too_many_digits():
    """A number with too many digits for a decimal is an error that names the column and a solution."""
    with pytest.raises(PolyteiaError, match=r"column 'x' does not fit the type decimal128.*numeric\(38, 6\)"):
        column([Decimal(1), Decimal(10) ** 40])
    with pytest.raises(PolyteiaError, match="column 'x' does not fit"):
        column([Decimal("NaN")])


def test_integer_without_an_exact_float():
    """Values are never rounded silently."""
    with pytest.raises(PolyteiaError, match="column 'x' does not fit the type double"):
        column([2**60 + 1], [0.5])
    with pytest.raises(PolyteiaError, match="column 'x' does not fit the type double"):
        column([2**60 + 1, 0.5])


def test_integers_and_long_decimals():
    """Integers can be combined with later decimals that have many decimal places."""
    long = Decimal("1." + "2" * 20)
    assert column([1], [long]) == ("decimal128(38, 20)", [Decimal(1), long])
