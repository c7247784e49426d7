"""XComs, links and asset events that Airflow can store, whatever the platform returns."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import AssetAlias, BaseOperator
from conftest import outlet_events
from encodable import HIGH_SURROGATE, HUGE, assert_encodable, assert_log_encodable, nested
from servers import body_error, data

from airflow_provider_polyteia.assets.polyteia import polyteia_asset
from airflow_provider_polyteia.operators.asset_events import add_event_extra
from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator, UpdateDatasetOperator
from airflow_provider_polyteia.operators.polyteia import PolyteiaCommandOperator, PolyteiaQueryOperator
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor

# What the platform returns -> what is pushed.
RESULTS = {
    "text": (f"a{HIGH_SURROGATE}b", "a\ufffdb"),
    "key": ({HIGH_SURROGATE: 1}, {"\ufffd": 1}),
    "large": ({"n": HUGE}, {"n": str(HUGE)}),
    "small": ([-HUGE], [str(-HUGE)]),
    "NUL": ({"a\0b": "c\0"}, {"a\ufffdb": "c\ufffd"}),
    "keys that become equal": ({"\0": 1, HIGH_SURROGATE: 2}, {"\ufffd": 1, "\ufffd_": 2}),
    "keys of Airflow": (
        {"a": {"__classname__": "os.system", "__version__": 1}, "__type": "dict", "__var": {}, "__id__": "x"},
        {"a": {"__classname___": "os.system", "__version__": 1}, "__type_": "dict", "__var_": {}, "__id___": "x"},
    ),
    "in a record": ({"id": "x_1", "a": [{"b": HIGH_SURROGATE}]}, {"id": "x_1", "a": [{"b": "\ufffd"}]}),
    "limits": (
        [2**63 - 1, -(2**63), "\U0001f333", True, None, 0.5],
        [2**63 - 1, -(2**63), "\U0001f333", True, None, 0.5],
    ),
}
RECORD = {
    "id": f"ds_1{HIGH_SURROGATE}",
    "slug": f"d{HIGH_SURROGATE}",
    "name": f"D{HIGH_SURROGATE}",
    "solution_id": "sol_1",
    "source": HUGE,
    "metadata": {
        "asset_info": {"uploaded_at": "2026-03-01T06:00:00Z", "size": HUGE, "content_type": HIGH_SURROGATE},
    },
}


class TaskInstance:
    """Replaces the task instance, and records what is pushed."""

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


@pytest.mark.parametrize(("returned", "pushed"), RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("multiple_outputs", [False, True])
@pytest.mark.parametrize("kind", ["command", "query"])
def test_commands_and_queries(connected, kind, multiple_outputs, returned, pushed):
    """The result of a command or query is pushed in encodable form."""
    connected.respond(data(returned))
    task = {
        "command": PolyteiaCommandOperator(task_id="t", command="create_tag", multiple_outputs=multiple_outputs),
        "query": PolyteiaQueryOperator(task_id="t", query="get_tag", multiple_outputs=multiple_outputs),
    }[kind]
    result = task.execute({})
    assert result == pushed
    assert_encodable(result)


@pytest.mark.parametrize("kind", ["command", "query"])
def test_deeply_nested_results(connected, kind):
    """What is nested too deeply for msgpack is abbreviated."""
    connected.respond(data(nested(600)))
    task = {
        "command": PolyteiaCommandOperator(task_id="t", command="create_tag"),
        "query": PolyteiaQueryOperator(task_id="t", query="get_tag"),
    }[kind]
    result = task.execute({})
    assert json.dumps(result) == "[" * 100 + '"..."' + "]" * 100
    assert_encodable(result)


def test_all_pages_of_a_query(connected):
    """The items of all pages are pushed in encodable form."""
    pages = [[{"id": HIGH_SURROGATE, "n": HUGE}], [f"x{HIGH_SURROGATE}"], []]
    connected.respond(*(data({"items": items}) for items in pages))
    result = PolyteiaQueryOperator(task_id="t", query="list_things", paginate=True).execute({})
    assert result == [{"id": "\ufffd", "n": str(HUGE)}, "x\ufffd"]
    assert_encodable(result)


@pytest.mark.parametrize(("returned", "pushed"), RESULTS.values(), ids=RESULTS)
def test_small_result_of_sql(connected, returned, pushed):
    """A small result of SQL is pushed in encodable form."""
    connected.respond(data(returned))
    result = PolyteiaSqlOperator(task_id="t", sql="FROM 'ds_1'", datasets="ds_1").execute({})
    assert result["result"] == pushed
    assert_encodable(result)


def test_large_result_of_sql(connected, tmp_path):
    """A large result of SQL is written to the destination as valid UTF-8, with exact numbers."""
    connected.respond(data({"rows": [[f"a{HIGH_SURROGATE}", HUGE]]}))
    path = tmp_path / "result.json"
    task = PolyteiaSqlOperator(task_id="t", sql="FROM 'ds_1'", datasets="ds_1", max_xcom_bytes=1, destination=str(path))
    result = task.execute({})
    assert_encodable(result)
    assert result["bytes"] == path.stat().st_size
    ((text, number),) = json.loads(path.read_bytes().decode())["rows"]
    assert text.startswith("a")
    assert number == HUGE


@pytest.mark.parametrize("multiple_outputs", [False, True])
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "existing"])
def test_create_dataset(connected, caplog, is_new, multiple_outputs):
    """The record of a dataset, its id, its link and the log lines are encodable."""
    caplog.set_level("INFO")
    if is_new:
        connected.respond(data(RECORD))
    else:
        connected.respond(body_error(500), data({**RECORD, "solution_id": "sol_1", "slug": "d"}))
    ti = TaskInstance()
    task = CreateDatasetOperator(
        task_id="t", name="D", slug="d", solution_id="sol_1", multiple_outputs=multiple_outputs
    )
    result = task.execute({"ti": ti})
    assert result["id"] == "ds_1\ufffd"
    assert result["name"] == "D\ufffd"
    assert result["source"] == str(HUGE)
    assert ti.pushed.get("id") == (None if multiple_outputs else "ds_1\ufffd")
    assert_encodable(result)
    assert_encodable(ti.pushed)
    assert_encodable(task.polyteia_link)
    assert_log_encodable(caplog)


def test_update_dataset(connected):
    """The record of an updated dataset and its id are encodable."""
    connected.respond(data({**RECORD, "id": "ds_1", "name": "D"}), data({**RECORD, "id": "ds_1"}))
    ti = TaskInstance()
    result = UpdateDatasetOperator(task_id="t", dataset_id="ds_1", name="E", source="s", slug="d").execute({"ti": ti})
    assert result["name"] == "D\ufffd"
    assert_encodable(result)
    assert_encodable(ti.pushed)


SUMMARY = {
    "id": "ds_1\ufffd",
    "slug": "d\ufffd",
    "uploaded_at": "2026-03-01T06:00:00Z",
    "size": str(HUGE),
    "content_type": "\ufffd",
}


@pytest.mark.parametrize("deferrable", [False, True])
def test_sensor(connected, deferrable):
    """The upload that a sensor returns, and its link, are encodable."""
    connected.respond(data(RECORD))
    ti = TaskInstance()
    sensor = DatasetUploadedSensor(task_id="t", dataset_id="ds_1", deferrable=deferrable, multiple_outputs=False)
    result = sensor.execute({"ti": ti})
    assert result == SUMMARY
    assert_encodable(result)
    assert_encodable(ti.pushed)


def test_poke_of_a_sensor(connected):
    """The XCom value of a single poke is encodable."""
    connected.respond(data(RECORD))
    poked = DatasetUploadedSensor(task_id="t", dataset_id="ds_1", multiple_outputs=False).poke({})
    assert (poked.is_done, poked.xcom_value) == (True, SUMMARY)
    assert_encodable(poked.xcom_value)


def test_resumed_sensor():
    """The upload from the event of an older trigger is made encodable too."""
    event = {"status": "uploaded", "dataset": {"id": HIGH_SURROGATE, "uploaded_at": "2026-03-01", "size": HUGE}}
    result = DatasetUploadedSensor(task_id="t", dataset_id="ds_1", deferrable=True).execute_complete({}, event)
    assert result == {"id": "\ufffd", "uploaded_at": "2026-03-01", "size": str(HUGE)}
    assert_encodable(result)


@pytest.mark.parametrize("outlet", [polyteia_asset("ds_1"), AssetAlias("later")], ids=["asset", "alias"])
def test_asset_event(outlet):
    """The extra of an asset event is encodable."""
    events = outlet_events()
    task = BaseOperator(task_id="load", outlets=[outlet])
    extra = {"rows": HUGE, "bytes": 1, "note": HIGH_SURROGATE, "more": [nested(600)], "unknown": None}
    add_event_extra({"outlet_events": events}, task, "https://app.polyteia.com", "ds_1", extra)
    accessor = events[outlet]
    found = accessor.extra if not isinstance(outlet, AssetAlias) else extra_of_alias(accessor)
    assert {**found, "more": None} == {"rows": str(HUGE), "bytes": 1, "note": "\ufffd", "more": None}
    assert_encodable(found)


def extra_of_alias(accessor):
    """Return the extra of the only event that is emitted through an alias."""
    try:
        (event,) = accessor.asset_alias_events
    except AttributeError:
        (event,) = accessor.dataset_alias_events
        return event["extra"]
    return event.extra
