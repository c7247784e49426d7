"""`DatasetUploadedEventTrigger` without shared streams: its arguments, its serialization, and Airflow before 3.3."""

from __future__ import annotations

import asyncio

import pytest
from asset_watchers import IN_SOLUTION, polls, until, upload

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.triggers import dataset
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedEventTrigger
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS

needs_airflow_3 = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="needs Airflow 3")


@needs_airflow_3
def test_alone_before_airflow_3_3(sandbox, make_dataset):
    """Without shared streams, `run` polls itself and keeps the watermark in memory."""
    dataset_id = make_dataset("d")

    async def main():
        events = DatasetUploadedEventTrigger(slug="d", **IN_SOLUTION).run()
        first = asyncio.ensure_future(anext(events))
        await polls(sandbox, 1)
        await upload(sandbox, dataset_id)
        async with asyncio.timeout(5):
            payload = (await first).payload
        await events.aclose()
        return payload["slug"]

    assert asyncio.run(main()) == "d"


@needs_airflow_3
def test_missing_dataset(sandbox, caplog):
    """That the dataset does not exist is logged once, because the slug may be wrong; the trigger keeps polling."""

    async def main():
        events = DatasetUploadedEventTrigger(slug="bookngs", **IN_SOLUTION).run()
        first = asyncio.ensure_future(anext(events))
        await until(lambda: sandbox.count("get_dataset") + sandbox.count("list_datasets") >= 4)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(main())
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "slug='bookngs' does not exist. Watching continues" in warnings[0]


@needs_airflow_3
def test_which_watchers_share_polls():
    """Watchers with the same connection, solution and interval share polls; the dataset distinguishes watchers."""
    from airflow.triggers.base import BaseEventTrigger  # noqa: PLC0415 - new in Airflow 3

    def make(**options):
        return DatasetUploadedEventTrigger(**{"solution_id": "sol_1", "slug": "d", **options})

    key = make().shared_stream_key()
    assert make(slug="other", min_size=3, uploaded_after="2026-01-01").shared_stream_key() == key
    assert make(slug=None, dataset_id="ds_1").shared_stream_key() == key
    for different in ({"solution_id": "sol_2"}, {"poke_interval": 5}, {"polyteia_conn_id": "other"}):
        assert make(**different).shared_stream_key() != key
    hashes = {
        BaseEventTrigger.hash(*trigger.serialize())
        for trigger in (make(), make(), make(slug="other"), make(min_size=1), make(slug=None, dataset_id="ds_1"))
    }
    assert len(hashes) == 4


@needs_airflow_3
def test_serialization():
    """What Airflow stores creates the same trigger; timestamps are ISO 8601 in UTC."""
    trigger = DatasetUploadedEventTrigger(dataset_id="ds_1", uploaded_after="2026-03-01", min_size=3, poke_interval=5)
    path, options = trigger.serialize()
    assert path == f"{dataset.__name__}.DatasetUploadedEventTrigger"
    assert options["uploaded_after"] == "2026-03-01T00:00:00+00:00"
    assert DatasetUploadedEventTrigger(**options).serialize() == (path, options)


@needs_airflow_3
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"slug": "d"},
        {"solution_id": "sol_1"},
        {"dataset_id": "ds_1", "solution_id": "sol_1", "slug": "d"},
        {"dataset_id": "ds_1", "poke_interval": 0},
        {"dataset_id": "ds_1", "uploaded_after": "soon"},
    ],
)
def test_unusable_arguments(options):
    """Unusable arguments are rejected when the DAG file is parsed."""
    with pytest.raises(PolyteiaConfigurationError):
        DatasetUploadedEventTrigger(**options)


def test_airflow_2(monkeypatch):
    """On Airflow 2, the error recommends the sensor."""
    monkeypatch.setattr(dataset, "AIRFLOW_V_3_0_PLUS", False)
    with pytest.raises(PolyteiaConfigurationError, match=r"needs Airflow 3\.0 or newer.*DatasetUploadedSensor"):
        DatasetUploadedEventTrigger(dataset_id="ds_1")
