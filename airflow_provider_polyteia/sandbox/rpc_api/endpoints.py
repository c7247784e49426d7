"""Calls of procedures, and the names of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.api import bearer_credential
from airflow_provider_polyteia.sandbox.backend.errors import BusinessError, forbidden
from airflow_provider_polyteia.sandbox.backend.platform import Platform, Session
from airflow_provider_polyteia.sandbox.rpc_api.envelope import decode, respond
from airflow_provider_polyteia.sandbox.rpc_api.errors import METHOD_NOT_SUPPORTED
from airflow_provider_polyteia.sandbox.rpc_api.presigned import STORAGE_PATH
from airflow_provider_polyteia.sandbox.rpc_api.procedures import PROCEDURES
from airflow_provider_polyteia.sandbox.unknown_paths import serve_not_found

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

RPC_PATH = "/rpc/"
UPLOAD_PATH = "/api/upload/dataset"
QUERY_PATH = "/api/query"
EXCHANGE = "auth/personalAccessKey/exchange"


async def call_procedure(platform: Platform, request: Request) -> Response:
    """Run a procedure and return its result in an envelope.

    :raises Unauthorized: if the session token is not valid.
    :raises BusinessError: if the input is invalid or the procedure fails.
    """
    procedure = PROCEDURES.get(_procedure_name(request.url.path))
    if procedure is None:
        return await serve_not_found(platform, request)
    check_method(platform, request)
    value = await read_input(platform, request)
    session = Session(platform, platform.access.session(bearer_credential(request)))
    params = procedure.read_input(value)
    if session.caller.organization_id is None and not procedure.user_level:
        raise forbidden("the session is not limited to an organization")
    if procedure.writes and session.caller.read_only:
        raise forbidden()
    return respond(await procedure.run(session, params), platform.options.rpc_dialect)


def check_method(platform: Platform, request: Request) -> None:
    """Reject GET in dialect 1. All other HTTP methods call the procedure (docs/platform-api.md#rpc-requests).

    :raises BusinessError: 405, if the HTTP method cannot call procedures.
    """
    if request.method == "GET" and platform.options.rpc_dialect == 1:
        raise BusinessError(METHOD_NOT_SUPPORTED, "Method Not Supported")


async def read_input(platform: Platform, request: Request) -> Any:
    """Return the input of a call, or None if it does not have one.

    The envelope is the body or, with GET, the query parameter `data`.

    :raises BusinessError: 400, if the envelope is malformed.
    """
    dialect = platform.options.rpc_dialect
    if request.method == "GET":
        return decode(request.query_params.get("data", "").encode(), "application/json", None, dialect)
    headers = request.headers
    body = await request.body()
    return decode(body, headers.get("content-type", ""), headers.get("content-disposition"), dialect)


def _procedure_name(path: str) -> str:
    return path.removeprefix(RPC_PATH).removesuffix("/")


def call_name(path: str, _body: Any) -> str:
    """Return the procedure, or the path without ids of another call. Unknown paths do not have a name."""
    if path.startswith(RPC_PATH):
        return _procedure_name(path)
    if path == QUERY_PATH:
        return path
    return next((known for known in (UPLOAD_PATH, STORAGE_PATH) if path.startswith(f"{known}/")), "")


def call_params(body: Any) -> dict[str, Any]:
    """Return the input of a procedure, or the body of `/api/query`."""
    if not isinstance(body, dict):
        return {}
    params = body if "query" in body else body.get("json")
    return params if isinstance(params, dict) else {}
