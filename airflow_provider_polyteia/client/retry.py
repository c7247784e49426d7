"""Which failure may be repeated, and after how long. Pure, as one tenacity policy for both drivers.

========================================  ===========================  ========================================
What happened                             query, repeatable write      a write that must not be repeated
========================================  ===========================  ========================================
NEVER_SENT: no connection; or a look-up   repeat                       repeat
showed that nothing had happened
TOLD_TO_WAIT: 429                         wait as told, repeat         the same
DOUBTFUL: timed out, reset, HTTP 5xx,     repeat                       look up if that is possible, else
foreign body                                                           `PolyteiaOutcomeUnknownError`
REPORTED: error 5xx inside HTTP 2xx       repeat twice                 as doubtful
REFUSED: any other answer                 never                        never
========================================  ===========================  ========================================

Waits grow exponentially with full jitter; a ``Retry-After`` is obeyed instead, as far as the caps allow. The limits
hold for the whole call. The next attempt begins only if its wait ends before ``max_elapsed``.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from tenacity import RetryCallState, retry_if_exception

from airflow_provider_polyteia.client.methods import Repeat
from airflow_provider_polyteia.client.protocol import Answer
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

    from airflow_provider_polyteia.client.calls import Call
    from airflow_provider_polyteia.client.config import Limits

log = logging.getLogger(__name__)

FIRST_WAIT = 1.0
REQUEST_TIMEOUT = 408
_ALREADY: dict[Repeat, type[PolyteiaAPIError]] = {
    Repeat.GONE: PolyteiaNotFoundError,
    Repeat.THERE: PolyteiaConflictError,
}


class Failure(Enum):
    """The kinds of failure that are treated differently."""

    NEVER_SENT = "nothing has happened on the platform"
    TOLD_TO_WAIT = "the platform asks to come back later"
    DOUBTFUL = "nobody knows whether it has happened"
    REPORTED = "the platform itself reports an internal error"
    REFUSED = "the platform will say the same again"


def classify(error: BaseException) -> Failure:
    """Say what kind of failure an error is, by its type and attributes."""
    if isinstance(error, PolyteiaRateLimitError):
        return Failure.TOLD_TO_WAIT
    kind = _kind_of(error)
    if kind in (Failure.DOUBTFUL, Failure.REPORTED) and isinstance(error, PolyteiaError) and error.no_effect:
        return Failure.NEVER_SENT
    return kind


def _kind_of(error: BaseException) -> Failure:
    if isinstance(error, PolyteiaTransportError):
        return Failure.DOUBTFUL
    if isinstance(error, PolyteiaServerError):
        return Failure.REPORTED if error.http_status and error.http_status < 300 else Failure.DOUBTFUL  # noqa: PLR2004 - HTTP 2xx
    if isinstance(error, PolyteiaProtocolError):
        redirect = error.http_status is not None and 300 <= error.http_status < 400  # noqa: PLR2004 - HTTP 3xx
        return Failure.REFUSED if redirect else Failure.DOUBTFUL
    if isinstance(error, PolyteiaAPIError) and error.http_status == REQUEST_TIMEOUT:
        return Failure.DOUBTFUL
    if isinstance(error, PolyteiaAPIError) and error.is_unclear:
        return Failure.REPORTED
    return Failure.REFUSED


def is_passing(error: BaseException) -> bool:
    """Tell whether the same call may succeed later, if nothing is changed but the time."""
    return isinstance(error, PolyteiaError) and classify(error) is not Failure.REFUSED


class Attempts:
    """The attempts at one call: what has happened so far decides what may happen next.

    :param clock: seconds on a clock that never goes back.
    :param jitter: returns a random number from 0 to 1.
    :param deadline: on that clock; no further attempt begins later. None: ``max_elapsed`` from now.
    """

    def __init__(
        self,
        call: Call,
        limits: Limits,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        deadline: float | None = None,
    ) -> None:
        self.call = call
        self.limits = limits
        self.started = clock()
        self.deadline = self.started + limits.max_elapsed if deadline is None else deadline
        self.failed = 0
        self.reported = 0
        self.in_doubt = False
        self.next_wait = 0.0
        self._clock = clock
        self._jitter = jitter

    def settle(self, error: PolyteiaError) -> Answer:
        """Take note of a failed attempt.

        :return: an empty answer, if the failure shows that an earlier attempt in doubt had done its work.
        :raises PolyteiaError: the error itself, or PolyteiaOutcomeUnknownError if nobody knows what happened.
        """
        self.failed += 1
        if self._is_already_done(error):
            log.info("%s An earlier attempt, whose answer was lost, had done it.", error)
            return Answer(None)
        if classify(error) in (Failure.DOUBTFUL, Failure.REPORTED):
            self.in_doubt = True
        redirected = isinstance(error, PolyteiaProtocolError) and not error.no_effect
        if not self.call.repeatable and (redirected or classify(error) in (Failure.DOUBTFUL, Failure.REPORTED)):
            raise outcome_unknown(self.call, error) from error
        raise error

    def _is_already_done(self, error: PolyteiaError) -> bool:
        """A repeated delete that finds nothing, a repeated add that finds it there (API reference 4, column R)."""
        already = _ALREADY.get(self.call.method.repeat)
        # A gateway without a backend answers 404 as well, but not in the platform's form.
        return self.in_doubt and already is not None and isinstance(error, already) and not error.is_foreign

    def may_repeat(self, error: BaseException) -> bool:
        """Tell whether the call may be sent again after `error`, and plan the wait before that."""
        if not isinstance(error, PolyteiaError) or not is_passing(error):
            return False
        self.next_wait = self._wait_after(error)
        self.reported += _kind_of(error) is Failure.REPORTED
        return True

    def _wait_after(self, error: PolyteiaError) -> float:
        told = error.retry_after if isinstance(error, PolyteiaAPIError) else None
        if told is not None:
            return min(told, self.limits.max_wait)
        ceiling = min(self.limits.max_wait, FIRST_WAIT * 2.0 ** min(self.failed - 1, 30))
        return self._jitter() * ceiling

    @property
    def is_spent(self) -> bool:
        """True if the limits allow no further attempt after the wait planned."""
        late = self._clock() + self.next_wait > self.deadline
        return late or self.failed >= self.limits.max_attempts or self.reported >= self.limits.max_reported

    def policy(self, sleep: Callable[[float], Any]) -> dict[str, Any]:
        """Return the arguments of `tenacity.Retrying` or `tenacity.AsyncRetrying`."""
        return {
            "retry": retry_if_exception(self.may_repeat),
            "stop": lambda _: self.is_spent,
            "wait": lambda _: self.next_wait,
            "sleep": sleep,
            "before_sleep": self._warn,
            "retry_error_callback": self._raise,
        }

    def _warn(self, state: RetryCallState) -> None:
        log.warning(
            "Attempt %d of %d failed, next one in %.1f s: %s",
            self.failed,
            self.limits.max_attempts,
            self.next_wait,
            state.outcome.exception() if state.outcome else None,
        )

    def _raise(self, state: RetryCallState) -> NoReturn:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, PolyteiaError):
            raise TypeError(f"gave up without an error of ours: {error!r}")
        if self.in_doubt and not self.call.repeatable:
            self.admit_doubt(error)
        reported = f"max_reported={self.limits.max_reported}, " if self.reported else ""
        error.add_text(
            f"Gave up after {self.failed} attempt(s) in {self._clock() - self.started:.1f} s; the limits are "
            f"max_attempts={self.limits.max_attempts}, {reported}max_elapsed={self.limits.max_elapsed:g} s."
        )
        raise error

    def admit_doubt(self, error: PolyteiaError) -> None:
        """Say that this error is not the last word on what has happened."""
        error.no_effect = False
        error.add_text("An earlier attempt got no answer and may still arrive.")


def outcome_unknown(call: Call, error: PolyteiaError, reason: str = "") -> PolyteiaOutcomeUnknownError:
    """Build the error of a write that may or may not have happened."""
    identity = ", ".join(f"{key}={value!r}" for key, value in call.identity.items()) or "no ids"
    return PolyteiaOutcomeUnknownError(
        f"{error} Nobody knows whether {call.method.name!r} ({identity}) was carried out, and it must not be sent "
        f"twice, so it was not repeated. {reason}Look in Polyteia whether it happened; if it did not, clear this task "
        "to send it again.",
        identity=call.identity,
        method=call.method.name,
        conn_id=error.conn_id,
    )
