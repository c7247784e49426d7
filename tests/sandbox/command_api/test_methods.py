"""Every command and query has an effect that another call shows."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.client.command_api.methods import METHODS as CLIENT_METHODS
from airflow_provider_polyteia.sandbox import (
    SANDBOX_ORGANIZATION_ID,
    SANDBOX_SOLUTION_ID,
    SANDBOX_USER_ID,
    SANDBOX_WORKSPACE_ID,
)
from airflow_provider_polyteia.sandbox.command_api.methods import METHODS

ORGANIZATION = {"organization_id": SANDBOX_ORGANIZATION_ID}
PAGE = {"page": 1, "size": 100}


@pytest.fixture
def command(api):
    return lambda name, path="/api", /, **params: api.data("command", name, path, **params)


@pytest.fixture
def query(api):
    return lambda name, /, **params: api.data("query", name, **params)


def test_sandbox_and_client_know_the_same_methods():
    """Both tables were written independently. They agree on every name, kind and path."""
    ours = {(name, "command" if method.command else "query", method.path) for name, method in METHODS.items()}
    assert ours == {(method.name, method.kind, method.path) for method in CLIENT_METHODS.values()}


def test_organizations(api, command, query):
    """An organization can be created and configured, and can be deleted only if it is empty."""
    made = command("create_organization", name="Kreis", slug="kreis", settings={"seats": 5})["id"]
    assert query("get_organization_settings", id=made) == {"seats": 5}
    plain = command("create_organization", name="Stadt")["id"]
    for organization in (SANDBOX_ORGANIZATION_ID, plain):
        assert query("get_organization_settings", id=organization).keys() == {"seats", "features"}
    command("update_organization_settings", id=made, settings={"seats": 9})
    assert query("get_organization_settings", id=made) == {"seats": 9}
    workspace = command("create_workspace", organization_id=made, name="W")["id"]
    assert api.command("delete_organization", id=made).json()["error"]["code"] == 400
    command("delete_workspace", id=workspace)
    command("delete_organization", id=made)
    assert api.query("get_organization", id=made).json()["error"]["code"] == 404


def test_members(api, command, query):
    """A user can be invited, listed, read and removed."""
    command("invite_user_to_organization", id=SANDBOX_ORGANIZATION_ID, email="max@example.org", role="viewer")
    members = query("list_organization_members", id=SANDBOX_ORGANIZATION_ID, **PAGE, search="", order=[], filters={})
    (invited,) = [item for item in members["items"] if item["email"] == "max@example.org"]
    listed = {"id": SANDBOX_ORGANIZATION_ID, **PAGE, "filters": {"role": "viewer"}}
    assert [item["id"] for item in query("list_organization_members", **listed)["items"]] == [invited["id"]]
    member = {"id": SANDBOX_ORGANIZATION_ID, "user_id": invited["id"]}
    assert query("get_organization_member", **member)["role"] == "viewer"
    command("remove_from_organization", **member)
    assert api.query("get_organization_member", **member).json()["error"]["code"] == 404


def test_a_user_is_invited_once(api, query):
    """A second invitation, or one of a member, is rejected, whatever the case of the address."""
    invitation = {"id": SANDBOX_ORGANIZATION_ID, "role": "viewer"}
    codes = []
    for email in ("max@example.org", "Max@Example.org", "erika@musterhausen.example"):
        response = api.command("invite_user_to_organization", **invitation, email=email)
        codes.append(response.json().get("error", {}).get("code"))
    assert codes == [None, 400, 400]
    assert query("list_organization_members", id=SANDBOX_ORGANIZATION_ID, **PAGE)["total"] == 2


def test_workspaces(command, query):
    """An update of a workspace replaces its name and adds to its attributes."""
    made = command("create_workspace", **ORGANIZATION, name="Schulen", attributes={"a": "1"})["id"]
    command("update_workspace", id=made, name="Schulamt", attributes={"b": "2"})
    workspace = query("get_workspace", id=made)
    assert (workspace["name"], workspace["attributes"]) == ("Schulamt", {"a": "1", "b": "2"})
    assert query("list_workspaces", **PAGE, **ORGANIZATION, search="schul")["total"] == 1


def test_solutions(api, command, query):
    """Deleting a solution deletes its datasets."""
    made = command("create_solution", workspace_id=SANDBOX_WORKSPACE_ID, name="Wahlen")
    assert (made["workspace_id"], made["organization_id"]) == (SANDBOX_WORKSPACE_ID, SANDBOX_ORGANIZATION_ID)
    assert command("update_solution", id=made["id"], name="Wahl")["documentation"] == {"blocks": []}
    assert query("list_solutions", **PAGE, **ORGANIZATION, search="wahl")["total"] == 1
    dataset_id = api.new_dataset(solution_id=made["id"])
    command("delete_solution", id=made["id"])
    assert api.query("get_dataset", id=dataset_id).json()["error"]["code"] == 404


def test_dataset_metadata(api, command, query):
    """Descriptions of columns and the as-of time are part of the dataset's metadata."""
    dataset_id = api.new_dataset()
    assert "metadata" not in query("get_dataset", id=dataset_id)
    command("update_dataset_metadata", id=dataset_id, columns={"tel": {"canonical_type": "phone"}})
    source_info = {"source_timestamp": "2026-01-31T00:00:00Z"}
    command("update_dataset_source_info", id=dataset_id, source_info=source_info)
    metadata = query("get_dataset", id=dataset_id)["metadata"]
    assert metadata == {"schema": {"columns": {"tel": {"canonical_type": "phone"}}}, "source_info": source_info}
    wrong = api.command("update_dataset_source_info", id=dataset_id, source_info={})
    assert wrong.json()["error"]["code"] == 400


