"""An example's graph and log, and the graph of an asset, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from airflow_env import AIRFLOW_3, wait_until
from browser import Browser
from connection_pages import TASK_PAGE, TASK_PAGE_TOGGLE, ConnectionPages3

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

EXAMPLE = "example_csv_to_polyteia"
LOAD, REPORT = "load_street_trees", "report_on_street_trees"
ROWS = 25_000
EXAMPLE_FILE = Path(__file__).parents[2] / "example_dags" / f"{EXAMPLE}.py"
ASSET_FILE = Path(__file__).parent / "dags" / "browser_assets.py"
NODE = ".react-flow__node"
GRAPH = "#main-panel"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not AIRFLOW_3, reason="these are pages of Airflow 3"),
]


@pytest.fixture(scope="module")
def table():
    """A CSV file as German applications export it, with semicolons, decimal commas and an old encoding."""
    with TemporaryDirectory(prefix="export-") as folder:  # a short path, because the picture of the log shows it
        yield export(Path(folder) / "Baumkataster.csv")


def export(file):
    numbers = ((number, number * 7919 % 71, number * 6857 % 229) for number in range(ROWS))
    rows = (f"{number};Linde;Südvorstadt;{1950 + age};{3 + height / 10:.1f}\n" for number, age, height in numbers)
    text = "Nummer;Baumart;Stadtteil;Pflanzjahr;Höhe in m\n" + "".join(rows).replace(".", ",")
    file.write_text(text, encoding="cp1252")
    return file


@pytest.fixture(scope="module")
def run_id(airflow, table):
    """A successful run of the example."""
    pytest.importorskip("duckdb")
    airflow.add_dags(EXAMPLE_FILE)
    conf = {"solution_id": SANDBOX_SOLUTION_ID, "file": str(table), "slug": "browser_tree_register"}
    started = airflow.trigger(EXAMPLE, conf)
    assert airflow.wait(EXAMPLE, started) == "success", airflow.task_log(EXAMPLE, started, "load_table")
    return started


@pytest.fixture(scope="module")
def asset_id(airflow, platform, table, tmp_path_factory):
    """The id of the asset of a dataset that was loaded; the load has started another DAG."""
    pytest.importorskip("duckdb")
    params = {"name": "Street trees", "slug": "browser_street_trees", "solution_id": SANDBOX_SOLUTION_ID}
    dataset_id = platform.call("create_dataset", params)["id"]
    text = ASSET_FILE.read_text().replace("@HOST@", platform.base_url)
    file = tmp_path_factory.mktemp("assets") / ASSET_FILE.name
    file.write_text(text.replace("@DATASET_ID@", dataset_id).replace("@FILE@", str(table)))
    airflow.add_dags(file)
    wait_until(lambda: airflow.records.dag_is_parsed(REPORT), 90, lambda: f"{REPORT} was not found")
    started = airflow.trigger(LOAD)
    assert airflow.wait(LOAD, started) == "success", airflow.task_log(LOAD, started, "load")
    runs = f"/api/v2/dags/{REPORT}/dagRuns?state=success"
    wait_until(lambda: airflow.rest("GET", runs)["total_entries"] == 1, 60, lambda: f"{REPORT} was not started")
    (asset,) = airflow.rest("GET", "/api/v2/assets?name_pattern=street_trees")["assets"]
    return asset["id"]


@pytest.fixture(scope="module")
def browser(airflow):
    with Browser() as running:
        ConnectionPages3(running, airflow.url, airflow.username, airflow.password).sign_in()
        yield running


def choose_view(browser, view, share):
    """Show a DAG as "grid" or "graph", in the given share of the window in percent, and wrap the lines of logs."""
    panels = {"details-panel,main-panel": {"expandToSizes": {}, "layout": [share, 100 - share]}}
    stored = {f"react-resizable-panels:{view}-ltr": json.dumps(panels)}
    stored |= {"default_dag_view": json.dumps(view), "log_wrap": "true"}
    browser.run("for (const item of Object.entries(arguments[0])) localStorage.setItem(...item)", stored)


def test_the_graph_of_an_example(airflow, browser, run_id):
    """The graph shows both tasks of the example with their operators and states."""
    size = (1280, 600)
    choose_view(browser, "graph", 70)
    browser.resize(*size)
    browser.open(f"{airflow.url}/dags/{EXAMPLE}/runs/{quote(run_id)}")
    for task_id, operator in (("create_dataset", "CreateDatasetOperator"), ("load_table", "FileToPolyteiaOperator")):
        assert browser.find(NODE, task_id).text.split() == [task_id, operator, "success"]
    browser.hide(TASK_PAGE_TOGGLE)
    browser.screenshot("example-graph-airflow3", GRAPH, size)


def test_the_log_of_an_example(airflow, browser, platform, run_id):
    """At level INFO, the log states what was loaded, how many rows, and the dataset. It does not contain the key."""
    choose_view(browser, "grid", 20)
    browser.open(f"{airflow.url}/dags/{EXAMPLE}/runs/{quote(run_id)}/tasks/load_table?log_level=info")
    log = browser.find(TASK_PAGE, "Baumkataster").text
    browser.hide(TASK_PAGE_TOGGLE)
    browser.screenshot("example-log-airflow3", TASK_PAGE, (1280, 520))
    assert f"{ROWS:,} rows" in log
    assert airflow.records.xcoms(EXAMPLE, run_id)["create_dataset", -1, "id"] in log
    assert platform.pak not in browser.driver.page_source


def test_the_graph_of_an_asset(airflow, browser, asset_id):
    """The graph of the dataset's asset shows the DAG that loads it, and the DAG that the load starts."""
    size = (1040, 640)
    browser.resize(*size)
    browser.open(f"{airflow.url}/assets/{asset_id}")
    for name in (LOAD, "street_trees", REPORT):
        browser.find(NODE, name)
    browser.find("body", "1 Asset Event")
    switches = f"{NODE} [data-scope=switch][data-part=control][data-state=checked]"
    browser.wait(lambda: len(browser.all(switches)) == len((LOAD, REPORT)) or None, "switches of two active DAGs")
    browser.screenshot("asset-graph-airflow3", size=size)
