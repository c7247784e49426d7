"""The httpx driver for triggers: moves bytes and sleeps within an event loop, and decides nothing.

It uses httpx's transport without httpx's client: cookies, redirects, .netrc, proxies from the environment and a log
line for each request are the client's business, and here none of them is wanted. What the environment says about
proxies and certificates is read as requests reads it, so that a connection works alike on worker and triggerer.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import httpx
from tenacity import AsyncRetrying

from airflow_provider_polyteia.client import problems, protocol
from airflow_provider_polyteia.client.retry import Attempts
from airflow_provider_polyteia.client.transports import Transports
from airflow_provider_polyteia.exceptions import PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from airflow_provider_polyteia.client.calls import Call
    from airflow_provider_polyteia.client.config import ClientConfig, Limits

log = logging.getLogger(__name__)

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

T = TypeVar("T")


async def _no_mask(_: str) -> None:
    """Leave logs as they are."""


class AsyncPolyteiaClient:
    """Sends calls to one platform with one key, from within one event loop.

    :param user_agent: sent with every request.
    :param on_secret: awaited with every token as it arrives, so that it can be masked in logs.
    :param clock: seconds on a clock that never goes back.
    :param sleep: waits that many seconds.
    :param jitter: returns a random number from 0 to 1.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        user_agent: str = "airflow-provider-polyteia",
        on_secret: Callable[[str], Awaitable[None]] = _no_mask,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self._on_secret = on_secret
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "gzip, deflate"}
        self._timeout = httpx.Timeout(config.timeout[1], connect=config.timeout[0], pool=None)
        self._new_secrets: list[str] = []
        self._identity = protocol.Identity(config, self._new_secrets.append)
        self._transports = Transports(config)
        self._exchange: asyncio.Task[protocol.Response] | None = None

    def __repr__(self) -> str:
        return f"<AsyncPolyteiaClient {self.config.base_url} connection={self.config.conn_id!r}>"

    async def aclose(self) -> None:
        """Close the connections."""
        if self._exchange is not None:
            self._exchange.cancel()
        await self._transports.aclose()

    def serve(self, users: int) -> None:
        """Take note of how many share this client, for the number of its connections."""
        self._transports.serve(users)

    async def send(self, call: Call, *, limits: Limits | None = None) -> protocol.Answer:
        """Send a call, repeat it as far as that is harmless, and return its answer.

        :param limits: how long it may go on being repeated; None: as in the configuration.
        :raises PolyteiaError: see `exceptions`.
        """
        attempts = Attempts(call, limits or self.config.limits, clock=self._clock, jitter=self._jitter)

        async def attempt() -> protocol.Answer:
            try:
                return await self._run(protocol.converse(call, self._identity))
            except PolyteiaError as error:
                return attempts.settle(error)

        retrying = AsyncRetrying(**attempts.policy(self._sleep))
        try:
            result: protocol.Answer = await retrying(attempt)
        finally:
            # It refers to itself. Hundreds of waits would leave so much for the garbage collector that this, of all
            # things, stopped the event loop for longer than Airflow allows.
            vars(retrying).clear()
        return result

    async def _run(self, conversation: Generator[protocol.Request, protocol.Response, T]) -> T:
        """Carry a conversation's requests to the platform and its responses, or what prevented them, back."""
        step = partial(next, conversation)
        while True:
            try:
                request = step()
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                while self._new_secrets:
                    await self._on_secret(self._new_secrets.pop())
            try:
                step = partial(conversation.send, await self._transmit(request))
            except PolyteiaError as error:
                step = partial(conversation.throw, error)

    async def _transmit(self, request: protocol.Request) -> protocol.Response:
        """Send one request and read its response whole."""
        outside = sys.exception()
        try:
            if request.path == protocol.EXCHANGE_PATH:
                return await self._exchanged(request)
            return await self._fetch(request)
        except (httpx.HTTPError, OSError) as error:
            failure = explain(error, request.name, self.config, outside)
        raise failure  # out here, where the original error, whose text may hold a token, is not its context

    async def _exchanged(self, request: protocol.Request) -> protocol.Response:
        """Exchange the key for a token, once for all calls that ask for it at the same time."""
        if self._exchange is None:
            self._exchange = asyncio.create_task(self._fetch(request))
            self._exchange.add_done_callback(self._end_exchange)
        return await asyncio.shield(self._exchange)

    def _end_exchange(self, exchange: asyncio.Task[protocol.Response]) -> None:
        if not exchange.cancelled():
            exchange.exception()  # seen, also if nobody waits for it any more
        # Those who wait take note of the token in the loop's next round; who asks until then must still find it here.
        loop = exchange.get_loop()
        loop.call_soon(loop.call_soon, self._forget_exchange)

    def _forget_exchange(self) -> None:
        self._exchange = None

    async def _fetch(self, request: protocol.Request) -> protocol.Response:
        message = httpx.Request(
            request.verb,
            self.config.base_url + request.path,
            params=dict(request.query) or None,
            headers={**self._headers, **request.headers, "Authorization": f"Bearer {request.bearer}"},
            content=request.body,
            extensions={"timeout": self._timeout.as_dict()},
        )
        async with self._transports.borrow(request.name) as transport:
            begun = self._clock()
            reply = await transport.handle_async_request(message)
            try:
                body = await reply.aread()
            finally:
                await reply.aclose()
        log.debug("Polyteia's %r: HTTP %d in %.0f ms", request.name, reply.status_code, 1000 * (self._clock() - begun))
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return protocol.Response(reply.status_code, headers, body)


def explain(
    error: BaseException, name: str, config: ClientConfig, outside: BaseException | None = None
) -> PolyteiaError:
    """Turn what httpx raised into an error of ours.

    Its text is not passed on: it may show a URL, and that may hold tokens or a proxy's password.

    :param outside: what the caller was handling when the request began.
    """
    chain = list(problems.causes(error, outside))
    if not isinstance(error, _NOT_SENT):
        return problems.no_answer(name, config.conn_id, _what_broke(error, config))
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return problems.untrusted(name, config.conn_id, link.verify_message)
    if isinstance(error, httpx.ProxyError):
        status = str(error)[:3]  # httpcore keeps the proxy's status nowhere but in the text
        if status == str(problems.PROXY_AUTHENTICATION_REQUIRED):
            return problems.proxy_refused(name, config.conn_id)
        how = f" (HTTP {status})" if status.isdecimal() else ""
        return problems.not_sent(name, config.conn_id, f"the proxy would not connect to {config.base_url}{how}")
    return problems.not_sent(name, config.conn_id, problems.what_prevented(chain, config))


def _what_broke(error: BaseException, config: ClientConfig) -> str:
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return f"{config.base_url} was silent for {config.timeout[1]:g} s"
    if isinstance(error, httpx.NetworkError | httpx.ProtocolError | OSError):
        return f"the connection to {config.base_url} broke off"
    return f"the answer could not be read ({type(error).__name__})"
