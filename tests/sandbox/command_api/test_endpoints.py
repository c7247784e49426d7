"""The command API as docs/platform-api.md describes it: calls, envelope, errors and pages."""

from __future__ import annotations

import json
import re

import pytest

from airflow_provider_polyteia.sandbox import (
    SANDBOX_ORGANIZATION_ID,
    SANDBOX_SOLUTION_ID,
    SANDBOX_WORKSPACE_ID,
)

DOCUMENTED = {
    "org_d2k7m0p4c5v1s8h3q9t0": SANDBOX_ORGANIZATION_ID,
    "sol_d2k7o5b4c5v1s8h3q9u0": SANDBOX_SOLUTION_ID,
}
DATASET = "ds_d2k7p8f4c5v1s8h3q9v0"
CALLS = (
    "create_dataset",
    "exchange_token",
    "execute_sql",
    "generate_dataset_upload_token",
    "generate_query_export_token",
    "get_dataset",
    "list_datasets",
    "list_organizations",
    "list_resources",
)
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def shape(value):
    """Return the comparable parts of a response: keys and types."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("name", CALLS)
def test_documented_calls_have_the_documented_response(name, golden, api, sandbox):
    """Each documented request gets a response of the documented form."""
    call = golden(f"calls/{name}")
    dataset_id = DATASET
    if name != "create_dataset":
        source = golden("calls/create_dataset")["request"]["json"]["params"]
        dataset_id = sandbox.call("create_dataset", source | {"solution_id": SANDBOX_SOLUTION_ID})["id"]
        sandbox.upload(dataset_id, b"a\n1\n2\n")
    text = json.dumps(call["request"]["json"]).replace(DATASET, dataset_id)
    for documented, ours in DOCUMENTED.items():
        text = text.replace(documented, ours)
    response = api.send(
        call["request"]["method"],
        call["request"]["path"],
        data=text,
        headers={"Content-Type": "application/json"},
    )
    expected = call["response"]["json"]
    if name in {"get_dataset", "list_datasets"}:  # the dataset of the example does not have data, ours has
        expected = json.loads(json.dumps(expected))
        record = expected["data"] if name == "get_dataset" else expected["data"]["items"][0]
        record["metadata"] = sandbox.call("get_dataset", {"id": dataset_id})["metadata"]
    assert response.status_code == call["response"]["status"]
    assert shape(response.json()) == shape(expected)


@pytest.mark.parametrize("kind", ["organization", "workspace", "solution", "dataset"])
def test_records_have_the_documented_fields(kind, golden, api, sandbox):
    """A record has exactly the documented fields, with their types."""
    ids = {
        "organization": SANDBOX_ORGANIZATION_ID,
        "workspace": SANDBOX_WORKSPACE_ID,
        "solution": SANDBOX_SOLUTION_ID,
        "dataset": api.new_dataset(),
    }
    sandbox.upload(ids["dataset"], b"amount\n1\n")
    record = api.data("query", f"get_{kind}", id=ids[kind])
    example = golden(f"resources/{kind}")["resource"]
    assert {key: type(value) for key, value in record.items()} == {key: type(value) for key, value in example.items()}
    assert TIMESTAMP.fullmatch(record["created_at"])
    if kind == "dataset":
        assert record["metadata"]["asset_info"].keys() == example["metadata"]["asset_info"].keys()
        assert record["metadata"]["schema"]["columns"]["amount"]["canonical_type"] == "number"


def test_ids_are_a_prefix_and_twenty_characters(api):
    """New ids have the form of the platform's ids."""
    assert re.fullmatch(r"ds_[0-9a-v]{20}", api.new_dataset())


def error(golden, name):
    return next((case["status"], case["json"]) for case in golden("errors") if case["name"] == name)


def test_documented_errors_match(golden, api, sandbox, connect):
    """The three documented error responses match in status and body."""
    api.new_dataset("taken")
    params = {"name": "Again", "solution_id": SANDBOX_SOLUTION_ID, "slug": "taken"}
    collision = api.command("create_dataset", **params)
    unknown = api.send("PUT", "/auth/pak/token", json={"organization_id": "org_00000000000000000000"})
    body = {"organization_id": SANDBOX_ORGANIZATION_ID}
    invalid_key = connect(sandbox, "invalid").send("PUT", "/auth/pak/token", json=body)
    seen = [(response.status_code, response.json()) for response in (collision, unknown, invalid_key)]
    assert seen == [
        error(golden, "slug exists already"),
        error(golden, "unknown organization at the token exchange"),
        error(golden, "wrong key at the token exchange"),
    ]


@pytest.mark.parametrize("credential", [None, "invalid", "PAK_SANDBOX_NOT_A_SECRET"])
def test_a_missing_or_invalid_key_is_rejected_everywhere(credential, sandbox, connect):
    """Every endpoint responds with 401 to a missing or invalid key, whatever the call."""
    api = connect(sandbox, credential)
    token = {"X-Upload-Token": "none"}
    responses = [
        api.query("list_organizations", page=1, size=1),
        api.query("no_such_query"),
        api.send("POST", "/api", data=b"no json"),
        api.sql("SELECT 1", []),
        api.send("GET", "/download", params={"token": "none"}),
        api.send("POST", "/upload", headers=token, files={"file": b""}),
        api.send("PUT", "/auth/pak/token", json={"organization_id": SANDBOX_ORGANIZATION_ID}),
    ]
    assert [response.status_code for response in responses] == [401] * 7
    assert responses[0].json() == {"error": "Unauthorized"}


