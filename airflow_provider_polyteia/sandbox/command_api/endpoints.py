"""Calls of commands and queries, the token exchange, and the form of responses and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from airflow_provider_polyteia.sandbox.api import bearer_credential, decode_json, http_status
from airflow_provider_polyteia.sandbox.backend.errors import BusinessError, bad_request, forbidden, not_found
from airflow_provider_polyteia.sandbox.backend.platform import Platform, Session
from airflow_provider_polyteia.sandbox.command_api.methods import METHODS, Method

if TYPE_CHECKING:
    from starlette.requests import Request

CALL_PATHS = sorted({method.path for method in METHODS.values()})
TOKEN_PATH = "/auth/pak/token"  # noqa: S105 - a path
UPLOAD_PATH = "/upload"
DOWNLOAD_PATH = "/download"
NAMED_PATHS = (UPLOAD_PATH, DOWNLOAD_PATH, TOKEN_PATH)
"""Paths whose calls are named by the path."""

_OK = 200
_UNAUTHORIZED = 401
_NOT_FOUND = 404


async def call_method(platform: Platform, request: Request) -> Response:
    """Run a command or query and return its result in an envelope (docs/platform-api.md#response-envelope).

    :raises Unauthorized: if the key or access token is not valid.
    :raises BusinessError: if the call is invalid or fails.
    """
    session = Session(platform, platform.access.caller(bearer_credential(request)))
    method, params = _read_call(request.url.path, decode_json(await request.body()))
    if method.writes and session.caller.read_only:
        raise forbidden()
    return JSONResponse({"data": await method.call(session, params)})


def _read_call(path: str, body: Any) -> tuple[Method, dict[str, Any]]:
    """Return the method and parameters of a call.

    :raises BusinessError: 400, if the body is not a call; 404, if this path does not serve the method.
    """
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    if ("command" in body) == ("query" in body):
        raise bad_request("the body must have exactly one of command and query")
    if not isinstance(body.get("params"), dict):
        raise bad_request("params must be an object")
    kind = "command" if "command" in body else "query"
    method = METHODS.get(_method_name(body))
    if method is None or method.command != (kind == "command"):
        raise not_found(f"unknown {kind}")
    if method.path != path:
        raise not_found(f"{method.name} is served at {method.path}")
    return method, body["params"]


async def exchange_token(platform: Platform, request: Request) -> Response:
    """Return an access token for one organization, without an envelope (docs/platform-api.md#token-exchange).

    :raises Unauthorized: if the key is not valid.
    """
    caller = platform.access.key_holder(bearer_credential(request))
    body = decode_json(await request.body())
    organization_id = body.get("organization_id") if isinstance(body, dict) else None
    if not isinstance(organization_id, str) or platform.store.get("organization", organization_id) is None:
        return JSONResponse({"code": _NOT_FOUND, "message": "not found"}, status_code=_NOT_FOUND)
    return JSONResponse({"token": platform.access.exchange(caller, organization_id)})


def call_name(path: str, body: Any) -> str:
    """Return the name of a command or query, or the path of another call. Unknown paths do not have a name."""
    if path in CALL_PATHS:
        return _method_name(body)
    return path if path in NAMED_PATHS else ""


def call_params(body: Any) -> dict[str, Any]:
    """Return the parameters of a command or query."""
    params = body.get("params") if isinstance(body, dict) else None
    return params if isinstance(params, dict) else {}


async def call_directly(session: Session, name: str, params: dict[str, Any]) -> Any:
    """Run a command or query without HTTP and return its data.

    :raises KeyError: if there is no command or query with this name.
    :raises BusinessError: if the call is invalid or fails.
    """
    return await METHODS[name].call(session, params)


def _method_name(body: Any) -> str:
    name = (body.get("command") or body.get("query")) if isinstance(body, dict) else None
    return name if isinstance(name, str) else ""


def error_response(error: BusinessError, status: int | None = None) -> Response:
    """Return a business error as JSON, by default inside HTTP 200 (docs/platform-api.md#errors-inside-http-200)."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details is not None:
        body["details"] = error.details
    return JSONResponse({"error": body}, status_code=status or _OK)


def file_error_response(error: BusinessError, status: int | None = None) -> Response:
    """Return a business error of an upload or download with its HTTP status, without an envelope.

    The vendor's clients check only the status of these paths (docs/platform-api.md#upload-responses).
    """
    status = http_status(status or error.code)
    return JSONResponse({"code": status, "message": error.message}, status_code=status)


def unauthorized_response() -> Response:
    """Return HTTP 401 for missing or invalid credentials (docs/platform-api.md#error-bodies)."""
    return JSONResponse({"error": "Unauthorized"}, status_code=_UNAUTHORIZED)
