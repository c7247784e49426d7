"""Many waits in one event loop share one probe and one session."""

from __future__ import annotations

import asyncio

import pytest
from servers import KEY

from airflow_provider_polyteia.client import config
from airflow_provider_polyteia.client.api import select_api
from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.rpc_api import sessions
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import PolyteiaNotFoundError
from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, Sandbox

EXCHANGE = "auth/personalAccessKey/exchange"
GET = "dataset/getDatasetById"
WAITS = 50


@pytest.fixture
def sandbox():
    """A sandbox of the RPC API that takes some time to respond."""
    with Sandbox(api="rpc", paks=[KEY], latency=0.02) as running:
        yield running


async def poll(client):
    """Poll a dataset that does not exist."""
    api = await client.run(select_api(client.credentials))
    with pytest.raises(PolyteiaNotFoundError):
        await client.run(api.get_dataset(DatasetRef("ds_missing")))


def in_loop(sandbox, api, *uses):
    """Run waits side by side with one client, round by round."""
    extra = {"api": api, "organization_id": SANDBOX_ORGANIZATION_ID}
    settings = config.from_connection("city", host=sandbox.base_url, password=KEY, extra=extra)

    async def run():
        client = AsyncPolyteiaClient(settings)
        try:
            for prepare in uses:
                prepare()
                await asyncio.gather(*(poll(client) for _ in range(WAITS)))
        finally:
            await client.aclose()

    asyncio.run(run())


def nothing():
    pass


def test_one_exchange(sandbox):
    """All waits that begin together share one exchange, and later ones its session."""
    in_loop(sandbox, "rpc", nothing, nothing)
    assert sandbox.count(EXCHANGE) == 1
    assert sandbox.count(GET) == 2 * WAITS


def test_one_probe(sandbox):
    """Where the host must be asked, it is asked once, without the key."""
    in_loop(sandbox, "auto", nothing, nothing)
    exchanges = [request for request in sandbox.requests if request.name == EXCHANGE]
    assert len(exchanges) == 2
    assert [KEY in str(request.body) for request in exchanges] == [False, True]


def test_one_renewal(sandbox):
    """A session that the platform forgot is renewed once for all waits."""

    def forget():
        (kept,) = sessions._sessions.values()
        sandbox.faults.add(*(f"{GET}:status:401:{number}" for number in range(1, WAITS + 1)))
        assert kept.organization_id == SANDBOX_ORGANIZATION_ID

    in_loop(sandbox, "rpc", nothing, forget)
    assert sandbox.count(EXCHANGE) == 2
    assert sandbox.count(GET) == 3 * WAITS
