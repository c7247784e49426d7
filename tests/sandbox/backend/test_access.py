"""Keys, access tokens, and their permissions."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID


def test_a_revoked_key_is_rejected_immediately(sandbox, api):
    """The next call after revoking a key is rejected."""
    assert api.query("list_organizations", page=1, size=1).status_code == 200
    sandbox.platform.access.revoke(sandbox.pak)
    assert api.query("list_organizations", page=1, size=1).status_code == 401


@pytest.mark.parametrize("http_403", [False, True])
def test_a_read_only_key_cannot_write(http_403, start, connect):
    """Writes with a read-only key are rejected with 403 in the configured form; reads and SQL work."""
    sandbox = start(read_only_paks=["reader"], http_403=http_403)
    dataset_id = connect(sandbox).new_dataset()
    sandbox.upload(dataset_id, b"a\n1\n")
    reader = connect(sandbox, "reader")
    rejected = [
        reader.command("create_dataset", name="x", slug="x", solution_id=SANDBOX_SOLUTION_ID),
        reader.command("delete_dataset", id=dataset_id),
        reader.command("generate_dataset_upload_token", id=dataset_id, content_type="text/csv"),
    ]
    assert {response.status_code for response in rejected} == {403 if http_403 else 200}
    assert {response.json()["error"]["code"] for response in rejected} == {403}
    assert reader.data("query", "get_dataset", id=dataset_id)["id"] == dataset_id
    assert reader.sql(f"FROM '{{{{{dataset_id}}}}}'", [dataset_id]).json()["data"]["rows"] == [[1]]


def test_a_key_can_be_denied_access_to_a_solution(start, connect):
    """The solution and its content are rejected with 403 and not listed; other calls work."""
    sandbox = start(denied_solutions={"outsider": [SANDBOX_SOLUTION_ID]})
    dataset_id = connect(sandbox).new_dataset("inside")
    sandbox.upload(dataset_id, b"a\n1\n")
    outsider = connect(sandbox, "outsider")
    rejected = [
        outsider.query("get_solution", id=SANDBOX_SOLUTION_ID),
        outsider.query("get_dataset", id=dataset_id),
        outsider.query("get_dataset", solution_id=SANDBOX_SOLUTION_ID, slug="inside"),
        outsider.query("list_datasets", solution_id=SANDBOX_SOLUTION_ID, page=1, size=10),
        outsider.command("create_dataset", name="x", slug="x", solution_id=SANDBOX_SOLUTION_ID),
        outsider.command("generate_dataset_upload_token", id=dataset_id, content_type="text/csv"),
        outsider.sql(f"FROM '{dataset_id}'", [dataset_id]),
    ]
    assert [response.json()["error"]["code"] for response in rejected] == [403] * 7
    assert outsider.data("query", "list_solutions", page=1, size=10)["total"] == 0
    assert outsider.data("query", "list_organizations", page=1, size=10)["total"] == 1


def test_an_access_token_is_valid_for_one_organization(api, sandbox, connect):
    """An access token works like a key within its organization, and cannot be exchanged."""
    other = api.data("command", "create_organization", name="Other")["id"]
    token = api.send("PUT", "/auth/pak/token", json={"organization_id": other}).json()["token"]
    scoped = connect(sandbox, token)
    assert [item["id"] for item in scoped.data("query", "list_organizations", page=1, size=9)["items"]] == [other]
    assert scoped.query("get_solution", id=SANDBOX_SOLUTION_ID).json()["error"]["code"] == 404
    assert scoped.send("PUT", "/auth/pak/token", json={"organization_id": other}).status_code == 401


def test_an_access_token_expires(start, connect):
    """After its lifetime an access token is rejected with 401, and a new one works."""
    sandbox = start(token_lifetime=1.0)
    api = connect(sandbox)
    body = {"organization_id": SANDBOX_ORGANIZATION_ID}

    def read():
        token = api.send("PUT", "/auth/pak/token", json=body).json()["token"]
        return connect(sandbox, token)

    scoped = read()
    assert scoped.query("list_organizations", page=1, size=1).status_code == 200
    while scoped.query("list_organizations", page=1, size=1).status_code == 200:
        pass
    assert scoped.query("list_organizations", page=1, size=1).json() == {"error": "Unauthorized"}
    assert read().query("list_organizations", page=1, size=1).status_code == 200
