"""The link 'Open in Polyteia', from the task that sets it to the button in Airflow."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from encodable import HIGH_SURROGATE, assert_encodable
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
    """Records what a task pushes."""

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


def link_of(operator, monkeypatch, error=None):
    """Execute the operator and return its link; `error` is the exception with which it fails. Default: None."""
    ti = TaskInstance()
    with nullcontext() if error is None else pytest.raises(error):
        operator.execute({"ti": ti})
    stored = SimpleNamespace(get_value=lambda *, key, ti_key: ti_key.pushed.get(key))
    monkeypatch.setattr(polyteia, "XCom", stored)
    return PolyteiaLink().get_link(operator, ti_key=ti)


@pytest.fixture
def linked(connect, server):
    """A server with a connection whose extra `ui_url` is a pattern."""
    connect(host=server.url, extra={"max_attempts": 1, "ui_url": "https://example.org/{dataset_id}"})
    return server


def test_ids_by_prefix():
    """Ids are found in records and parameters by their prefix, under any field that holds ids."""
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
        ("https://example.org/{dataset_id}", {"dataset_id": f"ds_{HIGH_SURROGATE}"}, "https://example.org/ds_%3F"),
    ],
)
def test_page(pattern, ids, url):
    """The pattern is filled in; the link leads to the start page if the pattern needs an unknown id."""
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
def test_invalid_pattern(pattern):
    """A pattern is checked with the connection; the error names the extra."""
    with pytest.raises(PolyteiaConfigurationError, match="'ui_url'"):
        client_config.from_connection("city", password="key", extra={"ui_url": pattern})


def test_create_links_to_the_new_dataset(linked, monkeypatch):
    """The link leads to the start page, and to the dataset's page as soon as its id is known."""
    operator = CreateDatasetOperator(task_id="t", name="D", solution_id="sol_1", slug="d")
    linked.respond(status(403))
    assert link_of(operator, monkeypatch, PolyteiaPermissionError) == f"{linked.url}/"
    linked.respond(data(RECORD))
    assert link_of(operator, monkeypatch) == "https://example.org/ds_1"


@pytest.mark.parametrize("operator", [UpdateDatasetOperator, DeleteDatasetOperator])
def test_link_of_a_task_that_fails_later(linked, monkeypatch, operator):
    """The id is an argument, so the link is set before the platform rejects the request."""
    linked.respond(status(403))
    task = operator(task_id="t", dataset_id="ds_1")
    assert link_of(task, monkeypatch, PolyteiaPermissionError) == "https://example.org/ds_1"


def test_commands_and_queries(linked, monkeypatch):
    """Commands and queries link to the ids in their parameters or results; without an id there is no link."""
    linked.respond(data({"id": "ds_9"}))
    command = PolyteiaCommandOperator(task_id="t", command="create_dataset", parameters={"slug": "d"})
    assert link_of(command, monkeypatch) == "https://example.org/ds_9"
    query = PolyteiaQueryOperator(task_id="t", query="get_dataset", parameters={"id": "ds_1"})
    assert link_of(query, monkeypatch) == "https://example.org/ds_1"
    assert link_of(PolyteiaQueryOperator(task_id="t", query="list_things"), monkeypatch) == ""


DATASETS = [{"bookings": "ds_1", "trees": "ds_2"}, ["ds_1", "ds_2"], "ds_1"]


@pytest.mark.parametrize("datasets", DATASETS, ids=["named", "listed", "one"])
@pytest.mark.parametrize("kind", ["export", "sql"])
def test_queries_link_to_their_first_dataset(linked, monkeypatch, tmp_path, kind, datasets):
    """An export and SQL link to their first dataset, even if the platform rejects the request."""
    sql = "FROM {bookings}, {trees}" if isinstance(datasets, dict) else "FROM 'ds_1', 'ds_2', '{{ds_2}}'"
    sql = "FROM 'ds_1'" if isinstance(datasets, str) else sql
    destination = str(tmp_path / "a.csv")
    task = {
        "export": PolyteiaToFileOperator(task_id="t", sql=sql, datasets=datasets, destination=destination),
        "sql": PolyteiaSqlOperator(task_id="t", sql=sql, datasets=datasets),
    }[kind]
    linked.respond(status(403))
    assert link_of(task, monkeypatch, PolyteiaPermissionError) == "https://example.org/ds_1"


@pytest.mark.parametrize(
    "operator",
    [
        CreateDatasetOperator(task_id="t", name="D", solution_id="sol_1", slug="d"),
        PolyteiaCommandOperator(task_id="t", command="create_dataset", parameters={"slug": "d"}),
        DatasetUploadedSensor(task_id="t", dataset_id="ds_1", wait_for_creation=True, timeout=0, soft_fail=True),
    ],
    ids=["create", "command", "sensor"],
)
def test_link_to_an_id_that_is_not_valid_text(linked, operator):
    """A link to an id with an unpaired surrogate can be stored, in the task's process and as an XCom."""
    info = {"asset_info": {"uploaded_at": "2026-03-01T06:00:00Z"}}
    linked.respond(data({**RECORD, "id": f"ds_1{HIGH_SURROGATE}", "metadata": info}))
    ti = TaskInstance()
    operator.execute({"ti": ti})
    assert operator.polyteia_link == "https://example.org/ds_1%3F"
    assert_encodable(ti.pushed)


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 reads the link in another process")
def test_link_needs_no_xcom(linked):
    """On Airflow 3, an operator pushes no XCom for its link, which would be one more request to Airflow."""
    linked.respond(data(RECORD))
    ti = TaskInstance()
    UpdateDatasetOperator(task_id="t", dataset_id="ds_1", name="D").execute({"ti": ti})
    assert LINK_KEY not in ti.pushed


def test_link_of_a_sensor_that_resumes(linked, monkeypatch):
    """The process in which a deferred sensor resumes reads the link that the first process pushed as an XCom."""
    linked.respond(data(RECORD))
    ti = TaskInstance()
    DatasetUploadedSensor(task_id="t", dataset_id="ds_1").poke({"ti": ti})
    monkeypatch.setattr(polyteia, "XCom", SimpleNamespace(get_value=lambda *, key, ti_key: ti_key.pushed.get(key)))
    resumed = DatasetUploadedSensor(task_id="t", dataset_id="ds_1")
    assert PolyteiaLink().get_link(resumed, ti_key=ti) == "https://example.org/ds_1"
    assert PolyteiaLink().get_link(resumed, ti_key=TaskInstance()) == ""
    assert PolyteiaLink().name == "Open in Polyteia"
