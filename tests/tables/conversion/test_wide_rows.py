"""Rows that are so wide that DuckDB's usual way to write them takes too much memory."""

from __future__ import annotations

import random

import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaDataError
from airflow_provider_polyteia.tables import engine
from airflow_provider_polyteia.tables.conversion.convert import convert_file

ROWS = 3_000


@pytest.fixture
def path(tmp_path):
    """A file of 60 MB."""
    texts = random.Random(1)
    found = tmp_path / "wide.csv"
    with found.open("w") as file:
        file.write("id;text\n")
        file.writelines(f"{number};{texts.randbytes(10_000).hex()}\n" for number in range(ROWS))
    return str(found)


@pytest.mark.slow
def test_wide_rows(path, monkeypatch, caplog):
    """They are written in one thread, which needs less memory, and keep their order."""
    caplog.set_level("INFO")
    monkeypatch.setattr(engine.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(engine, "MEMORY_LIMIT", "150MB")
    with convert_file(path, convert=True) as table:
        assert table.columns == {"id": "int64", "text": "string"}
        parquet = pq.ParquetFile(table.file)
        assert parquet.read(columns=["id"])["id"].to_pylist() == list(range(ROWS))
        assert parquet.num_row_groups > 1
    assert "reading them again in one thread" in caplog.text


def test_too_wide(path, monkeypatch):
    """If DuckDB's memory does not suffice even so, the exception says that, and nothing else about the file."""
    monkeypatch.setattr(engine, "MEMORY_LIMIT", "30MB")
    with pytest.raises(PolyteiaDataError, match=r"'wide.csv' cannot be converted: its rows are so large that DuckDB"):
        convert_file(path, convert=True)
