"""Operations on organizations: settings, members, groups, roles, tags and data-processing entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend.errors import bad_request, not_found, slug_taken
from airflow_provider_polyteia.sandbox.backend.handlers import records
from airflow_provider_polyteia.sandbox.backend.store import DEFAULT_SETTINGS, Record, new_id

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.handlers.records import Params
    from airflow_provider_polyteia.sandbox.backend.platform import Session

_DPA_FIELDS = ("slug", "status", "toggleable", "attributes")


def create_organization(session: Session, params: Params) -> Record:
    """Create an organization with its settings."""
    organization: Record = records.create("organization", None)(session, params)
    session.store.put("settings", {"id": organization["id"], "settings": params.get("settings") or DEFAULT_SETTINGS})
    return organization


def get_organization_settings(session: Session, params: Params) -> Any:
    """Return the settings of an organization."""
    organization = session.find("organization", params["id"])
    settings = session.store.get("settings", organization["id"])
    return settings["settings"] if settings else DEFAULT_SETTINGS


def update_organization_settings(session: Session, params: Params) -> None:
    """Replace the settings of an organization."""
    organization = session.find("organization", params["id"])
    session.store.put("settings", {"id": organization["id"], "settings": params["settings"]})


def invite_user_to_organization(session: Session, params: Params) -> None:
    """Create a member with a pending invitation. No e-mail is sent.

    :raises BusinessError: 400, if a user with this e-mail address was already invited or is a member.
    """
    organization = session.find("organization", params["id"])
    email = params["email"].casefold()
    if any(member["email"].casefold() == email for member in _members(session, organization)):
        raise bad_request("params.email: this user was already invited or is a member")
    user_id = new_id("user")
    member = {"user_id": user_id, "organization_id": organization["id"], "name": params["email"]}
    session.store.put(
        "member",
        {"id": f"{organization['id']}/{user_id}", **member, "email": params["email"]}
        | {"role": params["role"], "status": "invited"},
    )


def get_organization_member(session: Session, params: Params) -> Record:
    """Return one member of an organization."""
    return _public_member(_member(session, params))


def list_organization_members(session: Session, params: Params) -> dict[str, Any]:
    """Return a page of an organization's members."""
    organization = session.find("organization", params["id"])
    members = [_public_member(member) for member in _members(session, organization)]
    found = records.matching(records.search(members, params), params.get("filters"))
    return records.paginate(found, params)


def remove_from_organization(session: Session, params: Params) -> None:
    """Remove a member from an organization, and the member's roles in it."""
    member = _member(session, params)
    session.store.remove("member", member["id"])
    records.remove_roles(session, member["user_id"], member["organization_id"])


def _members(session: Session, organization: Record) -> list[Record]:
    return records.inside(session, "organization", organization, "member")


def _member(session: Session, params: Params) -> Record:
    organization = session.find("organization", params["id"])
    member = session.store.get("member", f"{organization['id']}/{params['user_id']}")
    if member is None:
        raise not_found("member not found")
    return member


def _public_member(member: Record) -> Record:
    return {**member, "id": member["user_id"]}


def delete_group(session: Session, params: Params) -> None:
    """Delete a group of an organization."""
    group = session.find("group", params["id"])
    if group["organization_id"] != params["organization_id"]:
        raise not_found("group not found")
    records.remove(session, "group", group)


def get_users_or_groups_for_resource(session: Session, params: Params) -> dict[str, Any]:
    """Return the users and groups that have a role in a resource."""
    records.find_resource(session, params["resource_id"])
    roles = session.store.get("roles", params["resource_id"])
    assignments = roles["assignments"] if roles else {}
    items = [{"id": holder, "role": role} for holder, role in assignments.items()]
    return {"items": records.matching(items, params.get("filters"))}


def bulk_role_update(session: Session, params: Params) -> None:
    """Assign and remove roles. A new role replaces the previous one (docs/platform-api.md#roles).

    :raises BusinessError: 404, if a role is assigned to an unknown user or group.
    """
    _, resource = records.find_resource(session, params["resource_id"])
    try:
        assigned = {item["id"]: item["role"] for item in params["assignments"]}
        unassigned = {item["id"] for item in params["unassignments"]}
    except (TypeError, KeyError) as error:
        raise bad_request("assignments must be objects with id and role, unassignments objects with id") from error
    for holder in assigned:
        _require_holder(session, resource, holder)
    roles = session.store.get("roles", params["resource_id"])
    before = roles["assignments"] if roles else {}
    after = {holder: role for holder, role in (before | assigned).items() if holder not in unassigned}
    session.store.put("roles", {"id": params["resource_id"], "assignments": after})


def _require_holder(session: Session, resource: Record, holder: Any) -> None:
    """Check that roles in a resource can be assigned to a holder: a member or group of the same organization."""
    organization_id = resource.get("organization_id", resource["id"])
    group = session.store.get("group", holder) if isinstance(holder, str) else None
    is_group = group is not None and group["organization_id"] == organization_id
    if not is_group and session.store.get("member", f"{organization_id}/{holder}") is None:
        raise not_found("user or group not found")


def add_member(kind: str) -> records.Handler:
    """Return the deprecated operation that assigns a single role."""

    def handler(session: Session, params: Params) -> None:
        session.find(kind, params["id"])
        assignment = {"id": params["user_id"], "role": params["role"]}
        change = {"resource_id": params["id"], "assignments": [assignment], "unassignments": []}
        bulk_role_update(session, change)

    return handler


def tag_resource(*, tagged: bool) -> records.Handler:
    """Return the operation that adds a tag to a resource or removes it."""

    def handler(session: Session, params: Params) -> None:
        tag_id = session.find("tag", params["tag_id"])["id"]
        _, resource = records.find_resource(session, params["resource_id"])
        tagging = session.store.get("tagging", resource["id"])
        others = [tag for tag in tagging["tags"] if tag != tag_id] if tagging else []
        tags = [*others, tag_id] if tagged else others
        session.store.put("tagging", {"id": resource["id"], "tags": tags})

    return handler


def create_dpa_entry(session: Session, params: Params) -> None:
    """Create a data-processing entry of a solution (docs/platform-api.md#data-processing-entries)."""
    if session.store.get("dpa_entry", _dpa_id(session, params)):
        raise slug_taken()
    _put_dpa_entry(session, params)


def update_dpa_entry(session: Session, params: Params) -> None:
    """Replace a data-processing entry."""
    _require_dpa_entry(session, params)
    _put_dpa_entry(session, params)


def delete_dpa_entry(session: Session, params: Params) -> None:
    """Delete a data-processing entry."""
    _require_dpa_entry(session, params)
    session.store.remove("dpa_entry", _dpa_id(session, params))


def _dpa_id(session: Session, params: Params) -> str:
    return f"{session.find('solution', params['id'])['id']}/{params['slug']}"


def _require_dpa_entry(session: Session, params: Params) -> None:
    if not session.store.get("dpa_entry", _dpa_id(session, params)):
        raise not_found("entry not found")


def _put_dpa_entry(session: Session, params: Params) -> None:
    entry = {name: params.get(name) for name in _DPA_FIELDS}
    session.store.put("dpa_entry", {"id": _dpa_id(session, params), "solution_id": params["id"], **entry})
