"""The connection of a request, which can be ended without a response. ASGI does not offer this."""

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


class RequestConnection:
    """Both directions of the connection during one request.

    :param scope: Scope of the request (ASGI). The server adds the transport as `scope["state"]["transport"]`.
    :ivar incoming: Receives the next part of the request. Faults replace it to slow it down or cut it off.
    :ivar outgoing: Sends the next part of the response. Faults replace it in the same way.
    :ivar recorded: The recorded request. Its HTTP status is set when the response starts.
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
        """Return the next part of the request."""
        message = await self.incoming()
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start" and self.recorded is not None:
            self.recorded.status = int(message["status"])
            # Clients read the clock of the platform from this header (docs/platform-api.md#timestamps).
            date = (b"date", formatdate(usegmt=True).encode())
            message = {**message, "headers": [*message.get("headers", []), date]}
        await self.outgoing(message)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body of the request while it is received.

        :raises ClientDisconnect: if the client disconnects before the end of the body.
        """
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            yield message.get("body", b"")
            more = message.get("more_body", False)

    async def drain(self) -> None:
        """Receive and discard the rest of the request. Some clients read the response only after sending everything."""
        if not self._is_read:
            async for _ in self.body():
                pass

    async def reset(self) -> None:
        """Reset the connection."""
        if self.recorded is not None and self.recorded.status is not None:
            # A reset can discard data that was sent just before, so wait until the client has received it.
            await asyncio.sleep(_REACH_CLIENT)
        if not self._transport.is_closing():
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()
        await self.closed()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes that are not a response of the server, and close the connection after them."""
        self._transport.write(data)
        await self.close()

    @property
    def is_closing(self) -> bool:
        """Whether the client, or a fault, has closed the connection."""
        return self._transport.is_closing()

    async def close(self) -> None:
        """Close the connection after everything has been sent."""
        self._transport.close()
        await self.closed()

    async def closed(self) -> None:
        """Wait until the connection is closed."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def hold(self, seconds: float) -> None:
        """Keep the connection open without sending anything, until the client disconnects. Reset it after `seconds`."""
        try:
            await asyncio.wait_for(self.closed(), seconds)
        except TimeoutError:
            await self.reset()
