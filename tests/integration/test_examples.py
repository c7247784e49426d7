"""Each example DAG does what its docstring says on a real Airflow."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import requests
from airflow_env import AIRFLOW_3

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID

ROOT = Path(__file__).parents[2]
WATCHING = {"example_asset_triggered"}  # started by uploads, see test_watching; needs Airflow 3
COMMAND_API_ONLY = {"example_command_and_query", "example_provision"}
RPC_API_ONLY = {"example_call_procedure", "example_provision_rpc"}  # test_rpc_api runs them, and the others once more
TRANSFERS = {  # test_transfers_airflow
    "example_csv_to_polyteia",
    "example_export",
    "example_file_to_polyteia",
    "example_postgres_to_polyteia",
    "example_tables_to_polyteia",
}
EXAMPLES = [
    file for file in sorted((ROOT / "example_dags").glob("example_*.py")) if AIRFLOW_3 or file.stem not in WATCHING
]

CONF = {
    "example_create_dataset": {"solution_id": SANDBOX_SOLUTION_ID, "slug": "stops"},
    "example_command_and_query": {"solution_id": SANDBOX_SOLUTION_ID, "as_of": "2026-03-31"},
    "example_holidays": {"solution_id": SANDBOX_SOLUTION_ID, "years": [2026, 2027]},
    "example_wait_for_dataset": {"solution_id": SANDBOX_SOLUTION_ID, "slug": "public_holidays_2026"},
    "example_provision": {"organization_id": SANDBOX_ORGANIZATION_ID, "project": "Test project"},
}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def call_api(platform, path="/api", **call):
    """Send a call with plain HTTP as docs/platform-api.md describes it, and return its `data`."""
    headers = {"Authorization": f"Bearer {platform.pak}"}
    return requests.post(f"{platform.base_url}{path}", json=call, headers=headers, timeout=10).json()["data"]


def datasets(platform, solution_id=SANDBOX_SOLUTION_ID):
    """Return slug -> dataset of one solution."""
    page = call_api(platform, query="list_datasets", params={"solution_id": solution_id, "page": 1, "size": 100})
    return {item["slug"]: item for item in page["items"]}


@pytest.fixture(scope="module")
def run_ids(airflow):
    """One run of each example at the same time, then of those that need the results of others."""
    airflow.add_dags(*EXAMPLES)
    started = {}
    for batch in (
        ["example_wait_for_dataset", "example_create_dataset", "example_holidays", "example_provision"],
        ["example_command_and_query"],
    ):
        started |= {dag_id: airflow.trigger(dag_id, CONF[dag_id]) for dag_id in batch}
        for dag_id in batch:
            airflow.wait(dag_id, started[dag_id], timeout=120)
    return started


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_parses_without_a_warning(file):
    """Neither an example nor our package emits a warning while the file is parsed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runpy.run_path(str(file))
    own = [warning for warning in caught if str(ROOT) in warning.filename and ".venv" not in warning.filename]
    assert not own


def test_every_example_is_run():
    """Each example is covered by a run in these tests."""
    assert {file.stem for file in EXAMPLES} - WATCHING - TRANSFERS - RPC_API_ONLY == set(CONF)


@pytest.mark.parametrize("dag_id", CONF)
def test_an_example_succeeds_on_the_first_try(airflow, run_ids, dag_id):
    """The run and each of its tasks succeed, without a second try."""
    instances = airflow.records.task_instances(dag_id, run_ids[dag_id])
    failed = [instance for instance in instances if (instance.state, instance.try_number) != ("success", 1)]
    logs = "\n".join(airflow.task_log(dag_id, run_ids[dag_id], instance.task_id) for instance in failed)
    assert instances
    assert not failed, logs
    assert airflow.records.run_state(dag_id, run_ids[dag_id]) == "success"


def test_create_dataset_run_twice_gives_one_dataset(airflow, platform, run_ids):
    """The second run returns the dataset of the first; its id is a separate XCom."""
    second = airflow.trigger("example_create_dataset", CONF["example_create_dataset"])
    assert airflow.wait("example_create_dataset", second) == "success"
    ids = {
        airflow.records.xcoms("example_create_dataset", run_id)["create_dataset", -1, "id"]
        for run_id in (run_ids["example_create_dataset"], second)
    }
    assert ids == {datasets(platform)["stops"]["id"]}


def test_command_and_query_records_the_day_for_each_dataset(airflow, platform, run_ids):
    """There is one mapped command for each dataset of the solution, and its parameters contain the day."""
    fields = airflow.records.rendered_fields("example_command_and_query", run_ids["example_command_and_query"])
    sent = [value["parameters"] for (task_id, _), value in fields.items() if task_id == "record_source"]
    assert {parameters["id"] for parameters in sent} == {item["id"] for item in datasets(platform).values()}
    assert {parameters["source_info"]["source_timestamp"] for parameters in sent} == {"2026-03-31T00:00:00Z"}


def test_holidays_are_on_the_platform(platform, run_ids):
    """The dataset of each year contains German Unity Day for all 16 states."""
    for year in CONF["example_holidays"]["years"]:
        dataset = datasets(platform)[f"public_holidays_{year}"]
        sql = "SELECT count(*) FROM '{{%s}}' WHERE date = '%s-10-03'" % (dataset["id"], year)  # noqa: S608, UP031 - our id
        params = {"sql": sql, "datasets": [dataset["id"]], "args": [], "named_args": {}}
        result = call_api(platform, "/api/execute_sql", command="execute_sql", params=params)
        assert result["rows"] == [[16]]


def test_wait_for_dataset_detects_the_delivery(airflow, platform, run_ids):
    """The sensor returns the dataset that was uploaded, and its rows are counted."""
    xcoms = airflow.records.xcoms("example_wait_for_dataset", run_ids["example_wait_for_dataset"])
    delivered = xcoms["wait_for_delivery", -1, "return_value"]
    assert delivered["id"] == datasets(platform)["public_holidays_2026"]["id"]
    assert delivered["size"] > 0
    assert xcoms["count_rows", -1, "result"]["rows"][0][0] > 0


def test_provision_creates_a_solution_with_three_datasets(airflow, platform, run_ids):
    """The solution is in the workspace, and contains the datasets that the parameter names."""
    xcoms = airflow.records.xcoms("example_provision", run_ids["example_provision"])
    workspace = xcoms["create_workspace", -1, "return_value"]
    solution = xcoms["create_solution", -1, "return_value"]
    assert solution["workspace_id"] == workspace["id"]
    assert workspace["name"] == "Test project"
    assert set(datasets(platform, solution["id"])) == {"street_trees", "playgrounds", "drinking_fountains"}


def test_no_key_or_token_is_in_any_log_or_record(airflow, platform, run_ids):
    """At level DEBUG, neither the key nor any token that was sent is in a log or a table."""
    tokens = {request.headers["x-upload-token"] for request in platform.recorder.requests if request.path == "/upload"}
    tokens |= {token for request in platform.recorder.requests for token in parse_qs(request.query).get("token", [])}
    sent = [request.headers.get("authorization", "") for request in platform.recorder.requests]
    access = {bearer.removeprefix("Bearer ") for bearer in sent} - {platform.pak, ""}
    assert access  # the connection names an organization
    tokens |= access
    logs, records = airflow.logs(), airflow.records.everything()
    assert len(tokens) >= len(CONF["example_holidays"]["years"])
    assert run_ids["example_holidays"] in records
    for secret in {platform.pak, *tokens}:
        assert secret not in logs
        assert secret not in records
