"""Operations on everything except datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox import constants
from airflow_provider_polyteia.sandbox.backend.errors import FORBIDDEN, BusinessError
from airflow_provider_polyteia.sandbox.backend.handlers import people, records
from airflow_provider_polyteia.sandbox.backend.store import timestamp
from airflow_provider_polyteia.sandbox.rpc_api.records import present, present_all

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.handlers.records import Handler, Params
    from airflow_provider_polyteia.sandbox.backend.platform import Session


def presenting(handler: Handler) -> Handler:
    """Return an operation of the backend with its result in the form of this API."""
    return lambda session, params: present(handler(session, params))


def listing_in(kind: str, parent: str, key: str = "") -> Handler:
    """Return the operation that returns all records of a kind in a parent. No list of this API has pages.

    :param key: Name of the parameter with the id of the parent. Default: `<parent>_id`.
    """

    def handler(session: Session, params: Params) -> list[dict[str, Any]]:
        outer = session.find(parent, params[key or f"{parent}_id"])
        return present_all(
            [
                record
                for record in records.inside(session, parent, outer, kind)
                if not session.caller.is_denied(record) and not record.get("deleted_at")
            ]
        )

    return handler


def creating_in(kind: str, parent: str) -> Handler:
    """Return the operation that creates a record in its parent."""
    return presenting(records.create(kind, parent))


def set_field(kind: str, param: str, field: str) -> Handler:
    """Return the operation that replaces one field of a record."""

    def handler(session: Session, params: Params) -> dict[str, Any]:
        record = session.find(kind, params["id"])
        return present(session.store.change(kind, record, {field: params[param]}))

    return handler


def patch(kind: str) -> Handler:
    """Return the operation that changes the given fields of a record."""

    def handler(session: Session, params: Params) -> dict[str, Any]:
        record = session.find(kind, params["id"])
        records.check_slug_free(session, kind, record, params.get("slug"))
        changes = {name: value for name, value in params.items() if name in records.FIELDS[kind]}
        return present(session.store.change(kind, record, changes))

    return handler


def list_my_organizations(session: Session, _params: Params) -> dict[str, Any]:
    """Return the organizations of the caller, who is a member of all of them."""
    organizations = [
        {"id": record["id"], "memberId": _member_id(record["id"]), "name": record["name"], "slug": record["slug"]}
        for record in session.store.all("organization")
    ]
    user = {"id": constants.SANDBOX_USER_ID, "name": "Erika Musterfrau", "email": "erika@musterhausen.example"}
    return {"memberOf": organizations, "adminOf": [], "user": user}


def _member_id(organization_id: str) -> str:
    return "mem_" + organization_id.partition("_")[2]


def get_public_organization(session: Session, params: Params) -> dict[str, Any] | None:
    """Return the public fields of an organization, or None if it does not exist."""
    for record in session.store.all("organization"):
        if record["slug"] == params["organization_slug"]:
            return {"id": record["id"], "name": record["name"], "slug": record["slug"]}
    return None


def list_all_workspaces(session: Session, params: Params) -> list[dict[str, Any]]:
    """Return the workspaces of an organization, including archived ones."""
    organization = session.find("organization", params["organization_id"])
    return present_all(records.inside(session, "organization", organization, "workspace"))


def archive_workspace(session: Session, params: Params) -> None:
    """Archive a workspace, but not its content."""
    workspace = session.find("workspace", params["workspace_id"])
    session.store.change("workspace", workspace, {"deleted_at": timestamp()})


def create_insight(session: Session, params: Params) -> dict[str, Any]:
    """Create an insight."""
    return present(records.create_in_solution("insight")(session, params))


def get_insight(session: Session, params: Params) -> dict[str, Any]:
    """Return an insight, by its id or by its solution and slug."""
    return present(records.get_by_id_or_slug("insight")(session, params))


def list_tags_for_resource(session: Session, params: Params) -> list[dict[str, Any]]:
    """Return the tags of a resource."""
    _, resource = records.find_resource(session, params["resource_id"])
    tagging = session.store.get("tagging", resource["id"]) or {"tags": []}
    tags = [session.store.get("tag", tag_id) for tag_id in tagging["tags"]]
    return present_all([tag for tag in tags if tag is not None])


assign_tag = people.tag_resource(tagged=True)
remove_tag_assignment = people.tag_resource(tagged=False)


def check_permission(session: Session, params: Params) -> dict[str, Any]:
    """Return whether the caller has a permission for a resource. Permissions to view are `can_view_...`."""
    allowed = session.caller.may(params["permission"])
    try:
        records.find_resource(session, params["resource_id"])
    except BusinessError as error:
        if error.code != FORBIDDEN:
            raise
        allowed = False
    return {"allowed": allowed, "permission": params["permission"], "resourceId": params["resource_id"]}


def get_acceptance_status(session: Session, params: Params) -> dict[str, bool]:
    """Return whether the data processing terms of a solution are acknowledged (docs/platform-api.md#rpc-terms)."""
    solution = session.find("solution", params["solution_id"])
    return {"acknowledged": solution["id"] not in session.platform.unacknowledged_solutions}


def record_acceptance(session: Session, params: Params) -> None:
    """Acknowledge the data processing terms of a solution."""
    solution = session.find("solution", params["solution_id"])
    session.platform.unacknowledged_solutions.discard(solution["id"])
