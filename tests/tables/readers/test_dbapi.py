"""The DB-API reader with SQLite, a database that does not report column types."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_polyteia.tables.readers.base import Query
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader


def read_batches(sql, parameters=None, **options):
    hook = BaseHook.get_connection("city").get_hook()
    return list(DbApiReader(hook, Query(sql, parameters, **options)).read_batches())


def test_first_batch_is_empty(city):
    """The first batch has all columns but no rows, so that an empty result has columns too."""
    first, *others = read_batches("SELECT * FROM bookings")
    assert (first.num_rows, first.schema.names) == (0, ["id", "amount", "street", "note", "scan"])
    assert sum(batch.num_rows for batch in others) == 5000


def test_wide_rows_make_small_batches(city):
    """The size of a batch is limited, regardless of how wide the rows are."""
    batches = read_batches("SELECT hex(randomblob(5000)) AS x FROM bookings", batch_bytes=1_000_000)
    sizes = [batch.num_rows for batch in batches]
    assert max(sizes[2:]) <= 110
    assert sum(sizes) == 5000
