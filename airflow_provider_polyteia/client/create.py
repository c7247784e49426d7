"""Create something exactly once, on a platform that has no idempotency keys.

Theory of operation
-------------------
A dataset is identified within the platform by its solution and slug (API reference 4.4). The happy path is one
request. When a create fails in a way that does not prove that nothing happened, the resource is looked up by that
natural key:

* found: it is the result. `Created.origin` says whether an attempt of ours has made it, or whether it was there
  before, so that the caller can decide what to do about a resource that is not new.
* not found: the create did not happen and is repeated, within the limits of the whole call. If a slow first attempt
  arrives after all, the platform refuses the repeat because the slug is taken, and the next look-up finds it. Where
  nobody promises that the platform refuses a second one (`Method.unique`), a doubtful create is not repeated.
* the look-up itself fails: nobody knows, and `PolyteiaOutcomeUnknownError` says so.

The platform reports a taken slug as error 500 inside HTTP 200, or 400 (API reference 3.3), so a refusal is looked
up as well.

Whether a resource found is ours is told by its contents and by when it was made. Both moments are read from the
platform's clock: ``created_at`` of the resource, and the ``Date`` of the look-up's answer less the time that has
passed here since the first attempt. ``Date`` has whole seconds, and the two clocks may be a little apart, so there are
some seconds in which it cannot be told.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_polyteia.client.calls import make_call
from airflow_provider_polyteia.client.protocol import Answer, converse
from airflow_provider_polyteia.client.records import moment
from airflow_provider_polyteia.client.retry import FIRST_WAIT, Attempts, Failure, classify, outcome_unknown
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
)

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.calls import Call
    from airflow_provider_polyteia.client.sync import PolyteiaClient

log = logging.getLogger(__name__)

_CLOCK_STEP = timedelta(seconds=1)  # how exact the header Date is
_CLOCKS_APART = timedelta(seconds=2)  # how far the platform's database may be behind its web server
_CLOCK_ERROR = timedelta(minutes=5)  # how far our clock may be off, if the platform does not tell its own


class Origin(Enum):
    """Where the resource comes from that a create ended with."""

    MADE = "this call has made it"
    UNSURE = "this call has made it, or somebody else a moment before"
    EXISTING = "it was there before"


class Created(NamedTuple):
    """What a create ended with.

    :param record: the resource as the platform describes it.
    :param origin: where it comes from.
    :param refusal: the error after which a look-up has found it; None if it was simply created.
    """

    record: Any
    origin: Origin
    refusal: PolyteiaError | None = None

    @property
    def is_new(self) -> bool:
        """Whether this call has made it, for certain."""
        return self.origin is Origin.MADE

    @property
    def was_there(self) -> bool:
        """Whether it was there before, for certain."""
        return self.origin is Origin.EXISTING


def create(client: PolyteiaClient, call: Call) -> Created:
    """Send a create whose call has a natural key, exactly once.

    :raises PolyteiaOutcomeUnknownError: if nobody can tell whether it happened.
    :raises PolyteiaError: if it did not happen.
    """
    attempts = client.attempts(call)

    def attempt() -> Created:
        try:
            return Created(client.run(converse(call, client.identity)).data, Origin.MADE)
        except PolyteiaError as error:
            attempts.failed += 1
            if not _may_be_there(attempts, error):
                raise
            found = _look_up(client, attempts, error)
            if found is not None:
                return found
            raise

    return client.repeat(attempts, attempt)


def _may_be_there(attempts: Attempts, error: PolyteiaError) -> bool:
    """Tell whether the resource may be there now, made by us or by somebody before us."""
    failure = classify(error)
    if error.no_effect and not attempts.in_doubt:
        return False
    if failure is Failure.REFUSED:
        # Any other refusal may mean that the slug is taken (API reference 12, no. 4), or be somebody else's answer. And
        # whatever the refusal, an earlier attempt without an answer may have arrived in the meantime.
        about_us = PolyteiaAuthenticationError | PolyteiaPermissionError | PolyteiaNotFoundError
        return attempts.in_doubt or not isinstance(error, about_us | PolyteiaConfigurationError)
    return failure in (Failure.DOUBTFUL, Failure.REPORTED)


def _look_up(client: PolyteiaClient, attempts: Attempts, error: PolyteiaError) -> Created | None:
    """Find the resource; None, and `error` marked as harmless to repeat, if it is not there."""
    call = attempts.call
    doubtful = classify(error) is Failure.DOUBTFUL
    attempts.in_doubt = attempts.in_doubt or doubtful
    answer = _find(client, attempts, error)
    if answer is None and doubtful:
        # A new resource may take a moment to be seen (API reference 12, no. 38).
        _pause(client, attempts, error)
        answer = _find(client, attempts, error)
    if answer is not None:
        origin = _origin(attempts, answer, client.clock())
        # That a slug is taken is the ordinary case of a task's second run.
        level = logging.DEBUG if origin is Origin.EXISTING else logging.INFO
        log.log(level, "%s A look-up has found the resource: %s.", error, origin.value)
        return Created(answer.data, origin, error)
    if not call.method.unique and not _is_refusal(error):
        raise outcome_unknown(call, error, "A look-up has not found it so far. ") from error
    error.no_effect = True
    if attempts.in_doubt and classify(error) is Failure.REFUSED:
        attempts.admit_doubt(error)
    return None


def _is_refusal(error: PolyteiaError) -> bool:
    """Tell whether somebody has refused just this attempt; a redirect does not say who has seen it."""
    return isinstance(error, PolyteiaAPIError) and classify(error) is Failure.REFUSED


def _is_platforms_own(error: PolyteiaError) -> bool:
    """Tell whether an error came inside HTTP 2xx, as the platform's do; any other status may be a gateway's word."""
    return isinstance(error, PolyteiaAPIError) and error.http_status is not None and error.http_status < 300  # noqa: PLR2004 - HTTP 2xx


def _pause(client: PolyteiaClient, attempts: Attempts, error: PolyteiaError) -> None:
    try:
        client.pause(min(FIRST_WAIT, attempts.limits.max_wait))
    except PolyteiaError as killed:
        raise outcome_unknown(attempts.call, error, "The task was killed before a second look-up. ") from killed


def _find(client: PolyteiaClient, attempts: Attempts, error: PolyteiaError) -> Answer | None:
    """Ask for the resource; None if the platform says that it is not there."""
    query = make_call("query", attempts.call.method.lookup, attempts.call.natural_key, needs="id")
    try:
        answer = client.send(query, deadline=attempts.deadline)
    except PolyteiaError as unanswered:
        # A gateway without a backend answers 404 as well, but not in the platform's form.
        if isinstance(unanswered, PolyteiaNotFoundError) and not unanswered.is_foreign:
            return None
        if _is_refusal(error) and _is_platforms_own(error) and not attempts.in_doubt:
            error.add_text(f"Whether it was there before could not be looked up: {unanswered}")
            raise error from unanswered
        reason = f"Looking it up by its {' and '.join(query.params)} failed too: {unanswered} "
        raise outcome_unknown(attempts.call, error, reason) from unanswered
    if any(answer.data.get(name, value) != value for name, value in query.params.items()):
        reason = f"Looking it up by its {' and '.join(query.params)} gave something else. "
        raise outcome_unknown(attempts.call, error, reason) from error
    return answer


def _origin(attempts: Attempts, answer: Answer, now: float) -> Origin:
    """Compare contents and age of the resource found with what was sent, and when."""
    sent = {name: value for name, value in attempts.call.params.items() if isinstance(value, str)}
    # What the platform leaves out says nothing: any field may be absent (API reference 5).
    if any(answer.data.get(name) not in (None, value) for name, value in sent.items()):
        # Where slugs are not unique, ours may be there beside the one found.
        return Origin.EXISTING if attempts.call.method.unique else Origin.UNSURE
    made_at = moment(answer.data.get("created_at"))
    if made_at is None:
        return Origin.UNSURE
    there_now = answer.date or datetime.now(UTC)
    begun = there_now - timedelta(seconds=now - attempts.started)
    inexact = _CLOCK_STEP if answer.date else _CLOCK_ERROR
    if made_at < begun - (_CLOCKS_APART if answer.date else inexact):
        return Origin.EXISTING
    if made_at > begun + inexact or (attempts.in_doubt and answer.date):
        return Origin.MADE
    return Origin.UNSURE
