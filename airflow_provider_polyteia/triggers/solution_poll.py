"""One list of a solution's datasets for everything in a triggerer that polls them at the same interval.

Theory of operation
-------------------
There is no task that polls. All that share a poll wake up at the same point of each interval (`SolutionPoll.offset`)
and ask for a list that is fresh enough. The first one starts to request it, the others wait for the same request; it
belongs to none of them, so none can end it for the others. What the list means for a dataset is decided for each by
itself: by `ListingCheck`, and by the wait or watcher.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.upload_condition import UploadCondition
from airflow_provider_polyteia.exceptions import PolyteiaBadRequestError, PolyteiaNotFoundError, PolyteiaPermissionError
from airflow_provider_polyteia.triggers.listing_check import ListingCheck, by_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.records import Record
    from airflow_provider_polyteia.triggers.listing_check import Key
    from airflow_provider_polyteia.triggers.shared_client import SharedClient

log = logging.getLogger(__name__)

MAX_AGE = 5.0  # seconds

_polls: WeakKeyDictionary[SharedClient, dict[tuple[str, float], SolutionPoll]] = WeakKeyDictionary()


@asynccontextmanager
async def solution_poll(
    client: SharedClient, solution_id: str, interval: float, users: int = 1
) -> AsyncIterator[SolutionPoll]:
    """Share the poll of a solution. Its last user ends it.

    :param interval: time in seconds between two polls.
    :param users: number of datasets that the user polls. Default: 1.
    """
    polls, key = _polls.setdefault(client, {}), (solution_id, interval)
    poll = polls.setdefault(key, SolutionPoll(client, solution_id, interval))
    poll.users += users
    try:
        yield poll
    finally:
        poll.users -= users
        if not poll.users:
            del polls[key]
            poll.cancel()


class Listing(NamedTuple):
    """A solution's datasets as of one poll."""

    records: Mapping[Key, Record]
    check: ListingCheck


class SolutionPoll:
    """The list of a solution's datasets.

    :ivar users: number of datasets that are polled, as far as it is known.
    :ivar offset: at which part of an interval they poll, from 0 to 1.
    """

    def __init__(self, client: SharedClient, solution_id: str, interval: float) -> None:
        self.users = 0
        self.offset = client.poll_offset()
        self._client = client
        self._solution_id = solution_id
        self._interval = interval
        self._pages = 1
        self._individually = False
        self._checks: dict[str | None, ListingCheck] = {}
        self._request: asyncio.Task[dict[Key, Record] | None] | None = None
        self._requested = 0.0

    @property
    def is_worthwhile(self) -> bool:
        """True if a list takes fewer requests than its users would take without it."""
        return self.users > self._pages and not self._individually

    def seconds_to_next(self) -> float:
        """Return the time in seconds until its users poll again."""
        now = asyncio.get_running_loop().time()
        return (self.offset * self._interval - now) % self._interval

    def check(self, api: PlatformAPI, timestamp_field: str | None) -> ListingCheck:
        """Return what is known about the list, if uploads are read from a field of the records."""
        if timestamp_field not in self._checks:
            condition = UploadCondition(DatasetRef(None, self._solution_id), timestamp_field=timestamp_field)
            self._checks[timestamp_field] = ListingCheck(partial(api.last_upload, condition=condition))
        return self._checks[timestamp_field]

    async def listing(self, check: ListingCheck, **limits: float | None) -> Listing | None:
        """Return the list, requested now or a short time ago; None if each dataset is to be queried by itself.

        :param limits: limits of the retries, if it must be requested.
        :raises PolyteiaError: if the request failed.
        """
        if check.is_incomplete:
            self._poll_individually("the list does not show uploads")
        if self._individually:
            return None
        if not self._is_fresh():
            self._requested = asyncio.get_running_loop().time()
            self._request = asyncio.create_task(self._list(limits))
            self._request.add_done_callback(_retrieve)
        records = await asyncio.shield(self._request) if self._request else None
        return None if records is None else Listing(records, check)

    def cancel(self) -> None:
        """End a request that is under way."""
        if self._request is not None:
            self._request.cancel()

    def _is_fresh(self) -> bool:
        if self._request is None:
            return False
        age = asyncio.get_running_loop().time() - self._requested
        return not self._request.done() or age <= min(self._interval / 2, MAX_AGE)

    async def _list(self, limits: Mapping[str, float | None]) -> dict[Key, Record] | None:
        try:
            records, self._pages = await self._client.list_datasets(
                self._solution_id, interval=self._interval, **limits
            )
        except (PolyteiaBadRequestError, PolyteiaPermissionError) as error:
            if error.from_gateway:
                raise
            self._poll_individually(str(error))
            return None
        except PolyteiaNotFoundError as error:
            if error.from_gateway:
                raise
            return None  # the solution may be created later
        for check in self._checks.values():
            check.record_list(records, self._pages)
        return by_key(records)

    def _poll_individually(self, reason: str) -> None:
        if not self._individually:
            log.warning("Polling the datasets of %r individually from now on: %s", self._solution_id, reason)
        self._individually = True


def _retrieve(request: asyncio.Task[object]) -> None:
    """Retrieve an exception that no task awaits any longer, because asyncio would log it."""
    if not request.cancelled():
        request.exception()
