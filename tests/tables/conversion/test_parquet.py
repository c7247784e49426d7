"""Parquet files, and folders and patterns of them."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from conversions import converted

from airflow_provider_polyteia.exceptions import PolyteiaDataError, PolyteiaError

pytestmark = pytest.mark.slow  # many conversions


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


def test_partition_values(folder):
    """A value is all that follows the first `=` of a folder's name, decoded; Spark has a name for missing ones."""
    for value in ("a=b", "c%3Dd", "__HIVE_DEFAULT_PARTITION__"):
        write(folder / f"k={value}" / "part-0.parquet", id=[1])
    assert [row["k"] for row in converted(str(folder))[1]] == [None, "a=b", "c=d"]


def test_partitions_above(folder):
    """Only folders below the one that is converted are columns."""
    write(folder / "year=2026" / "month=01" / "part-0.parquet", id=[1])
    assert converted(str(folder / "year=2026"))[1] == [{"id": 1, "month": "01"}]


def test_partition_in_file(folder):
    """The name of a folder decides about a column that its files have too."""
    write(folder / "k=1" / "part-0.parquet", k=[1.5], id=[1])
    write(folder / "k=2" / "part-0.parquet", k=["x"], id=[2])
    assert converted(str(folder))[1] == [{"id": 1, "k": 1}, {"id": 2, "k": 2}]


def test_unclear_partitions(folder):
    """All files lie in folders of the same columns, and have no column of the name that the position of a file has."""
    write(folder / "k=5" / "a.parquet", id=[1])
    write(folder / "z.parquet", id=[2])
    with pytest.raises(PolyteiaDataError, match=r"folders for different columns: 'k=5/a\.parquet', 'z\.parquet'"):
        converted(str(folder))
    write(folder / "year" / "k=5" / "a.parquet", File_Index=[1])
    with pytest.raises(PolyteiaDataError, match="a column 'file_index'"):
        converted(str(folder / "year"))


@pytest.mark.parametrize(
    "names",
    [
        ("part1.parquet", "part[1].parquet"),
        ("a*.parquet", "ab.parquet"),
        ("a?.parquet", "ab.parquet"),
        ("x1/a.parquet", "x[1]/a.parquet"),
        ("[!a].parquet", "b.parquet"),
        ("**/a.parquet", "b/a.parquet"),
        ("{a,b}.parquet", "a.parquet"),
        ("[[]/a.parquet", "[/a.parquet"),
        ("a]b.parquet", "a b%20#.parquet"),
        ("k=[1]/a.parquet", "k=1/a.parquet"),
    ],
)
def test_names_that_look_like_patterns(folder, names):
    """Each file is read once, whatever its name."""
    for value, name in enumerate(names):
        write(folder / name, id=[value])
    assert sorted(row["id"] for row in converted(str(folder))[1]) == [0, 1]


def test_folder_that_looks_like_a_pattern(folder):
    """The name of the folder is not a pattern, neither for a folder nor for a pattern in it."""
    write(folder / "x[1]" / "a.parquet", id=[1])
    write(folder / "x1" / "a.parquet", id=[2])
    assert converted(str(folder / "x[1]"))[1] == [{"id": 1}]
    assert converted(str(folder / "x[1]" / "*.parquet"))[1] == [{"id": 1}]


def test_backslashes(tmp_path):
    """A backslash is part of a name; DuckDB cannot open it together with a character of patterns."""
    write(tmp_path / "a\\b.parquet", id=[1])
    assert converted(str(tmp_path))[1] == [{"id": 1}]
    write(tmp_path / "a\\*.parquet", id=[2])
    with pytest.raises(PolyteiaDataError, match="a backslash and one of"):
        converted(str(tmp_path))


def test_suffix_in_capitals(folder):
    """The case of the extension does not matter."""
    write(folder / "a.PARQUET", id=[1])
    write(folder / "b.Parquet", id=[2])
    assert converted(str(folder))[1] == [{"id": 1}, {"id": 2}]


