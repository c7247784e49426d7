"""The RPC API on a real Airflow: the examples, rejected keys, and transfers that wait for their ingest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow_env import RealAirflow
from airflow_records import TaskInstance
from rpc_replies import EXCHANGE, EXPIRING, KEYS, REJECTIONS, RpcReplyServer
from test_examples import COMMAND_API_ONLY, RPC_API_ONLY
from test_examples import CONF as COMMON_CONF

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"
CONF = {name: conf for name, conf in COMMON_CONF.items() if name not in COMMAND_API_ONLY} | {
    "example_call_procedure": {"solution_id": SANDBOX_SOLUTION_ID},
    "example_provision_rpc": {"organization_id": SANDBOX_ORGANIZATION_ID, "project": "Test project"},
}
SANDBOX_KEY = "pak_of_the_rpc_tests_77ab01"  # not the public one: it must not appear in any log
CSV = b"id,name\n1,a\n2,b\n"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def platform():
    """A sandbox of the RPC API."""
    with Sandbox(api="rpc", paks=[SANDBOX_KEY]) as running:
        yield running


@pytest.fixture(scope="module")
def rejecting_platform():
    """A server of the RPC API that rejects each key in its own form."""
    with RpcReplyServer() as running:
        yield running


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, platform, rejecting_platform):
    """A running Airflow at log level DEBUG whose connection `polyteia_default` points to the sandbox."""
    connections = {"polyteia_default": json.loads(platform.airflow_connection())} | {
        f"rejected_{form}": {
            "conn_type": "polyteia",
            "host": rejecting_platform.url,
            "password": key,
            "extra": {"api": "rpc", "organization_id": "org_1"},
        }
        for form, key in KEYS.items()
    }
    with RealAirflow(tmp_path_factory.mktemp("airflow"), connections=connections, log_level="DEBUG") as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A CSV file."""
    path = tmp_path_factory.mktemp("files") / "bookings.csv"
    path.write_bytes(CSV)
    return str(path)


@pytest.fixture(scope="module")
def examples(airflow):
    """One run of each example."""
    airflow.add_dags(*(EXAMPLES / f"{name}.py" for name in CONF))
    last = "example_call_procedure"  # needs the datasets of the others
    started = {name: airflow.trigger(name, conf) for name, conf in CONF.items() if name != last}
    for name, run_id in started.items():
        airflow.wait(name, run_id, timeout=120)
    started[last] = airflow.trigger(last, CONF[last])
    airflow.wait(last, started[last], timeout=120)
    return started


@pytest.mark.parametrize("dag_id", CONF)
def test_an_example_succeeds_on_the_rpc_api(airflow, examples, dag_id):
    """The run and each of its tasks succeed, without a second try."""
    instances = airflow.records.task_instances(dag_id, examples[dag_id])
    failed = [instance for instance in instances if (instance.state, instance.try_number) != ("success", 1)]
    logs = "\n".join(airflow.task_log(dag_id, examples[dag_id], instance.task_id) for instance in failed)
    assert instances
    assert not failed, logs


def test_results_of_examples(airflow, examples, platform):
    """The holidays are on the platform, the wait saw them, and each dataset's statistics were called for."""
    slugs = {item["slug"]: item for item in platform.datasets}
    assert slugs.keys() >= {"stops", "public_holidays_2026", "public_holidays_2027", "street_trees"}
    waited = airflow.records.xcoms("example_wait_for_dataset", examples["example_wait_for_dataset"])
    assert waited["wait_for_delivery", -1, "return_value"]["id"] == slugs["public_holidays_2026"]["id"]
    assert waited["count_rows", -1, "result"]["rows"][0][0] == slugs["public_holidays_2026"]["data"]["rows"]
    called = airflow.records.xcoms("example_call_procedure", examples["example_call_procedure"])
    assert [key for key in called if key[0] == "read_statistics"]


def test_other_examples(airflow, file, platform, tmp_path):
    """A file is loaded and exported again."""
    pytest.importorskip("pyarrow", reason="exporting a query on the RPC API needs it")
    airflow.add_dags(EXAMPLES / "example_file_to_polyteia.py", EXAMPLES / "example_export.py")
    conf = {"solution_id": SANDBOX_SOLUTION_ID, "file": file, "slug": "from_file"}
    loaded = succeed(airflow, "example_file_to_polyteia", conf)["load_file", -1, "return_value"]
    assert platform.content(loaded["dataset_id"]) == CSV
    assert loaded["ingest_id"].startswith("dsig_")
    path = tmp_path / "exported.parquet"
    xcoms = succeed(airflow, "example_export", {"dataset_id": loaded["dataset_id"], "file": str(path)})
    assert xcoms["export_rows", -1, "rows"] == 2
    assert path.stat().st_size == xcoms["export_rows", -1, "bytes"]


@pytest.fixture(scope="module")
def rejected(airflow, file):
    """One run for each form of rejection; all run at the same time."""
    airflow.add_dags(HERE / "dags" / "fail_fast_rpc.py")
    started = {
        form: airflow.trigger(
            "expiring_rpc" if form in EXPIRING else "rejected_rpc", {"conn_id": f"rejected_{form}", "file": file}
        )
        for form in KEYS
    }
    for form, run_id in started.items():
        airflow.wait("expiring_rpc" if form in EXPIRING else "rejected_rpc", run_id, timeout=240)
    return started