def test_columns_of_metadata_and_data(api, command, query, sandbox):
    """Uploads and descriptions do not erase each other's columns. The physical type is that of the data."""
    dataset_id = api.new_dataset()

    def columns():
        return query("get_dataset", id=dataset_id)["metadata"]["schema"]["columns"]

    command("update_dataset_metadata", id=dataset_id, columns={"tel": {"canonical_type": "phone"}, "later": {"x": 1}})
    sandbox.upload(dataset_id, b"id,tel\n1,221\n")
    number = {"canonical_type": "number", "type": "BIGINT"}
    described = {"canonical_type": "phone", "type": "BIGINT"}
    assert columns() == {"id": number, "tel": described, "later": {"x": 1}}
    command("update_dataset_metadata", id=dataset_id, columns=[{"name": "tel", "label": "Telefon"}])
    assert columns() == {"id": number, "tel": {**number, "label": "Telefon"}}
    command("update_dataset_metadata", id=dataset_id, columns=columns())  # as the SDK does, with nothing changed
    sandbox.upload(dataset_id, b"tel\n+49 221\n")
    assert columns() == {"tel": {"canonical_type": "text", "type": "VARCHAR", "label": "Telefon"}}


@pytest.mark.parametrize("columns", [["a"], [{"label": "A"}], [{"name": "a"}, {"name": "a"}], "a", 1])
def test_invalid_columns(columns, api, query):
    """Columns without a name, or with the same one, are rejected."""
    dataset_id = api.new_dataset()
    response = api.command("update_dataset_metadata", id=dataset_id, columns=columns)
    assert response.json()["error"]["code"] == 400
    assert "metadata" not in query("get_dataset", id=dataset_id)


def test_insights(api, command, query):
    """An insight can be read by id and by slug, replaced and deleted."""
    place = {"solution_id": SANDBOX_SOLUTION_ID, "slug": "costs"}
    made = command("create_insight", **place, name="Costs", query={"version": 4}, config=None)["id"]
    assert query("get_insight", **place)["id"] == made
    command("update_insight", id=made, **place, name="Cost", query={"version": 4}, config={"type": "table"})
    assert query("get_insight", id=made)["config"] == {"type": "table"}
    listed = {"resource_type": "insight", "permission": "can_edit"}
    assert query("list_resources", **PAGE, **listed, filters=[])["items"] == [made]
    command("delete_insight", id=made)
    assert api.query("get_insight", id=made).json()["error"]["code"] == 404


def test_reports(api, command, query):
    """A report stores its blocks and links. Its views are snapshots until they are synced."""
    made = command("create_report", solution_id=SANDBOX_SOLUTION_ID, name="R", content={"editorState": [1]})["id"]
    insight = command("create_insight", solution_id=SANDBOX_SOLUTION_ID, name="I", slug="i")["id"]
    dataset = api.new_dataset()
    command("add_insight_to_report", report_id=made, insight_id=insight)
    command("add_dataset_to_report", report_id=made, dataset_id=dataset)
    assert query("get_resource", id=made)["metadata"] == {"insights": [insight], "datasets": [dataset]}
    command("remove_insight_from_report", report_id=made, insight_id=insight)
    view = command("create_report_view", report_id=made, name="V", config={})["id"]
    command("update_report", id=made, name="R2", structure={"editorState": [2]})
    assert query("get_report_view", id=view)["structure"] == {"editorState": [1]}
    assert command("sync_report_view", id=view)["structure"] == {"editorState": [2]}
    assert query("list_report_views", report_id=made, **PAGE)["total"] == 1
    command("update_report", id=made, name="R2", structure=[{"content": {}}])
    assert query("get_resource", id=made)["structure"] == [{"content": {}}]
    assert api.command("update_report", id=made, name="R2", structure="x").json()["error"]["code"] == 400
    command("delete_report", id=made)
    assert api.query("get_report_view", id=view).json()["error"]["code"] == 404


