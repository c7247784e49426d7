"""Rows without known types into Parquet: how types are found and widened, and what happens to the temporary files."""

from __future__ import annotations

import datetime as dt
import os
import resource
import uuid
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables import staging as spool_module
from airflow_provider_polyteia.tables.schema import Columns
from airflow_provider_polyteia.tables.staging import Spool, number

MOMENT = dt.datetime(2026, 3, 1, 12, 30, 0, 123456)  # noqa: DTZ001 - without a zone on purpose
ZONED = MOMENT.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))


def spooled(*batches, names=("x",)):
    """Write batches of rows, and read back what became of them."""
    columns = Columns(names)
    with Spool() as spool:
        for rows in batches:
            spool.write(columns.batch(rows))
        with spool.finish() as table:
            return pq.read_table(table.file), table


def column(*batches):
    """The type and the values of one column, given in batches."""
    read, table = spooled(*[[(value,) for value in batch] for batch in batches])
    assert table.rows == sum(map(len, batches))
    assert read.schema.equals(table.schema)
    return str(read["x"].type), read["x"].to_pylist()


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "kind", "stored"),
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
        (MOMENT, "timestamp[us]", MOMENT),
        (ZONED, "timestamp[us, tz=UTC]", ZONED.astimezone(dt.UTC)),
        (dt.timedelta(days=1, hours=2), "string", "1 day, 2:00:00"),
        (uuid.UUID(int=1), "string", "00000000-0000-0000-0000-000000000001"),
        ({"ä": [1, None]}, "string", '{"ä": [1, null]}'),
        ([1, "x"], "string", '[1, "x"]'),
        (Colour.RED, "string", "Colour.RED"),
        (None, "string", None),
    ],
)
@pytest.mark.parametrize("nulls_first", [False, True])
def test_types(value, kind, stored, nulls_first):
    """Each type arrives as the type it is, also if the first batches hold nothing but NULL."""
    batches = [[None, None], [None], [value, None]] if nulls_first else [[value], [None]]
    found, values = column(*batches)
    assert found == kind
    assert values == [None, None, None, stored, None][-len(values) :] if nulls_first else [stored, None]


@pytest.mark.parametrize(
    ("first", "second", "kind", "stored"),
    [
        (True, 2, "int64", [1, 2]),
        (True, Decimal("2.5"), "decimal128(38, 1)", [Decimal(1), Decimal("2.5")]),
        (1, 2.5, "double", [1.0, 2.5]),
        (1, Decimal("2.5"), "decimal128(38, 1)", [Decimal(1), Decimal("2.5")]),
        (1, 2**70, "decimal128(38, 0)", [Decimal(1), Decimal(2**70)]),
        (Decimal("1.5"), 2.25, "double", [1.5, 2.25]),
        (dt.date(2026, 3, 1), MOMENT, "timestamp[us]", [dt.datetime(2026, 3, 1), MOMENT]),  # noqa: DTZ001 - as above
        (1, "x", "string", ["1", "x"]),
        (True, "x", "string", ["true", "x"]),
        (0.1, "x", "string", ["0.1", "x"]),
        (b"a", "x", "string", ["a", "x"]),
        (dt.date(2026, 3, 1), 1, "string", ["2026-03-01", "1"]),
        (MOMENT, "x", "string", ["2026-03-01 12:30:00.123456", "x"]),
        (Decimal("1.50"), "x", "string", ["1.50", "x"]),
        ({"a": 1}, 2, "string", ['{"a": 1}', "2"]),
    ],
)
def test_widening(first, second, kind, stored):
    """A column takes the narrowest type for all its values, wherever the batches begin and in whichever order."""
    for batches in ([[first], [second]], [[first, second]], [[first], [], [None], [second]]):
        found, values = column(*batches)
        assert found == kind
        assert [value for value in values if value is not None] == stored
    found, values = column([second], [first])
    assert (found, values) == (kind, stored[::-1])


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.decimals(-1000, 1000, places=3), st.text(max_size=5)
)


@given(cells=st.lists(CELLS, max_size=12), size=st.integers(1, 4))
def test_batches_do_not_matter(cells, size):
    """Cut into batches anywhere, the same values give the same type, and the same column if it is not text."""
    batches = [cells[start : start + size] for start in range(0, len(cells), size)]
    (kind, whole), (other, parts) = column(cells), column(*batches or [[]])
    assert kind == other
    assert kind == "string" or whole == parts
    assert [cell is None for cell in parts] == [cell is None for cell in cells]


def test_no_rows():
    """Without a row the columns are there all the same."""
    read, table = spooled([], names=("straße", "b"))
    assert (table.rows, read.column_names) == (0, ["straße", "b"])
    assert table.columns == {"straße": "string", "b": "string"}


def test_too_many_digits():
    """A number that no decimal holds is told with its column and a way out."""
    with pytest.raises(PolyteiaError, match=r"column 'x' does not fit.*numeric\(38, 6\)"):
        column([Decimal(1), Decimal(10) ** 40])
    with pytest.raises(PolyteiaError, match="column 'x' does not fit"):
        column([Decimal("NaN")])


