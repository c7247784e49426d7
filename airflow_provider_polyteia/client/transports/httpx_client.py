"""The client of triggers: moves bytes and sleeps within an event loop, and decides nothing.

It uses httpx's transport without httpx's client: cookies, redirects, .netrc, proxies from the environment and a log
line for each request belong to that client, and none of them is wanted here. What the environment says about proxies
and certificates is read as requests reads it, so that a connection works alike on worker and triggerer.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import httpx
from tenacity import AsyncRetrying

from airflow_provider_polyteia.client.credentials import Credentials
from airflow_provider_polyteia.client.operation import Response
from airflow_provider_polyteia.client.retries import Attempts
from airflow_provider_polyteia.client.transports.failures import (
    Failure,
    FailureKind,
    classify_connect_failure,
    exception_chain,
    proxy_refusal,
    to_exception,
)
from airflow_provider_polyteia.client.transports.httpx_pool import ConnectionPool
from airflow_provider_polyteia.exceptions import PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_polyteia.client.config import ClientConfig, Limits
    from airflow_provider_polyteia.client.operation import Flow, Operation, Request

log = logging.getLogger(__name__)

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

T = TypeVar("T")


async def _no_mask(_: str) -> None:
    """Leave logs as they are."""


class AsyncPolyteiaClient:
    """Runs operations on one platform with one key, within one event loop.

    :param user_agent: sent with every request.
    :param on_secret: awaited with every new token, so that it can be masked in logs.
    :param clock: returns seconds on a clock that never goes back.
    :param sleep: waits for a number of seconds.
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
        self.credentials = Credentials(config, self._new_secrets.append, clock)
        self._pool = ConnectionPool(config)
        self._coalesced: dict[str, asyncio.Task[Response]] = {}

    def __repr__(self) -> str:
        return f"<AsyncPolyteiaClient {self.config.base_url} connection={self.config.conn_id!r}>"

    async def aclose(self) -> None:
        """Close the connections."""
        for task in self._coalesced.values():
            task.cancel()
        await self._pool.aclose()

    def resize_for(self, users: int) -> None:
        """Adapt the number of connections to the number of waits that share this client."""
        self._pool.resize_for(users)

    async def run(self, operation: Operation[T], *, limits: Limits | None = None) -> T:
        """Run an operation, retry it as far as that is safe, and return its result.

        :param limits: limits of the retries. Default: the connection's.
        :raises PolyteiaError: see `exceptions`.
        """
        attempts = Attempts(operation, limits or self.config.limits, clock=self._clock, jitter=self._jitter)

        async def attempt() -> T:
            attempts.begin()
            try:
                return await self.run_flow(operation.start())
            except PolyteiaError as error:
                attempts.record_failure(error)
                return cast("T", None)  # applied by an earlier attempt, whose response was lost

        retrying = AsyncRetrying(**attempts.policy(self._sleep))
        try:
            result: T = await retrying(attempt)
        finally:
            # Break the reference cycle: with hundreds of deferred tasks, collecting these objects blocked the event
            # loop for longer than Airflow's limit.
            vars(retrying).clear()
        return result

    async def run_flow(self, flow: Flow[T]) -> T:
        """Make one attempt: send a flow's requests, and return the responses, or what prevented them, to it."""
        step = partial(next, flow)
        try:
            while True:
                try:
                    request = step()
                finally:
                    while self._new_secrets:
                        await self._on_secret(self._new_secrets.pop())
                try:
                    step = partial(flow.send, await self._transmit(request))
                except PolyteiaError as error:
                    step = partial(flow.throw, error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()  # when cancelled, what the flow has open is closed now

    async def _transmit(self, request: Request) -> Response:
        """Send one request and read its response completely."""
        ambient = sys.exception()
        try:
            if request.coalesce:
                return await self._fetch_once(request)
            return await self._fetch(request)
        except (httpx.HTTPError, OSError) as error:
            failure = classify(error, ambient)
        # Raised outside the except block so that the original exception, which may contain a token, is not chained.
        raise to_exception(failure, request.name, self.config)

    async def _fetch_once(self, request: Request) -> Response:
        """Send a request once for all operations that need it at the same time."""
        task = self._coalesced.get(request.name)
        if task is None:
            task = self._coalesced[request.name] = asyncio.create_task(self._fetch(request))
            task.add_done_callback(partial(self._end_coalesced, request.name))
        return await asyncio.shield(task)

    def _end_coalesced(self, name: str, task: asyncio.Task[Response]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved, even if no operation waits for it any longer
        # Those that wait receive the response in the loop's next round; a caller that asks before then must still see
        # it.
        loop = task.get_loop()
        loop.call_soon(loop.call_soon, partial(self._coalesced.pop, name, None))

    async def _fetch(self, request: Request) -> Response:
        if request.url or request.sink is not None:
            raise NotImplementedError(f"{request.name!r} moves a file; triggers do not")
        authorization = {"Authorization": f"Bearer {request.bearer}"} if request.bearer else {}
        message = httpx.Request(
            request.method,
            self.config.base_url + request.path,
            params=dict(request.query) or None,
            headers={**self._headers, **request.headers, **authorization},
            content=request.body,
            extensions={"timeout": self._timeout.as_dict()},
        )
        async with self._pool.acquire(request.name) as transport:
            started = self._clock()
            received = await transport.handle_async_request(message)
            try:
                body = await received.aread()
            finally:
                await received.aclose()
        milliseconds = 1000 * (self._clock() - started)
        log.debug("Polyteia request %r: HTTP %d in %.0f ms", request.name, received.status_code, milliseconds)
        headers = {name.lower(): value for name, value in received.headers.items()}
        return Response(received.status_code, headers, body)


def classify(error: BaseException, ambient: BaseException | None = None) -> Failure:
    """Return what an exception of httpx means.

    :param ambient: what the caller was handling when the request began.
    """
    if isinstance(error, _NOT_SENT):
        failure = classify_connect_failure(list(exception_chain(error, ambient)))
        if isinstance(error, httpx.ProxyError) and failure.kind is not FailureKind.CERTIFICATE_UNTRUSTED:
            status = str(error)[:3]  # httpcore keeps the proxy's status nowhere but in the text
            return proxy_refusal(int(status) if status.isascii() and status.isdecimal() else None)
        return failure
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return Failure(FailureKind.READ_TIMEOUT)
    if isinstance(error, httpx.NetworkError | httpx.ProtocolError | OSError):
        return Failure(FailureKind.CONNECTION_LOST)
    return Failure(FailureKind.RESPONSE_UNREADABLE, type(error).__name__)
