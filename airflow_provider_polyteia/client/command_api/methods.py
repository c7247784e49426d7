"""The commands and queries of the command API: kind, path, and whether they may be retried.

The platform promises idempotency for none of them; `Idempotency` is inferred from what a method means
(docs/platform-api.md#idempotency). A method that is not listed here is posted to ``/api``; if it is a command, it is
never retried.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from airflow_provider_polyteia.client.operation import Idempotency

Kind = Literal["command", "query"]


class Method(NamedTuple):
    """One command or query of the platform.

    :param path: where it is posted to.
    :param idempotency: what happens when the platform receives it twice.
    :param lookup: query that finds the resource a create made, by the params in `natural_key`.
    :param natural_key: params that identify the resource within the platform.
    :param is_unique: whether the platform rejects a second resource with the same natural key.
    :param unenveloped: whether the response may be any JSON, without the usual envelope (docs/platform-api.md#sql).
    :param returns_secret: whether the response is a token that must not be shown or stored.
    """

    name: str
    kind: Kind
    path: str = "/api"
    idempotency: Idempotency = Idempotency.NONE
    lookup: str = ""
    natural_key: tuple[str, ...] = ()
    is_unique: bool = False
    unenveloped: bool = False
    returns_secret: bool = False


def _queries(*names: str) -> list[Method]:
    return [Method(name, "query", idempotency=Idempotency.SAFE) for name in names]


def _commands(idempotency: Idempotency, *names: str) -> list[Method]:
    return [Method(name, "command", idempotency=idempotency) for name in names]


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
        Idempotency.SAFE,
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
        Idempotency.DELETES,
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
    *_commands(Idempotency.ADDS, "add_insight_to_report", "add_tag_to_resource"),
    *_commands(
        Idempotency.NONE,
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
    # The slug of a dataset is unique within its solution (docs/platform-api.md#slugs); for insights this is unknown.
    Method(
        "create_dataset",
        "command",
        lookup="get_dataset",
        natural_key=("solution_id", "slug"),
        is_unique=True,
    ),
    Method("create_insight", "command", lookup="get_insight", natural_key=("solution_id", "slug")),
    # A statement may write, so execute_sql is only retried if the caller says that it only reads.
    Method("execute_sql", "command", path="/api/execute_sql", unenveloped=True),
    Method("generate_dataset_upload_token", "command", idempotency=Idempotency.SAFE, returns_secret=True),
    Method("generate_query_export_token", "command", idempotency=Idempotency.SAFE, returns_secret=True),
    Method(
        "generate_report_image_upload_token",
        "command",
        path="/api/generate_report_image_upload_token",
        idempotency=Idempotency.SAFE,
        returns_secret=True,
    ),
]

METHODS: dict[str, Method] = {method.name: method for method in _KNOWN}


def find(name: str, kind: Kind) -> Method:
    """Return what is known of `name`; an unknown query only reads, an unknown command is never retried.

    An unknown command named ``generate_*_token`` is assumed to return a secret.
    """
    known = METHODS.get(name)
    if known is not None:
        return known
    idempotency = Idempotency.SAFE if kind == "query" else Idempotency.NONE
    is_token = name.startswith("generate_") and name.endswith("_token")
    return Method(name, kind, idempotency=idempotency, returns_secret=is_token)
