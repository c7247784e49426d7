"""Rows that are so wide that DuckDB's usual way to write them takes too much memory."""

from __future__ import annotations

import random

import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaDataError
from airflow_provider_polyteia.tables import engine
from airflow_provider_polyteia.tables.conversion.convert import convert_file

ROWS = 6_000


def lines(kind):
    texts = random.Random(1)
    yield "id;text\n" if kind == "csv" else ""
    for number in range(ROWS):
        text = texts.randbytes(10_000).hex()
        yield f"{number};{text}\n" if kind == "csv" else f'{{"id":{number},"text":"{text}"}}\n'


@pytest.fixture
def path(tmp_path, kind):
    """A file of 120 MB."""
    found = tmp_path / f"wide.{kind}"
    with found.open("w") as file:
        file.writelines(lines(kind))
    return str(found)


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_wide_rows(path, monkeypatch, caplog):
    """They are written in one thread, which needs less memory, and keep their order."""
    caplog.set_level("INFO")
    monkeypatch.setattr(engine.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(engine, "MEMORY_LIMIT", "250MB")
    with convert_file(path, convert=True) as table:
        assert table.columns == {"id": "int64", "text": "string"}
        parquet = pq.ParquetFile(table.file)
        assert parquet.read(columns=["id"])["id"].to_pylist() == list(range(ROWS))
        groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
    assert max(group.total_byte_size for group in groups) < 80_000_000  # 2,048 rows at least
    assert "reading them again in one thread" in caplog.text


@pytest.mark.parametrize("kind", ["csv"])
def test_too_wide(path, monkeypatch):
    """If DuckDB's memory does not suffice even so, the exception says that, and nothing else about the file."""
    monkeypatch.setattr(engine, "MEMORY_LIMIT", "30MB")
    with pytest.raises(PolyteiaDataError, match=r"'wide.csv' cannot be converted: its rows are so large that DuckDB"):
        convert_file(path, convert=True)