WIDENED = [
    (pa.array([1], pa.int8()), pa.array([2**40], pa.int64()), "int64"),
    (pa.array([255], pa.uint8()), pa.array([-1], pa.int8()), "int16"),
    (pa.array([2**64 - 1], pa.uint64()), pa.array([-1], pa.int64()), "decimal128(38, 0)"),
    (pa.array([2**31 - 1], pa.int32()), pa.array([0.5]), "double"),
    (pa.array([0.5], pa.float32()), pa.array([0.1]), "double"),
    (pa.array([2**63 - 1]), pa.array([Decimal("1.55")], pa.decimal128(18, 2)), "decimal128(21, 2)"),
    (
        pa.array([Decimal("1.5")], pa.decimal128(20, 1)),
        pa.array([Decimal("1.55")], pa.decimal128(10, 2)),
        "decimal128(21, 2)",
    ),
    (pa.nulls(1), pa.array(["x"]), "string"),
    (pa.nulls(1), pa.array([dt.date(2026, 1, 1)]), "date32[day]"),
    (pa.nulls(1), pa.nulls(1), "string"),
    (pa.array([1000], pa.timestamp("us")), pa.array([1000], pa.timestamp("ns")), "timestamp[ns]"),
]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("first", "second", "expected"), WIDENED)
def test_widened_types(folder, first, second, expected, swapped):
    """Types that differ from file to file become one that holds all values."""
    values = (second, first) if swapped else (first, second)
    write(folder / "a.parquet", v=values[0])
    write(folder / "b.parquet", V=values[1])
    types, rows = converted(str(folder))
    (name,) = types
    assert (types[name], [row[name] for row in rows]) == (expected, [value[0].as_py() for value in values])


def test_times(tmp_path):
    """Times are the same whether their file calls them UTC or not."""
    write(tmp_path / "a.parquet", v=[dt.time(1)])
    duckdb.execute(f"COPY (SELECT TIMETZ '02:00:00+00' AS v) TO '{tmp_path / 'b.parquet'}'")
    assert converted(str(tmp_path)) == ({"v": "time64[us]"}, [{"v": dt.time(1)}, {"v": dt.time(2)}])


def test_widened_nested_types(folder):
    """Nested types may have other parts and wider ones."""
    write(
        folder / "a.parquet", v=[{"a": [1]}], l=pa.array([[1]], pa.list_(pa.int8())), n=pa.nulls(1, pa.list_(pa.int8()))
    )
    write(folder / "b.parquet", v=[{"a": [2], "b": "x"}], l=pa.array([[2**40]]), n=[[1]])
    assert converted(str(folder))[1] == [
        {"v": '{"a":[1],"b":null}', "l": "[1]", "n": None},
        {"v": '{"a":[2],"b":"x"}', "l": f"[{2**40}]", "n": "[1]"},
    ]


REJECTED = {
    "BIGINT": pa.array([2**53 + 1]),
    "BOOLEAN": pa.array([True]),
    "DATE": pa.array([dt.date(2026, 1, 1)]),
    "DECIMAL(38,0)": pa.array([Decimal(1)], pa.decimal128(38, 0)),
    "DOUBLE": pa.array([1.5]),
    "FLOAT": pa.array([1.5], pa.float32()),
    "BIGINT[]": pa.array([[2**53 + 1]]),
    "DOUBLE[]": pa.array([[1.5]]),
    "STRUCT(a BIGINT)": pa.array([{"a": 1}]),
    "DECIMAL(38,10)": pa.array([Decimal("1.5")], pa.decimal128(38, 10)),
    "TIMESTAMP": pa.array([1], pa.timestamp("us")),
    "TIMESTAMP WITH TIME ZONE": pa.array([1], pa.timestamp("us", "UTC")),
    "VARCHAR": pa.array(["1"]),
    "BLOB": pa.array([b"1"]),
}
LOSSLESS = {
    ("BIGINT", "DECIMAL(38,0)"),
    ("BIGINT", "DECIMAL(38,10)"),
    ("DATE", "TIMESTAMP"),
    ("DECIMAL(38,0)", "DOUBLE"),
    ("DECIMAL(38,0)", "FLOAT"),
    ("DOUBLE", "DECIMAL(38,10)"),
    ("DOUBLE", "FLOAT"),
}


