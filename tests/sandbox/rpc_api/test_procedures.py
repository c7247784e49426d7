"""Procedures and their records."""

from __future__ import annotations

import re

import pytest

from airflow_provider_polyteia.sandbox import (
    SANDBOX_ORGANIZATION_ID,
    SANDBOX_SOLUTION_ID,
    SANDBOX_WORKSPACE_ID,
)
from airflow_provider_polyteia.sandbox.rpc_api.procedures import PROCEDURES

IN_SOLUTION = {"organizationId": SANDBOX_ORGANIZATION_ID, "solutionId": SANDBOX_SOLUTION_ID}
FIELDS = {
    *("id", "organizationId", "solutionId", "name", "slug", "description", "source", "documentation"),
    *("columns", "dataAsOf", "createdAt", "updatedAt"),
}


def test_a_dataset_has_the_documented_fields(rpc, sandbox):
    """The record has camelCase names, and description and documentation can be null."""
    made = rpc.new_dataset("b", name="B", description=None, documentation=None, source="SAP")
    sandbox.upload(made, b"amount,note\n1,x\n")
    record = rpc.value("dataset/getDatasetById", id=made)
    assert record.keys() == FIELDS
    assert re.fullmatch(r"ds_[0-9a-v]{20}", record["id"])
    known = {"name": "B", "slug": "b", "description": None, "documentation": None, "source": "SAP"}
    assert {key: record[key] for key in known} == known
    assert (record["organizationId"], record["solutionId"]) == (SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID)
    assert [(column["name"], column["type"]) for column in record["columns"]] == [
        ("amount", "BIGINT"),
        ("note", "VARCHAR"),
    ]


def test_datasets_are_found_by_slug_and_listed(rpc):
    """The list is complete and has no pages."""
    made = [rpc.new_dataset(f"d{number}") for number in range(3)]
    found = rpc.value("dataset/getDatasetBySolutionSlug", solutionId=SANDBOX_SOLUTION_ID, slug="d1")
    assert found["id"] == made[1]
    assert [item["id"] for item in rpc.value("dataset/listDatasets", solutionId=SANDBOX_SOLUTION_ID)] == made
    missing = {"solutionId": SANDBOX_SOLUTION_ID, "slug": "d9"}
    assert rpc.error("dataset/getDatasetBySolutionSlug", **missing)[:2] == (404, "NOT_FOUND")


def test_a_taken_slug_is_a_conflict(rpc, new_input):
    """A second dataset with the slug, and an update to it, result in HTTP 409."""
    rpc.new_dataset("taken")
    other = rpc.new_dataset("other")
    assert rpc.error("dataset/createDataset", **new_input(slug="taken"))[:2] == (409, "CONFLICT")
    replaced = {"id": other, "name": "x", "description": "", "source": "", "documentation": {}, "dataAsOf": None}
    assert rpc.error("dataset/updateDataset", **replaced, slug="taken")[:2] == (409, "CONFLICT")
    assert rpc.value("dataset/updateDataset", **replaced, slug="other")["name"] == "x"
    assert len(rpc.value("dataset/listDatasets", solutionId=SANDBOX_SOLUTION_ID)) == 2


def test_without_a_slug_each_create_makes_a_dataset(rpc, new_input):
    """The slug is derived from the name and unique."""
    slugs = {rpc.value("dataset/createDataset", **new_input(name="Käse 2"))["slug"] for _ in range(2)}
    assert len(slugs) == 2
    assert all(slug.startswith("k-se-2-") for slug in slugs)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"slug": ""}, "slug"),
        ({"slug": None}, "slug"),
        ({"source": None}, "source"),
        ({"documentation": []}, "documentation"),
        ({"organizationId": "org_0"}, "organizationId"),
    ],
)
def test_invalid_inputs_are_rejected_with_the_key(changes, path, rpc, new_input, sandbox):
    """The error lists the invalid key, and nothing is created."""
    response = rpc.call("dataset/createDataset", **new_input(**changes))
    assert response.status_code == 400
    assert [issue["path"] for issue in response.json()["json"]["data"]["issues"]] == [[path]]
    assert sandbox.datasets == []


