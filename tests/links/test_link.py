"""The link 'Open in Polyteia', from the task that knows the id to the button."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from servers import data, status

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaPermissionError
from airflow_provider_polyteia.links import polyteia
from airflow_provider_polyteia.links.polyteia import LINK_KEY, PolyteiaLink, ids_in, page_url
from airflow_provider_polyteia.operators.dataset import (
    CreateDatasetOperator,
    DeleteDatasetOperator,
    UpdateDatasetOperator,
)
from airflow_provider_polyteia.operators.polyteia import PolyteiaCommandOperator, PolyteiaQueryOperator
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS

BASE = "https://app.polyteia.com"
PAGE = "https://example.org/s/{solution_id}/d/{dataset_id}"
RECORD = {"id": "ds_1", "solution_id": "sol_1", "organization_id": "org_1", "slug": "d", "name": "D"}


class TaskInstance:
    """Keeps what a task pushes."""

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


def link_of(operator, monkeypatch, error=None):
    """Execute; return the address that Airflow then gets to know, also if the task fails."""
    ti = TaskInstance()
    with nullcontext() if error is None else pytest.raises(error):
        operator.execute({"ti": ti})
    stored = SimpleNamespace(get_value=lambda *, key, ti_key: ti_key.pushed.get(key))
    monkeypatch.setattr(polyteia, "XCom", stored)
    return PolyteiaLink().get_link(operator, ti_key=ti)


@pytest.fixture
def linked(connect, server):
    """A connection whose extra says what the platform's pages are called."""
    connect(host=server.url, extra={"max_attempts": 1, "ui_url": "https://example.org/{dataset_id}"})
    return server


def test_ids_by_what_they_begin_with():
    """Records and parameters name what they are about in several ways; other texts are no ids."""
    assert ids_in(RECORD) == {"dataset_id": "ds_1", "solution_id": "sol_1", "organization_id": "org_1"}
    assert ids_in({"id": "ws_1", "name": "ds_no", "user_id": "usr_1", "page": 1}) == {"workspace_id": "ws_1"}


@pytest.mark.parametrize(
    ("pattern", "ids", "url"),
    [
        (None, {"dataset_id": "ds_1"}, f"{BASE}/"),
        (PAGE, {"dataset_id": "ds_1", "solution_id": "sol_1"}, "https://example.org/s/sol_1/d/ds_1"),
        (PAGE, {"solution_id": "sol_1"}, f"{BASE}/"),
        ("https://example.org/start", {"dataset_id": "ds_1"}, "https://example.org/start"),
        ("https://example.org/{dataset_id}", {"dataset_id": "ds_1/../x?y"}, "https://example.org/ds_1%2F..%2Fx%3Fy"),
    ],
)
def test_page(pattern, ids, url):
    """The pattern is filled, or the start page shown if it asks for an id that there is none of."""
    assert page_url(BASE, pattern, ids) == url


@pytest.mark.parametrize(
    "pattern",
    [
        "https://example.org/{dataset}",
        "https://example.org/{dataset_id.key}",
        "https://example.org/{dataset_id!r}",
        "https://example.org/{}",
        "https://example.org/{dataset_id",
        "javascript:alert(1)",
        "example.org/{dataset_id}",
    ],
)
def test_pattern_that_makes_no_sense(pattern):
    """A pattern is checked with the connection, and the error names the extra and what is allowed."""
    with pytest.raises(PolyteiaConfigurationError, match="'ui_url'"):
        client_config.from_connection("city", password="key", extra={"ui_url": pattern})


def test_create_links_to_the_new_dataset(linked, monkeypatch):
    """The start page, or, as soon as the id is known, the dataset's page."""
    operator = CreateDatasetOperator(task_id="t", name="D", solution_id="sol_1", slug="d")
    linked.answer(status(403))
    assert link_of(operator, monkeypatch, PolyteiaPermissionError) == f"{linked.url}/"
    linked.answer(data(RECORD))
    assert link_of(operator, monkeypatch) == "https://example.org/ds_1"


@pytest.mark.parametrize("operator", [UpdateDatasetOperator, DeleteDatasetOperator])
def test_link_of_a_task_that_fails_later(linked, monkeypatch, operator):
    """The id is an argument: the link is known before the platform refuses."""
    linked.answer(status(403))
    task = operator(task_id="t", dataset_id="ds_1")
    assert link_of(task, monkeypatch, PolyteiaPermissionError) == "https://example.org/ds_1"


def test_commands_and_queries(linked, monkeypatch):
    """Any command or query links to what its parameters or its answer name; without an id there is no link."""
    linked.answer(data({"id": "ds_9"}))
    command = PolyteiaCommandOperator(task_id="t", command="create_dataset", parameters={"slug": "d"})
    assert link_of(command, monkeypatch) == "https://example.org/ds_9"
    query = PolyteiaQueryOperator(task_id="t", query="get_dataset", parameters={"id": "ds_1"})
    assert link_of(query, monkeypatch) == "https://example.org/ds_1"
    assert link_of(PolyteiaQueryOperator(task_id="t", query="list_things"), monkeypatch) == ""


DATASETS = [{"bookings": "ds_1", "trees": "ds_2"}, ["ds_1", "ds_2"], "ds_1"]


@pytest.mark.parametrize("datasets", DATASETS, ids=["named", "listed", "one"])
@pytest.mark.parametrize("kind", ["export", "sql"])
def test_queries_link_to_their_first_dataset(linked, monkeypatch, tmp_path, kind, datasets):
    """An export, and SQL, link to the first of their datasets, also if the platform then refuses."""
    sql = "FROM {bookings}, {trees}" if isinstance(datasets, dict) else "FROM 'ds_1', 'ds_2', '{{ds_2}}'"
    sql = "FROM 'ds_1'" if isinstance(datasets, str) else sql
    destination = str(tmp_path / "a.csv")
    task = {
        "export": PolyteiaToFileOperator(task_id="t", sql=sql, datasets=datasets, destination=destination),
        "sql": PolyteiaSqlOperator(task_id="t", sql=sql, datasets=datasets),
    }[kind]
    linked.answer(status(403))
    assert link_of(task, monkeypatch, PolyteiaPermissionError) == "https://example.org/ds_1"


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 asks for the link in another process")
def test_link_costs_no_xcom(linked):
    """On Airflow 3 an operator pushes nothing for its link: that would be a request to Airflow each time."""
    linked.answer(data(RECORD))
    ti = TaskInstance()
    UpdateDatasetOperator(task_id="t", dataset_id="ds_1", name="D").execute({"ti": ti})
    assert LINK_KEY not in ti.pushed


def test_link_of_a_sensor_that_resumes(linked, monkeypatch):
    """The process in which a deferred wait ends reads the link that the one before has left as XCom."""
    linked.answer(data(RECORD))
    ti = TaskInstance()
    DatasetUploadedSensor(task_id="t", dataset_id="ds_1").poke({"ti": ti})
    monkeypatch.setattr(polyteia, "XCom", SimpleNamespace(get_value=lambda *, key, ti_key: ti_key.pushed.get(key)))
    resumed = DatasetUploadedSensor(task_id="t", dataset_id="ds_1")
    assert PolyteiaLink().get_link(resumed, ti_key=ti) == "https://example.org/ds_1"
    assert PolyteiaLink().get_link(resumed, ti_key=TaskInstance()) == ""
    assert PolyteiaLink().name == "Open in Polyteia"
