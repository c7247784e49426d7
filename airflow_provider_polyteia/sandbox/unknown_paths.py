"""The response to paths that no API serves: the platform's web application.

See docs/platform-api.md#unknown-paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_polyteia.sandbox.backend.platform import Platform

WEB_APPLICATION = "<!doctype html><html><head><title>Polyteia</title></head><body>The web application.</body></html>"


async def serve_web_application(_platform: Platform, _request: Request) -> Response:
    """Return the page of the platform's web application."""
    return HTMLResponse(WEB_APPLICATION)
