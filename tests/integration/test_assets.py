"""A load with an outlet triggers the DAG that is scheduled on the asset, and fills the event, on a real scheduler."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from airflow_env import AIRFLOW_3, wait_until

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.links.polyteia import LINK_KEY
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

DAG_FILE = Path(__file__).parent / "dags" / "outlet_assets.py"

NAMED = ("by_alias", "twice")
WAYS = ("asset", "alias", "other_alias", *(("name", "uri") if AIRFLOW_3 else ()))

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def datasets(airflow, platform, tmp_path_factory):
    """Name -> id of the datasets; Airflow has parsed the DAGs that load them and those that they trigger."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("airflow.providers.sqlite")
    ids = {}
    for name in ("known", "later", *NAMED):
        params = {"name": name, "slug": f"outlet_{name}", "solution_id": SANDBOX_SOLUTION_ID}
        ids[name] = platform.call("create_dataset", params)["id"]
    folder = tmp_path_factory.mktemp("outlets")
    connection = {"conn_type": "sqlite", "host": str(folder / "city.db")}
    (folder / "connections.json").write_text(json.dumps({"outlet_database": connection}))
    airflow.cli("connections", "import", str(folder / "connections.json"))
    file = folder / DAG_FILE.name
    text = DAG_FILE.read_text().replace("@HOST@", platform.base_url)
    for name, dataset_id in ids.items():
        text = text.replace(f"@{name.upper()}@", dataset_id)
    file.write_text(text)
    airflow.add_dags(file)
    for dag_id in (
        "on_outlet_known",
        "on_outlet_later",
        *(f"on_outlet_{name}_{way}" for name in NAMED for way in WAYS),
    ):
        wait_until(lambda dag_id=dag_id: airflow.records.dag_is_parsed(dag_id), 90, lambda: missing(airflow))
    return ids


def missing(airflow):
    return f"a DAG was not found: {airflow.records.import_errors()}"


def runs_of(airflow, dag_id):
    with closing(sqlite3.connect(f"file:{airflow.records.path}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", (dag_id,))]


@pytest.mark.parametrize("name", ["known", "later"])
def test_load_triggers_the_scheduled_dag(airflow, platform, datasets, name):
    """The dataset is an outlet by its id, or through an alias if the id is only known at run time."""
    dataset_id = datasets[name]
    run_id = airflow.trigger(f"outlet_{name}", {"dataset_id": dataset_id})
    assert airflow.wait(f"outlet_{name}", run_id, timeout=120) == "success"
    wait_until(lambda: runs_of(airflow, f"on_outlet_{name}"), 60, lambda: "no run was started")
    (started,) = runs_of(airflow, f"on_outlet_{name}")
    assert airflow.wait(f"on_outlet_{name}", started) == "success"
    uri = dataset_uri(platform.base_url, dataset_id)
    (extra,) = [extra for event_uri, extra in airflow.records.asset_events() if event_uri == uri]
    (dataset,) = [item for item in platform.datasets if item["id"] == dataset_id]
    assert extra["rows"] == dataset["data"]["rows"] == 2
    assert extra["bytes"] == dataset["data"]["size"]
    assert extra.get("source_timestamp", "").startswith("2026-03-31" if name == "known" else "")


def events_of(airflow, platform, dataset_id):
    """The extras of the events of a dataset."""
    uri = dataset_uri(platform.base_url, dataset_id)
    return [extra for event_uri, extra in airflow.records.asset_events() if event_uri == uri]


@pytest.mark.parametrize("name", NAMED)
def test_each_schedule_is_reached_once(airflow, platform, datasets, name):
    """One event starts the DAGs by asset, name, URI and alias, once each, however often the dataset is an outlet."""
    run_id = airflow.trigger(f"outlet_{name}")
    assert airflow.wait(f"outlet_{name}", run_id, timeout=120) == "success"
    dag_ids = [f"on_outlet_{name}_{way}" for way in WAYS]
    wait_until(
        lambda: all(runs_of(airflow, dag_id) for dag_id in dag_ids),
        60,
        lambda: f"no run was started: {[dag_id for dag_id in dag_ids if not runs_of(airflow, dag_id)]}",
    )
    for dag_id in dag_ids:
        (started,) = runs_of(airflow, dag_id)
        assert airflow.wait(dag_id, started) == "success"
    (extra,) = events_of(airflow, platform, datasets[name])
    assert extra["rows"] == 2
    columns = extra["columns"] if AIRFLOW_3 else json.loads(extra["columns"])
    assert list(columns) == ["tree"]
    assert [len(runs_of(airflow, dag_id)) for dag_id in dag_ids] == [1] * len(dag_ids)


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no references to assets")
def test_references(airflow, platform, datasets):
    """A reference to the dataset gets the extra; references to assets that Airflow does not know fail nothing."""
    before = len(events_of(airflow, platform, datasets["known"]))
    run_id = airflow.trigger("outlet_references")
    assert airflow.wait("outlet_references", run_id, timeout=120) == "success"
    events = events_of(airflow, platform, datasets["known"])
    assert len(events) == before + 1
    assert events[-1]["rows"] == 2


def test_link_points_to_the_platform(airflow, platform, datasets):
    """The task's link is the platform's start page, because the connection has no URL pattern."""
    (run_id,) = [run_id for run_id in runs_of(airflow, "outlet_known") if run_id.startswith("manual")]
    key = "_link_PolyteiaLink" if AIRFLOW_3 else LINK_KEY
    assert airflow.records.xcoms("outlet_known", run_id)["load", -1, key] == f"{platform.base_url}/"
