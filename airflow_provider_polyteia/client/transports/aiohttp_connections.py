"""The TCP connections of the aiohttp client: how they are opened, what a failure means, and how they end.

Python's `ssl` reads certificate files while it blocks, so sessions are prepared in a thread.
"""

from __future__ import annotations

import asyncio
import ssl
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from certifi import where
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context
from yarl import URL

from airflow_provider_polyteia.client.transports.environment import UnusableProxyError, load_certificates, settings_for
from airflow_provider_polyteia.client.transports.failures import (
    Failure,
    FailureKind,
    UnusableResponseError,
    classify_connect_failure,
    exception_chain,
    proxy_refusal,
    rejected_certificate,
    to_exception,
    unusable_response,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.client.config import ClientConfig
    from airflow_provider_polyteia.client.transports.environment import Settings
    from airflow_provider_polyteia.client.transports.wire_guard import WireGuard

# A request on a connection that the server closes at that time is lost, and retried: triggers only read.
MAX_IDLE = 30.0
_MAX_HEADER = 65536  # bytes of a line, as http.client accepts them in workers
_READ_AHEAD = 65536  # bytes; far less than a guard allows between two pieces of a body

_transport: ContextVar[asyncio.BaseTransport | None] = ContextVar("_transport", default=None)
_protocols: ContextVar[list[Any] | None] = ContextVar("_protocols", default=None)  # of connections that are being made


guard_of_request: ContextVar[WireGuard | None] = ContextVar("guard_of_request", default=None)


class ConnectFailedError(aiohttp.ClientError):
    """No connection was made, so no request was sent; the cause says why.

    :param is_proxied: whether the connection goes through an HTTP proxy.
    """

    def __init__(self, *, is_proxied: bool) -> None:
        super().__init__()
        self.is_proxied = is_proxied


class _GuardedProtocol(ResponseHandler):
    """A connection that counts what arrives for the current request, and ends it beyond the limits."""

    guard: WireGuard | None = None
    replaced: ResponseHandler | None = None
    _is_ended = False

    def data_received(self, data: bytes) -> None:
        """Count and parse data from the server; drop it if the request has been ended."""
        if self._is_ended:
            return
        try:
            if self.guard is not None:
                self.guard.received(len(data))
        except UnusableResponseError as error:
            self._is_ended = True
            self.set_exception(error)
            if self._payload is not None:
                self._payload.set_exception(error)
            return
        super().data_received(data)


class _MarksConnections:
    """A connector that marks connect failures, and remembers the connection of the current request."""

    _factory: Any  # aiohttp's: makes a protocol for each connection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._make_protocol = partial(_GuardedProtocol, **self._factory.keywords)
        self._factory = self._remember_protocol

    async def connect(self, req: aiohttp.ClientRequest, *args: Any, **kwargs: Any) -> Any:
        """Take a connection from the pool or open one."""
        _transport.set(None)
        protocols: list[Any] = []
        _protocols.set(protocols)
        try:
            connection = await super().connect(req, *args, **kwargs)  # type: ignore[misc]  # a mixin of aiohttp's connectors
        except BaseException as error:
            # asyncio closes a connection whose TLS is established when it is cancelled, and waits for the server.
            for protocol in protocols:
                if protocol.transport is not None:
                    protocol.transport.abort()
            if isinstance(error, Exception):
                raise ConnectFailedError(is_proxied=req.proxy is not None) from error
            raise
        _transport.set(connection.transport)
        connection.protocol.guard = guard_of_request.get()
        return connection

    def _remember_protocol(self) -> Any:
        protocol = self._make_protocol()
        protocol.guard = guard_of_request.get()
        if (protocols := _protocols.get()) is not None:
            protocols.append(protocol)
        return protocol


class _DirectConnector(_MarksConnections, aiohttp.TCPConnector):
    """Connections to the platform, or to an HTTP proxy."""


class Route(NamedTuple):
    """How requests reach the platform.

    :param context: TLS settings.
    :param options: arguments of each request, for an HTTP proxy.
    :param headers: headers of each request, for an HTTP proxy.
    :param socks: URL of a SOCKS proxy. Default: empty, none.
    """

    context: ssl.SSLContext
    options: Mapping[str, Any]
    headers: Mapping[str, str]
    socks: str = ""

    def __repr__(self) -> str:
        return "<Route>"

    def open_session(self, timeout: tuple[float, float]) -> aiohttp.ClientSession:
        """Return a session within the current event loop.

        :param timeout: connect and read timeout in seconds.
        """
        options: dict[str, Any] = {
            "ssl": self.context,
            "limit": 0,  # a request that hangs must not hold back others
            "keepalive_timeout": MAX_IDLE,
            "resolver": aiohttp.ThreadedResolver(),  # resolves names as workers do, also where aiodns is installed
        }
        connector = _socks_connector(self.socks, options) if self.socks else _DirectConnector(**options)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # a gateway's cookies must not become part of our identity
            timeout=aiohttp.ClientTimeout(total=None, connect=timeout[0], sock_read=timeout[1]),
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            read_bufsize=_READ_AHEAD,
            auto_decompress=False,
        )


