"""The ASGI application: serves APIs, and records, delays, logs and injects faults into their calls."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route

from airflow_provider_polyteia.sandbox import admin
from airflow_provider_polyteia.sandbox.api import decode_json
from airflow_provider_polyteia.sandbox.backend.errors import FORBIDDEN, INTERNAL, BusinessError, Unauthorized
from airflow_provider_polyteia.sandbox.faults import effects
from airflow_provider_polyteia.sandbox.faults.connection import RequestConnection
from airflow_provider_polyteia.sandbox.recorder import RecordedRequest, Recorder
from airflow_provider_polyteia.sandbox.unknown_paths import serve_web_application
from airflow_provider_polyteia.sandbox.web_ui import pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send

    from airflow_provider_polyteia.sandbox.api import Api, Endpoint
    from airflow_provider_polyteia.sandbox.backend.platform import Platform
    from airflow_provider_polyteia.sandbox.faults import Faults

logger = logging.getLogger("airflow_provider_polyteia.sandbox")


def build_app(apis: Sequence[Api], platform: Platform, faults: Faults, recorder: Recorder) -> Starlette:
    """Return the ASGI application of one sandbox.

    :param apis: APIs to serve. They must not share paths.
    """

    def serve(api: Api, endpoint: Endpoint, *, streamed: bool = False) -> ServedEndpoint:
        return ServedEndpoint(endpoint, api, platform, faults, recorder, streamed=streamed)

    routes = [
        Route(route.path, serve(api, route.endpoint, streamed=route.streamed), methods=[route.http_method])
        for api in apis
        for route in api.routes
    ]
    routes += [*pages.ROUTES, *admin.ROUTES]
    # The platform responds to a path of an API with another HTTP method in the same way as to an unknown path.
    routes += [
        Route(route.path, serve(api, serve_web_application, streamed=route.streamed))
        for api in apis
        for route in api.routes
    ]
    routes.append(Route("/{path:path}", serve(apis[0], serve_web_application)))
    app = Starlette(routes=routes)
    app.state.platform, app.state.faults, app.state.recorder = platform, faults, recorder
    return app


class ServedEndpoint:
    """Wraps an endpoint: records the request, injects faults, responds and logs.

    :param streamed: Whether the endpoint reads the body while it is received.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        api: Api,
        platform: Platform,
        faults: Faults,
        recorder: Recorder,
        *,
        streamed: bool,
    ) -> None:
        self._endpoint = endpoint
        self._api = api
        self._platform = platform
        self._faults = faults
        self._recorder = recorder
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        connection = RequestConnection(scope, receive, send)
        request = Request(scope, connection.receive)
        started = time.perf_counter()
        try:
            recorded = connection.recorded = await self._record(request)
            await self._serve(connection, request, recorded)
        except (ClientDisconnect, asyncio.CancelledError):  # cancelled when the sandbox stops
            return
        self._log(recorded, time.perf_counter() - started)

    async def _record(self, request: Request) -> RecordedRequest:
        body = b"" if self._streamed else await request.body()
        content = decode_json(body)
        recorded = RecordedRequest(
            name=self._api.call_name(request.url.path, content),
            method=request.method,
            path=request.url.path,
            headers=dict(request.headers),
            query=request.url.query,
            body=body,
            json=content,
        )
        self._recorder.add(recorded)
        return recorded

    async def _serve(self, connection: RequestConnection, request: Request, recorded: RecordedRequest) -> None:
        fault = self._faults.pick(recorded.name) if recorded.name else None
        recorded.fault = fault.spec if fault else None
        if fault and fault.throttles:
            effects.throttle(fault, connection, upload=recorded.name in self._api.calls.uploads)
        elif fault and not fault.apply_first:
            await effects.replace_response(fault, connection, self._api)
            return
        if self._platform.options.latency:
            await asyncio.sleep(self._platform.options.latency)
        response = await self._respond(request, recorded)
        if fault and fault.apply_first:
            await response(connection.scope, connection.receive, _discard)
            await effects.replace_response(fault, connection, self._api)
        else:
            await response(connection.scope, connection.receive, connection.send)

    async def _respond(self, request: Request, recorded: RecordedRequest) -> Response:
        try:
            return await self._endpoint(self._platform, request)
        except Unauthorized:
            return self._api.unauthorized_response()
        except BusinessError as error:
            recorded.error = error.code
            http_403 = error.code == FORBIDDEN and self._platform.options.http_403
            return self._api.error_response(error, FORBIDDEN if http_403 else None)
        except ClientDisconnect:
            raise
        except Exception:
            logger.exception("The sandbox failed to process a request")
            recorded.error = INTERNAL
            failure = BusinessError(INTERNAL, "the sandbox failed to process the request; see its log")
            return self._api.error_response(failure, INTERNAL)

    def _log(self, recorded: RecordedRequest, seconds: float) -> None:
        """Log one line per request. Unknown names are not logged because they could contain secrets."""
        is_known = recorded.name in self._api.calls.known
        name = recorded.name if is_known else f"{recorded.method} (not an API call)"
        error = f", error {recorded.error}" if recorded.error else ""
        fault = f", fault {recorded.fault}" if recorded.fault else ""
        logger.info("%s %s%s%s %.1f ms", name, recorded.status or "no response", error, fault, seconds * 1000)


async def _discard(_message: Message) -> None:
    """Discard a part of a response that a fault replaces."""
