"""One client for all triggers of an event loop that use the same connection."""

from __future__ import annotations

import asyncio
import time

import pytest
from rpc_responses import SESSION, failure, output
from servers import KEY, data, status

from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.rpc_api import probe
from airflow_provider_polyteia.exceptions import PolyteiaAuthenticationError, PolyteiaConfigurationError
from airflow_provider_polyteia.triggers import shared_client

NEW_KEY = "pak-SECRET-tomorrow"  # made up


def query(client):
    return client.run(lambda api: api.get_dataset(DatasetRef("ds_1")))


@pytest.fixture
def reads(monkeypatch):
    """The ids of the Airflow connections that were read, one for each read."""
    read, seen = shared_client.get_async_connection, []

    async def counted(conn_id):
        seen.append(conn_id)
        return await read(conn_id)

    monkeypatch.setattr(shared_client, "get_async_connection", counted)
    return seen


async def query_once(conn_id="polyteia_default"):
    async with shared_client.shared_client(conn_id) as client:
        return await query(client)


def clients_in_use():
    return dict(shared_client._clients.get(asyncio.get_running_loop(), {}))


def test_many_users_read_the_connection_once(connected, reads):
    """20 users at once share one client, which reads the connection once."""

    async def main():
        records = await asyncio.gather(*(query_once() for _ in range(20)))
        return records, clients_in_use()

    records, left = asyncio.run(main())
    assert records == [{"id": "ds_1"}] * 20
    assert reads == ["polyteia_default"]
    assert left == {}


def test_the_last_user_closes(connected, reads):
    """The client is closed after its last user; a later user gets a new one."""

    async def main():
        async with shared_client.shared_client("polyteia_default") as first:
            async with shared_client.shared_client("polyteia_default") as second:
                await query(second)
            await query(first)
            same = first is second
        async with shared_client.shared_client("polyteia_default") as third:
            await query(third)
        return same, third is not first

    assert asyncio.run(main()) == (True, True)
    assert reads == ["polyteia_default"] * 2
    assert connected.connections == 2


def test_cancelled_user_leaves(connected):
    """A user that is cancelled while it waits for a response no longer counts, and its client is closed."""
    connected.respond(lambda _: time.sleep(0.2) or data({"id": "ds_1"}))

    async def main():
        task = asyncio.create_task(query_once())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled(), clients_in_use()

    assert asyncio.run(main()) == (True, {})


def test_each_connection_has_its_own(connect, server):
    """Two Airflow connections have two clients with their own keys."""
    connect("one", host=server.url, password="key-one")
    connect("two", host=server.url, password="key-two")

    async def main():
        await asyncio.gather(query_once("one"), query_once("two"))

    asyncio.run(main())
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer key-one", "Bearer key-two"}


def accepting_only(key):
    return lambda request: data({"id": "ds_1"}) if request.headers["authorization"] == f"Bearer {key}" else status(401)


def test_key_is_replaced_while_triggers_wait(connect, server, reads):
    """A rejected key is read again from the connection, once for all users; the queries succeed with the new one."""
    connect(host=server.url)
    server.respond(accepting_only(KEY))

    async def main():
        async with shared_client.shared_client("polyteia_default") as client:
            await query(client)
            server.respond(accepting_only(NEW_KEY))
            connect(host=server.url, password=NEW_KEY)
            return await asyncio.gather(*(query(client) for _ in range(10)))

    assert asyncio.run(main()) == [{"id": "ds_1"}] * 10
    assert len(reads) == 2


def test_unchanged_key_is_not_tried_again(connected):
    """A rejected key that the connection still contains raises the 401 immediately, after one request."""
    connected.respond(status(401))
    with pytest.raises(PolyteiaAuthenticationError):
        asyncio.run(query_once())
    assert len(connected.requests) == 1


def test_missing_connection():
    """The error contains the command that creates the connection."""
    with pytest.raises(PolyteiaConfigurationError, match="airflow connections add nowhere"):
        asyncio.run(query_once("nowhere"))


def test_unusable_connection(connect):
    """What the hook would reject is rejected here too; the error names the field."""
    connect(host="http://example.org", password=KEY)
    with pytest.raises(
        PolyteiaConfigurationError, match="send the key in plain text because Host starts with http://"
    ) as caught:
        asyncio.run(query_once())
    assert KEY not in str(caught.value)


def test_invalid_extra(connect):
    """An Extra that is not JSON is an error. On Airflow 3.0 and 3.1, Airflow itself rejects the connection."""
    connect(host="https://example.org", extra="{broken")
    with pytest.raises(
        PolyteiaConfigurationError, match=r"has an invalid Extra: expected a JSON object|does not exist"
    ):
        asyncio.run(query_once())


def test_a_probable_result_of_the_detection_is_not_kept(server, connect, monkeypatch):
    """A gateway that hides the RPC API for a while does not decide for as long as the triggerer runs."""
    connect(host=server.url, extra={"api": "auto", "organization_id": "org_1", "max_attempts": 1})
    monkeypatch.setattr(probe, "NEGATIVE_LIFETIME", 0.0)
    server.respond(status(404, b"no backend", content_type="text/plain"), failure(400, "BAD_REQUEST"))

    async def main():
        async with shared_client.shared_client("polyteia_default") as client:
            names = []
            for _ in range(3):
                names.append((await client.api()).name)
                await asyncio.sleep(0.05)  # until concurrent waits no longer share the response
            return names

    assert asyncio.run(main()) == ["command", "rpc", "rpc"]
    assert len(server.requests) == 2


def test_an_ingest_needs_no_detection(server, connect):
    """Only the RPC API has ingests."""
    connect(host=server.url, extra={"api": "auto", "organization_id": "org_1", "max_attempts": 1})
    server.respond(SESSION, output({"status": "running"}))

    async def main():
        async with shared_client.shared_client("polyteia_default") as client:
            return await client.ingest_status("ds_1", "dsig_1")

    assert asyncio.run(main()).status == "running"
    assert [request.path.rpartition("/")[2] for request in server.requests] == ["exchange", "getDatasetIngestStatus"]
