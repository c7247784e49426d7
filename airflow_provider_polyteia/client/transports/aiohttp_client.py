"""The client of triggers: moves bytes and sleeps within an event loop, and decides nothing.

Theory of operation
-------------------
A triggerer serves hundreds of waits in one event loop, so no request may hold back another, and none may last: whatever
the network does, each ends after `total_timeout`, and its connection with it. Connections are not limited: the number
of waits limits them. Idempotent requests are hedged: while there is no response, another copy is sent on another
connection every `hedging_delay` seconds, or later if responses usually take longer. The first response counts, and the
rest is cancelled. At most `MAX_COPIES` are under way at once, always including the first. So a connection that hangs
delays a wait by `hedging_delay`, not by a timeout, and a slow platform still gets its time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

import aiohttp
from tenacity import AsyncRetrying
from yarl import URL

from airflow_provider_polyteia.client.credentials import Credentials
from airflow_provider_polyteia.client.operation import Response
from airflow_provider_polyteia.client.retries import Attempts
from airflow_provider_polyteia.client.transports.aiohttp_connections import (
    Route,
    classify,
    end_failed_connection,
    find_route,
    guard_of_request,
    is_failure,
)
from airflow_provider_polyteia.client.transports.bodies import ACCEPT_ENCODING, BodyReader
from airflow_provider_polyteia.client.transports.failures import to_exception, total_timeout
from airflow_provider_polyteia.client.transports.wire_guard import WireGuard
from airflow_provider_polyteia.exceptions import PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from airflow_provider_polyteia.client.config import ClientConfig, Limits
    from airflow_provider_polyteia.client.operation import Flow, Operation, Request

log = logging.getLogger(__name__)

MAX_COPIES = 3
AVERAGED = 10  # responses

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
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": ACCEPT_ENCODING}
        self._new_secrets: list[str] = []
        self.credentials = Credentials(config, self._new_secrets.append, clock)
        self._opening = asyncio.Lock()
        self._open: tuple[Route, aiohttp.ClientSession] | None = None
        self._response_time = 0.0  # seconds, a moving average
        self._coalesced: dict[tuple[str, ...], asyncio.Task[Response]] = {}
        self._tasks: set[asyncio.Task[Response]] = set()

    def __repr__(self) -> str:
        return f"<AsyncPolyteiaClient {self.config.base_url} connection={self.config.conn_id!r}>"

    async def aclose(self) -> None:
        """End all requests, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._open is not None:
            _, session = self._open
            await session.close()

    async def run(
        self, operation: Operation[T], *, limits: Limits | None = None, hedging_delay: float | None = None
    ) -> T:
        """Run an operation, retry it as far as that is safe, and return its result.

        :param limits: limits of the retries. Default: the connection's.
        :param hedging_delay: time in seconds after which a request without a response is sent again on another
            connection, if the operation is idempotent. Default: None, never.
        :raises PolyteiaError: see `exceptions`.
        """
        attempts = Attempts(operation, limits or self.config.limits, clock=self._clock, jitter=self._jitter)
        hedging_delay = hedging_delay if operation.is_idempotent else None

        async def attempt() -> T:
            attempts.begin()
            try:
                return await self.run_flow(operation.start(), hedging_delay)
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

    async def run_flow(self, flow: Flow[T], hedging_delay: float | None = None) -> T:
        """Make one attempt: send a flow's requests, and return the responses, or what prevented them, to it.

        :param hedging_delay: as for `run`.
        """
        step = partial(next, flow)
        try:
            while True:
                try:
                    request = step()
                finally:
                    while self._new_secrets:
                        await self._on_secret(self._new_secrets.pop())
                try:
                    step = partial(flow.send, await self._transmit(request, hedging_delay))
                except PolyteiaError as error:
                    step = partial(flow.throw, error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()  # when cancelled, what the flow has open is closed now

    async def _transmit(self, request: Request, hedging_delay: float | None) -> Response:
        """Send one request and read its response completely."""
        ambient = sys.exception()
        try:
            if request.coalesce:
                return await self._fetch_once(request, hedging_delay)
            return await self._fetch_hedged(request, hedging_delay)
        except (aiohttp.ClientError, OSError, TypeError) as error:
            if not is_failure(error, ambient):
                raise
            failure = classify(error, ambient)
        # Raised outside the except block so that the original exception, which may contain a token, is not chained.
        raise to_exception(failure, request.name, self.config)

    async def _fetch_once(self, request: Request, hedging_delay: float | None) -> Response:
        """Send a request once for all operations that need it at the same time."""
        key = (request.name, request.method, request.path, request.bearer)
        task = self._coalesced.get(key)
        if task is None:
            task = self._coalesced[key] = self._start(self._fetch_hedged(request, hedging_delay))
            task.add_done_callback(partial(self._end_coalesced, key))
        return await asyncio.shield(task)

    def _end_coalesced(self, key: tuple[str, ...], task: asyncio.Task[Response]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved, even if no operation waits for it any longer
        # Those that wait receive the response in the loop's next round; a caller that asks before then must still see
        # it.
        loop = task.get_loop()
        loop.call_soon(loop.call_soon, partial(self._coalesced.pop, key, None))

    async def _fetch_hedged(self, request: Request, hedging_delay: float | None) -> Response:
        """Send a request, and copies of it while there is no response; all within the total timeout."""
        async with asyncio.timeout(total_timeout(self.config)):
            if hedging_delay is None:
                return await self._fetch(request)
            copies: list[asyncio.Task[Response]] = []
            try:
                return await self._first_response(request, hedging_delay, copies)
            finally:
                for task in copies:
                    task.cancel()

    async def _first_response(
        self, request: Request, hedging_delay: float, copies: list[asyncio.Task[Response]]
    ) -> Response:
        """Return the first response; a failure counts if no other copy is left that may still succeed."""
        now = asyncio.get_running_loop().time
        while True:
            if len(copies) == MAX_COPIES:
                copies.pop(1).cancel()  # never the first, because a slow platform may respond to it
            copies.append(self._start(self._fetch(request)))
            # What is slow, and not hanging, must not be made slower by more requests.
            next_copy = now() + max(hedging_delay, 2 * self._response_time)
            while (left := next_copy - now()) > 0:
                done, _ = await asyncio.wait(copies, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    copies.remove(task)
                    if task.exception() is None or not copies:
                        return task.result()

    def _start(self, fetch: Coroutine[Any, Any, Response]) -> asyncio.Task[Response]:
        task = asyncio.create_task(fetch)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _fetch(self, request: Request) -> Response:
        if request.url or request.sink is not None:
            raise NotImplementedError(f"{request.name!r} moves a file; triggers do not")
        try:
            return await self._exchange(request)
        finally:
            end_failed_connection()

    async def _exchange(self, request: Request) -> Response:
        route, session = await self._opened(request.name)
        authorization = {"Authorization": f"Bearer {request.bearer}"} if request.bearer else {}
        query = f"?{urlencode(request.query)}" if request.query else ""
        started = self._clock()
        guard = WireGuard()  # without a rate, because the whole request has a timeout
        guard_of_request.set(guard)
        async with session.request(
            request.method,
            URL(f"{self.config.base_url}{request.path}{query}", encoded=True),
            data=request.body,
            headers={**self._headers, **request.headers, **authorization, **route.headers},
            allow_redirects=False,
            **route.options,
        ) as received:
            response = await _receive(received, guard, self.config.max_response)
        seconds = self._clock() - started
        self._response_time += (seconds - self._response_time) / AVERAGED
        log.debug("Polyteia request %r: HTTP %d in %.0f ms", request.name, response.status, 1000 * seconds)
        return response

    async def _opened(self, name: str) -> tuple[Route, aiohttp.ClientSession]:
        async with self._opening:
            if self._open is None:
                route = await asyncio.to_thread(find_route, self.config, name)
                self._open = route, route.open_session(self.config.timeout)
        return self._open


async def _receive(received: aiohttp.ClientResponse, guard: WireGuard, max_size: int) -> Response:
    head = Response(received.status, _merged(received.headers), b"")
    body = BodyReader(head, max_size, is_error=not head.is_success)
    async for chunk in received.content.iter_any():
        guard.delivered()
        if not body.feed(chunk):
            break
    return replace(head, body=body.finish())


def _merged(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with names in lower case, and the values of repeated ones joined, as requests does it."""
    merged: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        merged[key] = f"{merged[key]}, {value}" if key in merged else value
    return merged
