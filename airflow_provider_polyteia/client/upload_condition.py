"""What a wait waits for, and when to poll again. Performs no I/O.

Workers and triggerers both decide here, so that a wait ends alike wherever it runs.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_polyteia.client.records import DatasetRef, parse_timestamp
from airflow_provider_polyteia.exceptions import PolyteiaNotFoundError

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.records import Upload
    from airflow_provider_polyteia.exceptions import PolyteiaError

MIN_INTERVAL = 0.01  # seconds; without a pause a wait would keep the triggerer busy
LAST_POLL = 5.0  # seconds before the deadline in which a wait polls for the last time


class UploadCondition(NamedTuple):
    """The upload that a wait waits for.

    :param dataset: the dataset.
    :param uploaded_after: only match uploads after this time. Default: None, any upload.
    :param min_size: minimum size in bytes. Default: None, any size.
    :param wait_for_creation: whether a dataset that does not exist yet is waited for. Default: False, it is an error.
    :param timestamp_field: date field of the dataset's record that shows an upload. Default: None, the time of the
        upload itself, or ``data_as_of`` on the RPC API, which does not show it.
    """

    dataset: DatasetRef
    uploaded_after: datetime | None = None
    min_size: int | None = None
    wait_for_creation: bool = False
    timestamp_field: str | None = None

    def matches(self, upload: Upload | None) -> bool:
        """Return True if this is the upload that is waited for."""
        if upload is None:
            return False
        late_enough = self.uploaded_after is None or upload.timestamp > self.uploaded_after
        big_enough = self.min_size is None or (upload.size is not None and upload.size >= self.min_size)
        return late_enough and big_enough

    def ignores(self, error: PolyteiaError) -> bool:
        """Return True if an error only means that the dataset does not exist yet."""
        return self.wait_for_creation and isinstance(error, PolyteiaNotFoundError)


@dataclass(frozen=True, kw_only=True)
class UploadWait:
    """The options of a deferred wait for an upload: what a sensor hands to its trigger. Plain JSON, no secret.

    :param polyteia_conn_id: Airflow connection to Polyteia.
    :param dataset_id: id of the dataset; or
    :param solution_id: id of its solution, and
    :param slug: slug of the dataset in that solution.
    :param uploaded_after: only match uploads after this time (ISO 8601). Default: None, any upload.
    :param min_size: minimum size in bytes. Default: None, any size.
    :param wait_for_creation: whether a dataset that does not exist yet is waited for. Default: False.
    :param timestamp_field: date field of the record that shows an upload. Default: None, as in `UploadCondition`.
    :param poke_interval: time in seconds between two polls. Default: 60.
    :param exponential_backoff: whether the interval doubles from poll to poll. Default: False.
    :param max_wait: maximum interval in seconds. Default: None, no maximum.
    :param max_attempts: maximum number of attempts per poll. Default: None, as in the connection.
    :param deadline: when to give up (ISO 8601). Default: None, never.
    :param silent_fail: whether to continue after any error that does not fail a task immediately. Default: False.
    """

    polyteia_conn_id: str
    dataset_id: str | None = None
    solution_id: str | None = None
    slug: str | None = None
    uploaded_after: str | None = None
    min_size: int | None = None
    wait_for_creation: bool = False
    timestamp_field: str | None = None
    poke_interval: float = 60.0
    exponential_backoff: bool = False
    max_wait: float | None = None
    max_attempts: int | None = None
    deadline: str | None = None
    silent_fail: bool = False

    def serialize(self) -> dict[str, Any]:
        """Return the options as keyword arguments."""
        return asdict(self)

    @cached_property
    def condition(self) -> UploadCondition:
        """The upload that is waited for."""
        return UploadCondition(
            DatasetRef.of(self.dataset_id, self.solution_id, self.slug),
            uploaded_after=parse_timestamp(self.uploaded_after),
            min_size=self.min_size,
            wait_for_creation=self.wait_for_creation,
            timestamp_field=self.timestamp_field,
        )

    @property
    def seconds_left(self) -> float | None:
        """Time in seconds until the deadline; negative after it, None without one."""
        return None if self._deadline is None else (self._deadline - datetime.now(UTC)).total_seconds()

    @property
    def is_over(self) -> bool:
        """True after the deadline."""
        left = self.seconds_left
        return left is not None and left <= 0

    def next_delay(self, polls: int, offset: float, now: float) -> float:
        """Return the time in seconds until the next poll, or until the deadline if there is none before.

        The intervals are those of BaseSensorOperator. There is at least one poll, however late a trigger starts again,
        and a last one shortly before the deadline.

        :param polls: number of polls so far.
        :param offset: at which part of an interval to poll (0 to 1), if all intervals are equal.
        :param now: time on a clock that all waits share.
        """
        delay, left = self._interval(polls, offset, now), self.seconds_left
        if left is None:
            return delay
        before_last = left - self._time_for_last_poll
        if delay < before_last:
            return delay
        if before_last > 0:
            return before_last
        return min(delay, max(left, 0.0)) if polls else 0.0

    def time_for_poll(self, polls: int) -> float | None:
        """Return the time in seconds after which a poll is given up; None without a deadline.

        :param polls: number of polls before it.
        """
        left = self.seconds_left
        return left if left is None or polls or left > 1 else LAST_POLL

    @property
    def is_last_poll(self) -> bool:
        """True if perhaps no other poll follows before the deadline. Clocks differ, so a little too early."""
        left = self.seconds_left
        return left is not None and left <= 1.5 * self._time_for_last_poll

    @property
    def _time_for_last_poll(self) -> float:
        return min(LAST_POLL, self.poke_interval / 2)

    @cached_property
    def _deadline(self) -> datetime | None:
        return parse_timestamp(self.deadline)

    def _interval(self, polls: int, offset: float, now: float) -> float:
        interval = max(self.poke_interval, MIN_INTERVAL)
        if not self.exponential_backoff or not polls:
            return (offset * interval - now) % interval
        least = max(interval * 2.0 ** min(polls - 2, 30), 1.0)
        bounds = [random.uniform(least, 2 * least), self.max_wait]  # noqa: S311 - no secret
        return max(0.0, min(bound for bound in bounds if bound is not None))
