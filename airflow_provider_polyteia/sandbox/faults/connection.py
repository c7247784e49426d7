"""One request's connection: what ASGI offers, and what it does not - dropping it without a byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Message, Receive, Scope, Send

    from airflow_provider_polyteia.sandbox.recorder import RecordedRequest

_NO_LINGER = struct.pack("ii", 1, 0)
_REACH_CLIENT = 0.1


class Wire:
    """The two directions of one request.

    :param scope: ASGI's; the server puts the connection's transport into `scope["state"]["transport"]`.
    :ivar incoming: gives the next part of the request; faults put something slower or shorter in its place.
    :ivar outgoing: takes the next part of the answer; likewise.
    :ivar recorded: the request as recorded; learns the HTTP status as soon as it is sent.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.incoming = receive
        self.outgoing = send
        self.recorded: RecordedRequest | None = None
        self._is_read = False
        self._receive = receive
        self._transport: asyncio.Transport = scope["state"]["transport"]

    async def receive(self) -> Message:
        """The next part of the request."""
        message = await self.incoming()
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start" and self.recorded is not None:
            self.recorded.status = message["status"]
            # As every web server says it: clients read the platform's clock from it.
            date = (b"date", formatdate(usegmt=True).encode())
            message = {**message, "headers": [*message.get("headers", []), date]}
        await self.outgoing(message)

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives.

        :raises ClientDisconnect: the client left before the end of it.
        """
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            yield message.get("body", b"")
            more = message.get("more_body", False)

    async def drain(self) -> None:
        """Read the rest of the request and forget it, so that the client can hear the answer."""
        if not self._is_read:
            async for _ in self.body():
                pass

    async def reset(self) -> None:
        """Break the connection off: the client sees a reset."""
        if self.recorded is not None and self.recorded.status is not None:
            # A reset overtakes what was sent just before, so let that reach the client first.
            await asyncio.sleep(_REACH_CLIENT)
        if not self._transport.is_closing():
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()
        await self.closed()

    async def close(self) -> None:
        """Close the connection in an orderly way, after what was sent."""
        self._transport.close()
        await self.closed()

    async def closed(self) -> None:
        """Wait until the connection is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def hold(self, seconds: float) -> None:
        """Keep the connection open without a byte for so long, or until the client leaves."""
        try:
            await asyncio.wait_for(self.closed(), seconds)
        except TimeoutError:
            await self.reset()