def test_deleted_insights_and_datasets_are_removed_from_reports(api, command, query):
    """A report does not refer to an insight or dataset that does not exist any more."""
    report = command("create_report", solution_id=SANDBOX_SOLUTION_ID, name="R")["id"]
    insight = command("create_insight", solution_id=SANDBOX_SOLUTION_ID, name="I", slug="i")["id"]
    dataset = api.new_dataset()
    command("add_insight_to_report", report_id=report, insight_id=insight)
    command("add_dataset_to_report", report_id=report, dataset_id=dataset)
    command("delete_insight", id=insight)
    command("delete_dataset", id=dataset)
    assert query("get_resource", id=report)["metadata"] == {"insights": [], "datasets": []}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], {"a", "b", "c"}),
        ([SANDBOX_SOLUTION_ID], {"a"}),
        ([SANDBOX_WORKSPACE_ID], {"a", "b"}),
        ([SANDBOX_ORGANIZATION_ID], {"a", "b", "c"}),
        ([SANDBOX_SOLUTION_ID, "ws_other"], {"a"}),
        (["sol_unknown"], set()),
        ([None], set()),
    ],
)
def test_filters_of_resources(filters, found, api, command, query):
    """A resource is listed if a container of the filters contains it, at any level."""
    workspace = command("create_workspace", **ORGANIZATION, name="W")["id"]
    solutions = {
        "a": SANDBOX_SOLUTION_ID,
        "b": command("create_solution", workspace_id=SANDBOX_WORKSPACE_ID, name="B")["id"],
        "c": command("create_solution", workspace_id=workspace, name="C")["id"],
    }
    datasets = {api.new_dataset(name, solution_id=solution): name for name, solution in solutions.items()}
    listed = {**PAGE, "resource_type": "dataset", "permission": "can_edit"}
    page = query("list_resources", **listed, filters=[{"container_id": container} for container in filters])
    assert {datasets[item] for item in page["items"]} == found


@pytest.mark.parametrize("filters", [["sol_1"], [{"solution_id": "sol_1"}], [{}], [{"container_id": "a", "x": 1}]])
def test_unknown_filters_of_resources_are_rejected(filters, api):
    """A filter that the sandbox does not know is rejected instead of ignored."""
    listed = {**PAGE, "resource_type": "dataset", "permission": "can_edit"}
    assert api.query("list_resources", **listed, filters=filters).json()["error"]["code"] == 400


@pytest.mark.parametrize(("permission", "count"), [("can_view", 1), ("can_view_data", 1), ("can_edit", 0)])
def test_permission_of_resources(permission, count, start, connect):
    """A key that only reads does not have the permission to edit any resource."""
    sandbox = start(read_only_paks=["reader"])
    connect(sandbox).new_dataset()
    listed = {**PAGE, "resource_type": "dataset", "filters": []}
    reader = connect(sandbox, "reader")
    assert len(reader.data("query", "list_resources", **listed, permission=permission)["items"]) == count
    owner = connect(sandbox)
    assert len(owner.data("query", "list_resources", **listed, permission=permission)["items"]) == 1


def test_tags(api, command, query):
    """Resources can be tagged and found by their tags."""
    tag = command("create_tag", **ORGANIZATION, name="open", color="#1F009D")["id"]
    assert query("get_tag", id=tag)["color"] == "#1F009D"
    assert query("list_tags", **ORGANIZATION, **PAGE)["total"] == 1
    tagged, _ = api.new_dataset("tagged"), api.new_dataset("plain")
    command("add_tag_to_resource", tag_id=tag, resource_id=tagged)
    wanted = {**PAGE, "resource_type": "dataset", "permission": "can_edit", "filters": [], "tags": [tag]}
    assert query("list_resources", **wanted)["items"] == [tagged]
    command("remove_tag_from_resource", tag_id=tag, resource_id=tagged)
    assert query("list_resources", **wanted)["items"] == []
    command("add_tag_to_resource", tag_id=tag, resource_id=tagged)
    command("delete_tag", id=tag)
    assert query("list_resources", **wanted)["items"] == []
    assert api.query("get_tag", id=tag).json()["error"]["code"] == 404


