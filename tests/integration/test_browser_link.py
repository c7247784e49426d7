"""The link 'Open in Polyteia' of a task in a real browser."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from airflow_env import AIRFLOW_3
from browser import Browser
from connection_pages import TASK_PAGE, TASK_PAGE_TOGGLE, ConnectionPages3

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

DAG_ID = "browser_link"
MISSING_ID = "ds_00000000000000000000"
LINK = "a[href*='/ui/datasets/']"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not AIRFLOW_3, reason="these are pages of Airflow 3"),
]


@pytest.fixture(scope="module")
def run_id(airflow, platform):
    """A run whose connection has the URL pattern of the platform's pages."""
    connection = {
        "connection_id": "polyteia_with_pages",
        "conn_type": "polyteia",
        "host": platform.base_url,
        "password": platform.pak,
        "extra": f'{{"api": "command", "ui_url": "{platform.base_url}/ui/datasets/{{dataset_id}}"}}',
    }
    airflow.rest("POST", "/api/v2/connections", connection)
    airflow.add_dags(Path(__file__).parent / "dags" / "browser_link.py")
    started = airflow.trigger(DAG_ID, {"solution_id": SANDBOX_SOLUTION_ID, "missing_id": MISSING_ID})
    airflow.wait(DAG_ID, started)
    states = {instance.task_id: instance.state for instance in airflow.records.task_instances(DAG_ID, started)}
    logs = airflow.task_log(DAG_ID, started, "create_dataset")
    assert states == {"create_dataset": "success", "update_missing": "failed"}, logs
    return started


@pytest.fixture(scope="module")
def browser(airflow):
    with Browser() as running:
        ConnectionPages3(running, airflow.url, airflow.username, airflow.password).sign_in()
        yield running


def open_task(browser, airflow, run_id, task_id):
    browser.open(f"{airflow.url}/dags/{DAG_ID}/runs/{quote(run_id)}/tasks/{task_id}/details")


def test_the_link_opens_the_dataset_of_the_task(airflow, browser, platform, run_id):
    """The link on the page of a task opens the page of the dataset that it created."""
    open_task(browser, airflow, run_id, "create_dataset")
    link = browser.find(LINK)
    browser.hide(TASK_PAGE_TOGGLE)
    browser.screenshot("link-airflow3", TASK_PAGE, (1280, 450))
    assert link.text == "Open in Polyteia"
    browser.open(link.get_attribute("href"))
    browser.find("h1", "Playgrounds")
    browser.find("code", airflow.records.xcoms(DAG_ID, run_id)["create_dataset", -1, "id"])


def test_a_failed_task_has_the_link_too(airflow, browser, platform, run_id):
    """A task that failed with 404 links to the id in its arguments."""
    open_task(browser, airflow, run_id, "update_missing")
    link = browser.find(LINK)
    assert link.text == "Open in Polyteia"
    assert link.get_attribute("href") == f"{platform.base_url}/ui/datasets/{MISSING_ID}"
