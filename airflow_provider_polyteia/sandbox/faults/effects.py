"""Effects of faults on requests and responses."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from airflow_provider_polyteia.sandbox.backend.errors import BusinessError
from airflow_provider_polyteia.sandbox.faults import bodies
from airflow_provider_polyteia.sandbox.unknown_paths import WEB_APPLICATION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Message, Receive, Send

    from airflow_provider_polyteia.sandbox.api import ErrorResponses
    from airflow_provider_polyteia.sandbox.faults.connection import RequestConnection
    from airflow_provider_polyteia.sandbox.faults.specs import Fault

_TICK = 0.02
_AS_IF_WHOLE = {"wrong-length", "partial", "no-bytes"}  # parts of a file, whose length is announced
_FIXED = {
    "garbage": (HTTPStatus.OK, b'{"data": {"id": "ds_\xff\x00', "application/json"),
    "empty": (HTTPStatus.OK, b"", None),
    "no-content": (HTTPStatus.NO_CONTENT, b"", None),
    "null": (HTTPStatus.OK, b"null", "application/json"),
    "text": (HTTPStatus.OK, b"OK", "text/plain"),
}


async def replace_response(fault: Fault, connection: RequestConnection, errors: ErrorResponses) -> None:
    """Send what the fault specifies in place of the call's response, or end the connection without one.

    :param errors: Form of errors of the call.
    """
    kind = fault.kind.removesuffix("-after").removesuffix("-before")
    if kind == "drop":
        await connection.reset()
    elif kind == "close":
        await connection.close()
    elif kind == "hang":
        await connection.hold(fault.argument)
    elif kind in bodies.FLOODS:
        await connection.drain()
        await bodies.flood(kind, fault.argument, connection)
    else:
        if not fault.apply_first:
            await connection.drain()
        response = _fault_response(fault, errors)
        await response(connection.scope, connection.receive, connection.send)


def _fault_response(fault: Fault, errors: ErrorResponses) -> Response:
    name = fault.kind.removesuffix("-after") if fault.apply_first else fault.kind
    if name in _FIXED:
        status, body, media_type = _FIXED[name]
        return Response(body, status, media_type=media_type)
    match name:
        case "status":
            response = _status(int(fault.argument), errors)
        case "body-error":
            error = BusinessError(int(fault.argument), "injected by the sandbox", details=[])
            response = errors.business(error)
        case "html":
            response = HTMLResponse(WEB_APPLICATION)
        case "redirect":
            response = RedirectResponse("/", status_code=HTTPStatus.FOUND)
        case "retry-after":
            response = _wait(HTTPStatus.TOO_MANY_REQUESTS, f"{fault.argument:g}")
        case "retry-after-date":
            response = _wait(HTTPStatus.TOO_MANY_REQUESTS, _http_date(fault.argument))
        case "unavailable":
            response = _wait(HTTPStatus.SERVICE_UNAVAILABLE, f"{fault.argument:g}")
        case "unavailable-date":
            response = _wait(HTTPStatus.SERVICE_UNAVAILABLE, _http_date(fault.argument))
        case kind:
            raise AssertionError(f"Faults of the kind {kind} do not have a response")
    return response


def _status(code: int, errors: ErrorResponses) -> Response:
    if code == HTTPStatus.UNAUTHORIZED:
        return errors.unauthorized()
    return PlainTextResponse(f"{code} injected by the sandbox", status_code=code)


def _wait(status: HTTPStatus, retry_after: str) -> Response:
    return PlainTextResponse(status.phrase, status_code=status, headers={"Retry-After": retry_after})


def _http_date(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


def throttle(fault: Fault, connection: RequestConnection, *, upload: bool) -> None:
    """Slow down or cut off the transfer of a call that is served as usual.

    :param upload: Whether the fault affects the request. Otherwise, it affects the response.
    """
    if fault.kind == "slow":
        if upload:
            connection.incoming = _slow_request(connection, fault.argument)
        else:
            connection.outgoing = _slow_response(connection, fault.argument)
    elif upload:
        connection.incoming = _cut_request(connection, fault.argument / 100)
    else:
        connection.outgoing = _changed_response(connection, fault)


def _changed_response(connection: RequestConnection, fault: Fault) -> Send:
    match fault.kind:
        case "unframed":
            return bodies.without_framing(connection)
        case "gzip-short":
            return bodies.with_half_a_gzip_stream(connection.outgoing)
        case "unknown-coding":
            return bodies.with_unknown_coding(connection.outgoing)
        case "partial":
            connection.outgoing = bodies.with_status(connection.outgoing, HTTPStatus.PARTIAL_CONTENT)
    share = {"drop-at": fault.argument / 100, "no-bytes": 0.0}.get(fault.kind, 0.5)
    return _cut_response(connection, fault.kind, share)


def _slow_request(connection: RequestConnection, rate: float) -> Receive:
    receive = connection.incoming

    async def receive_slowly() -> Message:
        message = await receive()
        await asyncio.sleep(len(message.get("body", b"")) / rate)
        return message

    return receive_slowly


def _slow_response(connection: RequestConnection, rate: float) -> Send:
    send = connection.outgoing
    step = max(1, int(rate * _TICK))

    async def send_slowly(message: Message) -> None:
        body = message.get("body", b"")
        for start in range(0, len(body), step):
            part = body[start : start + step]
            await asyncio.sleep(len(part) / rate)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({**message, "body": b""})

    return send_slowly


def _cut_request(connection: RequestConnection, share: float) -> Receive:
    receive = connection.incoming
    left = _content_length(connection.scope["headers"]) * share

    async def receive_until_cut() -> Message:
        nonlocal left
        message = await receive() if left > 0 else {}
        left -= len(message.get("body", b""))
        if left > 0:
            return message
        await connection.reset()
        return {"type": "http.disconnect"}

    return receive_until_cut


def _cut_response(connection: RequestConnection, kind: str, share: float) -> Send:
    send = connection.outgoing
    left = 0

    async def send_until_cut(message: Message) -> None:
        nonlocal left
        if message["type"] == "http.response.start":
            left = int(_content_length(message["headers"]) * share)
            await send(_with_length(left, message) if kind in _AS_IF_WHOLE else message)
        elif left >= 0:
            part = message.get("body", b"")[:left]
            left -= len(part)
            finished = left <= 0
            await send({**message, "body": part, "more_body": not finished or kind not in _AS_IF_WHOLE})
            if finished:
                left = -1
                await _end_early(connection, kind)

    return send_until_cut


def _with_length(length: int, message: Message) -> Message:
    others = [(name, value) for name, value in message["headers"] if name != b"content-length"]
    return {**message, "headers": [*others, (b"content-length", b"%d" % length)]}


async def _end_early(connection: RequestConnection, kind: str) -> None:
    if kind == "drop-at":
        await connection.reset()
    elif kind == "short":
        await connection.close()


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return int(dict(headers).get(b"content-length", b"0"))
