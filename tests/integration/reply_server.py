"""A server that sends a fixed reply for each key, and records the requests."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Reply:
    """The reply to any request with a key."""

    status: int
    body: bytes
    content_type: str = "application/json"


@dataclass
class ReplyServer:
    """Listens on a loopback port; a context manager.

    :param replies: key in the Authorization header -> reply.
    :ivar requests: key -> bodies of its requests, in order.
    """

    replies: Mapping[str, Reply]
    requests: dict[str, list[Any]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        replies, requests = self.replies, self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                key = self.headers.get("Authorization", "").removeprefix("Bearer ")
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.setdefault(key, []).append(json.loads(body))
                self._send(replies.get(key, Reply(500, b'{"error": "unknown key"}')))

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
                """Log nothing: the tests read `requests`."""

        return Handler
