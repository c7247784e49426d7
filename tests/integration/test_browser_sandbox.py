"""The sandbox's pages in a real browser."""

from __future__ import annotations

import pytest
import requests
from browser import TALL, Browser

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

TREES = """\
species,district,planted,height_m
Winter-Linde,Altstadt,1984,14.5
Spitz-Ahorn,Nord,2003,9.1
Stiel-Eiche,Südvorstadt,1921,22.8
Rosskastanie,Altstadt,1967,17.3
Hainbuche,West,2018,5.2
"""
HOSTILE = "<script>document.title = 'executed'</script><img src=x onerror=\"document.title = 'executed'\">"


@pytest.fixture(scope="module")
def sandbox():
    """A sandbox with an ordinary dataset, and one whose fields all contain markup and scripts."""
    with Sandbox() as running:
        trees = {"name": "Street trees", "slug": "street_trees", "source": "Green spaces office"}
        trees["description"] = "Every tree on public ground"
        add(running, trees, TREES)
        add(running, {"name": HOSTILE, "slug": "hostile", "description": HOSTILE, "source": HOSTILE}, hostile_csv())
        yield running


@pytest.fixture(scope="module")
def browser():
    with Browser() as running:
        yield running


def add(sandbox, record, content):
    created = sandbox.call("create_dataset", {"solution_id": SANDBOX_SOLUTION_ID, **record})
    sandbox.upload(created["id"], content.encode())


def hostile_csv():
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    return f"{quoted},plain\n{quoted},1\n"


def table(browser, heading):
    """Return the text of the cells of the table under a heading, by row."""
    rows = """
    const heading = [...document.querySelectorAll('h2')].find(item => item.innerText.startsWith(arguments[0]));
    const rows = heading.nextElementSibling.querySelectorAll('tr');
    return [...rows].map(row => [...row.cells].map(cell => cell.innerText));
    """
    return browser.run(rows, heading)


def test_from_the_start_page_to_the_first_rows(browser, sandbox):
    """The start page links to the page of the dataset, which shows the uploaded columns and rows."""
    browser.open(sandbox.base_url)
    browser.find("h2", "Stadt Musterhausen")
    listed = {row[0]: row for row in table(browser, "Datasets")}
    assert listed["Street trees"][1] == "street_trees"
    assert listed["Street trees"][3:5] == [f"{len(TREES.encode())} B", "5"]
    browser.click("a", "Street trees")
    browser.find("h1", "Street trees")
    browser.screenshot("sandbox-dataset", "body", (1000, TALL[1]))
    assert table(browser, "First rows") == [line.split(",") for line in TREES.splitlines()]
    assert [row[0] for row in table(browser, "Columns")[1:]] == TREES.splitlines()[0].split(",")


def test_markup_is_escaped(browser, sandbox):
    """Markup in names, descriptions, columns and rows is shown as text, and its scripts do not run."""
    browser.open(sandbox.base_url)
    browser.click("a", HOSTILE)
    browser.find("h1", HOSTILE)
    assert table(browser, "First rows") == [[HOSTILE, "plain"], [HOSTILE, "1"]]
    assert browser.run("return document.title") == f"{HOSTILE} - Polyteia sandbox"
    assert not browser.all("main img, main script")


@pytest.fixture(scope="module")
def used_sandbox():
    """A sandbox with a dataset that was created, loaded and looked up over HTTP, with a fault."""
    with Sandbox() as running:
        running.faults.add("get_dataset:status:503:1")
        trees = {"name": "Street trees", "slug": "street_trees", "solution_id": SANDBOX_SOLUTION_ID}
        dataset_id = call(running, command="create_dataset", params=trees).json()["data"]["id"]
        params = {"id": dataset_id, "content_type": "text/csv"}
        token = call(running, command="generate_dataset_upload_token", params=params).json()["data"]["token"]
        files = {"file": ("trees.csv", TREES.encode(), "text/csv")}
        requests.post(f"{running.base_url}/upload", headers={"X-Upload-Token": token}, files=files, timeout=10)
        for _ in range(2):
            call(running, query="get_dataset", params={"id": dataset_id})
        yield running


def call(sandbox, **body):
    headers = {"Authorization": f"Bearer {sandbox.pak}"}
    return requests.post(f"{sandbox.base_url}/api", json=body, headers=headers, timeout=10)


def test_the_start_page_shows_the_last_upload_and_requests(browser, used_sandbox):
    """The start page shows column types and first rows of the last upload, and the requests with their faults."""
    browser.open(used_sandbox.base_url)
    browser.screenshot("sandbox-start", "body", (1000, TALL[1]))
    heading = browser.run("return document.querySelector('#last-upload ~ .scroll tr').innerText.split(/\\s+/)")
    assert heading == ["species", "text", "district", "text", "planted", "number", "height_m", "number"]
    shown = [row[1:4] for row in table(browser, "Requests")[1:]]
    assert shown == [
        ["get_dataset", "200", "-"],
        ["get_dataset", "503", "get_dataset:status:503:1"],
        ["/upload", "200", "-"],
        ["generate_dataset_upload_token", "200", "-"],
        ["create_dataset", "200", "-"],
    ]
    assert table(browser, "Active faults")[1:] == [["get_dataset:status:503:1", "2", "1"]]


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_buttons_copy_the_connection_and_ids(browser, used_sandbox, has_clipboard):
    """The buttons copy the connection and ids, even where the browser does not offer the clipboard to pages."""
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    browser.open(used_sandbox.base_url)
    clipboard = browser.run("window.clipboard = navigator.clipboard; return typeof navigator.clipboard")
    assert clipboard == "object"
    if not has_clipboard:
        browser.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    for copied in (f"export AIRFLOW_CONN_POLYTEIA_DEFAULT='{used_sandbox.airflow_connection()}'", SANDBOX_SOLUTION_ID):
        button = next(item for item in browser.all("button") if item.get_attribute("data-copy") == copied)
        button.click()
        browser.wait(lambda button=button: button.text == "Copied", "confirmation of the button")
        assert browser.driver.execute_async_script("clipboard.readText().then(arguments[0])") == copied


@pytest.mark.parametrize("width", [1280, 900, 420, 360])
def test_no_page_is_wider_than_its_window(browser, sandbox, width):
    """On desktops and phones, only tables scroll horizontally, never a whole page."""
    browser.resize(width, 900)
    try:
        for page in ("/", f"/ui/solutions/{SANDBOX_SOLUTION_ID}", f"/ui/datasets/{sandbox.datasets[0]['id']}"):
            browser.open(f"{sandbox.base_url}{page}")
            assert browser.run("return document.documentElement.scrollWidth") <= width, page
    finally:
        browser.resize(1280, 960)


def test_pages_load_nothing_from_other_machines(browser, sandbox):
    """No page sends requests to other machines, and none logs an error to the console."""
    browser.external_requests()
    browser.errors()
    for page in ("/", f"/ui/solutions/{SANDBOX_SOLUTION_ID}", f"/ui/datasets/{sandbox.datasets[0]['id']}"):
        browser.open(f"{sandbox.base_url}{page}")
    assert browser.external_requests() == []
    assert [error for error in browser.errors() if "favicon" not in error] == []
