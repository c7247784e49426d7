"""The link 'Open in Polyteia', from the task that knows the id to the button."""

from __future__ import annotations

import pytest
from servers import data, status

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.links import polyteia
from airflow_provider_polyteia.links.polyteia import PolyteiaLink, ids_in, page_url
from airflow_provider_polyteia.operators.dataset import (
    CreateDatasetOperator,
    DeleteDatasetOperator,
    UpdateDatasetOperator,
)
from airflow_provider_polyteia.operators.polyteia import PolyteiaCommandOperator, PolyteiaQueryOperator

BASE = "https://app.polyteia.com"
PAGE = "https://example.org/s/{solution_id}/d/{dataset_id}"
RECORD = {"id": "ds_1", "solution_id": "sol_1", "organization_id": "org_1", "slug": "d", "name": "D"}


class TaskInstance:
    """Remembers what a task pushes."""

    def __init__(self):
        self.pushed = []

    def xcom_push(self, key, value):
        self.pushed.append((key, value))


def run(operator):
    """Execute; return the addresses pushed, also if it fails."""
    ti = TaskInstance()
    try:
        operator.execute({"ti": ti})
    except PolyteiaError:
        ti.pushed.append(("failed", ""))
    return [value if key == polyteia.LINK_KEY else key for key, value in ti.pushed]


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


def test_create_links_to_the_new_dataset(linked):
    """First the start page, then, as soon as the id is known, the dataset's page."""
    linked.answer(data(RECORD))
    operator = CreateDatasetOperator(task_id="t", name="D", solution_id="sol_1", slug="d")
    assert run(operator) == [f"{linked.url}/", "https://example.org/ds_1"]


def test_link_of_a_task_that_fails_later(linked):
    """The id is an argument: the link is pushed before the platform refuses."""
    linked.answer(status(403))
    for operator in (UpdateDatasetOperator, DeleteDatasetOperator):
        assert run(operator(task_id="t", dataset_id="ds_1")) == ["https://example.org/ds_1", "failed"]


def test_commands_and_queries(linked):
    """Any command or query links to what its parameters or its answer name; without an id there is no link."""
    linked.answer(data({"id": "ds_9"}))
    command = PolyteiaCommandOperator(task_id="t", command="create_dataset", parameters={"slug": "d"})
    assert run(command) == ["https://example.org/ds_9"]
    query = PolyteiaQueryOperator(task_id="t", query="get_dataset", parameters={"id": "ds_1"})
    assert run(query) == ["https://example.org/ds_1"]
    assert run(PolyteiaQueryOperator(task_id="t", query="list_things")) == []


@pytest.mark.parametrize(("stored", "shown"), [("https://example.org/ds_1", "https://example.org/ds_1"), (None, "")])
def test_button_shows_what_was_pushed(monkeypatch, stored, shown):
    """The button's address is the XCom; without one there is no address, and no error."""
    asked = {}

    class XCom:
        @staticmethod
        def get_value(**arguments):
            asked.update(arguments)
            return stored

    monkeypatch.setattr(polyteia, "XCom", XCom)
    assert PolyteiaLink().get_link(None, ti_key="the task") == shown
    assert asked == {"key": "polyteia_link", "ti_key": "the task"}
    assert PolyteiaLink().name == "Open in Polyteia"
