"""Decides which failures are retried and after what delay. Performs no I/O; both clients use the same tenacity policy.

========================================  ===========================  ========================================
Failure                                   query, idempotent write      a write that is not idempotent
========================================  ===========================  ========================================
NOT_SENT: no connection, or a lookup      retry                        retry
confirmed that nothing was applied
RATE_LIMITED: 429                         wait as requested, retry     the same
OUTCOME_UNKNOWN: timeout, reset,          retry                        look up if that is possible, else
HTTP 5xx, unexpected body; RPC API: 404                                `PolyteiaOutcomeUnknownError`
after a write that is not idempotent
SERVER_ERROR: error 5xx inside HTTP 2xx   retry twice                  as OUTCOME_UNKNOWN
REJECTED: any other response              never                        never
========================================  ===========================  ========================================

Delays grow exponentially with full jitter; a ``Retry-After`` is used instead, as far as the limits allow. The limits
apply to the whole operation. The next attempt only begins if its delay ends before ``max_elapsed``.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from tenacity import RetryCallState, retry_if_exception

from airflow_provider_polyteia.client.operation import Idempotency
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaProtocolError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
    PolyteiaTransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_polyteia.client.config import Limits
    from airflow_provider_polyteia.client.operation import Operation

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0
REQUEST_TIMEOUT = 408
_ALREADY_APPLIED: dict[Idempotency, type[PolyteiaAPIError]] = {
    Idempotency.DELETES: PolyteiaNotFoundError,
    Idempotency.ADDS: PolyteiaConflictError,
}


class Failure(Enum):
    """The kinds of failure that are treated differently."""

    NOT_SENT = "nothing was applied"
    RATE_LIMITED = "the platform asks to wait"
    OUTCOME_UNKNOWN = "the request may have been applied"
    SERVER_ERROR = "the platform reports an internal error"
    REJECTED = "the platform would respond the same again"


def classify(error: BaseException) -> Failure:
    """Return the kind of failure, by the exception's type and attributes."""
    if isinstance(error, PolyteiaRateLimitError):
        return Failure.RATE_LIMITED
    kind = _kind_as_received(error)
    if isinstance(error, PolyteiaNotFoundError) and error.not_applied:
        return Failure.REJECTED  # what the request refers to does not exist
    is_unknown = kind in (Failure.OUTCOME_UNKNOWN, Failure.SERVER_ERROR)
    return Failure.NOT_SENT if is_unknown and isinstance(error, PolyteiaError) and error.not_applied else kind


def _kind_as_received(error: BaseException) -> Failure:
    """Return the kind of failure, leaving aside what a lookup found out afterwards."""
    if isinstance(error, PolyteiaTransportError):
        return Failure.OUTCOME_UNKNOWN
    if isinstance(error, PolyteiaServerError):
        return Failure.SERVER_ERROR if error.is_inside_success else Failure.OUTCOME_UNKNOWN
    if isinstance(error, PolyteiaProtocolError):
        return Failure.REJECTED if error.is_permanent or _is_redirect(error) else Failure.OUTCOME_UNKNOWN
    if isinstance(error, PolyteiaAPIError) and (error.may_be_applied or error.http_status == REQUEST_TIMEOUT):
        return Failure.OUTCOME_UNKNOWN
    if isinstance(error, PolyteiaAPIError) and error.is_ambiguous:
        return Failure.SERVER_ERROR
    return Failure.REJECTED


def _is_redirect(error: PolyteiaProtocolError) -> bool:
    return error.http_status is not None and 300 <= error.http_status < 400  # noqa: PLR2004 - HTTP 3xx


def is_transient(error: BaseException) -> bool:
    """Return True if the same operation may succeed later without any change."""
    return isinstance(error, PolyteiaError) and classify(error) is not Failure.REJECTED


