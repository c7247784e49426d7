"""Parquet files, and folders and patterns of them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from conversions import converted

from airflow_provider_polyteia.exceptions import PolyteiaDataError, PolyteiaError


def write(path, **columns):
    """Write a Parquet file, on this machine or in object storage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        pq.write_table(pa.table(columns), file)


@pytest.fixture(params=["local", "stored"])
def folder(request, tmp_path):
    """A folder on this machine, and one in object storage."""
    if request.param == "local":
        return tmp_path / "day"
    return ObjectStoragePath(request.getfixturevalue("object_storage")) / "day"


def test_folder(folder):
    """All files of a folder are one table, in the order of their names; what Spark writes beside them is none."""
    write(folder / "part-00001.snappy.parquet", id=[2], name=["b"])
    write(folder / "part-00000.snappy.parquet", id=[1], name=["a"])
    write(folder / "_temporary" / "part-00002.parquet", id=[9], name=["x"])
    write(folder / ".part-00003.parquet", id=[9], name=["x"])
    (folder / "_SUCCESS").write_bytes(b"")
    assert converted(str(folder)) == (
        {"id": "int64", "name": "string"},
        [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    )


def test_partitions(folder):
    """Folders with names such as `month=01` hold columns, whose zeros are kept."""
    write(folder / "year=2026" / "month=01" / "part-0.parquet", id=[1])
    write(folder / "year=2026" / "month=11" / "part-0.parquet", id=[2])
    assert converted(str(folder))[1] == [
        {"id": 1, "month": "01", "year": 2026},
        {"id": 2, "month": "11", "year": 2026},
    ]


def test_pattern(folder):
    """A pattern chooses files of a folder, and columns may differ from file to file."""
    write(folder / "a-1.parquet", id=[1])
    write(folder / "a-2.parquet", id=[2], new=["x"])
    write(folder / "b-1.parquet", id=[3])
    assert converted(str(folder / "a-*.parquet"))[1] == [{"id": 1, "new": None}, {"id": 2, "new": "x"}]


def test_nothing_there(folder):
    """A folder without Parquet files and a pattern without files are refused; so is a file that does not exist."""
    write(folder / "_x.parquet", id=[1])
    with pytest.raises(PolyteiaDataError, match="a folder without Parquet files"):
        converted(str(folder))
    with pytest.raises(PolyteiaDataError, match="a pattern that matches no file"):
        converted(str(folder / "b*.parquet"))
    with pytest.raises(PolyteiaError, match=r"x\.parquet"):
        converted(str(folder / "x.parquet"))


def test_damaged_member(folder):
    """One damaged file refuses the folder, by name."""
    write(folder / "a.parquet", id=[1])
    (folder / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(PolyteiaDataError, match=r"a folder whose file 'b\.parquet' is not a complete Parquet file"):
        converted(str(folder))


def test_types(tmp_path):
    """Types that not every reader of Parquet knows become ones that they know, without losing anything."""
    write(
        tmp_path / "x.parquet",
        u=pa.array([2**64 - 1], pa.uint64()),
        i=pa.array([2**31 - 1], pa.int32()),
        dec=pa.array([Decimal("1.50")], pa.decimal128(30, 2)),
        d=pa.array([dt.date(2026, 12, 31)]),
        ns=pa.array([1000], pa.timestamp("ns")),
        s=pa.array([{"a": [1, 2]}]),
        e=pa.array(["x"]).dictionary_encode(),
        n=pa.nulls(1),
    )
    assert converted(str(tmp_path / "x.parquet")) == (
        {
            "u": "decimal128(20, 0)",
            "i": "int32",
            "dec": "decimal128(30, 2)",
            "d": "date32[day]",
            "ns": "timestamp[ns]",
            "s": "string",
            "e": "string",
            "n": "string",
        },
        [
            {
                "u": Decimal(2**64 - 1),
                "i": 2**31 - 1,
                "dec": Decimal("1.50"),
                "d": dt.date(2026, 12, 31),
                "ns": dt.datetime(1970, 1, 1, 0, 0, 0, 1),
                "s": '{"a":[1,2]}',
                "e": "x",
                "n": None,
            }
        ],
    )


def test_wide_decimals(tmp_path):
    """Decimals of up to 76 digits are exact if their values have no more than 38; DuckDB would read other numbers."""
    path = tmp_path / "x.parquet"
    write(path, id=[1, 2], d=pa.array([Decimal("1.50"), None], pa.decimal256(60, 2)))
    types, rows = converted(str(path))
    assert (types["d"], [row["d"] for row in rows]) == ("decimal128(38, 2)", [Decimal("1.50"), None])
    with pytest.raises(PolyteiaDataError, match=r"file 'x\.parquet' is Parquet with decimals of more than 38 digits"):
        converted(str(tmp_path))
    write(path, d=pa.array([Decimal(10**40)], pa.decimal256(60, 2)))
    with pytest.raises(PolyteiaDataError, match="decimals of more than 38 digits"):
        converted(str(path))


def test_declared_and_sticky_types(tmp_path):
    """`columns` decides, and the type of the last load is kept if it is wider."""
    write(tmp_path / "x.parquet", a=[1], b=[1], c=[1.5])
    previous = {"b": "double", "c": "int64"}
    types, _ = converted(str(tmp_path / "x.parquet"), {"columns": {"a": "VARCHAR"}}, previous=previous)
    assert types == {"a": "string", "b": "double", "c": "double"}


def test_several_row_groups(tmp_path):
    """Rows keep their order."""
    write(tmp_path / "x.parquet", id=list(range(200_000)))
    rows = converted(str(tmp_path / "x.parquet"))[1]
    assert [row["id"] for row in rows] == list(range(200_000))
