"""What faults do to a request and its answer. Which call they are for is in `faults.py`."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from airflow_provider_polyteia.sandbox.backend.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Message, Receive, Send

    from airflow_provider_polyteia.sandbox.faults.connection import Wire
    from airflow_provider_polyteia.sandbox.faults.specs import Fault

WEB_APP = "<!doctype html><html><head><title>Polyteia</title></head><body>The web application.</body></html>"
_TICK = 0.02


async def instead_of_answer(fault: Fault, wire: Wire) -> None:
    """Do to the client what the fault says, whether or not the call was applied."""
    kind = fault.kind.removesuffix("-after").removesuffix("-before")
    if kind == "drop":
        await wire.reset()
    elif kind == "close":
        await wire.close()
    elif kind == "hang":
        await wire.hold(fault.argument)
    else:
        if not fault.applied_first:
            await wire.drain()
        await wrong_answer(fault)(wire.scope, wire.receive, wire.send)


def wrong_answer(fault: Fault) -> Response:
    """The answer that comes in place of the right one."""
    match fault.kind.removesuffix("-after") if fault.applied_first else fault.kind:
        case "status":
            answer = _status(int(fault.argument))
        case "body-error":
            error = ApiError(int(fault.argument), "injected by the sandbox", details=[])
            answer = JSONResponse(error.body())
        case "garbage":
            answer = Response(b'{"data": {"id": "ds_\xff\x00', media_type="application/json")
        case "html":
            answer = HTMLResponse(WEB_APP)
        case "redirect":
            answer = RedirectResponse("/", status_code=HTTPStatus.FOUND)
        case "retry-after":
            answer = _wait(HTTPStatus.TOO_MANY_REQUESTS, f"{fault.argument:g}")
        case "retry-after-date":
            answer = _wait(HTTPStatus.TOO_MANY_REQUESTS, _http_date(fault.argument))
        case "unavailable":
            answer = _wait(HTTPStatus.SERVICE_UNAVAILABLE, f"{fault.argument:g}")
        case "unavailable-date":
            answer = _wait(HTTPStatus.SERVICE_UNAVAILABLE, _http_date(fault.argument))
        case kind:
            raise AssertionError(f"{kind} has no answer of its own")
    return answer


def _status(code: int) -> Response:
    if code == HTTPStatus.UNAUTHORIZED:
        return JSONResponse({"error": "Unauthorized"}, status_code=code)
    return PlainTextResponse(f"{code} injected by the sandbox", status_code=code)


def _wait(status: HTTPStatus, retry_after: str) -> Response:
    return PlainTextResponse(status.phrase, status_code=status, headers={"Retry-After": retry_after})


def _http_date(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


def shape(fault: Fault, wire: Wire) -> None:
    """Let the call be served as usual, but hold up or cut off its bytes."""
    incoming = wire.scope["path"] == "/upload"
    if fault.kind == "slow":
        if incoming:
            wire.incoming = _slow_request(wire, fault.argument)
        else:
            wire.outgoing = _slow_answer(wire, fault.argument)
    elif incoming:
        wire.incoming = _cut_request(wire, fault.argument / 100)
    else:
        share = fault.argument / 100 if fault.kind == "drop-at" else 0.5
        wire.outgoing = _cut_answer(wire, fault.kind, share)


def _slow_request(wire: Wire, rate: float) -> Receive:
    receive = wire.incoming

    async def slowly() -> Message:
        message = await receive()
        await asyncio.sleep(len(message.get("body", b"")) / rate)
        return message

    return slowly


def _slow_answer(wire: Wire, rate: float) -> Send:
    send = wire.outgoing
    step = max(1, int(rate * _TICK))

    async def slowly(message: Message) -> None:
        body = message.get("body", b"")
        for start in range(0, len(body), step):
            part = body[start : start + step]
            await asyncio.sleep(len(part) / rate)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({**message, "body": b""})

    return slowly


def _cut_request(wire: Wire, share: float) -> Receive:
    receive = wire.incoming
    left = _content_length(wire.scope["headers"]) * share

    async def until_cut() -> Message:
        nonlocal left
        message = await receive() if left > 0 else {}
        left -= len(message.get("body", b""))
        if left > 0:
            return message
        await wire.reset()
        return {"type": "http.disconnect"}

    return until_cut


def _cut_answer(wire: Wire, kind: str, share: float) -> Send:
    send = wire.outgoing
    left = 0

    async def until_cut(message: Message) -> None:
        nonlocal left
        if message["type"] == "http.response.start":
            left = int(_content_length(message["headers"]) * share)
            await send(_announcing(left, message) if kind == "wrong-length" else message)
        elif left >= 0:
            part = message.get("body", b"")[:left]
            left -= len(part)
            over = left <= 0
            await send({**message, "body": part, "more_body": not over or kind != "wrong-length"})
            if over:
                left = -1
                await _end_early(wire, kind)

    return until_cut


def _announcing(length: int, message: Message) -> Message:
    others = [(name, value) for name, value in message["headers"] if name != b"content-length"]
    return {**message, "headers": [*others, (b"content-length", b"%d" % length)]}


async def _end_early(wire: Wire, kind: str) -> None:
    if kind == "drop-at":
        await wire.reset()
    elif kind == "short":
        await wire.close()


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return int(dict(headers).get(b"content-length", b"0"))