def find_route(config: ClientConfig, name: str) -> Route:
    """Read what the connection and the environment say about proxies and certificates. Blocks.

    :param name: name of the request, for exceptions.
    :raises PolyteiaConfigurationError: if a certificate or the proxy of the connection is unusable.
    """
    try:
        settings = settings_for(config)
    except UnusableProxyError as error:
        failure = Failure(FailureKind.PROXY_UNUSABLE, str(error))
    else:
        context = _ssl_context(config, settings, name)
        if not settings.proxy.startswith("socks"):
            return Route(context, *_through_proxy(settings.proxy, config.base_url))
        if _load_socks() is not None:
            return Route(context, {}, {}, settings.proxy)
        failure = Failure(FailureKind.SOCKS_UNSUPPORTED)
    raise to_exception(failure, name, config)


def _through_proxy(proxy: str, base_url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arguments and the headers of each request; both are empty without a proxy."""
    if not proxy:
        return {}, {}
    credentials = HTTPAdapter().proxy_headers(proxy)
    options = {"proxy": URL(proxy).with_user(None)}
    # With TLS they belong to the CONNECT request, which only the proxy sees.
    return ({**options, "proxy_headers": credentials}, {}) if base_url.startswith("https:") else (options, credentials)


def _load_socks() -> Any:
    try:
        import aiohttp_socks  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return aiohttp_socks


def _socks_connector(proxy: str, options: dict[str, Any]) -> aiohttp.BaseConnector:
    """Return the connector for a SOCKS proxy, which resolves names itself only if its scheme ends in ``4a`` or ``5h``.

    That is what requests does.
    """
    base: Any = _load_socks().ProxyConnector

    class SocksConnector(_MarksConnections, base):  # type: ignore[misc]  # its base is optional
        """Connections through a SOCKS proxy, which the package gives a protocol of its own."""

        async def _connect_via_proxy(self, *args: Any, **kwargs: Any) -> Any:
            transport, protocol = await super()._connect_via_proxy(*args, **kwargs)
            counting = self._factory()
            counting.replaced = protocol  # it keeps the transport open
            transport.set_protocol(counting)
            counting.connection_made(transport)
            return transport, counting

    scheme, _, rest = proxy.partition("://")
    rdns = scheme in ("socks4a", "socks5h")
    del options["resolver"]
    connector: aiohttp.BaseConnector = SocksConnector.from_url(f"{scheme[:6]}://{rest}", rdns=rdns, **options)
    return connector


def _ssl_context(config: ClientConfig, settings: Settings, name: str) -> ssl.SSLContext:
    """Return the context that requests would use with the same settings."""
    context = create_urllib3_context()
    context.check_hostname = settings.verify is not False
    context.verify_mode = ssl.CERT_NONE if settings.verify is False else ssl.CERT_REQUIRED
    try:
        load_certificates(context, where() if settings.verify is True else settings.verify, settings.cert)
    except OSError:
        raise to_exception(Failure(FailureKind.CERTIFICATE_UNREADABLE), name, config) from None
    return context


def end_failed_connection() -> None:
    """End at once what aiohttp closes after a failure, or because a response was not read to its end.

    Closing waits for a silent server: with TLS for half a minute, without it for as long as something is unsent. A
    connection that is back in the pool is left alone.
    """
    transport = _transport.get()
    if isinstance(transport, asyncio.WriteTransport) and transport.is_closing():
        transport.abort()


def is_failure(error: Exception, ambient: BaseException | None = None) -> bool:
    """Return whether an exception reports a failure of the network.

    Before 3.11.8 and 3.12.2, Python raises `TypeError` after a failure of TLS within the TLS of a proxy.

    :param ambient: as for `classify`.
    """
    if not isinstance(error, TypeError):
        return True
    return any(isinstance(link, ssl.SSLError) for link in exception_chain(error, ambient))


def classify(error: BaseException, ambient: BaseException | None = None) -> Failure:
    """Return what an exception of aiohttp means.

    :param ambient: what the caller was handling when the request began.
    """
    chain = list(exception_chain(error, ambient))
    if isinstance(error, ConnectFailedError):
        return _classify_connect_failure(chain, is_proxied=error.is_proxied)
    if unusable := unusable_response(chain) or rejected_certificate(chain):
        return unusable
    if isinstance(error, aiohttp.ServerTimeoutError):
        return Failure(FailureKind.READ_TIMEOUT)
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.RESPONSE_TIMEOUT)
    return Failure(FailureKind.CONNECTION_LOST)


def _classify_connect_failure(chain: list[BaseException], *, is_proxied: bool) -> Failure:
    for link in chain:
        if isinstance(link, aiohttp.ClientHttpProxyError):
            return proxy_refusal(link.status)
    # aiohttp's own exceptions pose as those of sockets and TLS, without what makes those meaningful.
    causes = [link for link in chain if not isinstance(link, aiohttp.ClientError)]
    return (
        classify_connect_failure(causes, resolves_proxy=is_proxied) if causes else Failure(FailureKind.CONNECT_ABORTED)
    )
