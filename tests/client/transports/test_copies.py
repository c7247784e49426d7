"""Copies of a request that receives no response, and what ends them."""

from __future__ import annotations

import asyncio
import time

import pytest
from calls import send
from servers import DROP, HANG, KEY, data

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.aiohttp_client import MAX_COPIES, AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import PolyteiaTransportError

pytestmark = pytest.mark.slow  # waits in real time

QUERY = make_call("query", "get_dataset", {"id": "ds_1"}, required_field="id")
FOUND = {"id": "ds_1"}
HEDGING_DELAY = 0.1  # seconds


@pytest.fixture
def query(server):
    """Send a query so often, and return the data of the last one and the seconds it took."""

    def run(timeout=(5, 20), number=1, hedging_delay=HEDGING_DELAY):
        extra = {"api": "command", "timeout": list(timeout), "max_attempts": 1}
        config = client_config.from_connection("city", host=server.url, password=KEY, extra=extra)

        async def main():
            client = AsyncPolyteiaClient(config)
            try:
                for _ in range(number - 1):
                    await send(client, QUERY, hedging_delay=hedging_delay)
                started = time.monotonic()
                return (await send(client, QUERY, hedging_delay=hedging_delay)).data, time.monotonic() - started
            finally:
                await client.aclose()

        return asyncio.run(main())

    return run


def test_many_connections_hang(server, query):
    """However many copies hang, the first one that does not is enough."""
    server.respond(*[HANG] * 7, data(FOUND))
    found, seconds = query()
    assert found == FOUND
    assert seconds < 5
    assert 8 <= len(server.requests) <= 12  # a busy machine may send more before it reads the response


def test_a_copy_fails(server, query):
    """If a copy fails while another one hangs, the next one follows when it would have followed anyway."""
    server.respond(HANG, DROP, DROP, data(FOUND))
    found, seconds = query()
    assert found == FOUND
    assert 3 * HEDGING_DELAY <= seconds < 5


def test_all_copies_fail(server, query):
    """A request fails with its last copy, if no other is left."""
    server.respond(DROP)
    with pytest.raises(PolyteiaTransportError):
        query(hedging_delay=5)  # within which a busy machine notices that the connection ends, too
    assert len(server.requests) == 1


def test_nothing_ever_responds(server, query):
    """The total timeout counts for all copies together."""
    server.respond(HANG)
    started = time.monotonic()
    with pytest.raises(PolyteiaTransportError, match="no complete response"):
        query(timeout=(0.3, 0.5))
    assert 0.8 <= time.monotonic() - started < 2


def test_slow_platform(server, query):
    """A response that takes many times as long as a request is waited for still arrives, with few requests at once."""
    hanging = []

    def slow(_):
        for _ in range(20):
            time.sleep(HEDGING_DELAY / 2)
            hanging.append(server.hanging)
        return data(FOUND)

    server.respond(slow, HANG)
    found, _ = query()
    assert found == FOUND
    assert len(server.requests) >= 8
    assert max(hanging) <= MAX_COPIES  # one of them has just been given up
    assert hanging[-1] > 0


def test_always_slow_platform(server, query):
    """Where every response takes long, requests are soon no longer sent several times."""
    server.respond(lambda _: time.sleep(3 * HEDGING_DELAY) or data(FOUND))
    query(number=12)
    assert 12 < len(server.requests) < 30  # about 16 without other load, and 36 if nothing was learned
    server.requests.clear()
    query(number=1)
    assert len(server.requests) > 1  # a new client has not learned that yet