def test_groups_and_roles(api, command, query):
    """Roles of users and groups can be assigned, changed and removed."""
    group = command("create_group", **ORGANIZATION, name="Editors")["id"]
    assert query("list_groups", **ORGANIZATION, **PAGE, search="", order=[], filters={})["total"] == 1
    resource = {"resource_id": SANDBOX_SOLUTION_ID}
    given = [{"id": group, "role": "viewer"}, {"id": SANDBOX_USER_ID, "role": "admin"}]
    command("bulk_role_update", **resource, assignments=given, unassignments=[])
    changed = [{"id": group, "role": "editor"}]
    command("bulk_role_update", **resource, assignments=changed, unassignments=[{"id": SANDBOX_USER_ID}])
    assert query("get_users_or_groups_for_resource", **resource, filters={})["items"] == changed
    command("add_workspace_member", id=SANDBOX_WORKSPACE_ID, user_id=SANDBOX_USER_ID, role="admin")
    command("add_solution_member", id=SANDBOX_SOLUTION_ID, user_id=SANDBOX_USER_ID, role="viewer")
    assert len(query("get_users_or_groups_for_resource", **resource)["items"]) == 2
    malformed = api.command("bulk_role_update", **resource, assignments=[{}], unassignments=[])
    assert malformed.json()["error"]["code"] == 400
    viewers = query("get_users_or_groups_for_resource", **resource, filters={"role": "viewer"})["items"]
    assert viewers == [{"id": SANDBOX_USER_ID, "role": "viewer"}]
    assert query("list_groups", **ORGANIZATION, **PAGE, filters={"name": "Viewers"})["total"] == 0
    command("delete_group", **ORGANIZATION, id=group)
    assert query("list_groups", **ORGANIZATION, **PAGE)["total"] == 0
    assert query("get_users_or_groups_for_resource", **resource)["items"] == viewers


def test_removed_members_lose_their_roles(command, query):
    """A member who is removed from an organization does not have roles in its resources any more."""
    roles = {"assignments": [{"id": SANDBOX_USER_ID, "role": "admin"}], "unassignments": []}
    for resource in (SANDBOX_SOLUTION_ID, SANDBOX_ORGANIZATION_ID):
        command("bulk_role_update", resource_id=resource, **roles)
    command("remove_from_organization", id=SANDBOX_ORGANIZATION_ID, user_id=SANDBOX_USER_ID)
    for resource in (SANDBOX_SOLUTION_ID, SANDBOX_ORGANIZATION_ID):
        assert query("get_users_or_groups_for_resource", resource_id=resource)["items"] == []


def test_roles_of_unknown_users_are_rejected(api, command, query):
    """A role needs a member or group of the resource's organization. Removing one needs neither."""
    other = command("create_organization", name="Kreis")["id"]
    outsider = command("create_group", organization_id=other, name="G")["id"]
    resource = {"resource_id": SANDBOX_SOLUTION_ID}
    for holder in ("usr_unknown", "grp_unknown", outsider, 1, ["usr_1"]):
        assignments = [{"id": SANDBOX_USER_ID, "role": "admin"}, {"id": holder, "role": "viewer"}]
        rejected = api.command("bulk_role_update", **resource, assignments=assignments, unassignments=[])
        assert rejected.json()["error"]["code"] in (400, 404)
    for kind, record in (("workspace", SANDBOX_WORKSPACE_ID), ("solution", SANDBOX_SOLUTION_ID)):
        rejected = api.command(f"add_{kind}_member", id=record, user_id="usr_unknown", role="viewer")
        assert rejected.json()["error"]["code"] == 404
    command("bulk_role_update", **resource, assignments=[], unassignments=[{"id": "usr_unknown"}])
    assert query("get_users_or_groups_for_resource", **resource)["items"] == []


def test_data_processing_entries(api, command, sandbox):
    """An entry can be created once, replaced and deleted."""
    entry = {"id": SANDBOX_SOLUTION_ID, "slug": "export"}
    command("create_solution_dpa_entry", **entry, status="inactive", toggleable=True, attributes={})
    assert api.command("create_solution_dpa_entry", **entry, status="inactive").json()["error"]["code"] == 500
    command("update_solution_dpa_entry", **entry, status="active")
    assert [kept["status"] for kept in sandbox.records("dpa_entry")] == ["active"]
    command("delete_solution_dpa_entry", **entry)
    assert api.command("delete_solution_dpa_entry", **entry).json()["error"]["code"] == 404


def test_report_images(api, command, sandbox):
    """An image can be uploaded with its token alone, and is stored under the name returned with the token."""
    report = command("create_report", solution_id=SANDBOX_SOLUTION_ID, name="R")["id"]
    name = "generate_report_image_upload_token"
    target = command(name, f"/api/{name}", id=report, content_type="image/png")
    response = api.upload(target["token"], b"\x89PNG", "logo.png")
    assert response.status_code == 200
    assert sandbox.content(target["filename"]) == b"\x89PNG"