@pytest.mark.parametrize("key", ["organizationId", "solutionId", "name", "description", "source", "documentation"])
def test_required_keys_of_a_create(key, rpc, new_input):
    """All documented keys are required, except the slug."""
    params = new_input()
    del params[key]
    (issue,) = rpc.call("dataset/createDataset", **params).json()["json"]["data"]["issues"]
    assert issue["path"] == [key]


@pytest.mark.parametrize("key", ["id", "name", "slug", "description", "source", "documentation", "dataAsOf"])
def test_an_update_requires_every_key(key, rpc, dataset):
    """An update replaces the whole record, so a missing key is an error."""
    params = {"id": dataset, "name": "x", "slug": "s", "description": None, "source": "", "documentation": None}
    params["dataAsOf"] = None
    del params[key]
    (issue,) = rpc.call("dataset/updateDataset", **params).json()["json"]["data"]["issues"]
    assert issue["path"] == [key]
    assert rpc.value("dataset/getDatasetById", id=dataset)["name"] == "Bookings"


def test_an_update_replaces_everything(rpc, dataset, sandbox):
    """Null erases the as-of time, description and documentation. The data is not affected."""
    sandbox.upload(dataset, b"a\n1\n")
    params = {"id": dataset, "name": "B", "slug": "b", "source": "s"}
    filled = {"description": "d", "documentation": {"x": 1}, "dataAsOf": "2026-01-31"}
    assert rpc.value("dataset/updateDataset", [[1, "dataAsOf"]], **params, **filled)["dataAsOf"]
    emptied = {"description": None, "documentation": None, "dataAsOf": None}
    record = rpc.value("dataset/updateDataset", **params, **emptied)
    assert {key: record[key] for key in emptied} == emptied
    assert record == rpc.value("dataset/getDatasetById", id=dataset)
    assert [column["name"] for column in record["columns"]] == ["a"]
    assert sandbox.content(dataset) == b"a\n1\n"


def test_unknown_keys_are_dropped(rpc, new_input):
    """An unknown key is neither an error nor stored."""
    record = rpc.value("dataset/createDataset", **new_input(slug="s", descripton="typo"))
    assert "descripton" not in record
    report = rpc.value("report/createReport", **IN_SOLUTION, name="R", description="")["id"]
    assert rpc.value("report/updateReport", id=report, name="S", version=7)["version"] == 1


def test_a_deleted_dataset_is_missing(rpc, dataset):
    """Deleting it again results in HTTP 404 in the JSON form, and its slug is free."""
    assert rpc.call("dataset/deleteDataset", id=dataset).json() == {}
    assert rpc.error("dataset/deleteDataset", id=dataset) == (404, "NOT_FOUND", "dataset not found")
    assert rpc.new_dataset() != dataset


def test_data_can_be_deleted_without_the_dataset(rpc, dataset, sandbox):
    """The record remains, without columns and rows."""
    sandbox.upload(dataset, b"a\n1\n")
    assert rpc.value("dataset/getDatasetStats", id=dataset)["rowCount"] == "1"
    assert rpc.call("dataset/deleteDatasetData", datasetId=dataset).json() == {}
    assert rpc.value("dataset/getDatasetStats", id=dataset) == {"rowCount": "0", "columns": []}
    assert rpc.value("dataset/getDatasetById", id=dataset)["columns"] == []
    assert sandbox.datasets[0]["data"] is None


def test_columns_can_be_described(rpc, dataset):
    """The descriptions replace the previous ones and are returned unchanged."""
    columns = [{"name": "a", "type": "VARCHAR", "label": "A"}, {"name": "b"}]
    assert rpc.value("dataset/updateDatasetColumns", id=dataset, columns=columns)["columns"] == columns
    assert rpc.value("dataset/getDatasetById", id=dataset)["columns"] == columns
    assert rpc.error("dataset/updateDatasetColumns", id=dataset, columns=["a"])[0] == 400


