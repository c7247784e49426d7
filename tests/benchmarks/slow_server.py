"""Responds 'not yet' to triggers with a delay, and counts requests: `slow_server.py PORT SECONDS`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

NOT_YET = {
    "/api": {"data": {"id": "ds_1", "slug": "bookings"}},
    "/v1/connectors/": {
        "data": {"succeeded_at": None, "failed_at": None, "schedule_type": "auto", "status": {"sync_state": "syncing"}}
    },
    "/jobs/": {"jobId": 1, "connectionId": "c", "jobType": "sync", "startTime": "2026-03-01", "status": "running"},
}


class Counts:
    """The number of requests, and of connections that were used for them."""

    requests = 0
    opened = 0
    open = 0
    most_open = 0


class Server(asyncio.Protocol):
    """One connection; requests have a Content-Length or no body."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record a new connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._is_counted = False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Record the end of the connection."""
        Counts.open -= self._is_counted

    def _count(self) -> None:
        Counts.requests += 1
        if not self._is_counted:  # connections that only query the counts are not counted
            self._is_counted = True
            Counts.opened += 1
            Counts.open += 1
            Counts.most_open = max(Counts.most_open, Counts.open)

    def data_received(self, data: bytes) -> None:
        """Respond to each complete request after a delay."""
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        if len(rest) < length:
            return
        self._received = rest[length:]
        path = head.split(b" ", 2)[1].decode()
        if path == "/counts":
            counts = {name: getattr(Counts, name) for name in ("requests", "opened", "open", "most_open")}
            self._respond(200, counts)
            return
        self._count()
        body = next((body for start, body in NOT_YET.items() if path.startswith(start)), None)
        asyncio.get_running_loop().call_later(self._seconds, self._respond, 200 if body else 404, body or {})

    def _respond(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        self._transport.write(head.encode() + content)


async def main() -> None:
    """Serve until killed."""
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(lambda: Server(seconds), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
