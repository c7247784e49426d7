"""One client for all triggers of an event loop that use the same connection."""

from __future__ import annotations

import asyncio
import time

import pytest
from servers import KEY, data, status

from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.exceptions import PolyteiaAuthenticationError, PolyteiaConfigurationError
from airflow_provider_polyteia.triggers import shared_client

QUERY = make_call("query", "get_dataset", {"id": "ds_1"})
NEW_KEY = "pak-SECRET-tomorrow"  # made up


@pytest.fixture
def reads(monkeypatch):
    """How often the Airflow connection was read."""
    read, seen = shared.get_async_connection, []

    async def counted(conn_id):
        seen.append(conn_id)
        return await read(conn_id)

    monkeypatch.setattr(shared, "get_async_connection", counted)
    return seen


async def ask(conn_id="polyteia_default"):
    async with shared.shared_client(conn_id) as client:
        return await client.send(QUERY)


def in_use():
    return dict(shared._clients.get(asyncio.get_running_loop(), {}))


def test_many_users_read_the_connection_once(connected, reads):
    """20 users at once share one client, which reads the connection once and uses few TCP connections."""

    async def main():
        answers = await asyncio.gather(*(ask() for _ in range(20)))
        return answers, in_use()

    answers, left = asyncio.run(main())
    assert answers == [{"id": "ds_1"}] * 20
    assert reads == ["polyteia_default"]
    assert connected.connections <= 5
    assert left == {}


def test_the_last_user_closes(connected, reads):
    """The client lives as long as one of its users; who comes later gets a new one."""

    async def main():
        async with shared.shared_client("polyteia_default") as first:
            async with shared.shared_client("polyteia_default") as second:
                await second.send(QUERY)
            await first.send(QUERY)
            same = first is second
        async with shared.shared_client("polyteia_default") as third:
            await third.send(QUERY)
        return same, third is not first

    assert asyncio.run(main()) == (True, True)
    assert reads == ["polyteia_default"] * 2
    assert connected.connections == 2


def test_cancelled_user_leaves(connected):
    """A user that is cancelled while it waits for an answer is no user any more, and its client is closed."""
    connected.answer(lambda _: time.sleep(0.2) or data({}))

    async def main():
        task = asyncio.create_task(ask())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled(), in_use()

    assert asyncio.run(main()) == (True, {})


def test_each_connection_has_its_own(connect, server):
    """Two Airflow connections have two clients with two keys."""
    connect("one", host=server.url, password="key-one")
    connect("two", host=server.url, password="key-two")

    async def main():
        await asyncio.gather(ask("one"), ask("two"))

    asyncio.run(main())
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer key-one", "Bearer key-two"}


def knows_only(key):
    return lambda request: data({}) if request.headers["authorization"] == f"Bearer {key}" else status(401)


def test_key_is_replaced_while_triggers_wait(connect, server, reads):
    """A refused key is read anew from the connection, once for all, and the calls succeed with the new one."""
    connect(host=server.url)
    server.answer(knows_only(KEY))

    async def main():
        async with shared.shared_client("polyteia_default") as client:
            await client.send(QUERY)
            server.answer(knows_only(NEW_KEY))
            connect(host=server.url, password=NEW_KEY)
            return await asyncio.gather(*(client.send(QUERY) for _ in range(10)))

    assert asyncio.run(main()) == [{}] * 10
    assert len(reads) == 2


def test_key_that_is_still_the_same_is_not_tried_again(connected):
    """A refused key that the connection still holds: 401 at once, after one request."""
    connected.answer(status(401))
    with pytest.raises(PolyteiaAuthenticationError):
        asyncio.run(ask())
    assert len(connected.requests) == 1


def test_missing_connection():
    """The error says how to create the connection."""
    with pytest.raises(PolyteiaConfigurationError, match="airflow connections add nowhere"):
        asyncio.run(ask("nowhere"))


def test_unusable_connection(connect):
    """What the hook would refuse is refused, naming the field."""
    connect(host="http://example.org", password=KEY)
    with pytest.raises(PolyteiaConfigurationError, match="unencrypted") as caught:
        asyncio.run(ask())
    assert KEY not in str(caught.value)


def test_extra_that_is_no_json(connect):
    """An Extra that cannot be read is an error, not ignored; on Airflow 3.0 and 3.1 it is Airflow that refuses it."""
    connect(host="https://example.org", extra="{broken")
    with pytest.raises(PolyteiaConfigurationError, match=r"no JSON object|There is no connection"):
        asyncio.run(ask())