@pytest.mark.parametrize(
    ("body", "code", "about"),
    [
        ("[]", 400, "object"),
        ("{", 400, "object"),
        ('{"params": {}}', 400, "exactly one"),
        ('{"command": "create_dataset", "query": "get_dataset", "params": {}}', 400, "exactly one"),
        ('{"query": "get_dataset"}', 400, "params"),
        ('{"query": "get_dataset", "params": []}', 400, "params"),
        ('{"query": 5, "params": {}}', 404, "unknown query"),
        ('{"command": "get_dataset", "params": {}}', 404, "unknown command"),
        ('{"query": "create_dataset", "params": {}}', 404, "unknown query"),
        ('{"command": "execute_sql", "params": {}}', 404, "/api/execute_sql"),
        ('{"query": "get_dataset", "params": {}}', 400, "solution_id and slug"),
        ('{"query": "get_dataset", "params": {"id": "ds_1", "slug": "s"}}', 400, "either id"),
        ('{"query": "get_dataset", "params": {"id": 7}}', 400, "params.id must be a string"),
        ('{"query": "get_dataset", "params": {"id": "ds_0"}}', 404, "dataset not found"),
        ('{"query": "list_organizations", "params": {"page": 1}}', 400, "params.size is required"),
        ('{"query": "list_organizations", "params": {"page": 0, "size": 1}}', 400, "params.page"),
        ('{"query": "list_organizations", "params": {"page": 1, "size": 101}}', 400, "params.size"),
        ('{"query": "list_organizations", "params": {"page": true, "size": 1}}', 400, "params.page"),
        ('{"command": "create_dataset", "params": {"name": "", "solution_id": "s"}}', 400, "params.name"),
    ],
)
def test_invalid_calls_are_rejected_with_the_cause(body, code, about, api):
    """An invalid call results in HTTP 200 with an error code, details, and a message with the cause."""
    response = api.send("POST", "/api", data=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 200
    assert set(response.json()) == {"error"}
    assert response.json()["error"]["code"] == code
    assert about in response.json()["error"]["message"]
    assert response.json()["error"]["details"] == []


def test_limits_of_a_workspace(api):
    """The documented limits of a workspace's name and description apply."""
    long_name = api.command("create_workspace", organization_id=SANDBOX_ORGANIZATION_ID, name="x" * 51)
    fits = api.command(
        "create_workspace", organization_id=SANDBOX_ORGANIZATION_ID, name="ü" * 50, description="y" * 255
    )
    assert long_name.json()["error"]["code"] == 400
    assert fits.json()["data"]["name"] == "ü" * 50


def test_pages_contain_every_item_once(api):
    """All pages together contain each dataset exactly once; later pages are empty."""
    made = {api.new_dataset(f"d{number}") for number in range(7)}
    pages = [
        api.data("query", "list_datasets", page=page, size=3, solution_id=SANDBOX_SOLUTION_ID) for page in range(1, 5)
    ]
    assert [len(page["items"]) for page in pages] == [3, 3, 1, 0]
    assert {item["id"] for page in pages for item in page["items"]} == made
    assert [page["total"] for page in pages] == [7] * 4


def test_an_update_replaces_the_whole_record(api):
    """Fields that an update does not contain are reset."""
    dataset_id = api.new_dataset("kept", description="about", source="SAP")
    changed = api.data("command", "update_dataset", id=dataset_id, name="New", slug="kept")
    assert changed["name"] == "New"
    assert (changed["description"], changed["source"]) == ("", "")
    assert changed["updated_at"] > changed["created_at"]


def test_an_update_keeps_slugs_unique(api):
    """An update cannot use the slug of another dataset, can keep its own, and releases the old one."""
    first, second = api.new_dataset("first"), api.new_dataset("second")
    taken = api.command("update_dataset", id=second, name="S", slug="first")
    assert taken.json()["error"]["code"] == 500
    assert api.data("command", "update_dataset", id=first, name="F", slug="moved")["slug"] == "moved"
    assert api.data("command", "update_dataset", id=second, name="S", slug="first")["id"] == second
    by_slug = api.data("query", "get_dataset", solution_id=SANDBOX_SOLUTION_ID, slug="first")
    assert by_slug["id"] == second


def test_a_slug_can_be_used_again_after_a_delete(api):
    """Deleting a dataset twice results in 404, and its slug can be used again."""
    dataset_id = api.new_dataset("again")
    assert api.data("command", "delete_dataset", id=dataset_id) is None
    assert api.command("delete_dataset", id=dataset_id).json()["error"]["code"] == 404
    assert api.new_dataset("again") != dataset_id


def test_slugs_are_unique_within_a_solution_only(api):
    """Another solution can use the same slug."""
    api.new_dataset("same")
    other = api.data("command", "create_solution", workspace_id=SANDBOX_WORKSPACE_ID, name="Other")
    assert api.new_dataset("same", solution_id=other["id"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/api/", "/api/create_dataset", "/v2/api", "/rpc/dataset/createDataset"])
def test_unknown_paths_get_the_web_application(method, path, api):
    """An unknown path results in HTTP 200 and a web page, for every method."""
    response = api.send(method, path)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_other_http_methods_get_the_web_application(api):
    """GET on `/api` is not a call."""
    assert "text/html" in api.send("GET", "/api").headers["Content-Type"]
