"""One client for all triggers of an event loop that use the same connection."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_polyteia.exceptions import PolyteiaAuthenticationError
from airflow_provider_polyteia.hooks.connection import USER_AGENT, missing_connection, read_config
from airflow_provider_polyteia.version_compat import amask_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.config import ClientConfig
    from airflow_provider_polyteia.client.operation import Operation
    from airflow_provider_polyteia.client.records import Ingest, Record
    from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient

log = logging.getLogger(__name__)

MIN_HEDGING_DELAY = 1.0  # seconds
GOLDEN_RATIO = (5**0.5 - 1) / 2

T = TypeVar("T")

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
            del clients[conn_id]  # before the await: a user that comes in the meantime gets a new one
            await client.aclose()


class SharedClient:
    """Reads the Airflow connection once, at the first operation, and again when the platform rejects its key.

    A wait may be older than its key: keys expire, and are replaced while triggers run.

    :param conn_id: id of the connection, type Polyteia.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self.users = 0
        self._clients: list[AsyncPolyteiaClient] = []  # the last one is current; others may still be in use for a while
        self._apis: dict[AsyncPolyteiaClient, PlatformAPI] = {}
        self._connecting = asyncio.Lock()
        self._offsets = 0

    def poll_offset(self) -> float:
        """Return at which part of an interval a user is to poll, from 0 to 1; any number of users are spread evenly.

        Randomly timed polls cluster, which promotes their objects to the oldest generation of the garbage collector and
        triggers full collections that block the event loop.
        """
        self._offsets += 1
        return self._offsets * GOLDEN_RATIO % 1

    async def api(self, *, interval: float | None = None, **limits: float | None) -> PlatformAPI:
        """Return the operations of the API that the connection uses; parameters as for `run`."""
        return await self._api_of(await self._connected(), interval, **limits)

    async def run(
        self, build: Callable[[PlatformAPI], Operation[T]], *, interval: float | None = None, **limits: float | None
    ) -> T:
        """Run an operation and return its result.

        :param build: returns the operation; called again with new credentials if the key was rejected and replaced.
        :param interval: time in seconds between polls. A request without a response is sent again after half of it, but
            at least a second. Default: None, never.
        :param limits: limits of the retries, as `PolyteiaHook` takes them.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return await self._with_current_key(lambda client: self._run(client, build, interval, limits))

    async def list_datasets(
        self, solution_id: str, *, interval: float | None = None, **limits: float | None
    ) -> tuple[list[Record], int]:
        """Return the records of all datasets of a solution, and the number of pages that they took.

        :param interval: as for `run`.
        :param limits: as for `run`.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return await self._with_current_key(lambda client: self._list_datasets(client, solution_id, interval, limits))

    async def ingest_status(self, dataset_id: str, ingest_id: str, *, interval: float | None = None) -> Ingest:
        """Query an ingest once. Only the RPC API has ingests, so the host is not asked which API it serves.

        :param interval: as for `run`.
        """
        from airflow_provider_polyteia.client.api import create_api  # noqa: PLC0415 - loaded with the client

        async def query(client: AsyncPolyteiaClient) -> Ingest:
            operation = create_api("rpc", client.credentials).ingest_status(dataset_id, ingest_id)
            limits = client.config.with_limits(max_attempts=1).limits
            return await client.run(operation, limits=limits, hedging_delay=_hedging_delay(interval))

        return await self._with_current_key(query)

    async def aclose(self) -> None:
        """Close the connections."""
        self._apis.clear()
        while self._clients:
            await self._clients.pop().aclose()

    async def _with_current_key(self, use: Callable[[AsyncPolyteiaClient], Awaitable[T]]) -> T:
        """Use a client; if its key is rejected and was replaced in the connection, once more with the new key."""
        client = await self._connected()
        try:
            return await use(client)
        except PolyteiaAuthenticationError:
            newer = await self._reconnected(client)
            if newer is client:
                raise
        return await use(newer)

    async def _list_datasets(
        self, client: AsyncPolyteiaClient, solution_id: str, interval: float | None, limits: dict[str, float | None]
    ) -> tuple[list[Record], int]:
        listing = (await self._api_of(client, interval, **limits)).list_datasets(solution_id)
        items: list[Any] = []
        pages = 0
        while not listing.is_complete:
            items += listing.take(await self._run(client, lambda _: listing.next_page(), interval, limits))
            pages += 1
        return [item for item in items if isinstance(item, dict) and item.get("id")], pages

    async def _run(
        self,
        client: AsyncPolyteiaClient,
        build: Callable[[PlatformAPI], Operation[T]],
        interval: float | None,
        limits: dict[str, float | None],
    ) -> T:
        api = await self._api_of(client, interval, **limits)
        selected = client.config.with_limits(**limits).limits
        return await client.run(build(api), limits=selected, hedging_delay=_hedging_delay(interval))

    async def _api_of(
        self, client: AsyncPolyteiaClient, interval: float | None = None, **limits: float | None
    ) -> PlatformAPI:
        """Return the API of a client, chosen at its first use. If the host must be asked, all waits share this."""
        from airflow_provider_polyteia.client.api import select_api  # noqa: PLC0415 - loaded with the client

        if client not in self._apis:
            selected = client.config.with_limits(**limits).limits
            chosen = await client.run(
                select_api(client.credentials), limits=selected, hedging_delay=_hedging_delay(interval)
            )
            if client.config.api == "auto" and chosen.name == "command":
                return chosen  # only probable, so it is asked again after a while
            self._apis.setdefault(client, chosen)
        return self._apis[client]

    async def _connected(self) -> AsyncPolyteiaClient:
        if self._clients:
            return self._clients[-1]
        async with self._connecting:
            if not self._clients:
                self._clients.append(await _new_client(await read_connection(self.conn_id)))
            return self._clients[-1]

    async def _reconnected(self, rejected: AsyncPolyteiaClient) -> AsyncPolyteiaClient:
        """Return a client with the connection's current key; the rejected one if the key is unchanged."""
        async with self._connecting:
            if self._clients[-1] is rejected:
                config = await read_connection(self.conn_id)
                if config != rejected.config:
                    log.info("Connection %r has changed; using its new contents.", self.conn_id)
                    self._clients.append(await _new_client(config))
            return self._clients[-1]


