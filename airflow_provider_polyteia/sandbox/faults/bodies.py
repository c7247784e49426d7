"""Faults of the bodies of responses: coded, unframed, partial or without end."""

from __future__ import annotations

import asyncio
import gzip
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Send

    from airflow_provider_polyteia.sandbox.faults.connection import RequestConnection

_MIB = 2**20
_ENDLESS = {"endless"}
FLOODS = {"huge", *_ENDLESS}


async def flood(kind: str, mebibytes: float, connection: RequestConnection) -> None:
    """Send a response that is much larger than any that the platform sends: an error, or JSON without end."""
    is_endless = kind in _ENDLESS
    status, media_type, part = (
        (HTTPStatus.OK, b"application/json", b"[" * _MIB)
        if is_endless
        else (HTTPStatus.INTERNAL_SERVER_ERROR, b"text/plain", b"error " * (_MIB // 6))
    )
    await connection.send({"type": "http.response.start", "status": status, "headers": [(b"content-type", media_type)]})
    sent = 0
    while (is_endless or sent < mebibytes) and not connection.is_closing:
        await connection.send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0)
        sent += 1
    await connection.send({"type": "http.response.body", "body": b"", "more_body": False})


def with_status(send: Send, status: HTTPStatus) -> Send:
    """Send a response with another HTTP status."""

    async def send_with_status(message: Message) -> None:
        await send({**message, "status": status} if message["type"] == "http.response.start" else message)

    return send_with_status


def with_unknown_coding(send: Send) -> Send:
    """Send a response that names a content coding which does not exist."""

    async def send_coded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"content-encoding", b"x-sandbox")]}
        await send(message)

    return send_coded


def with_half_a_gzip_stream(send: Send) -> Send:
    """Send half of the gzip stream of a response, as if it were all of it."""

    async def send_halved(start: Message, body: bytes) -> None:
        coded = gzip.compress(body)
        half = coded[: len(coded) // 2]
        headers = [header for header in start["headers"] if header[0] != b"content-length"]
        headers += [(b"content-length", b"%d" % len(half)), (b"content-encoding", b"gzip")]
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": half})

    return _collected(send_halved)


def without_framing(connection: RequestConnection) -> Send:
    """Send half of a response without length and without chunks, so that only the end of the connection ends it."""

    def halved(start: Message, body: bytes) -> bytes:
        lines = [b"HTTP/1.1 200 OK", b"connection: close"]
        lines += [b"%s: %s" % header for header in start["headers"] if header[0] != b"content-length"]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body[: len(body) // 2]

    async def send_halved(start: Message, body: bytes) -> None:
        await connection.send_raw(halved(start, body))

    return _collected(send_halved)


def _collected(send_whole: Callable[[Message, bytes], Awaitable[None]]) -> Send:
    """Collect a response, and send it as a whole."""
    start: Message = {}
    body = bytearray()

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        body.extend(message.get("body", b""))
        if not message.get("more_body", False):
            await send_whole(start, bytes(body))

    return collect
