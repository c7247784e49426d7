"""Polls a dataset for one wait: by the list of its solution if other waits need that too, otherwise by itself."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_polyteia.client.retries import is_transient
from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaNotFoundError, PolyteiaRateLimitError
from airflow_provider_polyteia.triggers.listing_check import key_of
from airflow_provider_polyteia.triggers.solution_poll import solution_poll

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.records import Record, Upload
    from airflow_provider_polyteia.client.upload_condition import UploadWait
    from airflow_provider_polyteia.triggers.shared_client import SharedClient
    from airflow_provider_polyteia.triggers.solution_poll import Listing, SolutionPoll

log = logging.getLogger(__name__)


class UploadPoll:
    """The polls of one wait, which may share them with others.

    A wait by id learns its solution from the first response. A wait whose intervals grow shares nothing.
    """

    def __init__(self, client: SharedClient, wait: UploadWait) -> None:
        self._client = client
        self._wait = wait
        self._dataset = wait.condition.dataset
        self._key = key_of(self._dataset)
        self._offset = client.poll_offset()
        self._shared: SolutionPoll | None = None
        self._left = AsyncExitStack()
        attempts = wait.max_attempts
        self._limits: dict[str, float | None] = {"max_attempts": attempts, "max_server_errors": attempts}

    @property
    def offset(self) -> float:
        """At which part of an interval to poll, from 0 to 1."""
        return self._shared.offset if self._shared else self._offset

    async def __aenter__(self) -> Self:
        await self._share(self._dataset.solution_id)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._left.aclose()

    async def last_upload(self, *, is_last: bool) -> Upload | None:
        """Poll, and return the dataset's last upload; None without one.

        :param is_last: whether no other poll follows, so that this one must see what a list may hide.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        api = await self._client.api(interval=self._wait.poke_interval, **self._limits)
        condition = self._wait.condition
        api.check_condition(condition)
        listing = await self._listing(api)
        if listing is not None:
            listed = listing.records.get(self._key)
            if not listing.check.should_query(self._key, listed, verify=is_last):
                with suppress(PolyteiaError):  # the list may show only a part of the record
                    return api.last_upload(listed, condition) if listed else None
        return api.last_upload(await self._queried(listing), condition)

    async def _share(self, solution_id: object) -> None:
        if isinstance(solution_id, str) and solution_id and not self._shared and not self._wait.exponential_backoff:
            poll = solution_poll(self._client, solution_id, self._wait.poke_interval)
            self._shared = await self._left.enter_async_context(poll)

    async def _listing(self, api: PlatformAPI) -> Listing | None:
        """Return the list; None if there is none, so that its failure does not end a wait that does not need it."""
        if self._shared is None:
            return None
        check = self._shared.check(api, self._wait.timestamp_field)
        check.note(self._key)
        if not self._shared.is_worthwhile:
            return None
        try:
            return await self._shared.listing(check, **self._limits)
        except PolyteiaError as error:
            is_general = isinstance(error, AirflowFailException | PolyteiaRateLimitError) or not is_transient(error)
            if is_general:  # true for the dataset as well
                raise
            log.debug("Querying dataset %s by itself, because the list failed: %s", self._dataset, error)
            return None

    async def _queried(self, listing: Listing | None) -> Record:
        """Query the dataset by itself, and compare it with the list, if there is one."""
        try:
            record = await self._client.run(
                lambda api: api.get_dataset(self._dataset), interval=self._wait.poke_interval, **self._limits
            )
        except PolyteiaNotFoundError:
            if listing is not None:
                listing.check.compare(self._key, listing.records.get(self._key), None)
            raise
        if listing is not None:
            listing.check.compare(self._key, listing.records.get(self._key), record)
        await self._share(record.get("solution_id"))
        return record
