"""Converts files, and reads the result."""

from __future__ import annotations

import io

import pyarrow.parquet as pq

from airflow_provider_polyteia.tables.conversion.convert import convert_file


def converted(source, convert=True, **arguments):
    """Return the types and the rows of a converted file."""
    with convert_file(source, convert, **arguments) as table:
        found = pq.read_table(table.file)
        assert (table.rows, table.columns) == (found.num_rows, {field.name: str(field.type) for field in found.schema})
        return table.columns, found.to_pylist()


def named(content, name):
    """Return a file object."""
    file = io.BytesIO(content)
    file.name = name
    return file
