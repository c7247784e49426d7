"""Each date field has a watermark of its own: their times cannot be compared."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from asset_watchers import Store

from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.triggers.watermark import Watermark

AT = datetime(2026, 1, 31, tzinfo=UTC)


def saved_and_loaded(store, saved_field, loaded_field):
    async def main():
        first, second = (Watermark(store, DatasetRef("ds_1")) for _ in range(2))
        await first.load(saved_field)
        await first.save(AT)
        await second.load(loaded_field)
        return second.timestamp

    return asyncio.run(main())


@pytest.mark.parametrize("field", [None, "data_as_of"])
def test_same_field(field):
    """A watcher that starts again finds its watermark."""
    assert saved_and_loaded(Store(), field, field) == AT


@pytest.mark.parametrize("fields", [(None, "data_as_of"), ("data_as_of", None), ("data_as_of", "updated_at")])
def test_other_field(fields):
    """A watcher of another field, or on the other API, starts without a watermark."""
    assert saved_and_loaded(Store(), *fields) is None
