"""How to wait for an ingest, and what its states mean. Performs no I/O: workers and triggerers both decide here.

The platform accepts an upload first, and ingests it later (docs/platform-api.md#rpc-uploads). Whatever goes wrong after
it was accepted, the file is not sent again: the ingest may still complete.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_polyteia.client.retries import is_transient
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaIngestError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_polyteia.client.records import Ingest

log = logging.getLogger(__name__)

FIRST_DELAY = 0.5
LAST_POLL = 5.0  # seconds
VISIBILITY = 30.0  # seconds; a new ingest may take some time to become visible
COMPLETED, FAILED = "completed", "failed"
_RUNNING = ("pending", "running")
# Others would be retried by Airflow, which would send the file again.
_FAILING_IMMEDIATELY = (
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
)


class IngestWait:
    """The wait for one ingest. The first polls come fast, because most ingests are short.

    ::

        while True:
            sleep(wait.next_delay())
            try:
                if wait.is_completed(poll()):
                    return
            except PolyteiaError as error:
                wait.record_failure(error)

    :param conn_id: id of the Airflow connection, for exceptions.
    :param timeout: time in seconds after which to give up.
    :param poll_interval: longest time in seconds between two polls.
    :param clock: returns seconds on a clock that never goes back.
    :param first_delay: time in seconds until the first poll; it doubles from poll to poll. Default: 0.5.
    """

    def __init__(
        self,
        dataset_id: str,
        ingest_id: str,
        conn_id: str,
        *,
        timeout: float,
        poll_interval: float,
        clock: Callable[[], float],
        first_delay: float = FIRST_DELAY,
    ) -> None:
        self._dataset_id = dataset_id
        self._ingest_id = ingest_id
        self._conn_id = conn_id
        self._poll_interval = poll_interval
        self._clock = clock
        self._first_delay = first_delay
        self._deadline = clock() + timeout
        self._polls = 0
        self._missing_since: float | None = None
        self._unknown_status = ""

    def next_delay(self) -> float:
        """Return the time in seconds until the next poll. There is at least one, however late a trigger starts again.

        :raises PolyteiaOutcomeUnknownError: if the time is over.
        """
        left = max(self._deadline - self._clock(), 0.0)
        if not left and self._polls:
            raise self._unfinished("did not finish within its time limit, and may still complete")
        delay = min(self._first_delay * 2.0 ** min(self._polls, 30), self._poll_interval, left)
        self._polls += 1
        return delay

    def time_for_poll(self) -> float:
        """Return the time in seconds after which a poll is given up: the last one begins at the time limit."""
        return max(self._deadline - self._clock(), LAST_POLL)

    def is_completed(self, ingest: Ingest) -> bool:
        """Return True if the data is there, False while the ingest is running.

        :raises PolyteiaIngestError: if it failed.
        """
        self._missing_since = None
        if ingest.status == FAILED:
            raise self._failed(ingest.message)
        if ingest.status not in (*_RUNNING, COMPLETED, self._unknown_status):
            log.warning("Ingest %s is in the unknown state %r; waiting for it.", self._label, ingest.status)
            self._unknown_status = ingest.status
        return ingest.status == COMPLETED

    def record_failure(self, error: PolyteiaError) -> None:
        """Decide what a failed poll means; return if the next one may succeed.

        :raises PolyteiaOutcomeUnknownError: if no later poll can succeed, or the platform no longer knows the ingest.
        :raises PolyteiaError: one that fails the task immediately, such as for a rejected key.
        """
        if isinstance(error, PolyteiaIngestError):
            raise error
        if isinstance(error, _FAILING_IMMEDIATELY):
            raise error.extended(f"The upload was accepted before that: ingest {self._label} may still complete.")
        is_from_gateway = isinstance(error, PolyteiaAPIError) and error.from_gateway
        if isinstance(error, PolyteiaNotFoundError) and not is_from_gateway:
            self._record_miss()
        elif not (is_transient(error) or is_from_gateway):
            log.warning("A poll of ingest %s failed: %s", self._label, error)
            raise self._unfinished("could not be followed to its end, and may still complete") from None
        log.warning("A poll of ingest %s failed, continuing to wait: %s", self._label, error)

    def _record_miss(self) -> None:
        now = self._clock()
        if self._missing_since is None:
            self._missing_since = now
        if now - self._missing_since >= VISIBILITY:
            raise self._unfinished("is no longer known to the platform, which does not say how it ended") from None

    @property
    def _label(self) -> str:
        return f"{self._ingest_id!r} of dataset {self._dataset_id!r} (connection {self._conn_id!r})"

    def _failed(self, message: str) -> PolyteiaIngestError:
        reason = f"The platform says: {message!r}." if message else "The platform gives no reason."
        return PolyteiaIngestError(
            f"Ingest {self._label} failed. {reason} The file was accepted, but its data did not get into the dataset; "
            "whether the previous data is still there is unknown. Correct the file, then run this task again.",
            dataset_id=self._dataset_id,
            ingest_id=self._ingest_id,
            message=message,
            conn_id=self._conn_id,
        )

    def _unfinished(self, problem: str) -> PolyteiaOutcomeUnknownError:
        return unfinished(self._dataset_id, self._ingest_id, self._conn_id, problem)


def unfinished(dataset_id: str, ingest_id: str, conn_id: str, problem: str) -> PolyteiaOutcomeUnknownError:
    """Return the exception for an upload that was accepted, and whose ingest ended in an unknown way.

    :param ingest_id: empty if it is not known here; the log of the upload has it.
    :param problem: the rest of a sentence about the ingest.
    """
    which = f"ingest {ingest_id!r}" if ingest_id else "its ingest (see the id in the log of the upload)"
    return PolyteiaOutcomeUnknownError(
        f"The upload into dataset {dataset_id!r} (connection {conn_id!r}) was accepted but is not finished: {which} "
        f"{problem}. The file is not sent again. Check in Polyteia whether the data is there; if not, clear this task "
        "to run it again.",
        identifiers={"id": dataset_id, "ingestId": ingest_id},
        conn_id=conn_id,
    )