def test_uploads_and_descriptions_keep_each_others_columns(rpc, dataset, sandbox):
    """A description survives uploads and copies, and the columns of the data survive descriptions."""
    described = [{"name": "b", "canonicalType": "phone", "label": "B"}]
    rpc.value("dataset/updateDatasetColumns", id=dataset, columns=described)
    sandbox.upload(dataset, b"a,b\n1,2\n")
    expected = [
        {"name": "a", "canonicalType": "number", "type": "BIGINT"},
        {"name": "b", "canonicalType": "phone", "type": "BIGINT", "label": "B"},
    ]
    assert rpc.value("dataset/getDatasetById", id=dataset)["columns"] == expected
    assert rpc.value("dataset/updateDatasetColumns", id=dataset, columns=described)["columns"] == expected
    copy = rpc.value("dataset/duplicateDataset", id=dataset, name="Copy")
    assert copy["columns"] == expected
    rpc.call("dataset/deleteDatasetData", datasetId=dataset)
    assert rpc.value("dataset/getDatasetById", id=dataset)["columns"] == described
    twice = [{"name": "a"}, {"name": "a"}]
    assert rpc.error("dataset/updateDatasetColumns", id=dataset, columns=twice)[0] == 400


def test_a_report_may_be_a_list_of_pages(rpc):
    """The structure of a report is an object or an array."""
    report = rpc.value("report/createReport", **IN_SOLUTION, name="R", description="")["id"]
    for structure in ([{"content": {}}], {"pages": []}):
        assert rpc.value("report/updateReport", id=report, name="R", structure=structure)["structure"] == structure
    assert rpc.error("report/updateReport", id=report, name="R", structure="x")[0] == 400


def test_a_copy_has_its_own_data(rpc, dataset, sandbox):
    """A duplicate contains the data of the original, but is independent of it."""
    sandbox.upload(dataset, b"a\n1\n")
    copy = rpc.value("dataset/duplicateDataset", id=dataset, name="Copy")
    assert (copy["name"], [column["name"] for column in copy["columns"]]) == ("Copy", ["a"])
    rpc.call("dataset/deleteDataset", id=dataset)
    assert sandbox.content(copy["id"]) == b"a\n1\n"


def test_a_locked_dataset_cannot_be_changed(rpc, dataset, sandbox):
    """A lock prevents uploads and deletes until it is removed."""
    rpc.call("dataset/setDatasetLock", id=dataset, locked=True)
    assert rpc.error("dataset/deleteDataset", id=dataset)[:2] == (403, "FORBIDDEN")
    assert rpc.upload(dataset, b"a\n1\n").status_code == 403
    rpc.call("dataset/setDatasetLock", id=dataset, locked=False)
    assert rpc.upload(dataset, b"a\n1\n").status_code == 200


def test_prune_schedules(rpc, dataset):
    """A schedule must be one of the documented words."""
    assert rpc.value("dataset/scheduleDatasetPrune", id=dataset, schedule="daily")["id"] == dataset
    assert rpc.error("dataset/scheduleDatasetPrune", id=dataset, schedule="hourly")[0] == 400
    assert rpc.value("dataset/removeDatasetPruneSchedule", id=dataset)["id"] == dataset