class Attempts:
    """The attempts at one operation: what happened so far decides what may happen next.

    :param clock: returns seconds on a clock that never goes back.
    :param jitter: returns a random number from 0 to 1.
    :param deadline: time on that clock after which no attempt begins. Default: ``max_elapsed`` from now.
    """

    def __init__(
        self,
        operation: Operation[Any],
        limits: Limits,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        deadline: float | None = None,
    ) -> None:
        self.operation = operation
        self.limits = limits
        self.started = clock()
        self.deadline = self.started + limits.max_elapsed if deadline is None else deadline
        self.failed = 0
        self.server_errors = 0
        self.outcome_unknown = False
        self.next_delay = 0.0
        self._clock = clock
        self._jitter = jitter
        self._attempt_started = self.started

    def begin(self) -> None:
        """Record the start of an attempt."""
        self._attempt_started = self._clock()

    def record_failure(self, error: PolyteiaError) -> None:
        """Record a failed attempt.

        Return if the failure shows that an earlier attempt, whose outcome was unknown, had been applied.

        :raises PolyteiaError: the error itself, or PolyteiaOutcomeUnknownError if it is unknown what happened.
        """
        self.failed += 1
        if self.operation.is_transfer:
            self.deadline += self._clock() - self._attempt_started
        if self._is_already_applied(error):
            log.info("%s An earlier attempt, whose response was lost, had been applied.", error)
            return
        is_unknown = classify(error) in (Failure.OUTCOME_UNKNOWN, Failure.SERVER_ERROR)
        self.outcome_unknown = self.outcome_unknown or is_unknown
        is_unexpected = isinstance(error, PolyteiaProtocolError) and not error.not_applied
        if not self.operation.is_idempotent and (is_unexpected or is_unknown):
            raise outcome_unknown(self.operation, error) from None
        raise error

    def _is_already_applied(self, error: PolyteiaError) -> bool:
        """Return True for a retried delete that finds nothing, or a retried add that finds it there."""
        expected = _ALREADY_APPLIED.get(self.operation.idempotency)
        # A gateway without a backend responds with 404 as well, but not in the platform's form.
        return self.outcome_unknown and expected is not None and isinstance(error, expected) and not error.from_gateway

    def should_retry(self, error: BaseException) -> bool:
        """Return True if the operation may be sent again after `error`, and plan the delay before that."""
        if not isinstance(error, PolyteiaError) or not is_transient(error):
            return False
        self.next_delay = self._delay_after(error)
        self.server_errors += _kind_as_received(error) is Failure.SERVER_ERROR
        return True

    def _delay_after(self, error: PolyteiaError) -> float:
        retry_after = error.retry_after if isinstance(error, PolyteiaAPIError) else None
        if retry_after is not None:
            return min(retry_after, self.limits.max_wait)
        ceiling = min(self.limits.max_wait, FIRST_DELAY * 2.0 ** min(self.failed - 1, 30))
        return self._jitter() * ceiling

    @property
    def exhausted(self) -> bool:
        """True if the limits allow no further attempt after the planned delay."""
        late = self._clock() + self.next_delay > self.deadline
        too_many = self.failed >= self.limits.max_attempts or self.server_errors >= self.limits.max_server_errors
        return late or too_many

    def policy(self, sleep: Callable[[float], Any]) -> dict[str, Any]:
        """Return the arguments of `tenacity.Retrying` or `tenacity.AsyncRetrying`."""
        return {
            "retry": retry_if_exception(self.should_retry),
            "stop": lambda _: self.exhausted,
            "wait": lambda _: self.next_delay,
            "sleep": sleep,
            "before_sleep": self._log_retry,
            "retry_error_callback": self._give_up,
        }

    def _log_retry(self, state: RetryCallState) -> None:
        log.warning(
            "Attempt %d of %d failed, retrying in %.1f s: %s",
            self.failed,
            self.limits.max_attempts,
            self.next_delay,
            state.outcome.exception() if state.outcome else None,
        )

    def _give_up(self, state: RetryCallState) -> NoReturn:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, PolyteiaError):
            raise TypeError(f"gave up without an exception of this provider: {error!r}")
        if self.outcome_unknown and not self.operation.is_idempotent:
            error = note_unknown_outcome(error)
        server_errors = f"max_server_errors={self.limits.max_server_errors}, " if self.server_errors else ""
        attempts = f"{self.failed} attempt" + ("" if self.failed == 1 else "s")
        raise error.extended(
            f"Giving up after {attempts} in {self._clock() - self.started:.1f} s (limits: "
            f"max_attempts={self.limits.max_attempts}, {server_errors}max_elapsed={self.limits.max_elapsed:g} s)."
        )


def note_unknown_outcome(error: PolyteiaError) -> PolyteiaError:
    """Return the exception with the note that it does not say what an earlier attempt did."""
    return error.extended(
        "An earlier attempt received no usable response and may still be processed.", not_applied=False
    )


def outcome_unknown(operation: Operation[Any], error: PolyteiaError, reason: str = "") -> PolyteiaOutcomeUnknownError:
    """Return the exception for a write that may have been applied.

    :param reason: a sentence about a lookup that failed.
    """
    identifiers = operation.describe() or "no identifiers"
    return PolyteiaOutcomeUnknownError(
        f"{error} It is unknown whether {operation.name!r} ({identifiers}) was applied. Because the request is not "
        f"idempotent, it was not retried. {reason}Check in Polyteia whether it was applied; if not, clear this task to "
        "run it again.",
        identifiers=operation.identifiers,
        method=operation.name,
        conn_id=error.conn_id,
    )
