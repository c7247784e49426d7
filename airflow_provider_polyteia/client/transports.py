"""The httpx driver's TCP connections, set up by the connection and the environment as requests would do it."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from airflow_provider_polyteia.client import problems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_provider_polyteia.client.config import ClientConfig

FEWEST_CONNECTIONS = 5
MOST_CONNECTIONS = 50
USERS_PER_CONNECTION = 10
# A request on a connection that the server closes at that moment is lost, and repeated: triggers only read.
MAX_IDLE = 30.0


class Transports:
    """Transports of httpx with one connection each, made when they are needed, used again and again.

    httpx's own pool looks at all its connections with each request and again with each answer: with 50 connections
    that takes several times as long as everything else.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._connections = FEWEST_CONNECTIONS
        self._slots = asyncio.Semaphore(FEWEST_CONNECTIONS)
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._preparing = asyncio.Lock()
        self._make: Callable[[], httpx.AsyncHTTPTransport] | None = None

    def serve(self, users: int) -> None:
        """Allow one connection for every ten users, at least 5 and at most 50; never fewer than before."""
        while self._connections < min(users // USERS_PER_CONNECTION, MOST_CONNECTIONS):
            self._connections += 1
            self._slots.release()

    @asynccontextmanager
    async def borrow(self, name: str) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        """Wait until a connection is free, and use it.

        :param name: of the call, for errors.
        :raises PolyteiaConfigurationError: if a certificate or the proxy of the connection is unusable.
        """
        make = await self._prepared(name)
        async with self._slots:
            transport = self._idle.pop() if self._idle else make()
            try:
                yield transport
            finally:
                self._idle.append(transport)

    async def aclose(self) -> None:
        """Close the connections."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _prepared(self, name: str) -> Callable[[], httpx.AsyncHTTPTransport]:
        """Read certificates once; that takes too long for an event loop, so a thread does it."""
        async with self._preparing:
            if self._make is None:
                self._make = await asyncio.to_thread(_prepare, self._config, name)
        return self._make


def _prepare(config: ClientConfig, name: str) -> Callable[[], httpx.AsyncHTTPTransport]:
    from requests.utils import get_environ_proxies, select_proxy  # noqa: PLC0415 - here it loads in a thread

    context = _ssl_context(config, name)
    proxy = select_proxy(config.base_url, {**get_environ_proxies(config.base_url), **config.proxies})
    # httpx needs a package of its own for SOCKS, and may not understand the URL. The error is raised outside of the
    # block, where the original one, whose text shows the URL, is not its context.
    with suppress(ImportError, ValueError, httpx.InvalidURL):
        make = partial(
            httpx.AsyncHTTPTransport,
            verify=context,
            trust_env=False,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=MAX_IDLE),
            proxy=_proxy(proxy, context) if proxy else None,
        )
        make()
        return make
    raise problems.unusable_proxy(name, config.conn_id, "httpx[socks]")


def _proxy(url: str, context: ssl.SSLContext) -> httpx.Proxy:
    return httpx.Proxy(url, ssl_context=context if url.lower().startswith("https:") else None)


def _ssl_context(config: ClientConfig, name: str) -> ssl.SSLContext:
    """Build what requests would use with the same configuration and environment."""
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
    except OSError:  # also ssl.SSLError: no such file, or nothing in it that can be read
        raise problems.unreadable_certificate(name, config.conn_id) from None
    return context
