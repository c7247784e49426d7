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
LOOKS_PER_SAMPLING = 20


class Snapshot:
    """What one look has shown.

    :param records: the datasets seen; None: each is to be asked for by itself.
    :param doubts: what is known of the list's honesty; None: it is no list.
    """

    def __init__(
        self, client: SharedClient, records: list[dict[str, Any]] | None, doubts: Doubts | None = None
    ) -> None:
        self.receipts: list[Callable[[], Awaitable[None]]] = []
        """To be called when Airflow has stored all events that were made of this snapshot."""
        self._client = client
        self._doubts = doubts
        self._records = (
            None if records is None else {_key(name, record): record for record in records for name in _KEYS}
        )

    async def find(self, reference: Mapping[str, str], *, surely: bool = False) -> dict[str, Any] | None:
        """Return a dataset's record; None if there is no such dataset.

        :param reference: its ``id``, or ``solution_id`` and ``slug``.
        :param surely: whether this is the watcher's first look: what it notes must be right.
        :raises PolyteiaError: if it had to be asked for, and there was no answer.
        """
        if self._records is None:
            return await get_dataset(self._client, reference)
        key = _key("id" if "id" in reference else "slug", reference)
        listed = self._records.get(key)
        if self._doubts is None or not self._doubts.ask_for(key, listed, surely=surely):
            return listed
        found = await get_dataset(self._client, reference)
        self._doubts.compare(key, listed, found)
        return found


class Doubts:
    """Whether a solution's list shows what `get_dataset` shows; nobody documents that (API reference 4.4).

    While the list has shown no upload at all, each watched dataset is asked for now and then, and at the first look for
    it. A list that is caught hiding an upload `is_dishonest`. A dataset that is not on the list (an item may slip
    through between two pages; or its solution is another one) is asked for by itself from then on.
    """

    def __init__(self) -> None:
        self.is_dishonest = False
        self._shows_uploads = False
        self._looks = 0
        self._unlisted: set[tuple[str, Any]] = set()

    def look(self, records: list[dict[str, Any]]) -> None:
        """Take note of a list."""
        self._shows_uploads = self._shows_uploads or any(map(_shows_upload, records))
        self._looks += 1

    def ask_for(self, key: tuple[str, Any], listed: dict[str, Any] | None, *, surely: bool) -> bool:
        """Tell whether a watched dataset is to be asked for, although there is a list."""
        if listed is None:
            return surely or key in self._unlisted
        self._unlisted.discard(key)
        is_time = surely or self._looks % LOOKS_PER_SAMPLING == 0
        return is_time and not self._shows_uploads and not _shows_upload(listed)

    def compare(self, key: tuple[str, Any], listed: dict[str, Any] | None, found: dict[str, Any] | None) -> None:
        """Compare what the list shows of a dataset with what the platform answers when it is asked for it."""
        if found is None:
            self._unlisted.discard(key)
        elif listed is None and key not in self._unlisted:
            log.warning("Dataset %r is not on its solution's list; it is asked for by itself.", found.get("id"))
            self._unlisted.add(key)
        elif listed is not None and _shows_upload(found):
            self.is_dishonest = True


def _shows_upload(record: dict[str, Any]) -> bool:
    try:
        return last_upload(record) is not None
    except PolyteiaError:  # what it shows makes no sense, but it is there
        return True


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
        self._doubts = Doubts()

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
        if self._doubts.is_dishonest:
            self._ask_one_by_one("its list does not show uploads")
        if self._one_by_one:
            return Snapshot(client, None)
        try:
            records = await _list_datasets(client, self._solution_id)
        except PolyteiaBadRequestError as error:
            if error.is_foreign:
                raise
            self._ask_one_by_one(str(error))
            return Snapshot(client, None)
        self._doubts.look(records)
        return Snapshot(client, records, self._doubts)

    def _ask_one_by_one(self, reason: str) -> None:
        if not self._one_by_one:
            log.warning("The datasets of %r are asked for one by one from now on: %s", self._solution_id, reason)
        self._one_by_one = True


async def _list_datasets(client: SharedClient, solution_id: str) -> list[dict[str, Any]]:
    pages = Pages("list_datasets", {"solution_id": solution_id})
    items: list[dict[str, Any] | str] = []
    while not pages.is_complete:
        items += pages.take(await client.send(make_call("query", pages.method, pages.params)))
    return [item for item in items if isinstance(item, dict) and item.get("id")]
