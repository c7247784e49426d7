"""One lookout for many watchers, through the shared streams of Airflow >= 3.3."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.triggers.shared_stream import SharedStreamProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_polyteia.triggers.lookout import Lookout, Snapshot

log = logging.getLogger(__name__)


class LookoutProducer(SharedStreamProducer):
    """Gives each snapshot to all watchers, and learns when Airflow has stored the events that they made of it."""

    def __init__(self, lookout: Lookout) -> None:
        self._lookout = lookout

    async def open_stream(self) -> AsyncIterator[tuple[Snapshot, Snapshot]]:
        """Yield each snapshot, as what the watchers see and as what `advance` is told."""
        async for snapshot in self._lookout.snapshots():
            yield snapshot, snapshot

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Let the watchers note what they have reported, now that it is stored.

        If one of them has failed, nobody knows which: then none notes it, and those that start again report it again.
        """
        for item in batch:
            if item.outcome.failed:
                continue
            for write in item.broker_payload.receipts:
                try:
                    await write()
                except Exception:  # an error here would end the stream
                    log.exception("Airflow has not stored up to where uploads were reported.")
