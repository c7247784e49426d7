"""Airflow 3.0 fails a task that pushes None as an XCom. On this version only, values that are None are omitted."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import Asset
from conftest import outlet_events
from servers import data

from airflow_provider_polyteia import version_compat
from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.operators.polyteia import PolyteiaCommandOperator, PolyteiaQueryOperator
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

UPLOADED = {"id": "ds_1", "slug": None, "metadata": {"asset_info": {"uploaded_at": "2026-03-01T06:00:00Z"}}}


@pytest.fixture
def airflow_3_0(monkeypatch):
    """Make operators behave as on that version."""
    monkeypatch.setattr("airflow_provider_polyteia.operators.base.REFUSES_EMPTY_XCOMS", True)


def make(deferrable=False, **options):
    return DatasetUploadedSensor(task_id="wait", dataset_id="ds_1", deferrable=deferrable, **options)


def test_only_in_airflow_3_0():
    """On other versions, and if all fields are one XCom, a field without a value is None."""
    fields = {"path": None, "bytes": 0}
    expected = {"bytes": 0} if version_compat.AIRFLOW_VERSION.startswith("3.0.") else fields
    assert PolyteiaSqlOperator(task_id="t", sql="FROM 'ds_1'", datasets="ds_1").xcom_value(fields) == expected
    assert make(multiple_outputs=False).xcom_value(fields) == fields


@pytest.mark.parametrize(
    "task",
    [
        PolyteiaCommandOperator(task_id="t", command="create_tag", multiple_outputs=True),
        PolyteiaQueryOperator(task_id="t", query="get_tag", multiple_outputs=True),
    ],
    ids=["command", "query"],
)
def test_commands_and_queries(connected, airflow_3_0, task):
    """A result that is pushed as several XComs."""
    connected.respond(data({"id": "tag_1", "description": None}))
    assert task.execute({}) == {"id": "tag_1"}


def test_record(connected, airflow_3_0):
    """A record that is pushed as several XComs."""
    connected.respond(data({"id": "ds_1", "name": "D", "source": None}))
    task = CreateDatasetOperator(task_id="t", name="D", slug="d", solution_id="sol_1", multiple_outputs=True)
    assert task.execute({}) == {"id": "ds_1", "name": "D"}


@pytest.mark.parametrize("deferrable", [False, True])
def test_sensor(connected, airflow_3_0, deferrable):
    """An upload of which the platform returns only the timestamp."""
    connected.respond(data(UPLOADED))
    assert make(deferrable).execute({}) == {"id": "ds_1", "uploaded_at": "2026-03-01T06:00:00Z"}


def test_resumed_sensor(airflow_3_0):
    """An upload that the triggerer found, with only its timestamp."""
    event = {"status": "uploaded", "dataset": {"id": "ds_1", "uploaded_at": "2026-03-01", "size": None}}
    assert make().execute_complete({}, event) == {"id": "ds_1", "uploaded_at": "2026-03-01"}


def test_file(connected, airflow_3_0, tmp_path):
    """A file whose rows are not known: the asset event and OpenLineage still get its size."""
    connected.respond(lambda request: data(None) if request.path == "/upload" else data({"token": "t"}))
    path = tmp_path / "data.csv"
    path.write_text("a")
    asset = Asset(f"polyteia://{connected.url.removeprefix('http://')}/ds_1")
    task = FileToPolyteiaOperator(task_id="t", source=str(path), dataset_id="ds_1", outlets=[asset])
    events = outlet_events()
    result = task.execute({"outlet_events": events})
    assert "rows" not in result
    assert result["bytes"] == 1
    assert events[asset].extra == {"bytes": 1, "columns": {}}
    pytest.importorskip("airflow.providers.openlineage", reason="the OpenLineage provider is optional")
    (output,) = task.get_openlineage_facets_on_complete(None).outputs
    assert output.outputFacets["outputStatistics"].size == 1
