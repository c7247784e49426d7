"""Polls datasets again and again, once for all watchers of a solution."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.upload_condition import UploadCondition
from airflow_provider_polyteia.exceptions import PolyteiaBadRequestError, PolyteiaError, PolyteiaNotFoundError
from airflow_provider_polyteia.triggers.shared_client import shared_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.records import Record, Upload
    from airflow_provider_polyteia.triggers.shared_client import SharedClient

log = logging.getLogger(__name__)

JOINING_TIME = 1.0  # seconds in which watchers that start together join before the first poll
MAX_INTERVAL = 900.0  # seconds between two polls while they keep failing
POLLS_PER_SAMPLE = 20

Key = tuple[str, Any]


class PollResult:
    """What one poll showed.

    :param api: the API of the connection.
    :param last_upload: reads the last upload from a record.
    :param records: the datasets seen; None if each is to be queried individually.
    :param check: what is known about the completeness of the list; None if `records` is not a list.
    """

    def __init__(
        self,
        client: SharedClient,
        api: PlatformAPI,
        last_upload: Callable[[Record], Upload | None],
        records: list[Record] | None,
        check: ListingCheck | None = None,
    ) -> None:
        self.on_stored: list[Callable[[], Awaitable[None]]] = []
        """Callbacks for when Airflow has stored all events that were made from this result."""
        self.api = api
        self._client = client
        self._last_upload = last_upload
        self._check = check
        self._records = None if records is None else {key: record for record in records for key in _keys(record)}

    async def last_upload(self, dataset: DatasetRef, *, verify: bool = False) -> Upload | None:
        """Return the last upload into a dataset; None without one, or if the dataset does not exist.

        :param verify: whether this is the watcher's first poll, whose result must be right.
        :raises PolyteiaError: if the dataset had to be queried, and that failed.
        """
        record = await self._find(dataset, verify=verify)
        return self._last_upload(record) if record else None

    async def _find(self, dataset: DatasetRef, *, verify: bool) -> Record | None:
        if self._records is None:
            return await _get_dataset(self._client, dataset)
        key: Key = ("id", dataset.dataset_id) if dataset.dataset_id else ("slug", dataset.slug)
        listed = self._records.get(key)
        if self._check is None or not self._check.should_query(key, listed, verify=verify):
            return listed
        found = await _get_dataset(self._client, dataset)
        self._check.compare(key, listed, found)
        return found


class ListingCheck:
    """Checks whether a solution's list shows the same as `get_dataset`, which is undocumented.

    While the list has shown no upload at all, each watched dataset is sampled individually now and then, and at its
    first poll. If the list omits a known upload, it is treated as incomplete (docs/platform-api.md#dataset-lists). A
    dataset that is missing from the list (an item may slip through between two pages; or it belongs to another
    solution) is queried individually from then on.

    :param last_upload: reads the last upload from a record.
    """

    def __init__(self, last_upload: Callable[[Record], Upload | None]) -> None:
        self.is_incomplete = False
        self._last_upload = last_upload
        self._shows_uploads = False
        self._polls = 0
        self._unlisted: set[Key] = set()

    def record_list(self, records: list[Record]) -> None:
        """Record a list."""
        self._shows_uploads = self._shows_uploads or any(map(self._shows_upload, records))
        self._polls += 1

    def should_query(self, key: Key, listed: Record | None, *, verify: bool) -> bool:
        """Return True if a watched dataset is to be queried although there is a list."""
        if listed is None:
            return verify or key in self._unlisted
        self._unlisted.discard(key)
        is_due = verify or self._polls % POLLS_PER_SAMPLE == 0
        return is_due and not self._shows_uploads and not self._shows_upload(listed)

    def compare(self, key: Key, listed: Record | None, found: Record | None) -> None:
        """Compare what the list shows of a dataset with what querying it returned."""
        if found is None:
            self._unlisted.discard(key)
        elif listed is None and key not in self._unlisted:
            name, value = key
            log.warning(
                "The dataset with %s %r is missing from the solution's dataset list; polling it individually.",
                name,
                value,
            )
            self._unlisted.add(key)
        elif listed is not None and self._shows_upload(found):
            self.is_incomplete = True

    def _shows_upload(self, record: Record) -> bool:
        try:
            return self._last_upload(record) is not None
        except PolyteiaError:  # an invalid upload is an upload
            return True


def _keys(record: Record) -> list[Key]:
    return [(name, record.get(name)) for name in ("id", "slug")]


async def _get_dataset(client: SharedClient, dataset: DatasetRef) -> Record | None:
    """Return a dataset's record; None if it does not exist."""
    try:
        return await client.run(lambda api: api.get_dataset(dataset))
    except PolyteiaNotFoundError:
        return None


class DatasetPoller:
    """Polls all datasets of a solution with one list, or a single dataset.

    A list may lack what `get_dataset` shows, or be rejected (docs/platform-api.md#dataset-lists). Then each watched
    dataset is queried individually.

    :param conn_id: Airflow connection to Polyteia.
    :param solution_id: id of the solution; None to poll a single dataset.
    :param dataset_id: id of the single dataset.
    :param interval: time in seconds between two polls.
    :param timestamp_field: date field of the records that shows an upload. Default: None, as in `UploadCondition`.
    """

    def __init__(
        self,
        conn_id: str,
        *,
        solution_id: str | None,
        dataset_id: str | None,
        interval: float,
        timestamp_field: str | None = None,
    ) -> None:
        self._conn_id = conn_id
        self._solution_id = solution_id
        self._dataset_id = dataset_id
        self._interval = interval
        self._condition = UploadCondition(DatasetRef(dataset_id, solution_id), timestamp_field=timestamp_field)
        self._individually = False
        self._check: ListingCheck | None = None

    async def results(self) -> AsyncIterator[PollResult]:
        """Yield the result of each poll, indefinitely.

        A poll that fails is logged, and followed by a longer interval.
        """
        failures = 0
        await asyncio.sleep(min(JOINING_TIME, self._interval))
        async with shared_client(self._conn_id) as client:
            while True:
                try:
                    result = await self._poll(client)
                except Exception as error:  # whatever it is, watchers keep watching
                    failures += 1
                    unforeseen = not isinstance(error, PolyteiaError)
                    log.error("Polling failed (%d in a row): %s", failures, error, exc_info=unforeseen)  # noqa: TRY400 - as given
                else:
                    failures = 0
                    yield result
                delay = self._interval * 2.0 ** min(failures, 30)
                await asyncio.sleep(min(delay, max(self._interval, MAX_INTERVAL)))

    async def _poll(self, client: SharedClient) -> PollResult:
        api = await client.api()
        last_upload = partial(api.last_upload, condition=self._condition)
        result = partial(PollResult, client, api, last_upload)
        if self._solution_id is None:
            record = await _get_dataset(client, DatasetRef(str(self._dataset_id)))
            return result([record] if record else [])
        if self._check is None:
            self._check = ListingCheck(last_upload)
        if self._check.is_incomplete:
            self._poll_individually("the list does not show uploads")
        if self._individually:
            return result(None)
        try:
            records = await client.list_datasets(self._solution_id)
        except PolyteiaBadRequestError as error:
            if error.from_gateway:
                raise
            self._poll_individually(str(error))
            return result(None)
        self._check.record_list(records)
        return result(records, self._check)

    def _poll_individually(self, reason: str) -> None:
        if not self._individually:
            log.warning("Polling the datasets of %r individually from now on: %s", self._solution_id, reason)
        self._individually = True
