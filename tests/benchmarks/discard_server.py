"""A server that discards uploads and serves a 1 GiB export of zero bytes, used as the benchmark target.

It runs in a separate process, whose memory is not counted, and does little except copy bytes, so that the speed of the
client is measured.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

EXPORT = 1024 * 1024 * 1024
_BLOCK = 1024 * 1024


class DiscardServer:
    """Starts and stops the process; a context manager.

    :param certificate: path of a file with key and certificate of localhost.

    :ivar url: URL of the server.
    """

    def __init__(self, certificate: Path) -> None:
        self._certificate = certificate

    def __enter__(self) -> Self:
        command = [sys.executable, __file__, self._certificate]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = f"https://localhost:{self._process.stdout.readline().strip()}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        self._process.stdout.close()


def serve(certificate: str) -> None:
    """Serve one connection at a time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    while True:
        accepted, _ = listening.accept()
        with suppress(ConnectionError, ssl.SSLError), context.wrap_socket(accepted, server_side=True) as connection:
            while _respond(connection):
                pass


def _respond(connection: socket.socket) -> bool:
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return False
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head.lower())
    _discard(connection, int(found[1]) - len(body) if found else 0)
    if head.startswith(b"GET /download"):
        _send(connection, "text/csv", EXPORT, b"")
        block = bytes(_BLOCK)
        for _ in range(EXPORT // _BLOCK):
            connection.sendall(block)
    else:
        body = json.dumps({"data": {"token": "token-of-the-benchmark"}}).encode()
        _send(connection, "application/json", len(body), body)
    return True


def _discard(connection: socket.socket, left: int) -> None:
    buffer = memoryview(bytearray(_BLOCK))
    while left > 0:
        left -= connection.recv_into(buffer, min(left, _BLOCK))


def _send(connection: socket.socket, content_type: str, length: int, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + body)


if __name__ == "__main__":
    serve(sys.argv[1])
