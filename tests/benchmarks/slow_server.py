"""Responds 'not yet' to triggers with a delay, and counts requests: `slow_server.py PORT SECONDS`.

The platform has 500 datasets in each solution, whose last uploads were long ago.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

DATASETS = 500
NOT_YET = {
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


def _peer(path: str) -> dict[str, object] | None:
    return next((body for start, body in NOT_YET.items() if path.startswith(start)), None)


def _platform(request: bytes) -> dict[str, object]:
    """Return one dataset, or a page of a solution's datasets."""
    call = json.loads(request)
    params = call["params"]
    if call.get("query") != "list_datasets":
        return {"data": _dataset(params["slug"], params["solution_id"])}
    page, size = params["page"], params["size"]
    numbers = range(size * (page - 1) + 1, min(size * page, DATASETS) + 1)
    items = [_dataset(f"dataset_{number}", params["solution_id"]) for number in numbers]
    return {"data": {"items": items, "total": DATASETS, "page": page, "size": size}}


def _dataset(slug: str, solution_id: str) -> dict[str, object]:
    uploaded = {"uploaded_at": "2026-01-01T06:00:00Z", "size": 1000, "content_type": "text/csv"}
    names = {"id": f"ds_{slug}", "slug": slug, "name": slug, "solution_id": solution_id}
    return {**names, "metadata": {"asset_info": uploaded}}


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
        head, complete, rest = self._received.partition(b"\r\n\r\n")
        if not complete:
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
        found = _platform(rest[:length]) if path == "/api" else _peer(path)
        asyncio.get_running_loop().call_later(self._seconds, self._respond, 200 if found else 404, found or {})

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
