"""Sensors on a real scheduler and triggerer: all modes end alike; a deferral survives restarts and errors."""

from __future__ import annotations

import json
import runpy
import time
from collections import defaultdict
from pathlib import Path

import pytest
from airflow_env import wait_until
from servers import DROP, Reply, ScriptedServer, body_error, data, status

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

DAGS = Path(__file__).parent / "dags"
MATRIX = runpy.run_path(str(DAGS / "waiting_matrix.py"))
MODES, CASES = tuple(MATRIX["MODES"]), tuple(MATRIX["CASES"])
INTERVAL = 5  # of the DAG waiting_deferred
EXECUTOR_DELAY = 8  # seconds, less than the interval of the DAG waiting_matrix

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

INFO = {"uploaded_at": "2026-03-01T06:00:00Z", "size": 18234, "content_type": "text/csv"}
UPLOADED = data({"id": "ds_1", "slug": "bookings", "metadata": {"asset_info": INFO}})
EMPTY = data({"id": "ds_1", "slug": "bookings"})
SUMMARY = {"id": "ds_1", "slug": "bookings", **INFO}
TRANSIENT = [DROP, status(503), body_error(500), Reply(body=b"{"), status(429, Retry_After="0")]

REPLIES = {
    "success": [EMPTY, UPLOADED],
    "timeout": [EMPTY],
    "soft_timeout": [EMPTY],
    "soft_401": [EMPTY, status(401)],
    "http_401": [EMPTY, status(401)],
    "http_403": [EMPTY, body_error(403)],
    "http_404": [EMPTY, status(404)],
    "transient": [EMPTY, *TRANSIENT, UPLOADED],
    "malformed": [EMPTY, Reply(body=b"<p>hello", content_type="text/html")],
}
EXPECTED = {
    "success": ("success", 1, SUMMARY),
    "timeout": ("failed", 1, None),
    "soft_timeout": ("skipped", 1, None),
    "soft_401": ("skipped", 1, None),
    "http_401": ("failed", 1, None),
    "http_403": ("failed", 1, None),
    "http_404": ("failed", 2, None),
    "transient": ("success", 1, SUMMARY),
    "malformed": ("failed", 2, None),
}


def import_connections(airflow, folder, connections):
    file = folder / "connections.json"
    file.write_text(json.dumps(connections))
    airflow.cli("connections", "import", "--overwrite", str(file))


def instances(airflow, dag_id, run_id):
    return {row.task_id: row for row in airflow.records.task_instances(dag_id, run_id)}


class Platform:
    """Sends each key its own replies in order, then repeats the last one; repeats the first one for some seconds.

    Airflow fails a task that resumes before the executor has reported that it was deferred.
    """

    def __init__(self):
        self.started = {}
        self.requests = defaultdict(int)

    def __call__(self, request):
        key = request.headers["authorization"].split()[1]
        replies = REPLIES[key.partition(".")[0]]
        if time.monotonic() - self.started.setdefault(key, time.monotonic()) < EXECUTOR_DELAY:
            return replies[0]
        self.requests[key] += 1
        return replies[min(self.requests[key], len(replies) - 1)]


@pytest.fixture(scope="module")
def matrix(airflow, tmp_path_factory):
    """All cases in all modes in one run: (case, mode) -> state, try number and XComs."""
    with ScriptedServer() as server:
        server.respond(Platform())
        connections = {
            f"wait_{case}_{mode}": {
                "conn_type": "polyteia",
                "host": server.url,
                "password": f"{case}.{mode}",
                "extra": {"api": "command", "max_wait": 0.5},
            }
            for case in CASES
            for mode in MODES
        }
        import_connections(airflow, tmp_path_factory.mktemp("matrix"), connections)
        airflow.add_dags(DAGS / "waiting_matrix.py")
        run_id = airflow.trigger("waiting_matrix")
        airflow.wait("waiting_matrix", run_id, timeout=600)
        rows = instances(airflow, "waiting_matrix", run_id)
        xcoms = airflow.records.xcoms("waiting_matrix", run_id)
    found = {}
    for task_id, row in rows.items():
        own = {key: value for (task, _, key), value in xcoms.items() if task == task_id}
        found[tuple(task_id.split("."))] = (row.state, row.try_number, own)
    return found


