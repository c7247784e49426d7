"""The TCP connections of the httpx client, set up by the connection and the environment as requests would do it."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from airflow_provider_polyteia.client.transports.failures import Failure, FailureKind, to_exception

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_provider_polyteia.client.config import ClientConfig

MIN_CONNECTIONS = 5
MAX_CONNECTIONS = 50
USERS_PER_CONNECTION = 10
# A request on a connection that the server closes at that time is lost, and retried: triggers only read.
MAX_IDLE = 30.0


class ConnectionPool:
    """A pool of httpx transports with one connection each, opened on demand and reused.

    httpx's own pool inspects all its connections with each request and again with each response: with 50 connections
    that takes several times as long as everything else.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._connections = MIN_CONNECTIONS
        self._available = asyncio.Semaphore(MIN_CONNECTIONS)
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._preparing = asyncio.Lock()
        self._open: Callable[[], httpx.AsyncHTTPTransport] | None = None

    def resize_for(self, users: int) -> None:
        """Grow the pool to one connection per ten users (5 to 50). The pool never shrinks."""
        while self._connections < min(users // USERS_PER_CONNECTION, MAX_CONNECTIONS):
            self._connections += 1
            self._available.release()

    @asynccontextmanager
    async def acquire(self, name: str) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        """Wait for a free connection and use it.

        :param name: name of the request, for exceptions.
        :raises PolyteiaConfigurationError: if a certificate or the proxy of the connection is unusable.
        """
        open_transport = await self._prepared(name)
        async with self._available:
            transport = self._idle.pop() if self._idle else open_transport()
            try:
                yield transport
            finally:
                self._idle.append(transport)

    async def aclose(self) -> None:
        """Close the connections."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _prepared(self, name: str) -> Callable[[], httpx.AsyncHTTPTransport]:
        """Read certificates once, in a thread: that takes too long for an event loop."""
        async with self._preparing:
            if self._open is None:
                self._open = await asyncio.to_thread(_prepare, self._config, name)
        return self._open


def _prepare(config: ClientConfig, name: str) -> Callable[[], httpx.AsyncHTTPTransport]:
    from requests.utils import get_environ_proxies, select_proxy  # noqa: PLC0415 - here it loads in a thread

    context = _ssl_context(config, name)
    proxy = select_proxy(config.base_url, {**get_environ_proxies(config.base_url), **config.proxies})
    # httpx needs another package for SOCKS, and may not understand the URL. Raised outside the block so that the
    # original exception, which contains the URL, is not chained.
    with suppress(ImportError, ValueError, httpx.InvalidURL):
        open_transport = partial(
            httpx.AsyncHTTPTransport,
            verify=context,
            trust_env=False,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=MAX_IDLE),
            proxy=_proxy(proxy, context) if proxy else None,
        )
        open_transport()
        return open_transport
    raise to_exception(Failure(FailureKind.PROXY_UNUSABLE, "httpx[socks]"), name, config)


def _proxy(url: str, context: ssl.SSLContext) -> httpx.Proxy:
    return httpx.Proxy(url, ssl_context=context if url.lower().startswith("https:") else None)


def _ssl_context(config: ClientConfig, name: str) -> ssl.SSLContext:
    """Return the context that requests would use with the same configuration and environment."""
    from certifi import where  # noqa: PLC0415 - as above
    from urllib3.util.ssl_ import create_urllib3_context  # noqa: PLC0415 - as above

    context = create_urllib3_context()
    context.check_hostname = config.verify is not False
    context.verify_mode = ssl.CERT_NONE if config.verify is False else ssl.CERT_REQUIRED
    bundle = config.verify
    if bundle is True:
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or where()
    try:
        if isinstance(bundle, str):
            is_directory = Path(bundle).is_dir()
            context.load_verify_locations(**{"capath" if is_directory else "cafile": bundle})
        if config.cert is not None:
            context.load_cert_chain(*([config.cert] if isinstance(config.cert, str) else config.cert))
    except OSError:  # includes ssl.SSLError: the file does not exist or is not readable as a certificate
        raise to_exception(Failure(FailureKind.CERTIFICATE_UNREADABLE), name, config) from None
    return context
