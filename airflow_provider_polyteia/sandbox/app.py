"""The sandbox's HTTP side: which path is served by what, and what happens around every API call."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from airflow_provider_polyteia.sandbox import admin
from airflow_provider_polyteia.sandbox.backend.errors import (
    FORBIDDEN,
    INTERNAL,
    ApiError,
    Unauthorized,
    bad_request,
    forbidden,
    not_found,
)
from airflow_provider_polyteia.sandbox.backend.platform import Platform, Session
from airflow_provider_polyteia.sandbox.command_api import files as transfer
from airflow_provider_polyteia.sandbox.command_api.methods import METHODS, Method
from airflow_provider_polyteia.sandbox.faults import effects
from airflow_provider_polyteia.sandbox.faults.connection import Wire
from airflow_provider_polyteia.sandbox.faults.specs import PATHS, Faults
from airflow_provider_polyteia.sandbox.recorder import RecordedRequest, Recorder
from airflow_provider_polyteia.sandbox.web_ui import pages

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger("airflow_provider_polyteia.sandbox")

Serve = Callable[[Platform, Request], Awaitable[Response]]

_API_PATHS = sorted({method.path for method in METHODS.values()})


def build_app(platform: Platform, faults: Faults, recorder: Recorder) -> Starlette:
    """The ASGI application of one sandbox."""

    def endpoint(serve: Serve) -> Endpoint:
        return Endpoint(serve, platform, faults, recorder)

    routes = [
        *(Route(path, endpoint(call_method), methods=["POST"]) for path in _API_PATHS),
        Route("/auth/pak/token", endpoint(exchange_token), methods=["PUT"]),
        Route("/upload", endpoint(transfer.upload), methods=["POST"]),
        Route("/download", endpoint(transfer.download), methods=["GET"]),
        *pages.ROUTES,
        *admin.ROUTES,
        Route("/{path:path}", endpoint(web_app)),
    ]
    app = Starlette(routes=routes)
    app.state.platform, app.state.faults, app.state.recorder = platform, faults, recorder
    return app


async def call_method(platform: Platform, request: Request) -> Response:
    """Answer a command or query with the envelope of API reference 3.1.

    :raises Unauthorized: the key or token is not valid.
    :raises ApiError: every business error.
    """
    session = Session(platform, platform.access.caller(request.headers.get("authorization")))
    method, params = _read_call(request.url.path, _decode(await request.body()))
    if method.writes and session.caller.read_only:
        raise forbidden()
    return JSONResponse({"data": await method.call(session, params)})


def _read_call(path: str, body: Any) -> tuple[Method, dict[str, Any]]:
    """The method called and its params.

    :raises ApiError: 400, the body is no call; 404, there is no such method at this path.
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
    """Give an access token for one organization (API reference 2.2). No envelope here.

    :raises Unauthorized: the key is not valid.
    """
    caller = platform.access.key_holder(request.headers.get("authorization"))
    body = _decode(await request.body())
    organization_id = body.get("organization_id") if isinstance(body, dict) else None
    if not isinstance(organization_id, str) or platform.store.get("organization", organization_id) is None:
        return JSONResponse({"code": 404, "message": "not found"}, status_code=404)
    return JSONResponse({"token": platform.access.exchange(caller, organization_id)})


async def web_app(_platform: Platform, _request: Request) -> Response:
    """What the platform's host says on every path it does not know (API reference 1.1, HTML trap)."""
    return HTMLResponse(effects.WEB_APP)


class Endpoint:
    """Around every call: record it, let a fault strike, answer, write one line to the log."""

    def __init__(self, serve: Serve, platform: Platform, faults: Faults, recorder: Recorder) -> None:
        self._serve = serve
        self._platform = platform
        self._faults = faults
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        wire = Wire(scope, receive, send)
        request = Request(scope, wire.receive)
        started = time.perf_counter()
        try:
            recorded = wire.recorded = await self._record(request)
            await self._handle(wire, request, recorded)
        except (ClientDisconnect, asyncio.CancelledError):  # cancelled when the sandbox stops
            return
        _log(recorded, time.perf_counter() - started)

    async def _record(self, request: Request) -> RecordedRequest:
        path = request.url.path
        body = b"" if path == "/upload" else await request.body()
        content = _decode(body)
        name = _method_name(content) if path in _API_PATHS else path if path in PATHS else ""
        recorded = RecordedRequest(
            name=name,
            method=request.method,
            path=path,
            headers=dict(request.headers),
            query=request.url.query,
            body=body,
            json=content,
        )
        self._recorder.add(recorded)
        return recorded

    async def _handle(self, wire: Wire, request: Request, recorded: RecordedRequest) -> None:
        fault = self._faults.pick(recorded.name) if recorded.name else None
        recorded.fault = fault.spec if fault else None
        if fault and fault.shaping:
            effects.shape(fault, wire)
        elif fault and not fault.applied_first:
            await effects.instead_of_answer(fault, wire)
            return
        if self._platform.options.latency:
            await asyncio.sleep(self._platform.options.latency)
        response = await self._answer(request, recorded)
        if fault and fault.applied_first:
            await response(wire.scope, wire.receive, _discard)
            await effects.instead_of_answer(fault, wire)
        else:
            await response(wire.scope, wire.receive, wire.send)

    async def _answer(self, request: Request, recorded: RecordedRequest) -> Response:
        try:
            return await self._serve(self._platform, request)
        except Unauthorized:
            return JSONResponse({"error": "Unauthorized"}, status_code=401)
        except ApiError as error:
            recorded.error = error.code
            http_403 = error.code == FORBIDDEN and self._platform.options.http_403
            return JSONResponse(error.body(), status_code=FORBIDDEN if http_403 else 200)
        except ClientDisconnect:
            raise
        except Exception:
            logger.exception("The sandbox failed to answer")
            recorded.error = INTERNAL
            return JSONResponse(ApiError(INTERNAL, "the sandbox failed: see its log").body(), status_code=500)


def _decode(body: bytes) -> Any:
    """The JSON of a body; None when it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def _method_name(body: Any) -> str:
    name = (body.get("command") or body.get("query")) if isinstance(body, dict) else None
    return name if isinstance(name, str) else ""


async def _discard(_message: Message) -> None:
    """Where an answer goes that a fault loses."""


def _log(recorded: RecordedRequest, seconds: float) -> None:
    """One line: what was called and how it ended. Names are known ones only, so nothing private gets in."""
    known = recorded.name in METHODS or recorded.name in PATHS
    name = recorded.name if known else f"{recorded.method} (no API call)"
    error = f", error {recorded.error}" if recorded.error else ""
    fault = f", fault {recorded.fault}" if recorded.fault else ""
    logger.info("%s %s%s%s %.1f ms", name, recorded.status or "no answer", error, fault, seconds * 1000)
