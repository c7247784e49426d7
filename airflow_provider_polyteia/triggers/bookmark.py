"""Up to which upload a watcher has reported."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.records import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

BEGINNING = datetime.min.replace(tzinfo=UTC)


class Bookmark:
    """The moment of the last upload reported, kept with the watched asset where Airflow can (>= 3.3).

    :param store: the trigger's ``asset_state_store``; None: the bookmark lives in memory only.
    :param reference: what is watched.
    """

    def __init__(self, store: Any, reference: Mapping[str, str]) -> None:
        self.moment: datetime | None = None  # None: nothing is known, this is the first look ever
        self._store = store
        self._name = f"polyteia upload {json.dumps(dict(reference), sort_keys=True)}"
        self._is_loaded = False

    async def load(self) -> None:
        """Read it, once."""
        if self._is_loaded:
            return
        if self._store is not None:
            try:
                self.moment = moment(await self._store.aget(self._name))
            except ValueError:
                log.warning(
                    "Several assets share one trigger; uploads during a restart of the triggerer will be missed. "
                    "Give each asset a watcher with a trigger of its own, e.g. with another poke_interval."
                )
                self._store = None
        self._is_loaded = True

    async def save(self, reported: datetime) -> None:
        """Write it."""
        if self._store is not None:
            await self._store.aset(self._name, reported.isoformat())
