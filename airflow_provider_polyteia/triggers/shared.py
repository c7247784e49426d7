"""One client for all triggers of an event loop that use the same connection."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_polyteia.exceptions import PolyteiaAuthenticationError
from airflow_provider_polyteia.hooks.connection import USER_AGENT, config_of, missing_connection
from airflow_provider_polyteia.version_compat import amask_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_polyteia.client.aio import AsyncPolyteiaClient
    from airflow_provider_polyteia.client.calls import Call
    from airflow_provider_polyteia.client.config import ClientConfig

log = logging.getLogger(__name__)

GOLDEN_RATIO = (5**0.5 - 1) / 2

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SharedClient]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_client(conn_id: str) -> AsyncIterator[SharedClient]:
    """Use the event loop's client for a connection. Its last user closes it."""
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    client = clients.setdefault(conn_id, SharedClient(conn_id))
    client.users += 1
    try:
        yield client
    finally:
        client.users -= 1
        if not client.users:
            del clients[conn_id]  # before the await: who comes meanwhile gets a new one
            await client.aclose()


class SharedClient:
    """Reads the Airflow connection once, at the first call, and again when the platform refuses its key.

    A wait may be older than its key: keys expire, and are replaced while triggers run.

    :param conn_id: id of the connection, type Polyteia.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self.users = 0
        self._clients: list[AsyncPolyteiaClient] = []  # the last one is in use; others may still be, for a moment
        self._connecting = asyncio.Lock()
        self._phases = 0

    def phase(self) -> float:
        """Return where in an interval a user is to look, from 0 to 1; any number of users are spread evenly.

        Looks at random moments bunch together. The garbage collector takes a bunch's objects for long-lived ones, and
        soon goes through all objects of the triggerer, which stops the event loop for longer than anything else.
        """
        self._phases += 1
        return self._phases * GOLDEN_RATIO % 1

    async def send(self, call: Call, **limits: float | None) -> Any:
        """Send a call and return the ``data`` of its answer.

        :param limits: how long it may go on being repeated, as `PolyteiaHook` takes it.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        client = await self._connected()
        try:
            return await self._send(client, call, limits)
        except PolyteiaAuthenticationError:
            newer = await self._reconnected(client)
            if newer is client:
                raise
        return await self._send(newer, call, limits)

    async def aclose(self) -> None:
        """Close the connections."""
        while self._clients:
            await self._clients.pop().aclose()

    async def _send(self, client: AsyncPolyteiaClient, call: Call, limits: dict[str, float | None]) -> Any:
        client.serve(self.users)
        return (await client.send(call, limits=client.config.with_limits(**limits).limits)).data

    async def _connected(self) -> AsyncPolyteiaClient:
        async with self._connecting:
            if not self._clients:
                self._clients.append(await _new_client(await read_config(self.conn_id)))
            return self._clients[-1]

    async def _reconnected(self, refused: AsyncPolyteiaClient) -> AsyncPolyteiaClient:
        """Return a client with the key of today; the one refused, if the key is still the same."""
        async with self._connecting:
            if self._clients[-1] is refused:
                config = await read_config(self.conn_id)
                if config != refused.config:
                    log.info("Connection %r has changed; using its new contents.", self.conn_id)
                    self._clients.append(await _new_client(config))
            return self._clients[-1]


async def _new_client(config: ClientConfig) -> AsyncPolyteiaClient:
    client = await asyncio.to_thread(_driver)  # in a thread: loading httpx would hold up the event loop
    return client(config, user_agent=USER_AGENT, on_secret=amask_secret)


def _driver() -> type[AsyncPolyteiaClient]:
    from airflow_provider_polyteia.client.aio import AsyncPolyteiaClient  # noqa: PLC0415 - DAG files import triggers, too

    return AsyncPolyteiaClient


async def read_config(conn_id: str) -> ClientConfig:
    """Read and check an Airflow connection without holding up the event loop.

    :raises PolyteiaConfigurationError: if there is no such connection, or something in it is unusable.
    """
    try:
        connection = await get_async_connection(conn_id)
    except AirflowNotFoundException:
        raise missing_connection(conn_id) from None
    extra = await get_async_extra_dejson(connection) if connection.extra else {}
    # config_of looks for the certificate files that the connection names: file I/O.
    config = await asyncio.to_thread(config_of, conn_id, connection, extra)
    await amask_secret(config.key)
    return config
