"""Decides when a solution's list is believed, and when a dataset is queried by itself. Performs no I/O."""

from __future__ import annotations

import heapq
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_polyteia.exceptions import PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_polyteia.client.records import DatasetRef, Record, Upload

log = logging.getLogger(__name__)

REQUESTS_PER_POLL = 3
_FORGOTTEN_AFTER = 3  # polls without a question about a dataset

Key: TypeAlias = "tuple[str, Any]"


def key_of(dataset: DatasetRef) -> Key:
    """Return what identifies a dataset within the list of its solution."""
    return ("id", dataset.dataset_id) if dataset.dataset_id else ("slug", dataset.slug)


def by_key(records: Iterable[Record]) -> dict[Key, Record]:
    """Return records by their ids and by their slugs."""
    return {(name, record.get(name)): record for record in records for name in ("id", "slug")}


class ListingCheck:
    """Checks whether a solution's list shows the same as `get_dataset`, which is undocumented.

    - While the list has shown no upload at all, watched datasets are sampled in turn, as many per poll as make three
      requests with the list, but at least one. If one of them has an upload, the list hides uploads: it is incomplete
      (docs/platform-api.md#dataset-lists).
    - A dataset that is missing from the list (an item may slip through between two pages; or it belongs to another
      solution) is queried by itself. If it exists, so it is from then on; if not, it is sampled as above.

    :param last_upload: reads the last upload from a record.
    """

    def __init__(self, last_upload: Callable[[Record], Upload | None]) -> None:
        self.is_incomplete = False
        self._last_upload = last_upload
        self._shows_uploads = False
        self._polls = 0
        self._asked: dict[Key, int] = {}  # the number of the poll in which a dataset was asked for
        self._sampled: dict[Key, int] = {}  # ... and in which it was sampled
        self._due: set[Key] = set()
        self._absent: set[Key] = set()  # missing from the list, and did not exist when queried
        self._unlisted: set[Key] = set()  # missing from the list, but exist

    def note(self, key: Key) -> None:
        """Note that a dataset is watched."""
        self._asked[key] = self._polls

    def record_list(self, records: list[Record], pages: int) -> None:
        """Record a list, and choose the datasets to sample.

        :param pages: number of requests that the list took.
        """
        self._polls += 1
        self._shows_uploads = self._shows_uploads or any(map(self._shows_upload, records))
        self._asked = {key: asked for key, asked in self._asked.items() if self._polls - asked <= _FORGOTTEN_AFTER}
        self._absent &= self._asked.keys()
        self._unlisted &= self._asked.keys()
        doubtful = self._absent if self._shows_uploads else self._asked.keys()
        budget = max(1, REQUESTS_PER_POLL - pages)
        self._due = set(heapq.nsmallest(budget, doubtful, key=lambda key: self._sampled.get(key, 0)))
        self._sampled = {key: sampled for key, sampled in self._sampled.items() if key in self._asked}
        self._sampled.update(dict.fromkeys(self._due, self._polls))

    def should_query(self, key: Key, listed: Record | None, *, verify: bool) -> bool:
        """Return True if a watched dataset is to be queried although there is a list.

        :param listed: what the list shows of it.
        :param verify: whether the result must be right, however many requests that takes.
        """
        self.note(key)
        is_due = key in self._due
        self._due.discard(key)  # several waits for a dataset need one sample
        if listed is None:
            return verify or is_due or key in self._unlisted or key not in self._absent
        self._unlisted.discard(key)
        self._absent.discard(key)
        return (verify or is_due) and not self._shows_uploads and not self._shows_upload(listed)

    def compare(self, key: Key, listed: Record | None, found: Record | None) -> None:
        """Compare what the list shows of a dataset with what querying it returned; None if it does not exist."""
        if found is None:
            self._unlisted.discard(key)
            self._absent.add(key)
        elif listed is not None:
            self.is_incomplete = self.is_incomplete or self._shows_upload(found)
        elif key not in self._unlisted:
            name, value = key
            log.warning(
                "The dataset with %s %r is missing from the solution's dataset list; polling it individually.",
                name,
                value,
            )
            self._absent.discard(key)
            self._unlisted.add(key)

    def _shows_upload(self, record: Record) -> bool:
        try:
            return self._last_upload(record) is not None
        except PolyteiaError:  # an invalid upload is an upload
            return True
