"""Look at datasets again and again, once for everybody who watches them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.calls import make_call
from airflow_provider_polyteia.client.records import last_upload
from airflow_provider_polyteia.exceptions import PolyteiaBadRequestError, PolyteiaError, PolyteiaNotFoundError
from airflow_provider_polyteia.hooks.paging import Pages
from airflow_provider_polyteia.triggers.shared import shared_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from airflow_provider_polyteia.triggers.shared import SharedClient

log = logging.getLogger(__name__)

JOINING_TIME = 1.0  # seconds in which watchers that start together join before the first look
LONGEST_PAUSE = 900.0  # seconds between two looks when they go on failing
SAMPLES = 3
LOOKS_PER_SAMPLING = 100


class Snapshot:
    """What one look has shown.

    :param records: the datasets seen; None: each is to be asked for by itself.
    """

    def __init__(self, client: SharedClient, records: list[dict[str, Any]] | None) -> None:
        self.receipts: list[Callable[[], Awaitable[None]]] = []
        """To be called when Airflow has stored all events that were made of this snapshot."""
        self._client = client
        self._records = (
            None if records is None else {_key(name, record): record for record in records for name in _KEYS}
        )

    async def find(self, reference: Mapping[str, str], *, surely: bool = False) -> dict[str, Any] | None:
        """Return a dataset's record; None if there is no such dataset.

        :param reference: its ``id``, or ``solution_id`` and ``slug``.
        :param surely: ask for a dataset that is not on the list: an item may slip through between two pages.
        :raises PolyteiaError: if it had to be asked for, and there was no answer.
        """
        if self._records is not None:
            record = self._records.get(_key("id" if "id" in reference else "slug", reference))
            if record is not None or not surely:
                return record
        return await get_dataset(self._client, reference)


_KEYS = ("id", "slug")


def _key(name: str, record: Mapping[str, Any]) -> tuple[str, Any]:
    return name, record.get(name)


async def get_dataset(client: SharedClient, reference: Mapping[str, str]) -> dict[str, Any] | None:
    """Ask for a dataset's record; None if there is none."""
    try:
        record: dict[str, Any] = await client.send(make_call("query", "get_dataset", reference, needs="id"))
    except PolyteiaNotFoundError:
        return None
    return record


class Lookout:
    """Looks at all datasets of a solution with one list, or at a single dataset.

    A list may lack what `get_dataset` shows, or be refused: neither is documented (API reference 4.4, 12 no. 30).
    Then each watched dataset is asked for by itself.

    :param conn_id: Airflow connection to Polyteia.
    :param solution_id: the solution; None: look at the dataset only.
    :param dataset_id: the single dataset.
    :param interval: seconds between two looks.
    """

    def __init__(self, conn_id: str, *, solution_id: str | None, dataset_id: str | None, interval: float) -> None:
        self._conn_id = conn_id
        self._solution_id = solution_id
        self._dataset_id = dataset_id
        self._interval = interval
        self._one_by_one = False
        self._list_shows_uploads = False
        self._looks = 0

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """Yield what each look shows, for ever. A look that fails is logged, and followed by a longer pause."""
        failures = 0
        await asyncio.sleep(min(JOINING_TIME, self._interval))
        async with shared_client(self._conn_id) as client:
            while True:
                try:
                    snapshot = await self._look(client)
                except Exception as error:  # whatever it is, watchers go on watching
                    failures += 1
                    unforeseen = not isinstance(error, PolyteiaError)
                    log.error("Look %d in a row has failed: %s", failures, error, exc_info=unforeseen)  # noqa: TRY400 - see above
                else:
                    failures = 0
                    yield snapshot
                pause = self._interval * 2.0 ** min(failures, 30)
                await asyncio.sleep(min(pause, max(self._interval, LONGEST_PAUSE)))

    async def _look(self, client: SharedClient) -> Snapshot:
        if self._solution_id is None:
            record = await get_dataset(client, {"id": str(self._dataset_id)})
            return Snapshot(client, [record] if record else [])
        if not self._one_by_one:
            try:
                records = await _list_datasets(client, self._solution_id)
                self._one_by_one = await self._lacks_uploads(client, records)
            except PolyteiaBadRequestError as error:
                log.warning("Polyteia refuses to list the datasets of %r: %s", self._solution_id, error)
                self._one_by_one = True
            if self._one_by_one:
                log.warning("The datasets of %r will be asked for one by one.", self._solution_id)
        return Snapshot(client, None if self._one_by_one else records)

    async def _lacks_uploads(self, client: SharedClient, records: list[dict[str, Any]]) -> bool:
        """Tell whether the list hides uploads. While it shows none at all, take samples now and then."""
        self._list_shows_uploads = self._list_shows_uploads or any("metadata" in record for record in records)
        if self._list_shows_uploads:
            return False
        self._looks += 1
        if self._looks % LOOKS_PER_SAMPLING != 1:
            return False
        samples = [await get_dataset(client, {"id": record["id"]}) for record in records[:SAMPLES]]
        return any(last_upload(sample) for sample in samples if sample)


async def _list_datasets(client: SharedClient, solution_id: str) -> list[dict[str, Any]]:
    pages = Pages("list_datasets", {"solution_id": solution_id})
    items: list[dict[str, Any] | str] = []
    while not pages.is_complete:
        items += pages.take(await client.send(make_call("query", pages.method, pages.params)))
    return [item for item in items if isinstance(item, dict) and item.get("id")]
