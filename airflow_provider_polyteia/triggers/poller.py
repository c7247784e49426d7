"""Polls datasets at an interval, for one watcher or for all watchers of a solution."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.upload_condition import UploadCondition
from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaNotFoundError
from airflow_provider_polyteia.triggers.listing_check import key_of
from airflow_provider_polyteia.triggers.shared_client import shared_client
from airflow_provider_polyteia.triggers.solution_poll import solution_poll

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.records import Record, Upload
    from airflow_provider_polyteia.triggers.shared_client import SharedClient
    from airflow_provider_polyteia.triggers.solution_poll import Listing, SolutionPoll

log = logging.getLogger(__name__)

JOINING_TIME = 1.0  # seconds in which watchers that start together join before the first poll
MAX_INTERVAL = 900.0  # seconds between two polls while they keep failing
MANY = 1_000_000  # watchers of a solution; Airflow does not provide their number


class PollResult:
    """What one poll showed.

    :param api: the API of the connection.
    :param last_upload: reads the last upload from a record.
    :param get_dataset: queries a dataset by itself, and returns its record; None if it does not exist.
    :param listing: the list of the solution; None if each dataset is to be queried by itself.
    """

    def __init__(
        self,
        api: PlatformAPI,
        last_upload: Callable[[Record], Upload | None],
        get_dataset: Callable[[DatasetRef], Awaitable[Record | None]],
        listing: Listing | None,
    ) -> None:
        self.on_stored: list[Callable[[], Awaitable[None]]] = []
        """Callbacks for when Airflow has stored all events that were made from this result."""
        self.api = api
        self._last_upload = last_upload
        self._get_dataset = get_dataset
        self._listing = listing

    async def last_upload(self, dataset: DatasetRef, *, verify: bool = False) -> Upload | None:
        """Return the last upload into a dataset; None without one, or if the dataset does not exist.

        :param verify: whether this is the watcher's first poll, whose result must be right.
        :raises PolyteiaError: if the dataset had to be queried, and that failed.
        """
        record = await self._find(dataset, verify=verify)
        if record is None and verify:
            log.warning("Dataset %s does not exist. Watching continues; its first upload will be reported.", dataset)
        return self._last_upload(record) if record else None

    async def _find(self, dataset: DatasetRef, *, verify: bool) -> Record | None:
        if self._listing is None:
            return await self._get_dataset(dataset)
        key = key_of(dataset)
        listed, check = self._listing.records.get(key), self._listing.check
        if not check.should_query(key, listed, verify=verify):
            return listed
        found = await self._get_dataset(dataset)
        check.compare(key, listed, found)
        return found


class DatasetPoller:
    """Polls all datasets of a solution with one list, or a single dataset, with such a list if others need it too.

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
        self._users = MANY if solution_id else 1
        self._interval = interval
        self._condition = UploadCondition(DatasetRef(dataset_id, solution_id), timestamp_field=timestamp_field)
        self._shared: SolutionPoll | None = None

    async def results(self) -> AsyncIterator[PollResult]:
        """Yield the result of each poll, indefinitely.

        A poll that fails is logged, and followed by a longer interval.
        """
        failures = 0
        await asyncio.sleep(min(JOINING_TIME, self._interval))
        async with shared_client(self._conn_id) as client, AsyncExitStack() as left:
            while True:
                try:
                    result = await self._poll(client, left)
                except Exception as error:  # noqa: BLE001 - a watcher keeps watching
                    failures += 1
                    delay = self._delay_after(failures)
                    _log_failure(error, failures, delay)
                else:
                    failures = 0
                    yield result
                    delay = self._delay_after(failures)
                await asyncio.sleep(delay)

    def _delay_after(self, failures: int) -> float:
        if self._shared and not failures:
            return self._shared.seconds_to_next()
        return min(self._interval * 2.0 ** min(failures, 30), max(self._interval, MAX_INTERVAL))

    async def _poll(self, client: SharedClient, left: AsyncExitStack) -> PollResult:
        api = await client.api(interval=self._interval)
        if self._solution_id and not self._shared:
            poll = solution_poll(client, self._solution_id, self._interval, self._users)
            self._shared = await left.enter_async_context(poll)
        last_upload = partial(api.last_upload, condition=self._condition)
        return PollResult(api, last_upload, partial(self._get_dataset, client), await self._listing(api))

    async def _listing(self, api: PlatformAPI) -> Listing | None:
        if self._shared is None or not self._shared.is_worthwhile:
            return None
        return await self._shared.listing(self._shared.check(api, self._condition.timestamp_field))

    async def _get_dataset(self, client: SharedClient, dataset: DatasetRef) -> Record | None:
        """Return a dataset's record; None if it does not exist. The first record shows the solution."""
        try:
            record = await client.run(lambda api: api.get_dataset(dataset), interval=self._interval)
        except PolyteiaNotFoundError:
            return None
        self._solution_id = self._solution_id or record.get("solution_id")
        return record


def _log_failure(error: Exception, failures: int, delay: float) -> None:
    """Log a failed poll: as an error if a user must act, otherwise as a warning, because the next poll may succeed."""
    unforeseen = not isinstance(error, PolyteiaError)
    level = logging.ERROR if unforeseen or isinstance(error, AirflowFailException) else logging.WARNING
    log.log(
        level,
        "Polling failed (%d in a row), trying again in %.0f s: %s",
        failures,
        delay,
        error,
        exc_info=error if unforeseen else None,
    )
