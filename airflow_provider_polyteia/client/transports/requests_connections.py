"""The TCP connections of the requests client: they mark connect failures and count bytes.

Each request has a `WireGuard`, which counts what its connection sends and receives: head, body and all between them.
"""

from __future__ import annotations

import http.client
import io
import ssl
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3.poolmanager import PoolManager

    from airflow_provider_polyteia.client.transports.wire_guard import WireGuard

_guard: ContextVar[WireGuard] = ContextVar("_guard")  # of the current request


@contextmanager
def guarded(guard: WireGuard) -> Iterator[None]:
    """Count what is sent and received within the context."""
    token = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(token)


class ConnectFailedError(OSError):
    """No connection could be established; the cause says why."""


class RequestKilledError(BaseException):
    """A signal handler ended a request. Derives from BaseException, so that no library takes it for its own failure.

    :param is_sent: whether the request may have been sent.
    """

    def __init__(self, *, is_sent: bool) -> None:
        super().__init__()
        self.is_sent = is_sent


class _GuardedStream(io.RawIOBase):
    """What arrives on a socket, counted.

    :ivar is_at_end: whether the server has closed the connection.
    """

    def __init__(self, stream: io.RawIOBase, guard: WireGuard) -> None:
        self.is_at_end = False
        self._stream = stream
        self._guard = guard

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def readinto(self, buffer: Any) -> int | None:
        count: int | None = self._stream.readinto(buffer)
        self.is_at_end = count == 0
        self._guard.received(count or 0)
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response whose bytes are counted, and before which any number of interim responses may come."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self._stream = _GuardedStream(sock.makefile("rb", buffering=0), _guard.get())
        self.fp = io.BufferedReader(self._stream)

    def begin(self) -> None:
        """Read the head of the final response. http.client skips HTTP 100 only, and takes 103 for the final one.

        :raises http.client.RemoteDisconnected: if the head ends early, which http.client does not notice.
        """
        super().begin()
        while HTTPStatus.CONTINUE <= self.status < HTTPStatus.OK and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first head
            super().begin()
        if self._stream.is_at_end:
            raise http.client.RemoteDisconnected("the connection was closed within the head of the response")


class _CountsBytes:
    """A connection whose bytes are counted."""

    response_class: Any = _Response

    def send(self, data: Any) -> None:
        super().send(data)  # type: ignore[misc]  # of urllib3's connection beside this mixin
        _guard.get().sent(len(data))


class _MarksConnectFailures(_CountsBytes):
    """Raises `ConnectFailedError` for whatever fails while the connection is established."""

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]  # of urllib3's connection beside this mixin
        except (OSError, HTTPError) as error:
            raise ConnectFailedError from error
        except RequestKilledError as error:
            raise RequestKilledError(is_sent=False) from error


class _PlainConnection(_MarksConnectFailures, HTTPConnection):
    """HTTP."""


class _TlsConnection(_MarksConnectFailures, HTTPSConnection):
    def send(self, data: Any) -> None:
        """Send, and allow reading a response that the server sent before it closed on a long body (such as HTTP 413).

        urllib3 looks for that response after a broken pipe, but not after the exception that TLS raises for one.
        """
        try:
            super().send(data)
        except ssl.SSLEOFError as error:
            raise BrokenPipeError from error


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def use_our_connections(manager: PoolManager) -> None:
    """Let a pool manager open the connections of this module."""
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


def count_bytes(manager: PoolManager) -> None:
    """Keep the connections of a SOCKS proxy, but count their bytes. May be called again for the same manager."""
    pools: dict[str, Any] = dict(manager.pool_classes_by_scheme)
    for scheme, pool in pools.items():
        if not issubclass(pool.ConnectionCls, _CountsBytes):
            connection = type("_SocksConnection", (_CountsBytes, pool.ConnectionCls), {})
            pools[scheme] = type("_SocksPool", (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = pools