def test_integer_that_no_float_holds():
    """Nothing is rounded on the quiet."""
    with pytest.raises(PolyteiaError, match="column 'x' does not fit"):
        column([2**60 + 1], [0.5])


def test_known_schema_is_one_segment(monkeypatch):
    """Where types are known, nothing is written twice."""
    monkeypatch.setattr(Spool, "_rewritten", None)
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    with Spool() as spool:
        for part in range(3):
            spool.write(pa.RecordBatch.from_arrays([pa.array([part]), pa.array(["x"])], schema=schema))
        with spool.finish() as table:
            assert pq.read_table(table.file)["a"].to_pylist() == [0, 1, 2]


def test_row_groups_are_limited(monkeypatch):
    """However many rows come, a row group has no more than it should, and is not a handful either."""
    monkeypatch.setattr(spool_module, "ROW_GROUP_ROWS", 1000)
    _, table = None, None
    columns = Columns(["x"])
    with Spool() as spool:
        for _ in range(50):
            spool.write(columns.batch([(1,)] * 130))
        with spool.finish() as table:
            metadata = pq.read_metadata(table.file)
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert (sum(sizes), max(sizes)) == (6500, 1000)
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert len(sizes) <= 14


def test_only_the_last_segment_is_in_memory():
    """However often the schema changes, the rows of earlier segments are on disk, and their writers closed."""
    names = [f"c{number}" for number in range(20)]
    columns = Columns(names)
    with Spool() as spool:
        for settled in range(20):
            spool.write(columns.batch([["x" * 100 if column <= settled else None for column in range(20)]] * 10))
            assert len(spool._segments) == settled + 1
            assert [bool(segment._waiting) for segment in spool._segments] == [False] * settled + [True]
        with spool.finish() as table:
            assert pq.read_table(table.file).num_rows == table.rows == 200


def test_integers_and_long_decimals():
    """Integers that meet decimals with many places later fit beside them."""
    long = Decimal("1." + "2" * 20)
    assert column([1], [long]) == ("decimal128(38, 20)", [Decimal(1), long])


def test_places_of_numbers():
    """The places of unbounded numbers are found over all batches."""
    schema = pa.schema([number("n")])
    with Spool() as spool:
        for values in (["1", None], ["-12345678901234567890.5"], ["0.000", "7"]):
            spool.write(pa.RecordBatch.from_arrays([pa.array(values, pa.string())], schema=schema))
        with spool.finish() as table:
            read = pq.read_table(table.file)
    assert str(read["n"].type) == "decimal128(38, 3)"
    assert read["n"].to_pylist()[2] == Decimal("-12345678901234567890.500")


def open_files(directory):
    """The open files of this process in a directory; their names say "(deleted)"."""
    targets = [link.readlink() for link in list(Path("/proc/self/fd").iterdir()) if link.is_symlink()]
    return [target for target in targets if target.is_relative_to(directory)]


def test_temporary_files_have_no_name_and_are_closed(tmp_path):
    """The files live in the directory chosen, without a name, and are gone when the table is closed."""
    columns = Columns(["x"])
    with Spool(str(tmp_path)) as spool:
        spool.write(columns.batch([(1,)]))
        spool.write(columns.batch([("x",)]))
        assert len(open_files(tmp_path)) == 2
        assert list(tmp_path.iterdir()) == []
        table = spool.finish()
    assert len(open_files(tmp_path)) == 1
    with table:
        assert list(tmp_path.iterdir()) == []
    assert open_files(tmp_path) == []


def test_temporary_files_after_an_error(tmp_path):
    """An error on the way closes them too."""
    with pytest.raises(KeyError), Spool(str(tmp_path)) as spool:  # noqa: PT012 - the error happens within
        spool.write(Columns(["x"]).batch([(1,)]))
        raise KeyError
    assert open_files(tmp_path) == []


def test_temporary_files_after_a_value_that_does_not_fit(tmp_path):
    """An error while the segments are put together closes all of them."""
    columns = Columns(["x"])
    kept = []
    with pytest.raises(PolyteiaError, match="does not fit"), Spool(str(tmp_path)) as spool:  # noqa: PT012 - as above
        spool.write(columns.batch([(True,)]))
        spool.write(columns.batch([(Decimal("1E+30"),)]))
        spool.write(columns.batch([(Decimal("1E-30"),)]))
        kept += spool._segments  # not to be closed by the garbage collector
        spool.finish()
    assert open_files(tmp_path) == []


def test_no_directory():
    """A directory that is not there is told with the argument that names it."""
    with pytest.raises(PolyteiaConfigurationError, match=r"'/nowhere': No such file.*argument 'temp_dir'"):
        Spool("/nowhere").write(Columns(["x"]).batch([(1,)]))


def test_disk_full(tmp_path):
    """A disk that fills up is told with the directory, and nothing is left."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    batch = Columns(["x"]).batch([(os.urandom(1000),) for _ in range(1000)])
    try:
        with pytest.raises(PolyteiaError, match=r"could not be written: File too large.*'temp_dir'"):
            fill(Spool(str(tmp_path)), batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert open_files(tmp_path) == []


def fill(spool, batch):
    with spool:
        for _ in range(100):
            spool.write(batch)
        spool.finish()
