"""The extra of the asset events that a write emits for the task's outlets."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias, BaseOperator
from conftest import outlet_events

from airflow_provider_polyteia.assets.polyteia import polyteia_asset
from airflow_provider_polyteia.operators.asset_events import add_event_extra

HOST = "https://app.polyteia.com"
EXTRA = {"rows": 3, "bytes": 120, "source_timestamp": None}


def alias_events(accessor):
    """(URI, extra) of the events that are emitted through an alias."""
    try:
        return [(event.dest_asset_key.uri, event.extra) for event in accessor.asset_alias_events]
    except AttributeError:
        return [(event["dest_dataset_uri"], event["extra"]) for event in accessor.dataset_alias_events]


def emit(*outlets):
    events = outlet_events()
    task = BaseOperator(task_id="load", outlets=list(outlets))
    add_event_extra({"outlet_events": events}, task, HOST, "ds_1", EXTRA)
    return events


def test_dataset_among_the_outlets():
    """The event of the dataset's asset gets the extra, without unknown values; other events do not."""
    written, other, file = polyteia_asset("ds_1"), polyteia_asset("ds_2"), Asset(uri="s3://bucket/key")
    events = emit(other, written, file)
    assert events[written].extra == {"rows": 3, "bytes": 120}
    assert events[other].extra == {}
    assert events[file].extra == {}


def test_alias():
    """An alias adds the dataset as an asset that is only known at run time."""
    alias = AssetAlias("bookings")
    events = emit(alias)
    assert alias_events(events[alias]) == [("polyteia://app.polyteia.com/ds_1", {"rows": 3, "bytes": 120})]


@pytest.mark.parametrize("context", [{}, {"outlet_events": None}])
def test_no_outlets(context):
    """Without outlets, the context is not used."""
    before = dict(context)
    add_event_extra(context, BaseOperator(task_id="load"), HOST, "no id", EXTRA)
    assert context == before