@pytest.mark.parametrize(
    "path", ["/rpc/dataset/createDatset", "/rpc/dataset/createdataset", "/rpc/", "/rpc", "/x", "/api"]
)
def test_unknown_paths_and_procedures_are_not_json(path, rpc):
    """HTTP 404 without the JSON form means that the procedure or path is unknown."""
    response = rpc.send("POST", path, json={"json": {}})
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_organizations_and_workspaces(rpc):
    """The seeded organization and its workspaces can be read, and workspaces created and archived."""
    organization = rpc.value("organization/getOrganizationById", id=SANDBOX_ORGANIZATION_ID)
    public = rpc.value("organization/getPublicOrganization", organizationSlug=organization["slug"])
    assert public["id"] == organization["id"] == SANDBOX_ORGANIZATION_ID
    (workspace,) = rpc.value("workspace/listWorkspacesByOrganization", organizationId=SANDBOX_ORGANIZATION_ID)
    assert workspace["id"] == SANDBOX_WORKSPACE_ID
    params = {"organizationId": SANDBOX_ORGANIZATION_ID, "name": "W", "description": ""}
    made = rpc.value("enterprise/workspace/createWorkspace", **params)["id"]
    rpc.call("enterprise/workspace/archiveWorkspace", workspaceId=made)
    everything = rpc.value("enterprise/workspace/listWorkspacesByOrganization", organizationId=SANDBOX_ORGANIZATION_ID)
    assert ["deletedAt" in item for item in everything] == [False, True]
    assert len(rpc.value("workspace/listWorkspacesByOrganization", organizationId=SANDBOX_ORGANIZATION_ID)) == 1
    properties = {"cost_centre": "2100"}
    changed = rpc.value("workspace/setWorkspacePublicProperties", id=SANDBOX_WORKSPACE_ID, publicProperties=properties)
    assert changed["publicProperties"] == properties


def test_solutions(rpc):
    """A solution can be created, read, listed, documented and deleted."""
    params = {"workspaceId": SANDBOX_WORKSPACE_ID, "name": "S", "description": ""}
    made = rpc.value("solution/createSolution", **params)["id"]
    assert rpc.value("solution/getSolutionById", id=made)["organizationId"] == SANDBOX_ORGANIZATION_ID
    listed = rpc.value("solution/listSolutionsByWorkspace", workspaceId=SANDBOX_WORKSPACE_ID)
    assert [item["id"] for item in listed] == [SANDBOX_SOLUTION_ID, made]
    documented = rpc.value("solution/updateSolutionDocumentation", id=made, documentation={"blocks": [1]})
    assert documented["documentation"] == {"blocks": [1]}
    changed = rpc.value("solution/setSolutionPublicProperties", id=made, publicProperties={"a": 1})
    assert changed["publicProperties"] == {"a": 1}
    assert rpc.call("solution/deleteSolution", id=made).json() == {}
    assert rpc.error("solution/getSolutionById", id=made)[:2] == (404, "NOT_FOUND")


def test_insights_and_reports(rpc):
    """They can be created, changed, read, listed and deleted."""
    fields = {**IN_SOLUTION, "name": "I", "description": "", "query": {"version": 4}, "config": None}
    insight = rpc.value("insight/createInsight", **fields, slug="i")["id"]
    assert rpc.value("insight/updateInsight", **fields | {"id": insight, "name": "J"})["name"] == "J"
    by_slug = rpc.value("insight/getInsight", solutionId=SANDBOX_SOLUTION_ID, slug="i")
    assert (by_slug["id"], by_slug["name"], by_slug["query"]) == (insight, "J", {"version": 4})
    assert len(rpc.value("insight/listInsights", solutionId=SANDBOX_SOLUTION_ID)) == 1
    rpc.call("insight/deleteInsight", id=insight)
    assert rpc.error("insight/getInsight", id=insight)[0] == 404
    report = rpc.value("report/createReport", **IN_SOLUTION, name="R", description="about")["id"]
    assert rpc.value("report/updateReport", id=report, structure={"a": 1})["structure"] == {"a": 1}
    assert rpc.value("report/getReport", id=report)["description"] == "about"
    assert len(rpc.value("report/listReports", solutionId=SANDBOX_SOLUTION_ID)) == 1
    rpc.call("report/deleteReport", id=report)
    assert rpc.value("report/listReports", solutionId=SANDBOX_SOLUTION_ID) == []


