"""The responses to paths that an API does not serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_polyteia.sandbox.backend.platform import Platform

WEB_APPLICATION = "<!doctype html><html><head><title>Polyteia</title></head><body>The web application.</body></html>"


async def serve_web_application(_platform: Platform, _request: Request) -> Response:
    """Return the page of the platform's web application (docs/platform-api.md#unknown-paths)."""
    return HTMLResponse(WEB_APPLICATION)


async def serve_not_found(_platform: Platform, _request: Request) -> Response:
    """Return HTTP 404 without the JSON form of the RPC API (docs/platform-api.md#rpc-unknown-procedures)."""
    return PlainTextResponse("404 Not Found", status_code=404)
