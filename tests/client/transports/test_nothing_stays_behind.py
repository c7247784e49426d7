"""Whatever breaks or cancels a request, the next one works, and no connection is left.

Each request is broken at many places of what it receives, and cancelled at each of its await points: without TLS, with
it, and with it through a proxy, to which the connection may have TLS of its own.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from dataclasses import replace

import psutil
import pytest
import trustme
from calls import send
from relays import Cut, Relay
from servers import KEY, ScriptedServer, data

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.aiohttp_client import MAX_COPIES, AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import PolyteiaError

pytestmark = pytest.mark.slow  # waits for real timeouts

QUERY = make_call("query", "get_dataset", {"id": "ds_1"}, required_field="id")
WRITE = make_call("command", "create_tag", {"organization_id": "org_1", "name": "x"})
SETUPS = ["plain", "TLS", "proxy and TLS", "proxy with TLS and TLS"]
PLACES = 8  # of each way to break a connection
HANGS = 5.0  # seconds after which a request counts as one that hangs


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(params=SETUPS)
def setup(request, authority, tmp_path):
    """A relay in front of a server, and the configuration of a client that uses both."""
    context = None
    if request.param != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    extra = {"api": "command", "timeout": [0.2, 0.2], "max_attempts": 1, "verify": str(bundle)}
    is_proxy, has_tls = request.param.startswith("proxy"), request.param.startswith("proxy with TLS")
    with (
        ScriptedServer(context) as server,
        Relay(None if is_proxy else ("127.0.0.1", server.port), ssl_context=context if has_tls else None) as relay,
    ):
        server.respond(data({"id": "ds_1"}, Connection="close"))  # so that each request needs a new connection
        host = server.url if is_proxy else server.url.replace(str(server.port), str(relay.port))
        if is_proxy:
            extra["proxies"] = {"https": f"{'https' if has_tls else 'http'}://localhost:{relay.port}"}
        yield relay, server, client_config.from_connection("city", host=host, password=KEY, extra=extra)


class CancelAt:
    """Awaits a coroutine, and cancels the current task when it waits for the nth time, or when that wait has ended.

    Then the task is cancelled although the result of the wait is there.
    """

    def __init__(self, coroutine, number, *, is_ready=False):
        self._coroutine = coroutine
        self._number = number
        self._is_ready = is_ready
        self.waits = 0

    def __await__(self):
        steps = self._coroutine.__await__()
        try:
            future = next(steps)
            while True:
                self.waits += 1
                if self.waits == self._number:
                    self._cancel(asyncio.current_task(), future)
                try:
                    yield future
                except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the coroutine
                    future = steps.throw(error)
                else:
                    future = next(steps)
        except StopIteration as stop:
            return stop.value

    def _cancel(self, task, future):
        if self._is_ready and future is not None:
            future.add_done_callback(lambda _: task.cancel())  # before the task itself
        else:
            task.cancel()


def open_sockets(relay):
    """The client's ends of the connections to the relay."""
    connections = psutil.Process(os.getpid()).net_connections("tcp")
    return [found for found in connections if found.raddr and found.raddr.port == relay.port]


async def no_sockets_left(relay):
    async with asyncio.timeout(5):
        while open_sockets(relay):  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.005)


async def works(client):
    """Send one more request, which must succeed soon."""
    async with asyncio.timeout(HANGS):
        assert (await send(client, QUERY)).data == {"id": "ds_1"}


async def size_of_a_response(client, relay):
    """The number of bytes that a client receives with a request on a new connection."""
    await works(client)
    async with asyncio.timeout(HANGS):
        while not relay.received:  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.005)
    return relay.received


def in_loop(config, use):
    async def main():
        client = AsyncPolyteiaClient(config)
        try:
            await use(client)
        finally:
            await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["close", "reset", "silence", "garbage"])
def test_broken_connections(setup, how):
    """A connection that breaks at any place fails its own request within the timeouts, and no other."""
    relay, _, config = setup

    async def use(client):
        size, broken = await size_of_a_response(client, relay), []
        for after in range(0, size, size // PLACES):
            relay.cut = Cut(after, how)
            started = time.monotonic()
            try:
                await send(client, QUERY)
            except PolyteiaError:
                broken.append(after)
            assert time.monotonic() - started < HANGS
            relay.cut = None
            await works(client)
            await no_sockets_left(relay)
        assert len(broken) >= PLACES - 1  # TLS may end with bytes that a complete response does not need

    in_loop(config, use)


def test_cancelled_requests(setup):
    """A request that is cancelled at any of its await points leaves nothing that a later one could wait for."""
    relay, _, config = setup

    async def use(client):
        await works(client)
        number = 0
        while True:
            number += 1
            task = asyncio.ensure_future(CancelAt(send(client, QUERY), number))
            await asyncio.wait([task], timeout=HANGS)
            assert task.done()
            await works(client)
            await no_sockets_left(relay)
            if not task.cancelled():
                assert task.result().data == {"id": "ds_1"}
                break
        assert number > 3

    in_loop(config, use)


@pytest.mark.parametrize("part", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_cancelled_at_the_end_of_a_wait(setup, part):
    """A request that is cancelled just when one of its waits has ended leaves no connection to a silent server."""
    relay, _, config = setup
    config = replace(config, timeout=(HANGS, HANGS))

    async def use(client):
        relay.cut = Cut(int(part * await size_of_a_response(client, relay)), "silence")
        number, is_hanging = 0, False
        while not is_hanging:
            number += 1
            task = asyncio.ensure_future(CancelAt(send(client, QUERY), number, is_ready=True))
            _, hanging = await asyncio.wait([task], timeout=0.2)
            is_hanging = bool(hanging)
            task.cancel()
            await no_sockets_left(relay)
        assert number > 1

    in_loop(config, use)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
def test_cancelled_copies(setup, part):
    """A request whose copies all hang at some place is cancelled with all of them."""
    relay, _, config = setup
    config = replace(config, timeout=(HANGS, HANGS))

    async def use(client):
        relay.cut = Cut(int(part * await size_of_a_response(client, relay)), "silence")
        task = asyncio.create_task(send(client, QUERY, hedging_delay=0.05))
        async with asyncio.timeout(HANGS):
            while len(open_sockets(relay)) < MAX_COPIES:  # noqa: ASYNC110 - no event signals it
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait([task], timeout=HANGS)
        assert task.cancelled()
        relay.cut = None
        await no_sockets_left(relay)
        await works(client)

    in_loop(config, use)


def test_one_connection_hangs(setup):
    """While a request hangs, a copy of it succeeds after `hedging_delay` seconds, and what hangs is closed."""
    relay, _, config = setup

    async def use(client):
        relay.cut = Cut(await size_of_a_response(client, relay) // 2, "silence")
        task = asyncio.create_task(send(client, QUERY, hedging_delay=0.05))
        async with asyncio.timeout(HANGS):
            while not open_sockets(relay):  # noqa: ASYNC110 - no event signals it
                await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        relay.cut = None
        assert (await task).data == {"id": "ds_1"}
        await no_sockets_left(relay)

    in_loop(config, use)


def test_write_is_not_copied(setup):
    """A request that is not idempotent is never sent twice, however long its response takes."""
    _, server, config = setup

    async def use(client):
        await works(client)
        server.requests.clear()
        server.respond(lambda _: time.sleep(0.1) or data({"id": "tag_1"}))
        await send(client, WRITE, hedging_delay=0.01)
        assert len(server.requests) == 1

    in_loop(config, use)
