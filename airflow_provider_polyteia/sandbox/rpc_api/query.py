"""SQL on datasets: `POST /api/query` (docs/platform-api.md#rpc-sql)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.api import bearer_credential, decode_json
from airflow_provider_polyteia.sandbox.backend import tabular
from airflow_provider_polyteia.sandbox.backend.errors import bad_request, forbidden
from airflow_provider_polyteia.sandbox.backend.handlers.content import find_assets
from airflow_provider_polyteia.sandbox.backend.platform import Platform, Session
from airflow_provider_polyteia.sandbox.file_response import OpenFileResponse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_ARROW_STREAM = "application/vnd.apache.arrow.stream"
_TYPES = {"query": str, "solution_id": str, "args": list, "named_args": dict}


async def run_query(platform: Platform, request: Request) -> Response:
    """Return the rows of a query as a stream in Arrow's IPC format.

    :raises Unauthorized: if the session token is not valid.
    :raises BusinessError: 400, if the body is invalid or DuckDB rejects the query; 403 or 404, if the caller cannot
        read the solution or a dataset.
    """
    session = Session(platform, platform.access.session(bearer_credential(request)))
    body = _read_body(request, decode_json(await request.body()))
    if session.caller.organization_id is None:
        raise forbidden("the session is not limited to an organization")
    session.find("solution", body["solution_id"])
    sql, parameters = body["query"], body.get("args") or body.get("named_args") or {}
    assets = find_assets(session, tabular.quoted_references(sql))
    with platform.readable(assets) as sources, platform.files.receiving() as path:
        await asyncio.to_thread(tabular.stream, sql, parameters, sources, path)
        # The open file can be read completely even though its name is removed at the end of this block.
        return OpenFileResponse(path.open("rb", buffering=0), _ARROW_STREAM)


def _read_body(request: Request, body: Any) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise bad_request("the content type must be application/json")
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    for name, kind in _TYPES.items():
        if name in body and not isinstance(body[name], kind):
            raise bad_request(f"{name} is invalid")
    for name in ("query", "solution_id"):
        if not body.get(name):
            raise bad_request(f"{name} is required")
    if body.get("args") and body.get("named_args"):
        raise bad_request("specify args or named_args, not both")
    return body
