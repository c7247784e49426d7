"""A TCP relay for the tests: it forwards connections, as an HTTP proxy if asked, and breaks them where a test says."""

from __future__ import annotations

import base64
import contextlib
import selectors
import socket
import ssl
import threading
from typing import NamedTuple
from urllib.parse import urlsplit

from servers import reset

GARBAGE = b"HTTP/1.1 200 OK\r\n<html>blocked by the firewall</html>" * 20


class Cut(NamedTuple):
    """Where and how to break the next connections.

    :param after: number of bytes that the client still receives.
    :param how: ``close``, ``reset``, ``silence`` or ``garbage``.
    """

    after: int
    how: str


class Relay:
    """Forwards each connection to `target`, or, without one, to wherever the client asks as of an HTTP proxy.

    :param credentials: ``user:password`` that the proxy demands.
    :param is_socks: whether it is a SOCKS 5 proxy.
    :param family: of the address it listens on.

    :ivar requests: first lines of what the proxy was asked.
    :ivar cut: how to break the connections that begin from now on.
    :ivar received: number of bytes that the client of the last complete connection received.
    """

    def __init__(
        self, target=None, *, credentials=None, family=socket.AF_INET, ssl_context=None, is_socks=False
    ) -> None:
        self.requests: list[str] = []
        self.cut: Cut | None = None
        self.received = 0
        self._target = target
        self._credentials = credentials and base64.b64encode(credentials.encode("latin-1")).decode()
        self._ssl_context = ssl_context
        self._is_socks = is_socks
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._socket = socket.create_server((host, 0), family=family)
        self.port = self._socket.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        for connection in list(self._open):
            _end(connection)

    def next_cut(self) -> Cut | None:
        """Return how to break the next connection."""
        return self.cut

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, self.next_cut()), daemon=True).start()

    def _serve(self, connection, cut):
        self._open.add(connection)
        server = None
        try:
            connection.settimeout(20)
            if self._ssl_context is not None:
                connection = self._ssl_context.wrap_socket(connection, server_side=True)
            client = _Client(connection, cut)
            server = self._connect(client)
            if server is not None:
                _pump(client, server)
                self.received = client.received
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            _end(connection)
            if server is not None:
                _end(server)

    def _connect(self, client):
        """Return a connection to the server, after the client asked for it if this is a proxy."""
        if self._target is not None:
            return socket.create_connection(self._target, 5)
        return self._connect_by_socks(client.connection) if self._is_socks else self._connect_by_http(client)

    def _connect_by_socks(self, connection):
        """Accept a client without credentials, and connect to the address or name that it sends."""
        stream = connection.makefile("rb")
        _, methods = stream.read(2)
        stream.read(methods)
        connection.sendall(b"\x05\x00")
        *_, kind = stream.read(4)
        host = socket.inet_ntoa(stream.read(4)) if kind == 1 else stream.read(stream.read(1)[0]).decode()
        port = int.from_bytes(stream.read(2), "big")
        self.requests.append(f"{'ADDRESS' if kind == 1 else 'NAME'} {host}:{port}")
        server = socket.create_connection((host, port), 5)
        connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
        return server

    def _connect_by_http(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = client.connection.recv(65536)
            if not chunk:
                return None
            head += chunk
        self.requests.append(head.split(b"\r\n")[0].decode())
        method, url, version = self.requests[-1].split()
        if self._credentials and f"proxy-authorization: basic {self._credentials}".lower() not in head.decode().lower():
            client.send(b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n")
            return None
        if method == "CONNECT":
            host, _, port = url.rpartition(":")
            server = socket.create_connection((host.strip("[]"), int(port)), 5)
            return server if client.send(b"HTTP/1.1 200 Connection established\r\n\r\n") else _end(server)
        parts = urlsplit(url)
        server = socket.create_connection((parts.hostname, parts.port or 80), 5)
        _, _, rest = head.partition(b"\r\n")
        server.sendall(f"{method} {parts.path} {version}\r\n".encode() + rest)
        return server


class _Client:
    """The client's end of one connection."""

    def __init__(self, connection, cut) -> None:
        self.connection = connection
        self.received = 0
        self._cut = cut

    def send(self, data) -> bool:
        """Send, or break the connection on the way; return whether all was sent."""
        cut = self._cut
        left = len(data) if cut is None else cut.after - self.received
        self.connection.sendall(data[:left])
        self.received += len(data[:left])
        if left >= len(data):
            return True
        if cut.how == "garbage":
            self.connection.sendall(GARBAGE)
        if cut.how == "reset":
            reset(self.connection)
        if cut.how in ("silence", "garbage"):
            while self.connection.recv(65536):  # until the client gives up
                pass
        return False


def _pump(client, server):
    """Forward both ways in one thread, because a TLS connection must not be used by two at the same time."""
    with selectors.DefaultSelector() as selector:
        selector.register(client.connection, selectors.EVENT_READ)
        selector.register(server, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select(0 if _has_more(client.connection) else 20)]
            if not ready and not _has_more(client.connection):
                return
            if server in ready:
                chunk = server.recv(65536)
                if not chunk or not client.send(chunk):
                    return
            if client.connection in ready or _has_more(client.connection):
                chunk = client.connection.recv(65536)
                if chunk:
                    server.sendall(chunk)
                else:
                    server.shutdown(socket.SHUT_WR)
                    selector.unregister(client.connection)


def _has_more(connection):
    """Return whether TLS has decrypted bytes that have not been read."""
    return isinstance(connection, ssl.SSLSocket) and connection.pending() > 0


def _end(connection):
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
