"""Table of all commands and queries (docs/platform-api.md#commands-and-queries)."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend.errors import CONFLICT, INTERNAL, BusinessError, bad_request
from airflow_provider_polyteia.sandbox.backend.handlers import content, people, records

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.handlers.records import Handler, Params
    from airflow_provider_polyteia.sandbox.backend.platform import Session

_TYPES: dict[str, tuple[type[Any] | tuple[type[Any], ...], str]] = {
    "": (str, "a string"),
    "#": (int, "an integer"),
    "?": (bool, "a boolean"),
    "[]": (list, "an array"),
    "{}": (dict, "an object"),
    "{[]}": ((dict, list), "an object or an array"),
}
_LIMITS = {"page": (1, 2**31), "size": (1, 100)}
_LENGTHS = {
    ("create_workspace", "name"): 50,
    ("create_workspace", "description"): 255,
    ("update_workspace", "name"): 50,
    ("update_workspace", "description"): 255,
}
"""Maximum lengths; others are unknown (docs/platform-api.md#parameter-limits)."""


@dataclass(frozen=True)
class Param:
    """A parameter of a method.

    :param mark: Type of the parameter: a key of `_TYPES`.
    """

    name: str
    mark: str
    required: bool


@dataclass(frozen=True)
class Method:
    """One command or query.

    :param command: True for a command, False for a query.
    :param handler: Operation of the backend.
    :param writes: Whether the method requires a key that is not read-only.
    :param path: Path that serves the method.
    """

    name: str
    command: bool
    handler: Handler
    params: tuple[Param, ...]
    writes: bool
    path: str

    async def call(self, session: Session, params: Params) -> Any:
        """Validate the parameters, run the operation, and make its changes permanent.

        :raises BusinessError: if the parameters are invalid or the operation fails.
        """
        self.check(params)
        try:
            data = self.handler(session, params)
            if inspect.isawaitable(data):
                data = await data
        except BusinessError as error:
            if error.code == CONFLICT:  # this API reports a taken slug in its own way: docs/platform-api.md#taken-slugs
                raise BusinessError(INTERNAL, "internal error") from error
            raise
        session.store.commit()
        return data

    def check(self, params: Params) -> None:
        """Validate that required parameters are present and that known parameters have a valid type and value.

        :raises BusinessError: 400; the message contains the name of the parameter.
        """
        for param in self.params:
            value = params.get(param.name)
            if value is None or (param.required and value == ""):
                if param.required:
                    raise bad_request(f"params.{param.name} is required")
            else:
                self._check_value(param, value)

    def _check_value(self, param: Param, value: Any) -> None:
        expected, description = _TYPES[param.mark]
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise bad_request(f"params.{param.name} must be {description}")
        low, high = _LIMITS.get(param.name, (0, 0))
        if high and not low <= value <= high:
            raise bad_request(f"params.{param.name} must be between {low} and {high}")
        length = _LENGTHS.get((self.name, param.name))
        if length is not None and len(value) > length:
            raise bad_request(f"params.{param.name} must have at most {length} characters")


def _param(text: str) -> Param:
    match = re.fullmatch(r"(\w+)(#|\?|\[\]|\{\}|\{\[\]\})?(!)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a parameter")
    return Param(match[1], match[2] or "", bool(match[3]))


def _command(name: str, params: str, handler: Handler, path: str = "/api") -> Method:
    return Method(name, command=True, handler=handler, params=_params(params), writes=True, path=path)


def _reading_command(name: str, params: str, handler: Handler, path: str = "/api") -> Method:
    """Return a command that only reads, such as execute_sql (docs/platform-api.md#calls)."""
    return Method(name, command=True, handler=handler, params=_params(params), writes=False, path=path)


def _query(name: str, params: str, handler: Handler) -> Method:
    return Method(name, command=False, handler=handler, params=_params(params), writes=False, path="/api")


def _params(text: str) -> tuple[Param, ...]:
    return tuple(_param(word) for word in text.split())


_PAGE = "page#! size#! search"
_DPA = "id! slug! status toggleable? attributes{}"
_INSIGHT = "name description slug query{} config{}"

# Parameters are strings unless marked: # integer, ? boolean, [] array, {} object, {[]} object or array.
# ! means required.
_ALL = (
    # Organizations
    _query("get_organization", "id!", records.get("organization")),
    _query("list_organizations", _PAGE, records.listing("organization")),
    _command("create_organization", "name! description slug settings{} attributes{}", people.create_organization),
    _command("delete_organization", "id!", records.delete_organization),
    _query("get_organization_settings", "id!", people.get_organization_settings),
    _command("update_organization_settings", "id! settings{}!", people.update_organization_settings),
    _command("invite_user_to_organization", "id! email! role! message", people.invite_user_to_organization),
    _command("remove_from_organization", "id! user_id!", people.remove_from_organization),
    # Workspaces
    _query("get_workspace", "id!", records.get("workspace")),
    _query("list_workspaces", f"{_PAGE} organization_id", records.listing("workspace", "organization_id")),
    _command(
        "create_workspace",
        "organization_id! name! description attributes{} settings{}",
        records.create("workspace", "organization"),
    ),
    _command("update_workspace", "id! name! description attributes{}", records.update_workspace),
    _command("delete_workspace", "id!", records.delete("workspace")),
    # Solutions
    _query("get_solution", "id!", records.get("solution")),
    _query("list_solutions", f"{_PAGE} organization_id", records.listing("solution", "organization_id")),
    _command(
        "create_solution",
        "workspace_id! name! description organization_id attributes{} documentation{}",
        records.create("solution", "workspace"),
    ),
    _command(
        "update_solution",
        "id! name! description attributes{} documentation{}",
        records.update("solution"),
    ),
    _command("delete_solution", "id!", records.delete("solution")),
    # Datasets
    _query("get_dataset", "id solution_id slug", records.get_by_id_or_slug("dataset")),
    _query("list_datasets", f"{_PAGE} solution_id!", records.listing_in("dataset", "solution")),
    _command(
        "create_dataset",
        "name! solution_id! slug! description source documentation{}",
        records.create_in_solution("dataset"),
    ),
    _command(
        "update_dataset",
        "id! name description source slug solution_id documentation{}",
        records.update("dataset"),
    ),
    _command("update_dataset_metadata", "id! columns{[]}!", content.update_dataset_metadata),
    _command("update_dataset_source_info", "id! source_info{}!", content.update_dataset_source_info),
    _command("delete_dataset", "id!", records.delete("dataset")),
    _query(
        "list_resources",
        f"{_PAGE} resource_type! permission! filters[]! tags[]",
        content.list_resources,
    ),
    _query("get_resource", "id!", lambda session, params: records.find_resource(session, params["id"])[1]),
    # Upload, export, SQL
    _command("generate_dataset_upload_token", "id! content_type!", content.generate_dataset_upload_token),
    _reading_command(
        "generate_query_export_token",
        "sql! datasets[]! args[]! format!",
        content.generate_query_export_token,
    ),
    _reading_command(
        "execute_sql",
        "sql! datasets[]! args[] named_args{}",
        content.execute_sql,
        path="/api/execute_sql",
    ),
    _command(
        "generate_report_image_upload_token",
        "id! content_type!",
        content.generate_report_image_upload_token,
        path="/api/generate_report_image_upload_token",
    ),
    # Insights
    _query("get_insight", "id solution_id slug", records.get_by_id_or_slug("insight")),
    _command("create_insight", f"solution_id! {_INSIGHT}", records.create_in_solution("insight")),
    _command("update_insight", f"id! solution_id {_INSIGHT}", records.update("insight")),
    _command("delete_insight", "id!", records.delete("insight")),
    # Reports and their views
    _command(
        "create_report",
        "organization_id solution_id! name! description content{[]} metadata{}",
        content.create_report,
    ),
    _command("update_report", "id! name description version# structure{[]} metadata{}", records.update("report")),
    _command("delete_report", "id!", records.delete("report")),
    _command("add_insight_to_report", "report_id! insight_id!", content.link_to_report("insight", linked=True)),
    _command(
        "remove_insight_from_report",
        "report_id! insight_id!",
        content.link_to_report("insight", linked=False),
    ),
    _command("add_dataset_to_report", "report_id! dataset_id!", content.link_to_report("dataset", linked=True)),
    _query("get_report_view", "id!", records.get("report_view")),
    _query("list_report_views", f"{_PAGE} report_id!", records.listing_in("report_view", "report")),
    _command("create_report_view", "report_id! name! config{}!", content.create_report_view),
    _command("sync_report_view", "id!", content.sync_report_view),
    # Tags
    _query("list_tags", f"{_PAGE} organization_id!", records.listing_in("tag", "organization")),
    _query("get_tag", "id!", records.get("tag")),
    _command("create_tag", "organization_id! name! description color", records.create("tag", "organization")),
    _command("delete_tag", "id!", records.delete("tag")),
    _command("add_tag_to_resource", "tag_id! resource_id!", people.tag_resource(tagged=True)),
    _command("remove_tag_from_resource", "tag_id! resource_id!", people.tag_resource(tagged=False)),
    # Groups, members, roles
    _query("list_organization_members", f"{_PAGE} id! order[] filters{{}}", people.list_organization_members),
    _query("get_organization_member", "id! user_id!", people.get_organization_member),
    _query(
        "list_groups",
        f"{_PAGE} organization_id! order[] filters{{}}",
        records.listing_in("group", "organization"),
    ),
    _command("create_group", "organization_id! name! description", records.create("group", "organization")),
    _command("delete_group", "organization_id! id!", people.delete_group),
    _query(
        "get_users_or_groups_for_resource",
        "resource_id! filters{}",
        people.get_users_or_groups_for_resource,
    ),
    _command("bulk_role_update", "resource_id! assignments[]! unassignments[]!", people.bulk_role_update),
    _command("add_workspace_member", "id! user_id! role!", people.add_member("workspace")),
    _command("add_solution_member", "id! user_id! role!", people.add_member("solution")),
    # Data-processing entries
    _command("create_solution_dpa_entry", _DPA, people.create_dpa_entry),
    _command("update_solution_dpa_entry", _DPA, people.update_dpa_entry),
    _command("delete_solution_dpa_entry", "id! slug!", people.delete_dpa_entry),
)

METHODS = {method.name: method for method in _ALL}