@pytest.mark.parametrize("form", REJECTIONS)
def test_a_rejection_fails_the_task_on_its_first_try(airflow, rejected, rejecting_platform, form):
    """Each task fails on try 1 with a single request beyond the exchange, and the log says what to do."""
    assert airflow.records.task_instances("rejected_rpc", rejected[form]) == [
        TaskInstance("operator", -1, "failed", 1),
        TaskInstance("upload", -1, "failed", 1),
    ]
    assert airflow.records.history("rejected_rpc", rejected[form]) == []
    paths = rejecting_platform.requests[form]
    others = [] if form.startswith("exchange") else ["/api/upload/dataset/ds_1", "/rpc/dataset/createDataset"]
    assert sorted(paths) == sorted([EXCHANGE, EXCHANGE, *others])
    advice = {"401": "Personal Access Keys", "403": "permission", "412": "must open the solution in Polyteia"}
    for task_id in ("operator", "upload"):
        log = airflow.task_log("rejected_rpc", rejected[form], task_id)
        assert f"rejected_{form}" in log
        assert next(text for status, text in advice.items() if status in form) in log


@pytest.mark.parametrize(("form", "state"), [("expires_once", "success"), ("expires_always", "failed")])
def test_a_session_is_renewed_once(airflow, rejected, rejecting_platform, form, state):
    """A 401 in mid-session leads to one renewal and one retry; a second 401 fails the task on its first try."""
    instances = airflow.records.task_instances("expiring_rpc", rejected[form])
    assert instances == [TaskInstance("session", -1, state, 1)]
    read = "/rpc/dataset/getDatasetById"
    assert rejecting_platform.requests[form] == [EXCHANGE, read, read, EXCHANGE, read]


@pytest.fixture(scope="module")
def ingests(airflow, platform, file):
    """A run that loads one file in three ways; the third ingest never ends."""
    airflow.add_dags(HERE / "dags" / "fail_fast_rpc.py")
    fields = {"organizationId": SANDBOX_ORGANIZATION_ID, "solutionId": SANDBOX_SOLUTION_ID, "documentation": {}}
    texts = {"name": "Ingests", "slug": "ingests", "description": "", "source": ""}
    dataset_id = platform.call("dataset/createDataset", {**fields, **texts})["id"]
    conf = {"conn_id": "", "file": file, "dataset_id": dataset_id}
    platform.recorder.clear()
    platform.faults.add("/api/upload/dataset:ingest-stuck:3")
    run_id = airflow.trigger("ingest_rpc", conf)
    airflow.wait("ingest_rpc", run_id, timeout=200)
    platform.faults.clear()
    return run_id, dataset_id


def test_ingests(airflow, platform, ingests):
    """Deferred or not, a load has the same result; if its ingest does not end, it fails without another upload."""
    run_id, dataset_id = ingests
    xcoms = airflow.records.xcoms("ingest_rpc", run_id)
    states = {
        item.task_id: (item.state, item.try_number) for item in airflow.records.task_instances("ingest_rpc", run_id)
    }
    logs = "\n".join(airflow.task_log("ingest_rpc", run_id, task_id) for task_id in states)
    loaded = {task_id: xcoms[task_id, -1, "return_value"] for task_id in states if states[task_id][0] == "success"}
    expected = {"load": ("success", 1), "load_deferred": ("success", 1), "load_stuck": ("failed", 1)}
    assert states == expected, logs
    assert platform.count("/api/upload/dataset") == 3
    assert "was accepted but is not finished" in logs
    assert dataset_id in logs
    results = [{name: value for name, value in result.items() if name != "ingest_id"} for result in loaded.values()]
    assert results[0] == results[1]
    assert all(result["ingest_id"].startswith("dsig_") for result in loaded.values())


def test_no_secret_is_in_any_log_or_record(airflow, examples, rejected, ingests, platform, rejecting_platform):
    """At level DEBUG, neither a key nor a session token is in a log or a table of Airflow."""
    logs, records = airflow.logs(), airflow.records.everything()
    sent = {request.headers.get("authorization", "").removeprefix("Bearer ") for request in platform.requests}
    assert examples["example_holidays"] in records
    assert rejected["call_401"] in records
    for secret in {SANDBOX_KEY, *KEYS.values(), *rejecting_platform.tokens, *sent} - {""}:
        assert secret not in logs
        assert secret not in records


def test_every_example_of_this_api_is_run():
    """Each example that is for this API only is covered here."""
    assert set(CONF) >= RPC_API_ONLY


def succeed(airflow, dag_id, conf):
    """Run a DAG successfully, and return its XComs."""
    run_id = airflow.trigger(dag_id, conf)
    state = airflow.wait(dag_id, run_id, timeout=120)
    tasks = {instance.task_id for instance in airflow.records.task_instances(dag_id, run_id)}
    logs = "\n".join(airflow.task_log(dag_id, run_id, task_id) for task_id in tasks)
    assert state == "success", logs
    return airflow.records.xcoms(dag_id, run_id)