@pytest.mark.parametrize(("one", "other"), sorted({*itertools.combinations(REJECTED, 2)} - LOSSLESS))
def test_different_types(tmp_path, one, other):
    """Types of which none holds the values of both are rejected, with the column, the types and the files."""
    write(tmp_path / "k=1" / "a.parquet", id=[1], v=REJECTED[one])
    write(tmp_path / "k=1" / "b.parquet", id=[1], v=REJECTED[one])
    write(tmp_path / "k=2" / "a.parquet", id=[1], v=REJECTED[other])
    with pytest.raises(PolyteiaDataError) as rejected:
        converted(str(tmp_path))
    text = str(rejected.value)
    assert "different types of the column 'v'" in text
    assert f"{one} in 'k=1/a.parquet'" in text
    assert f"{other} in 'k=2/a.parquet'" in text


VALUES_FIT = {
    "integers, and integers with gaps": (pa.array([1, 2]), pa.array([1.5, None]), "double", [1.0, 2.0, 1.5, None]),
    "lists of them": (pa.array([[1]]), pa.array([[1.5]]), "string", ["[1.0]", "[1.5]"]),
    "days and times": (
        pa.array([dt.date(2026, 1, 2)]),
        pa.array([dt.datetime(2026, 1, 2, 3)]),
        "timestamp[us]",
        [dt.datetime(2026, 1, 2), dt.datetime(2026, 1, 2, 3)],
    ),
    "prices": (pa.array([Decimal("1.25")]), pa.array([0.1]), "double", [1.25, 0.1]),
    "no texts": (pa.array([], pa.string()), pa.array([1]), "int64", [1]),
    "no integers": (pa.array([1.5]), pa.array([], pa.int64()), "double", [1.5]),
}


@pytest.mark.parametrize(("one", "other", "expected", "values"), VALUES_FIT.values(), ids=VALUES_FIT)
def test_types_of_which_the_values_fit(folder, one, other, expected, values):
    """Types are united if no value changes, and files without rows do not count."""
    write(folder / "a.parquet", v=one)
    write(folder / "b.parquet", v=other)
    types, rows = converted(str(folder))
    assert (types["v"], [row["v"] for row in rows]) == (expected, values)


def test_one_of_three_types(folder):
    """The types that are named are those that do not fit."""
    write(folder / "a.parquet", v=pa.array([1], pa.int8()))
    write(folder / "b.parquet", v=pa.array([2**53 + 1]))
    write(folder / "c.parquet", v=[0.5])
    with pytest.raises(PolyteiaDataError, match=r"BIGINT in 'b\.parquet', DOUBLE in 'c\.parquet'"):
        converted(str(folder))


def test_nothing_there(folder):
    """A folder without Parquet files and a pattern without files are rejected; so is a file that does not exist."""
    write(folder / "_x.parquet", id=[1])
    with pytest.raises(PolyteiaDataError, match="a folder without Parquet files"):
        converted(str(folder))
    with pytest.raises(PolyteiaDataError, match="a pattern that matches no file"):
        converted(str(folder / "b*.parquet"))
    with pytest.raises(PolyteiaError, match=r"x\.parquet"):
        converted(str(folder / "x.parquet"))


def test_damaged_member(folder):
    """One damaged file fails the folder, and is named."""
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


