"""Watchers on a real triggerer and scheduler: they share one poll, and each upload triggers one run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from airflow_env import AIRFLOW_3, AIRFLOW_VERSION, wait_until
from how_to_pages import dag_code

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

DAGS = Path(__file__).parent / "dags"
EXAMPLE = Path(__file__).parents[2] / "example_dags" / "example_asset_triggered.py"
NUMBER = 100
INTERVAL = 5  # of the DAG file
STORES_WATERMARKS = AIRFLOW_VERSION >= (3, 3)
CSV = b"a,b\n1,2\n"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no watchers"),
]


@pytest.fixture(scope="module")
def watched(airflow, tmp_path_factory):
    """A sandbox with 100 watched datasets, as soon as the triggerer polls for all of them."""
    with Sandbox() as sandbox:
        connection = {
            "conn_type": "polyteia",
            "host": sandbox.base_url,
            "password": sandbox.pak,
            "extra": {"api": "command"},
        }
        file = tmp_path_factory.mktemp("watching") / "connections.json"
        file.write_text(json.dumps({"watching": connection}))
        airflow.cli("connections", "import", str(file))
        for number in range(NUMBER):
            slug = f"watched_{number:03}"
            sandbox.call("create_dataset", {"name": slug, "slug": slug, "solution_id": SANDBOX_SOLUTION_ID})
        upload(sandbox, 0)  # so that the list shows uploads and is trusted
        airflow.add_dags(DAGS / "watched_solution.py")
        wait_until(
            lambda: watermarks(airflow) == NUMBER, 180, lambda: f"only {watermarks(airflow)} watchers have polled"
        )
        yield sandbox


def watermarks(airflow):
    """Return the number of watchers that have stored their watermark."""
    return stored_watermarks(airflow).count("watched_")


def runs(airflow):
    """Return number of the dataset -> number of runs that its uploads have triggered."""
    page = airflow.rest("GET", "/api/v2/dags/~/dagRuns?limit=1000&run_type=asset_triggered")
    return Counter(int(run["dag_id"][-3:]) for run in page["dag_runs"] if run["dag_id"].startswith("on_watched_"))


def upload(sandbox, *numbers):
    by_slug = {item["slug"]: item["id"] for item in sandbox.datasets}
    for number in numbers:
        sandbox.upload(by_slug[f"watched_{number:03}"], CSV)


def wait_for_runs(airflow, expected):
    wait_until(lambda: runs(airflow) >= expected, 120, lambda: f"{expected - runs(airflow)} runs are missing")


def wait_for_polls(sandbox, number):
    goal = sandbox.count("list_datasets") + number
    wait_until(lambda: sandbox.count("list_datasets") >= goal, 90, lambda: "the triggerer does not poll")


def test_one_poll_per_interval_and_one_run_per_upload(airflow, watched):
    """100 watchers cause one call per interval; each upload triggers one run, even if the triggerer is killed."""
    before = Counter(watched.recorder.counts)
    connections = watched.connections
    wait_for_polls(watched, 5)
    assert Counter(watched.recorder.counts) - before == {"list_datasets": 5}
    assert watched.connections == connections

    upload(watched, *range(10))
    expected = Counter(range(10))
    wait_for_runs(airflow, expected)
    wait_for_polls(watched, 2)

    airflow.kill("triggerer")
    upload(watched, *range(5, 20))
    airflow.start("triggerer")
    expected += Counter(range(5, 20))
    wait_for_runs(airflow, expected)

    upload(watched, 0, 99)
    expected += Counter([0, 99])
    wait_for_runs(airflow, expected)
    wait_for_polls(watched, 3)
    assert runs(airflow) == expected


def test_event_describes_the_upload(airflow, watched):
    """The extra of the asset event contains the id, slug, timestamp, size and content type of the upload."""
    upload(watched, 50)
    wait_for_runs(airflow, Counter([50]))
    (dataset,) = [item for item in watched.datasets if item["slug"] == "watched_050"]
    payloads = [extra["payload"] for _, extra in airflow.records.asset_events() if extra.get("from_trigger")]
    assert [payload for payload in payloads if payload["slug"] == "watched_050"] == [
        {
            "id": dataset["id"],
            "slug": "watched_050",
            "uploaded_at": dataset["data"]["uploaded_at"],
            "size": len(CSV),
            "content_type": "text/csv",
        }
    ]


def test_example_started_by_an_upload(airflow, platform):
    """An upload triggers the example DAG, which reads the event and counts the rows."""
    check_started_by_an_upload(airflow, platform, EXAMPLE, "public_holidays_2026")


def test_guide_started_by_an_upload(airflow, platform, tmp_path):
    """The DAG of docs/how-to/start-a-dag-on-a-delivery.md does so, too."""
    code = dag_code("start-a-dag-on-a-delivery.md", "on_delivery").replace("sol_...", SANDBOX_SOLUTION_ID)
    file = tmp_path / "on_delivery.py"
    file.write_text(code.replace('slug="bookings"', 'slug="guide_bookings"').replace("interval=60", "interval=5"))
    check_started_by_an_upload(airflow, platform, file, "guide_bookings")


def check_started_by_an_upload(airflow, platform, file, slug):
    airflow.add_dags(file)
    wait_until(lambda: airflow.records.dag_is_parsed(file.stem), 60, lambda: "the DAG was not found")
    polls = platform.count("list_datasets")
    wait_until(
        lambda: (
            slug in stored_watermarks(airflow) if STORES_WATERMARKS else platform.count("list_datasets") >= polls + 2
        ),
        120,
        lambda: "the watcher did not poll",
    )
    before = runs_of(airflow, file.stem)
    platform.upload(dataset_of(platform, slug), b"date,holiday\n2026-10-03,Einheit\n2026-12-25,Weihnachten\n")
    wait_until(lambda: len(runs_of(airflow, file.stem)) > len(before), 90, lambda: "no run was started")
    (run_id,) = runs_of(airflow, file.stem) - before
    assert airflow.wait(file.stem, run_id) == "success"
    xcoms = airflow.records.xcoms(file.stem, run_id)
    assert xcoms["latest_delivery", -1, "slug"] == slug
    assert xcoms["count_rows", -1, "result"]["rows"] == [[2]]


def stored_watermarks(airflow):
    """Return all stored watermarks as text."""
    return " ".join(line for line in airflow.records.everything().splitlines() if "polyteia upload " in line)


def runs_of(airflow, dag_id):
    page = airflow.rest("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=1000")
    return {run["dag_run_id"] for run in page["dag_runs"]}


def dataset_of(platform, slug):
    """Return the id of a dataset; create the dataset if no other test has."""
    found = [item["id"] for item in platform.datasets if item["slug"] == slug]
    if found:
        return found[0]
    return platform.call("create_dataset", {"name": slug, "slug": slug, "solution_id": SANDBOX_SOLUTION_ID})["id"]
