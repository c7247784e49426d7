"""Operations on any kind of record: get, list, create, update and delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from airflow_provider_polyteia.sandbox.backend.errors import bad_request, slug_taken
from airflow_provider_polyteia.sandbox.backend.platform import Session
from airflow_provider_polyteia.sandbox.backend.store import PREFIXES, Record, new_id, timestamp

Params = dict[str, Any]
Handler = Callable[[Session, Params], Any]

FIELDS: dict[str, dict[str, Any]] = {
    "organization": {"name": "", "description": "", "slug": ""},
    "workspace": {"name": "", "description": "", "attributes": {}},
    "solution": {"name": "", "description": "", "attributes": {}, "documentation": {"blocks": []}},
    "dataset": {"name": "", "description": "", "slug": "", "source": "", "documentation": {"blocks": []}},
    "insight": {"name": "", "description": "", "slug": "", "query": {}, "config": None},
    "report": {"name": "", "description": "", "structure": {}, "metadata": {}, "version": 1},
    "report_view": {"name": "", "config": {}},
    "tag": {"name": "", "description": "", "color": ""},
    "group": {"name": "", "description": ""},
}
"""Fields that a caller can set, with their defaults, by kind."""

CONTENT = {
    "organization": ("workspace", "tag", "group"),
    "workspace": ("solution", "group"),
    "solution": ("dataset", "insight", "report", "tag"),
    "dataset": ("ingest",),
    "report": ("report_view",),
}
"""Kinds that a record can contain. Deleting it deletes them as well (unknown, see docs/platform-api.md#deletes)."""

_INHERITED = ("organization_id", "solution_id")


def paginate(items: list[Any], params: Params) -> dict[str, Any]:
    """Return one page of a list (docs/platform-api.md#pagination)."""
    page, size = params["page"], params["size"]
    part = items[(page - 1) * size : page * size]
    return {"total": len(items), "page": page, "size": size, "items": part}


def get(kind: str) -> Handler:
    """Return the operation that returns one record by id."""
    return lambda session, params: session.find(kind, params["id"])


def get_by_id_or_slug(kind: str) -> Handler:
    """Return the operation that returns one record, by id or by solution and slug.

    See docs/platform-api.md#dataset-lookup.
    """

    def handler(session: Session, params: Params) -> Record:
        by_slug = params.get("solution_id"), params.get("slug")
        if params.get("id") and not any(by_slug):
            return session.find(kind, params["id"])
        if params.get("id") or not all(by_slug):
            raise bad_request("specify either id, or both solution_id and slug")
        return session.find_by_slug(kind, params["solution_id"], params["slug"])

    return handler


def listing(kind: str, *filters: str) -> Handler:
    """Return the operation that returns a page of records.

    :param filters: Names of optional parameters that the field with this name must equal.
    """

    def handler(session: Session, params: Params) -> dict[str, Any]:
        expected = {name: params[name] for name in filters if params.get(name)}
        records = [
            record
            for record in session.visible(kind)
            if all(record.get(name) == value for name, value in expected.items())
        ]
        return paginate(matching(search(records, params), params.get("filters")), params)

    return handler


def listing_in(kind: str, parent: str) -> Handler:
    """Return the operation that returns a page of the records in one parent that the caller can access."""
    key = f"{parent}_id"
    read = listing(kind, key)

    def handler(session: Session, params: Params) -> Any:
        session.find(parent, params[key])
        return read(session, params)

    return handler


def search(records: Iterable[Record], params: Params) -> list[Record]:
    """Return the records whose name contains the parameter `search`, ignoring case."""
    text = (params.get("search") or "").casefold()
    return [record for record in records if text in str(record.get("name", "")).casefold()]


def matching(records: Iterable[Record], filters: Params | None) -> list[Record]:
    """Return the records that have all fields of `filters` with equal values (docs/platform-api.md#list-filters)."""
    expected = filters or {}
    return [record for record in records if all(record.get(name) == value for name, value in expected.items())]


def create(kind: str, parent: str | None) -> Handler:
    """Return the operation that creates a record in its parent, whose id is the parameter `<parent>_id`."""

    def handler(session: Session, params: Params) -> Record:
        outer = session.find(parent, params[f"{parent}_id"]) if parent else {}
        return session.store.put(kind, new_record(kind, outer, parent, params))

    return handler


def create_in_solution(kind: str) -> Handler:
    """Return the operation that creates a record with a unique slug in a solution (docs/platform-api.md#slugs)."""
    create_record = create(kind, "solution")

    def handler(session: Session, params: Params) -> Record:
        session.find("solution", params["solution_id"])
        if params.get("slug") and session.store.by_slug(kind, params["solution_id"], params["slug"]):
            raise slug_taken()
        record: Record = create_record(session, params)
        return record

    return handler


def new_record(kind: str, outer: Record, parent: str | None, params: Params) -> Record:
    """Return a new record contained in the outer one."""
    now = timestamp()
    containers: Record = {key: outer[key] for key in _INHERITED if key in outer}
    if parent:
        containers[f"{parent}_id"] = outer["id"]
    return {"id": new_id(kind), **containers, "created_at": now, "updated_at": now, **fields(kind, params)}


def fields(kind: str, params: Params) -> Record:
    """Return all fields that a caller can set, with the given values or their defaults."""
    return {name: default if params.get(name) is None else params[name] for name, default in FIELDS[kind].items()}


def update(kind: str) -> Handler:
    """Return the operation that replaces all fields that a caller can set. Missing fields are reset to their defaults.

    See docs/platform-api.md#updates.
    """

    def handler(session: Session, params: Params) -> Record:
        record = session.find(kind, params["id"])
        check_slug_free(session, kind, record, params.get("slug"))
        if params.get("solution_id", record.get("solution_id")) != record.get("solution_id"):
            raise bad_request(f"a {kind} cannot be moved to another solution")
        return session.store.change(kind, record, fields(kind, params))

    return handler


def check_slug_free(session: Session, kind: str, record: Record, slug: str | None) -> None:
    """Raise an error if another record of the solution uses the slug."""
    other = session.store.by_slug(kind, record.get("solution_id", ""), slug) if slug else None
    if other is not None and other["id"] != record["id"]:
        raise slug_taken()


def update_workspace(session: Session, params: Params) -> Record:
    """Replace name and description, and add to the attributes (docs/platform-api.md#workspace-updates)."""
    record = session.find("workspace", params["id"])
    attributes = record["attributes"] | (params.get("attributes") or {})
    return session.store.change("workspace", record, fields("workspace", params | {"attributes": attributes}))


def delete(kind: str) -> Handler:
    """Return the operation that deletes a record and its content."""

    def handler(session: Session, params: Params) -> None:
        remove(session, kind, session.find(kind, params["id"]))

    return handler


def delete_organization(session: Session, params: Params) -> None:
    """Delete an organization without resources and users (docs/platform-api.md#deletes)."""
    organization = session.find("organization", params["id"])
    content = (*CONTENT["organization"], "member")
    if any(inside(session, "organization", organization, kind) for kind in content):
        raise bad_request("the organization still contains resources or users")
    remove(session, "organization", organization)


def inside(session: Session, outer_kind: str, outer: Record, kind: str) -> list[Record]:
    """Return the records of a kind that another record contains."""
    return [record for record in session.store.all(kind) if record.get(f"{outer_kind}_id") == outer["id"]]


def remove(session: Session, kind: str, record: Record) -> None:
    """Remove a record, its content, and everything that refers to it."""
    _remove_references(session, kind, record)
    for inner in CONTENT.get(kind, ()):
        for content in inside(session, kind, record, inner):
            remove(session, inner, content)
    session.platform.remove_asset(record["id"])
    session.store.remove(kind, record["id"])
    for side_table in ("settings", "roles", "tagging", "column_descriptions"):
        session.store.remove(side_table, record["id"])
    for entry in session.store.all("dpa_entry"):
        if entry["solution_id"] == record["id"]:
            session.store.remove("dpa_entry", entry["id"])


def _remove_references(session: Session, kind: str, record: Record) -> None:
    """Remove the roles of a group, or a tag or link to a report from the records that have it."""
    if kind == "group":
        remove_roles(session, record["id"], record["organization_id"])
    elif kind == "tag":
        for tagging in session.store.all("tagging"):
            if record["id"] in tagging["tags"]:
                tags = [tag for tag in tagging["tags"] if tag != record["id"]]
                session.store.put("tagging", {**tagging, "tags": tags})
    elif kind in ("dataset", "insight"):
        for report in session.store.all("report"):
            links = report["metadata"].get(f"{kind}s") or []
            if record["id"] in links:
                others = [link for link in links if link != record["id"]]
                session.store.change("report", report, {"metadata": {**report["metadata"], f"{kind}s": others}})


def remove_roles(session: Session, holder: str, organization_id: str) -> None:
    """Remove all roles that a user or group has in an organization and the resources in it."""
    for roles in session.store.all("roles"):
        if holder in roles["assignments"] and _organization_of(session, roles["id"]) == organization_id:
            others = {other: role for other, role in roles["assignments"].items() if other != holder}
            session.store.put("roles", {**roles, "assignments": others})


def _organization_of(session: Session, resource_id: str) -> str:
    """Return the id of the organization to which a resource belongs, or an empty string if it does not exist."""
    kind = _kind_of(resource_id)
    resource = session.store.get(kind, resource_id) if kind else None
    return str(resource.get("organization_id", resource["id"])) if resource else ""


def _kind_of(record_id: str) -> str | None:
    """Return the kind that the prefix of an id stands for, or None if it is unknown."""
    prefix = record_id.partition("_")[0]
    return next((kind for kind, known in PREFIXES.items() if known == prefix), None)


def find_resource(session: Session, record_id: str) -> tuple[str, Record]:
    """Return the kind that the prefix of an id stands for, and the record."""
    kind = _kind_of(record_id)
    if kind is None:
        raise bad_request(f"{record_id!r} is not the id of a resource")
    return kind, session.find(kind, record_id)
