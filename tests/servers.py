"""Servers for the tests: one that sends scripted replies, and one that injects faults below HTTP."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "pak-SECRET-0123456789"  # made up


@dataclass
class Recorded:
    """One request as it was received."""

    verb: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def call(self) -> str:
        """The name of the command or query."""
        return self.json.get("command") or self.json.get("query")


@dataclass
class Reply:
    """A reply of the server."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def data(value, **headers) -> Reply:
    """A success."""
    return Reply(body=json.dumps({"data": value}).encode(), headers=headers)


def body_error(code, message="internal error", **headers) -> Reply:
    """An error inside HTTP 200."""
    body = {"error": {"code": code, "message": message, "details": []}}
    return Reply(body=json.dumps(body).encode(), headers=headers)


def status(code, body=b'{"error": "no"}', *, content_type="application/json", **headers) -> Reply:
    """An HTTP error."""
    return Reply(code, body, {name.replace("_", "-"): value for name, value in headers.items()}, content_type)


class DROP:
    """Instead of a reply: close the connection without a response."""


class HANG:
    """Instead of a reply: say nothing until the client closes the connection."""


class _QuietServer(ThreadingHTTPServer):
    request_queue_size = 128  # with 5, connections of many waits at once were delayed by a second

    def handle_error(self, *_):
        """Print nothing: clients that go away, or reject a certificate, are what tests are about."""


class ScriptedServer:
    """Sends the replies of `script` in order, then repeats the last one; records the requests.

    :ivar hanging: number of requests that hang now.
    """

    def __init__(self, ssl_context=None) -> None:
        self.requests: list[Recorded] = []
        self.script: deque = deque([data({"id": "ds_1"})])
        self.connections = 0
        self.hanging = 0
        self._http = _QuietServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._scheme = "http"
        if ssl_context is not None:
            self._scheme = "https"
            # The handshake is left to the connection's thread: one that hangs must not hold back others.
            self._http.socket = ssl_context.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        host = "localhost" if self._scheme == "https" else "127.0.0.1"
        return f"{self._scheme}://{host}:{self.port}"

    @property
    def port(self) -> int:
        return self._http.server_address[1]

    @property
    def calls(self) -> list[str]:
        """The names of all received commands and queries."""
        return [request.call if request.path.startswith("/api") else request.path for request in self.requests]

    def respond(self, *replies) -> None:
        """Set the script."""
        self.script = deque(replies)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def _handler(server):  # noqa: N805 - the handler's own methods say self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                server.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Recorded(self.command, self.path, headers, body)
                server.requests.append(request)
                reply = server.script.popleft() if len(server.script) > 1 else server.script[0]
                reply = reply(request) if callable(reply) and reply not in (DROP, HANG) else reply
                if reply is HANG:
                    self.hang()
                if reply in (DROP, HANG):
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", reply.content_type)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def hang(self):
                server.hanging += 1
                try:
                    self.rfile.read(1)
                finally:
                    server.hanging -= 1

            do_PUT = do_GET = do_POST  # noqa: N815 - the names that the base class requires

            def log_message(self, *args):
                pass

        return Handler


class RawServer:
    """Accepts TCP connections and calls `behave(connection)` with each of them."""

    def __init__(self, behave) -> None:
        self._behave = behave
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.accepted = 0
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        for connection in self._held:
            connection.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            self._held.append(connection)
            self._behave(connection)


def reset(connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_request(connection: socket.socket) -> bytes:
    """Read one HTTP request with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return received
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        chunk = connection.recv(65536)
        if not chunk:
            break
        body += chunk
    return head + b"\r\n\r\n" + body