WIDE = pa.decimal256(50, 2)
NESTED_DECIMALS = [
    (pa.list_(WIDE), lambda value: [value, None], "[{},null]"),
    (pa.large_list(WIDE), lambda value: [value], "[{}]"),
    (pa.struct({"a": pa.list_(WIDE)}), lambda value: {"a": [value]}, '{{"a":[{}]}}'),
    (pa.map_(pa.string(), WIDE), lambda value: [("k", value)], '{{"k":{}}}'),
]


@pytest.mark.parametrize(("arrow_type", "nest", "expected"), NESTED_DECIMALS, ids=lambda case: str(case)[:20])
def test_wide_nested_decimals(tmp_path, arrow_type, nest, expected):
    """Decimals in lists, structures and mappings are exact as well."""
    path = tmp_path / "x.parquet"
    write(path, v=pa.array([nest(Decimal("1.50")), None], arrow_type))
    assert [row["v"] for row in converted(str(path))[1]] == [expected.format("1.50"), None]
    with pytest.raises(PolyteiaDataError, match=r"file 'x\.parquet' is Parquet with decimals of more than 38 digits"):
        converted(str(tmp_path))
    write(path, v=pa.array([nest(Decimal(10**40))], arrow_type))
    with pytest.raises(PolyteiaDataError, match="decimals of more than 38 digits"):
        converted(str(path))


def test_wide_decimals_in_lists_of_a_fixed_size(tmp_path):
    """Decimals in lists of a fixed size are exact as well. Older versions of pyarrow cannot read those with null."""
    write(tmp_path / "x.parquet", v=pa.array([[Decimal("1.50")]], pa.list_(WIDE, 1)))
    assert converted(str(tmp_path / "x.parquet"))[1] == [{"v": "[1.50]"}]


@pytest.mark.parametrize("nest", [lambda array: array, lambda array: pa.ListArray.from_arrays([0, 1], array)])
@pytest.mark.parametrize("arrow_type", [pa.timestamp("ns", "UTC"), pa.time64("ns")])
def test_nanoseconds(tmp_path, caplog, arrow_type, nest):
    """The log says which columns are truncated to microseconds, if a value is."""
    write(tmp_path / "a.parquet", whole=nest(pa.array([1000], arrow_type)), v=nest(pa.array([1000], arrow_type)))
    converted(str(tmp_path))
    assert "truncated" not in caplog.text
    write(tmp_path / "b.parquet", whole=nest(pa.array([1000], arrow_type)), v=nest(pa.array([1001], arrow_type)))
    for source in (tmp_path, tmp_path / "b.parquet"):
        caplog.clear()
        converted(str(source))
        assert "Values in 'v' of " in caplog.text
        assert "are truncated to microseconds" in caplog.text


@pytest.mark.parametrize("nest", [lambda array: array, lambda array: pa.ListArray.from_arrays([0, 1], array)])
def test_durations(tmp_path, nest):
    """Durations would become numbers without a unit."""
    write(tmp_path / "x.parquet", d=nest(pa.array([5], pa.duration("s"))))
    with pytest.raises(PolyteiaDataError, match="durations in the column 'd'"):
        converted(str(tmp_path / "x.parquet"))
    with pytest.raises(PolyteiaDataError, match=r"file 'x\.parquet' is Parquet with durations in the column 'd'"):
        converted(str(tmp_path))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("arrow_type", [pa.float32(), pa.float64()])
def test_nested_numbers_that_are_not_finite(tmp_path, arrow_type, number):
    """JSON has no NaN and no infinity; a column of numbers has."""
    path = tmp_path / "x.parquet"
    write(path, s=pa.array([{"a": [None, number]}], pa.struct({"a": pa.list_(arrow_type)})))
    with pytest.raises(PolyteiaDataError, match="NaN or infinity in the nested column 's'"):
        converted(str(path))
    write(path, v=pa.array([number], arrow_type), s=[{"a": "NaN", "b": 0.5}])
    assert converted(str(path))[1][0]["s"] == '{"a":"NaN","b":0.5}'


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
