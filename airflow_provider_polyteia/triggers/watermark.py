"""The position up to which a watcher has reported uploads."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.records import parse_timestamp

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.records import DatasetRef

log = logging.getLogger(__name__)

BEGINNING = datetime.min.replace(tzinfo=UTC)


class Watermark:
    """The timestamp of the last upload reported, stored with the watched asset where Airflow can (>= 3.3).

    :param store: the trigger's ``asset_state_store``; None to keep the watermark in memory only.
    :param dataset: the watched dataset.

    :ivar timestamp: None before the very first poll.
    """

    def __init__(self, store: Any, dataset: DatasetRef) -> None:
        self.timestamp: datetime | None = None
        self._store = store
        self._name = f"polyteia upload {json.dumps(dataset.identifiers, sort_keys=True)}"
        self._is_loaded = False

    async def load(self, field: str | None) -> None:
        """Read it from the store, once.

        :param field: the date field that shows uploads; None for the upload itself. Each has its own watermark: their
            times cannot be compared.
        """
        if self._is_loaded:
            return
        self._name += f" {field}" if field else ""
        if self._store is not None:
            try:
                self.timestamp = parse_timestamp(await self._store.aget(self._name))
            except ValueError:
                log.warning(
                    "Several assets share one trigger, so uploads during a triggerer restart will be missed. Use a "
                    "separate trigger for each asset, e.g. with a different poke_interval."
                )
                self._store = None
        self._is_loaded = True

    async def save(self, timestamp: datetime) -> None:
        """Write it to the store."""
        if self._store is not None:
            await self._store.aset(self._name, timestamp.isoformat())