@pytest.mark.parametrize("case", CASES)
def test_all_modes_end_alike(matrix, case):
    """State, try number and XComs are the expected ones in poke, reschedule and deferrable mode."""
    outcomes = [matrix[case, mode] for mode in MODES]
    state, tries, result = EXPECTED[case]
    assert [outcome[:2] for outcome in outcomes] == [(state, tries)] * len(MODES)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][2].get("return_value") == result


@pytest.fixture(scope="module")
def own_platform(airflow, tmp_path_factory):
    """A separate sandbox whose faults do not affect other tests, with the connection `waiting`."""
    with Sandbox() as sandbox:
        connection = {
            "conn_type": "polyteia",
            "host": sandbox.base_url,
            "password": sandbox.pak,
            "extra": {"api": "command"},
        }
        import_connections(airflow, tmp_path_factory.mktemp("waiting"), {"waiting": connection})
        airflow.add_dags(DAGS / "waiting_deferred.py")
        yield sandbox


def start_waiting(airflow, sandbox, slug):
    """Start a run that waits for an upload to a new dataset, and return as soon as it is deferred."""
    params = {"name": slug, "slug": slug, "solution_id": SANDBOX_SOLUTION_ID}
    dataset_id = sandbox.call("create_dataset", params)["id"]
    run_id = airflow.trigger("waiting_deferred", {"dataset_id": dataset_id})
    wait_for_state(airflow, run_id, "deferred", 90)
    return run_id, dataset_id


def wait_for_state(airflow, run_id, state, timeout):
    """Wait until the task is in a state, or (`not <state>`) has left it; return the seconds that this took."""

    def is_reached():
        row = instances(airflow, "waiting_deferred", run_id).get("wait")
        return row is not None and (row.state != state[4:] if state.startswith("not ") else row.state == state)

    started = time.monotonic()
    wait_until(is_reached, timeout, lambda: f"{instances(airflow, 'waiting_deferred', run_id)}, not {state}")
    return time.monotonic() - started


def wait_for_polls(sandbox, number, timeout=60):
    goal = sandbox.count("get_dataset") + number
    wait_until(lambda: sandbox.count("get_dataset") >= goal, timeout, lambda: "the triggerer does not poll")


def test_deferred_sensor_survives_restart_and_errors(airflow, own_platform):
    """It uses no slot, survives a killed triggerer and five errors in a row, and ends soon after the upload."""
    run_id, dataset_id = start_waiting(airflow, own_platform, "survives")
    assert [row.state for row in airflow.records.task_instances("waiting_deferred", run_id)] == ["deferred"]
    wait_for_polls(own_platform, 2)
    airflow.restart("triggerer")
    own_platform.faults.add(
        "get_dataset:drop-before:1",
        "get_dataset:status:503:2",
        "get_dataset:body-error:500:3",
        "get_dataset:garbage:4",
        "get_dataset:retry-after:1:5",
    )
    wait_for_polls(own_platform, 7)
    own_platform.faults.clear()
    assert instances(airflow, "waiting_deferred", run_id)["wait"].state == "deferred"
    own_platform.upload(dataset_id, b"a\n1\n")
    # One interval, up to a second for each of the triggerer's two loops, and more on a busy machine.
    assert wait_for_state(airflow, run_id, "not deferred", 60) < INTERVAL + 5
    assert airflow.wait("waiting_deferred", run_id) == "success"
    (row,) = airflow.records.task_instances("waiting_deferred", run_id)
    assert (row.state, row.try_number) == ("success", 1)
    assert airflow.records.xcoms("waiting_deferred", run_id)["wait", -1, "id"] == dataset_id


def test_revoked_key_ends_a_deferred_sensor_immediately(airflow, own_platform):
    """A 401 in the triggerer fails the task on its first try, although it has three retries left."""
    run_id, _ = start_waiting(airflow, own_platform, "revoked")
    wait_for_polls(own_platform, 1)
    before = own_platform.count("get_dataset")
    own_platform.faults.add("get_dataset:status:401")
    assert wait_for_state(airflow, run_id, "not deferred", 60) < INTERVAL + 5
    assert airflow.wait("waiting_deferred", run_id) == "failed"
    own_platform.faults.clear()
    (row,) = airflow.records.task_instances("waiting_deferred", run_id)
    assert (row.state, row.try_number) == ("failed", 1)
    assert airflow.records.history("waiting_deferred", run_id) == []
    assert own_platform.count("get_dataset") == before + 1
    assert "PolyteiaAuthenticationError" in airflow.task_log("waiting_deferred", run_id, "wait")