def test_tags_and_groups(rpc, dataset):
    """Tags belong to a solution and can be assigned; groups belong to a workspace."""
    tag = rpc.value("tag/createTag", **IN_SOLUTION, name="open", description="", color="#1F009D")["id"]
    assert rpc.value("tag/getTag", id=tag)["color"] == "#1F009D"
    assert [item["id"] for item in rpc.value("tag/listTags", solutionId=SANDBOX_SOLUTION_ID)] == [tag]
    rpc.call("tag/assignTag", tagId=tag, resourceId=dataset)
    assert [item["id"] for item in rpc.value("tag/listTagsForResource", resourceId=dataset)] == [tag]
    rpc.call("tag/removeTagAssignment", tagId=tag, resourceId=dataset)
    assert rpc.value("tag/listTagsForResource", resourceId=dataset) == []
    rpc.call("tag/deleteTag", id=tag)
    assert rpc.error("tag/getTag", id=tag)[0] == 404
    group = rpc.value("group/createGroup", workspaceId=SANDBOX_WORKSPACE_ID, name="G", description="")["id"]
    assert rpc.value("group/getGroupById", id=group)["name"] == "G"
    assert len(rpc.value("group/listGroupsByWorkspace", workspaceId=SANDBOX_WORKSPACE_ID)) == 1
    changed = rpc.value("group/setGroupPublicProperties", id=group, publicProperties={"a": 1})
    assert changed["publicProperties"] == {"a": 1}
    rpc.call("group/deleteGroup", id=group)
    assert rpc.value("group/listGroupsByWorkspace", workspaceId=SANDBOX_WORKSPACE_ID) == []


def test_permissions(serve, connect):
    """A read-only key may view, and a denied one may do nothing."""
    sandbox = serve(read_only_paks=["pak_reader"], denied_solutions={"pak_denied": [SANDBOX_SOLUTION_ID]})
    allowed = {}
    for key in (sandbox.pak, "pak_reader", "pak_denied"):
        rpc = connect(sandbox).login(key)
        for permission in ("can_view_solution", "can_create_dataset"):
            response = rpc.value("permission/checkPermission", permission=permission, resourceId=SANDBOX_SOLUTION_ID)
            assert (response["permission"], response["resourceId"]) == (permission, SANDBOX_SOLUTION_ID)
            allowed[key, permission] = response["allowed"]
    assert list(allowed.values()) == [True, True, True, False, False, False]
    assert rpc.error("permission/checkPermission", permission="can_view_solution", resourceId="sol_0")[0] == 404


def test_procedures_can_be_run_directly(sandbox):
    """`Sandbox.call` takes and returns what HTTP would, without counting the call."""
    params = {**IN_SOLUTION, "name": "B", "description": "", "source": "", "documentation": {}, "slug": "b"}
    made = sandbox.call("dataset/createDataset", params)
    assert made["slug"] == "b"
    changed = params | {"id": made["id"], "dataAsOf": "2026-01-31"}
    assert sandbox.call("dataset/updateDataset", changed)["dataAsOf"] == "2026-01-31T00:00:00.000Z"
    assert sandbox.call("dataset/deleteDataset", {"id": made["id"]}) is None
    assert sandbox.count("dataset/createDataset") == 0
    with pytest.raises(KeyError):
        sandbox.call("get_dataset", {"id": made["id"]})


def test_changes_are_permanent(serve, connect, tmp_path):
    """A change survives a restart with the same data directory."""
    first = serve(data_dir=tmp_path)
    dataset = connect(first).login().new_dataset()
    first.stop()
    assert [record["id"] for record in serve(data_dir=tmp_path).records("dataset")] == [dataset]


def test_the_documented_dataset_procedures_are_served():
    """Every procedure for datasets has an endpoint."""
    assert {name.partition("/")[2] for name in PROCEDURES if name.startswith("dataset/")} == {
        *("createDataset", "getDatasetById", "getDatasetBySolutionSlug", "listDatasets", "updateDataset"),
        *("updateDatasetColumns", "deleteDataset", "deleteDatasetData", "getDatasetStats", "getDatasetIngestStatus"),
        *("exportDatasetData", "duplicateDataset", "scheduleDatasetPrune", "removeDatasetPruneSchedule"),
        "setDatasetLock",
    }
