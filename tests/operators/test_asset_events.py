"""The extra of the asset events that a write emits for the task's outlets."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias, BaseOperator
from conftest import outlet_events

from airflow_provider_polyteia.assets.polyteia import polyteia_asset
from airflow_provider_polyteia.operators.asset_events import add_event_extra
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS

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


def test_alias_with_nested_values():
    """Airflow 2 hashes the values of an alias's extra, and would fail the task after the upload."""
    alias, events = AssetAlias("bookings"), outlet_events()
    task = BaseOperator(task_id="load", outlets=[alias])
    add_event_extra({"outlet_events": events}, task, HOST, "ds_1", {"columns": {"a": "int64"}})
    ((_, extra),) = alias_events(events[alias])
    if AIRFLOW_V_3_0_PLUS:
        assert extra == {"columns": {"a": "int64"}}
    else:
        assert frozenset(extra.items()) == {("columns", '{"a": "int64"}')}


def test_one_event_for_an_asset_and_its_aliases():
    """Outlets that an alias's event includes are removed; all aliases get the asset with its own name."""
    name = {"name": "bookings"} if AIRFLOW_V_3_0_PLUS else {}
    asset, other, file = polyteia_asset("ds_1", **name), polyteia_asset("ds_2"), Asset(uri="s3://bucket/key")
    aliases, events = [AssetAlias("a"), AssetAlias("b")], outlet_events()
    task = BaseOperator(task_id="load", outlets=[asset, other, *aliases, file])
    add_event_extra({"outlet_events": events}, task, HOST, "ds_1", EXTRA)
    assert task.outlets == [other, *aliases, file]
    for alias in aliases:
        assert alias_events(events[alias]) == [(asset.uri, {"rows": 3, "bytes": 120})]
    if AIRFLOW_V_3_0_PLUS:
        assert events[aliases[0]].asset_alias_events[0].dest_asset_key.name == "bookings"


def unknown_to_airflow(kind):
    """The events of a task run whose database does not know any asset by name or URI."""
    from airflow.sdk.exceptions import AirflowRuntimeError  # noqa: PLC0415 - Airflow 3
    from airflow.sdk.execution_time.comms import ErrorResponse  # noqa: PLC0415 - Airflow 3

    class Events(type(outlet_events())):
        def __getitem__(self, key):
            if isinstance(key, Asset | AssetAlias):
                return super().__getitem__(key)
            raise AirflowRuntimeError(ErrorResponse(error=kind))

    return Events()


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no references to assets")
def test_reference_that_airflow_does_not_know():
    """A task whose outlet refers to an unknown asset does not fail after its write; its alias gets the dataset."""
    from airflow.sdk.exceptions import ErrorType  # noqa: PLC0415 - Airflow 3

    alias, events = AssetAlias("bookings"), unknown_to_airflow(ErrorType.ASSET_NOT_FOUND)
    outlets = [Asset.ref(name="unknown"), Asset.ref(uri="polyteia://app.polyteia.com/ds_1"), alias]
    task = BaseOperator(task_id="load", outlets=outlets)
    add_event_extra({"outlet_events": events}, task, HOST, "ds_1", EXTRA)
    assert alias_events(events[alias]) == [("polyteia://app.polyteia.com/ds_1", {"rows": 3, "bytes": 120})]


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no references to assets")
def test_reference_that_cannot_be_resolved():
    """Any other failure of Airflow is not taken for an unknown asset."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # noqa: PLC0415 - Airflow 3

    task = BaseOperator(task_id="load", outlets=[Asset.ref(name="bookings")])
    events = unknown_to_airflow(ErrorType.GENERIC_ERROR)
    with pytest.raises(AirflowRuntimeError):
        add_event_extra({"outlet_events": events}, task, HOST, "ds_1", EXTRA)


@pytest.mark.parametrize("context", [{}, {"outlet_events": None}])
def test_no_outlets(context):
    """Without outlets, the context is not used."""
    before = dict(context)
    add_event_extra(context, BaseOperator(task_id="load"), HOST, "no id", EXTRA)
    assert context == before
