"""The exchange of a personal access key for a session (docs/platform-api.md#rpc-exchange)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend.errors import bad_request, not_found
from airflow_provider_polyteia.sandbox.rpc_api.endpoints import check_method, read_input
from airflow_provider_polyteia.sandbox.rpc_api.envelope import respond
from airflow_provider_polyteia.sandbox.rpc_api.errors import invalid_input, issue
from airflow_provider_polyteia.sandbox.rpc_api.inputs import parse_keys, validate

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_polyteia.sandbox.backend.platform import Platform

_KEYS = parse_keys("key! organizationId organizationSlug")


async def exchange(platform: Platform, request: Request) -> Response:
    """Return a session for one organization, or for the user if the input does not contain an organization.

    :raises Unauthorized: if the key is not valid.
    :raises BusinessError: 400, if the input is invalid; 404, if the organization does not exist.
    """
    check_method(platform, request)
    if "authorization" in request.headers:
        raise bad_request("the exchange must not have an Authorization header")
    params = validate(_KEYS, await read_input(platform, request))
    if "organization_id" in params and "organization_slug" in params:
        raise invalid_input([issue("organizationSlug", "specify either organizationId or organizationSlug")])
    caller = platform.access.key_holder(params["key"])
    organization_id = _find_organization(platform, params)
    lifetime = platform.options.token_lifetime or 0
    session = {
        "token": platform.access.exchange(caller, organization_id),
        "expiresAt": datetime.now(UTC) + timedelta(seconds=lifetime),
        "organizationId": organization_id,
        "scope": "organization" if organization_id else "user",
    }
    return respond(session, platform.options.rpc_dialect)


def _find_organization(platform: Platform, params: dict[str, Any]) -> str | None:
    """Return the id of the organization that the input names, or None if it does not name one."""
    named = {"id": params.get("organization_id"), "slug": params.get("organization_slug")}
    for field, value in named.items():
        if value is not None:
            for record in platform.store.all("organization"):
                if record[field] == value:
                    return str(record["id"])
            raise not_found("organization not found")
    return None
