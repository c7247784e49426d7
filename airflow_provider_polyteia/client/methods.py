"""What is known of each command and query: kind, path, and whether it may be repeated.

Source: chapter 4 of the API reference. No source promises that anything is idempotent; `Repeat` is inferred
from what a method means. A method that is not listed here is sent to ``/api`` and never repeated.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple

Kind = Literal["command", "query"]


class Repeat(Enum):
    """What happens when the same call arrives twice."""

    SAFE = "the same effect"
    GONE = "the same end state; the repeat may answer 404"
    THERE = "the same end state; the repeat may answer 409"
    NEVER = "a second resource, a second mail, or nobody knows"


class Method(NamedTuple):
    """One command or query of the platform.

    :param path: where it is posted to.
    :param repeat: what a repeat does.
    :param lookup: query that finds the resource a create has made, by the params in `natural_key`.
    :param natural_key: params that identify the resource within the platform.
    :param unique: True if the platform refuses a second resource with the same natural key.
    :param free_form: True if nobody says how the answer looks: it may be any JSON (API reference 9).
    :param returns_secret: True if the answer is a token that must not be shown or stored.
    """

    name: str
    kind: Kind
    path: str = "/api"
    repeat: Repeat = Repeat.NEVER
    lookup: str = ""
    natural_key: tuple[str, ...] = ()
    unique: bool = False
    free_form: bool = False
    returns_secret: bool = False

    @property
    def repeatable(self) -> bool:
        """True if sending the call again does no harm."""
        return self.repeat is not Repeat.NEVER


def _queries(*names: str) -> list[Method]:
    return [Method(name, "query", repeat=Repeat.SAFE) for name in names]


def _commands(repeat: Repeat, *names: str) -> list[Method]:
    return [Method(name, "command", repeat=repeat) for name in names]


_KNOWN = [
    *_queries(
        "get_dataset",
        "get_insight",
        "get_organization",
        "get_organization_member",
        "get_organization_settings",
        "get_report_view",
        "get_resource",
        "get_solution",
        "get_tag",
        "get_users_or_groups_for_resource",
        "get_workspace",
        "list_datasets",
        "list_groups",
        "list_organization_members",
        "list_organizations",
        "list_report_views",
        "list_resources",
        "list_solutions",
        "list_tags",
        "list_workspaces",
    ),
    *_commands(
        Repeat.SAFE,
        "bulk_role_update",
        "sync_report_view",
        "update_dataset",
        "update_dataset_metadata",
        "update_dataset_source_info",
        "update_insight",
        "update_organization_settings",
        "update_report",
        "update_solution",
        "update_solution_dpa_entry",
        "update_workspace",
    ),
    *_commands(
        Repeat.GONE,
        "delete_dataset",
        "delete_group",
        "delete_insight",
        "delete_organization",
        "delete_report",
        "delete_solution",
        "delete_solution_dpa_entry",
        "delete_tag",
        "delete_workspace",
        "remove_from_organization",
        "remove_insight_from_report",
        "remove_tag_from_resource",
    ),
    *_commands(Repeat.THERE, "add_insight_to_report", "add_tag_to_resource"),
    *_commands(
        Repeat.NEVER,
        "add_dataset_to_report",
        "add_solution_member",
        "add_workspace_member",
        "create_group",
        "create_organization",
        "create_report",
        "create_report_view",
        "create_solution",
        "create_solution_dpa_entry",
        "create_tag",
        "create_workspace",
        "invite_user_to_organization",
    ),
    # The slug of a dataset is unique within its solution (API reference 4.4); for insights nobody says so.
    Method(
        "create_dataset",
        "command",
        lookup="get_dataset",
        natural_key=("solution_id", "slug"),
        unique=True,
    ),
    Method("create_insight", "command", lookup="get_insight", natural_key=("solution_id", "slug")),
    # A statement may write, so execute_sql is repeated only if the caller says that it only reads.
    Method("execute_sql", "command", path="/api/execute_sql", free_form=True),
    Method("generate_dataset_upload_token", "command", repeat=Repeat.SAFE, returns_secret=True),
    Method("generate_query_export_token", "command", repeat=Repeat.SAFE, returns_secret=True),
    Method(
        "generate_report_image_upload_token",
        "command",
        path="/api/generate_report_image_upload_token",
        repeat=Repeat.SAFE,
        returns_secret=True,
    ),
]

METHODS: dict[str, Method] = {method.name: method for method in _KNOWN}


def find(name: str, kind: Kind) -> Method:
    """Return what is known of `name`; an unknown query only reads, an unknown command is never repeated.

    An unknown command that is named like those that give out tokens is taken for one of them.
    """
    known = METHODS.get(name)
    if known is not None:
        return known
    repeat = Repeat.SAFE if kind == "query" else Repeat.NEVER
    return Method(name, kind, repeat=repeat, returns_secret=name.startswith("generate_") and name.endswith("_token"))
