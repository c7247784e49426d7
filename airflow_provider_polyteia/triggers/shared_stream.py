"""One poller for many watchers, through the shared streams of Airflow >= 3.3."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.triggers.shared_stream import SharedStreamProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_polyteia.triggers.poller import DatasetPoller, PollResult

log = logging.getLogger(__name__)


class PollerProducer(SharedStreamProducer):
    """Hands each poll result to all watchers, and is notified when Airflow has stored the events made from it."""

    def __init__(self, poller: DatasetPoller) -> None:
        self._poller = poller

    async def open_stream(self) -> AsyncIterator[tuple[PollResult, PollResult]]:
        """Yield each result, for the watchers and for `advance`."""
        async for result in self._poller.results():
            yield result, result

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Let the watchers store what they reported, now that the events are stored.

        If one of them failed, Airflow does not say which: then none stores it, and those that start again repeat it.
        """
        for item in batch:
            if item.outcome.failed:
                continue
            for store in item.broker_payload.on_stored:
                try:
                    await store()
                except Exception:  # an exception here would end the stream
                    log.exception("Could not store the watermark of reported uploads.")
