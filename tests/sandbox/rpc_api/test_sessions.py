"""The exchange of keys, and what sessions allow."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID

EXCHANGE = "auth/personalAccessKey/exchange"


@pytest.fixture
def anonymous(sandbox, connect):
    """A client without a session."""
    return connect(sandbox)


@pytest.mark.parametrize(
    "organization", [{"organizationId": SANDBOX_ORGANIZATION_ID}, {"organizationSlug": "stadt_musterhausen"}]
)
def test_a_key_is_exchanged_for_a_session(organization, anonymous, sandbox):
    """The organization can be named by id or slug. The session expires after an hour by default."""
    body = anonymous.call(EXCHANGE, key=sandbox.pak, **organization).json()
    session = body["json"]
    assert session.keys() == {"token", "expiresAt", "organizationId", "scope"}
    assert (session["organizationId"], session["scope"]) == (SANDBOX_ORGANIZATION_ID, "organization")
    assert body["meta"] == [[1, "expiresAt"]]
    left = datetime.fromisoformat(session["expiresAt"]) - datetime.now(UTC)
    assert 3590 < left.total_seconds() <= 3600
    anonymous.session.headers["Authorization"] = f"Bearer {session['token']}"
    assert anonymous.value("dataset/listDatasets", solutionId=SANDBOX_SOLUTION_ID) == []


def test_an_invalid_key_matches_the_documented_error(anonymous):
    """The error for an invalid key is exactly the documented one."""
    response = anonymous.call(EXCHANGE, key="pak_invalid", organizationId=SANDBOX_ORGANIZATION_ID)
    assert response.status_code == 401
    assert response.text == (
        '{"json":{"defined":false,"code":"UNAUTHORIZED","status":401,"message":"Invalid personal access key"}}'
    )


@pytest.mark.parametrize("organization", [{"organizationId": "org_0"}, {"organizationSlug": "org_0"}])
def test_an_unknown_organization(organization, anonymous, sandbox):
    """An unknown organization results in HTTP 404 in the JSON form."""
    assert anonymous.error(EXCHANGE, key=sandbox.pak, **organization)[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({}, "key"),
        ({"key": ""}, "key"),
        ({"key": "k", "organizationId": ""}, "organizationId"),
        ({"key": "k", "organizationId": None}, "organizationId"),
        ({"key": "k", "organizationId": "a", "organizationSlug": "b"}, "organizationSlug"),
    ],
)
def test_invalid_exchanges(params, path, anonymous):
    """A missing or empty key, an empty organization, and two organizations result in HTTP 400."""
    response = anonymous.call(EXCHANGE, **params)
    assert response.status_code == 400
    error = response.json()["json"]
    assert (error["code"], error["message"]) == ("BAD_REQUEST", "Input validation failed")
    assert [issue["path"] for issue in error["data"]["issues"]] == [[path]]


def test_an_exchange_with_authorization_is_rejected(rpc, sandbox):
    """The exchange must not have an Authorization header."""
    status, _, message = rpc.error(EXCHANGE, key=sandbox.pak, organizationId=SANDBOX_ORGANIZATION_ID)
    assert status == 400
    assert "Authorization" in message


def test_get_on_the_exchange(anonymous):
    """The exchange responds to GET like other procedures."""
    assert anonymous.send("GET", f"/rpc/{EXCHANGE}").json()["json"]["code"] == "METHOD_NOT_SUPPORTED"


def test_sessions_expire(serve, connect):
    """An expired session results in HTTP 401 in the JSON form, and `expiresAt` announces it."""
    rpc = connect(serve(token_lifetime=0.3)).login()
    assert rpc.value("dataset/listDatasets", solutionId=SANDBOX_SOLUTION_ID) == []
    time.sleep(0.35)
    assert rpc.error("dataset/listDatasets", solutionId=SANDBOX_SOLUTION_ID) == (401, "UNAUTHORIZED", "Unauthorized")
    assert rpc.login().new_dataset()


@pytest.mark.parametrize("authorization", [None, "Bearer unknown", "Bearer pak_sandbox_not_a_secret", "Basic eA=="])
def test_other_credentials_are_rejected_everywhere(authorization, anonymous):
    """A key is not a session. Procedures and REST paths each have their own form of HTTP 401."""
    if authorization:
        anonymous.session.headers["Authorization"] = authorization
    assert anonymous.error("dataset/getDatasetById", id="ds_0")[:2] == (401, "UNAUTHORIZED")
    for response in (anonymous.upload("ds_0", b"a\n1\n"), anonymous.query("SELECT 1")):
        assert (response.status_code, response.json()["code"]) == (401, "auth.unauthorized")


def test_a_session_without_an_organization(anonymous, sandbox):
    """It is rejected for datasets, files and SQL, but can list the organizations of the user."""
    session = anonymous.value(EXCHANGE, key=sandbox.pak)
    assert (session["organizationId"], session["scope"]) == (None, "user")
    anonymous.session.headers["Authorization"] = f"Bearer {session['token']}"
    assert anonymous.error("dataset/listDatasets", solutionId=SANDBOX_SOLUTION_ID)[:2] == (403, "FORBIDDEN")
    assert anonymous.upload("ds_0", b"a\n1\n").status_code == anonymous.query("SELECT 1").status_code == 403
    (organization,) = anonymous.value("auth/listMyOrganizations")["memberOf"]
    assert organization["id"] == SANDBOX_ORGANIZATION_ID
    assert organization["memberId"].startswith("mem_")


def test_a_session_is_limited_to_its_organization(serve, connect, tmp_path, start):
    """Resources of another organization are not found."""
    made = start(data_dir=tmp_path)
    other = made.call("create_organization", {"name": "Other", "slug": "other"})["id"]
    workspace = made.call("create_workspace", {"organization_id": other, "name": "W"})["id"]
    solution = made.call("create_solution", {"workspace_id": workspace, "name": "S"})["id"]
    made.stop()
    sandbox = serve(data_dir=tmp_path)
    rpc = connect(sandbox).login()
    assert rpc.error("solution/getSolutionById", id=solution)[:2] == (404, "NOT_FOUND")
    assert rpc.query("SELECT 1", solution).status_code == 404
    rpc.login(organizationSlug="other")
    assert rpc.value("solution/getSolutionById", id=solution)["organizationId"] == other
    assert rpc.error("solution/getSolutionById", id=SANDBOX_SOLUTION_ID)[0] == 404


def test_a_read_only_key(serve, connect):
    """It reads everything, exports included, but every write is rejected with HTTP 403."""
    sandbox = serve(read_only_paks=["pak_reader"])
    dataset = connect(sandbox).login().new_dataset()
    sandbox.upload(dataset, b"a\n1\n")
    reader = connect(sandbox).login("pak_reader")
    assert reader.value("dataset/getDatasetById", id=dataset)["id"] == dataset
    assert reader.value("dataset/exportDatasetData", id=dataset, format="csv")["url"]
    assert reader.query(f"FROM '{dataset}'").status_code == 200
    assert reader.error("dataset/deleteDataset", id=dataset)[:2] == (403, "FORBIDDEN")
    rejected = reader.upload(dataset, b"a\n2\n")
    assert (rejected.status_code, rejected.json()["code"]) == (403, "auth.forbidden")
    assert sandbox.content(dataset) == b"a\n1\n"


def test_a_denied_solution(serve, connect):
    """Its content is rejected with HTTP 403, by id and by slug."""
    sandbox = serve(denied_solutions={"pak_denied": [SANDBOX_SOLUTION_ID]})
    dataset = connect(sandbox).login().new_dataset("b")
    denied = connect(sandbox).login("pak_denied")
    slug = {"solutionId": SANDBOX_SOLUTION_ID, "slug": "b"}
    assert denied.error("dataset/getDatasetById", id=dataset)[:2] == (403, "FORBIDDEN")
    assert denied.error("dataset/getDatasetBySolutionSlug", **slug)[:2] == (403, "FORBIDDEN")
    assert denied.error("dataset/listDatasets", solutionId=SANDBOX_SOLUTION_ID)[0] == 403
    assert denied.value("solution/listSolutionsByWorkspace", workspaceId="ws_musterhausen00000001") == []
    assert denied.upload(dataset, b"a\n1\n").status_code == denied.query(f"FROM '{dataset}'").status_code == 403
