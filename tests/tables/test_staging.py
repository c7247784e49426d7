"""Staging of record batches: segments, row groups, provisional types and temporary files."""

from __future__ import annotations

import os
import resource
import tempfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.columns import InferredColumn, to_batch
from airflow_provider_polyteia.tables.staging import ParquetStaging, provisional_decimal


@pytest.fixture
def created_files(monkeypatch):
    """All temporary files that a test has created. They stay referenced, so the garbage collector closes none."""
    files = []
    create = tempfile.TemporaryFile

    def create_and_record(**options):
        files.append(create(**options))
        return files[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", create_and_record)
    return files


def find_open_files(directory):
    """The open files of this process in a directory; the names of unnamed files end with "(deleted)"."""
    targets = [link.readlink() for link in list(Path("/proc/self/fd").iterdir()) if link.is_symlink()]
    return [target for target in targets if target.is_relative_to(directory)]


def read_row_count(file):
    """The number of rows of a Parquet file that may still be open for writing, or None if it is not complete."""
    with Path(f"/proc/self/fd/{file.fileno()}").open("rb") as copy:
        try:
            return pq.read_metadata(copy).num_rows
        except pa.ArrowInvalid:
            return None


def test_known_schema_is_one_segment(created_files):
    """If the schema does not change, the rows are written only once."""
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    with ParquetStaging() as staging:
        for part in range(3):
            staging.write(pa.RecordBatch.from_arrays([pa.array([part]), pa.array(["x"])], schema=schema))
        with staging.finish() as table:
            assert created_files == [table.file]
            assert pq.read_table(table.file)["a"].to_pylist() == [0, 1, 2]


def test_row_groups_are_limited():
    """Row groups have the maximum number of rows, and are not much smaller either, regardless of the batches."""
    columns = [InferredColumn("x")]
    with ParquetStaging(row_group_rows=1000) as staging:
        for _ in range(50):
            staging.write(to_batch(columns, [(1,)] * 130))
        with staging.finish() as table:
            metadata = pq.read_metadata(table.file)
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert (sum(sizes), max(sizes)) == (6500, 1000)
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert len(sizes) <= 14


def test_only_the_last_segment_is_in_memory(created_files):
    """Each change of the schema completes the previous segment on disk; only rows of the last one are buffered."""
    columns = [InferredColumn(f"c{index}") for index in range(20)]
    with ParquetStaging() as staging:
        for last_text in range(20):
            row = ["x" * 100 if index <= last_text else None for index in range(20)]
            staging.write(to_batch(columns, [row] * 10))
            *earlier, last = created_files
            assert [read_row_count(file) for file in earlier] == [10] * last_text
            assert read_row_count(last) is None
            assert last.tell() == len(b"PAR1")
        with staging.finish() as table:
            assert pq.read_table(table.file).num_rows == table.rows == 200


def test_decimal_places():
    """A provisional decimal gets as many decimal places as the values of all batches need."""
    schema = pa.schema([provisional_decimal("n")])
    with ParquetStaging() as staging:
        for values in (["1", None], ["-12345678901234567890.5"], ["0.000", "7"]):
            staging.write(pa.RecordBatch.from_arrays([pa.array(values, pa.string())], schema=schema))
        with staging.finish() as table:
            read = pq.read_table(table.file)
    assert str(read["n"].type) == "decimal128(38, 3)"
    assert read["n"].to_pylist()[2] == Decimal("-12345678901234567890.500")


def test_temporary_files_have_no_name_and_are_closed(tmp_path):
    """The files are in the given directory, have no name and disappear when the table is closed."""
    columns = [InferredColumn("x")]
    with ParquetStaging(str(tmp_path)) as staging:
        staging.write(to_batch(columns, [(1,)]))
        staging.write(to_batch(columns, [("x",)]))
        assert len(find_open_files(tmp_path)) == 2
        assert list(tmp_path.iterdir()) == []
        table = staging.finish()
    assert len(find_open_files(tmp_path)) == 1
    with table:
        assert list(tmp_path.iterdir()) == []
    assert find_open_files(tmp_path) == []


def test_temporary_files_after_an_error(tmp_path, created_files):
    """An error while rows are written closes all files."""
    with pytest.raises(KeyError), ParquetStaging(str(tmp_path)) as staging:  # noqa: PT012 - the error is raised inside
        staging.write(to_batch([InferredColumn("x")], [(1,)]))
        raise KeyError
    assert [file.closed for file in created_files] == [True]
    assert find_open_files(tmp_path) == []


def test_temporary_files_after_a_value_that_does_not_fit(tmp_path, created_files):
    """An error while segments are merged closes all files."""
    columns = [InferredColumn("x")]
    with pytest.raises(PolyteiaError, match="does not fit"), ParquetStaging(str(tmp_path)) as staging:  # noqa: PT012 - the error is raised inside
        staging.write(to_batch(columns, [(True,)]))
        staging.write(to_batch(columns, [(Decimal("1E+30"),)]))
        staging.write(to_batch(columns, [(Decimal("1E-30"),)]))
        staging.finish()
    assert [file.closed for file in created_files] == [True] * 3  # two segments and the merged one
    assert find_open_files(tmp_path) == []


def test_missing_directory():
    """A missing directory is an error that names the argument to change."""
    with pytest.raises(
        PolyteiaConfigurationError,
        match=r"Cannot create a temporary file in '/nowhere': No such file.*Set 'temp_dir' to a different directory",
    ):
        ParquetStaging("/nowhere").write(to_batch([InferredColumn("x")], [(1,)]))


def test_disk_full(tmp_path):
    """A full disk is an error that names the directory, and all files are closed."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    batch = to_batch([InferredColumn("x")], [(os.urandom(1000),) for _ in range(1000)])
    try:
        with pytest.raises(PolyteiaError, match=r"could not be written: File too large.*'temp_dir'") as caught:
            write_many(ParquetStaging(str(tmp_path)), batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path) in str(caught.value)
    assert find_open_files(tmp_path) == []


def write_many(staging, batch):
    with staging:
        for _ in range(100):
            staging.write(batch)
        staging.finish()