def _hedging_delay(interval: float | None) -> float | None:
    return None if interval is None else max(interval / 2, MIN_HEDGING_DELAY)


async def _new_client(config: ClientConfig) -> AsyncPolyteiaClient:
    client_class = await asyncio.to_thread(_load_client)  # importing the HTTP library would block the event loop
    return client_class(config, user_agent=USER_AGENT, on_secret=amask_secret)


def _load_client() -> type[AsyncPolyteiaClient]:
    from airflow_provider_polyteia.client import api  # noqa: F401, PLC0415 - loaded here, so that `_api_of` does not block
    from airflow_provider_polyteia.client.command_api import operations as _  # noqa: F401, PLC0415 - as above
    from airflow_provider_polyteia.client.rpc_api import files, operations, probe  # noqa: F401, PLC0415 - as above
    from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient  # noqa: PLC0415 - heavy

    return AsyncPolyteiaClient


async def _get_connection(conn_id: str) -> Any:
    try:
        return await get_async_connection(conn_id)
    except AirflowNotFoundException:
        # `airflow dags test` of Airflow 3 runs triggers without the part that serves asynchronous lookups.
        return await asyncio.to_thread(BaseHook.get_connection, conn_id)


async def read_connection(conn_id: str) -> ClientConfig:
    """Read and check an Airflow connection without blocking the event loop.

    :raises PolyteiaConfigurationError: if the connection does not exist, or something in it is unusable.
    """
    try:
        connection = await _get_connection(conn_id)
    except AirflowNotFoundException:
        raise missing_connection(conn_id) from None
    extra = await get_async_extra_dejson(connection) if connection.extra else {}
    # read_config looks for the certificate files that the connection names: file I/O.
    config = await asyncio.to_thread(read_config, conn_id, connection, extra)
    await amask_secret(config.key)
    return config
