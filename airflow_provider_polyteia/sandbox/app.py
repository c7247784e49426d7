"""The ASGI application: serves an API, and records, delays, logs and injects faults into its calls."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route

from airflow_provider_polyteia.sandbox import admin
from airflow_provider_polyteia.sandbox.api import ApiRoute, decode_json
from airflow_provider_polyteia.sandbox.backend.errors import FORBIDDEN, INTERNAL, BusinessError, Unauthorized
from airflow_provider_polyteia.sandbox.faults import effects
from airflow_provider_polyteia.sandbox.faults.connection import RequestConnection
from airflow_provider_polyteia.sandbox.recorder import RecordedRequest, Recorder
from airflow_provider_polyteia.sandbox.request_guard import RequestGuard, ServedHosts
from airflow_provider_polyteia.sandbox.web_ui import pages

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send

    from airflow_provider_polyteia.sandbox.api import Api
    from airflow_provider_polyteia.sandbox.backend.platform import Platform
    from airflow_provider_polyteia.sandbox.faults import Faults

logger = logging.getLogger("airflow_provider_polyteia.sandbox")


def build_app(api: Api, platform: Platform, faults: Faults, recorder: Recorder, hosts: ServedHosts) -> Starlette:
    """Return the ASGI application of one sandbox.

    :param hosts: Hosts for which requests are served.
    """

    def serve(route: ApiRoute) -> ServedEndpoint:
        return ServedEndpoint(route, api, platform, faults, recorder)

    routes = [
        Route(route.path, serve(route), methods=[route.http_method] if route.http_method else None)
        for route in api.routes
    ]
    routes += [*pages.ROUTES, *admin.ROUTES]
    # The platform responds to a path of an API with another HTTP method in the same way as to an unknown path.
    unknown = [replace(route, http_method=None, endpoint=api.unknown_path) for route in api.routes]
    unknown.append(ApiRoute("/{path:path}", None, api.unknown_path))
    routes += [Route(route.path, serve(route)) for route in unknown]
    app = Starlette(routes=routes, middleware=[Middleware(RequestGuard, hosts=hosts)])
    app.state.platform, app.state.faults, app.state.recorder = platform, faults, recorder
    app.state.calls = api.calls
    return app


class ServedEndpoint:
    """Wraps the endpoint of a route: records the request, injects faults, responds and logs."""

    def __init__(self, route: ApiRoute, api: Api, platform: Platform, faults: Faults, recorder: Recorder) -> None:
        self._route = route
        self._api = api
        self._errors = route.errors or api.errors
        self._platform = platform
        self._faults = faults
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        connection = RequestConnection(scope, receive, send)
        request = Request(scope, connection.receive)
        started = time.perf_counter()
        try:
            recorded = connection.recorded = await self._record(request)
            try:
                await self._serve(connection, request, recorded)
            finally:
                recorded.seconds = time.perf_counter() - started
        except (ClientDisconnect, asyncio.CancelledError):  # cancelled when the sandbox stops
            return
        self._log(recorded, recorded.seconds)

    async def _record(self, request: Request) -> RecordedRequest:
        body = b"" if self._route.streamed else await request.body()
        content = decode_json(body)
        recorded = RecordedRequest(
            name=self._api.call_name(request.url.path, content),
            method=request.method,
            path=request.url.path,
            headers=dict(request.headers),
            query=request.url.query,
            body=body,
            json=content,
            params=self._api.call_params(content),
        )
        self._recorder.add(recorded)
        return recorded

    async def _serve(self, connection: RequestConnection, request: Request, recorded: RecordedRequest) -> None:
        fault = self._faults.pick(recorded.name) if recorded.name else None
        recorded.fault = fault.spec if fault else None
        if fault and fault.throttles:
            effects.throttle(fault, connection, upload=recorded.name in self._api.calls.uploads)
        elif fault and fault.affects_ingest:
            request.state.ingest_fault = fault.kind
        elif fault and not fault.apply_first:
            await effects.replace_response(fault, connection, self._errors)
            return
        if self._platform.options.latency:
            await asyncio.sleep(self._platform.options.latency)
        response = await self._respond(request, recorded)
        if fault and fault.apply_first:
            await response(connection.scope, connection.receive, _discard)
            await effects.replace_response(fault, connection, self._errors)
        else:
            await response(connection.scope, connection.receive, connection.send)

    async def _respond(self, request: Request, recorded: RecordedRequest) -> Response:
        try:
            return await self._route.endpoint(self._platform, request)
        except Unauthorized:
            return self._errors.unauthorized()
        except BusinessError as error:
            recorded.error = error.code
            http_403 = error.code == FORBIDDEN and self._platform.options.http_403
            return self._errors.business(error, FORBIDDEN if http_403 else None)
        except ClientDisconnect:
            raise
        except Exception:
            logger.exception("The sandbox failed to process a request")
            recorded.error = INTERNAL
            failure = BusinessError(INTERNAL, "the sandbox failed to process the request; see its log")
            return self._errors.business(failure, INTERNAL)

    def _log(self, recorded: RecordedRequest, seconds: float) -> None:
        """Log one line per request. Unknown names are not logged because they could contain secrets."""
        name = recorded.label(self._api.calls.known)
        error = f", error {recorded.error}" if recorded.error else ""
        fault = f", fault {recorded.fault}" if recorded.fault else ""
        logger.info("%s %s%s%s %.1f ms", name, recorded.status or "no response", error, fault, seconds * 1000)


async def _discard(_message: Message) -> None:
    """Discard a part of a response that a fault replaces."""
