"""Create something exactly once, on a platform without idempotency keys.

Theory of operation
-------------------
A dataset is identified within the platform by its solution and slug (docs/platform-api.md#slugs). Normally, creating
one is a single request. When a create fails in a way that does not prove that nothing was applied, the resource is
looked up by that natural key:

* found: it is the result. `Created.origin` says whether one of our attempts created it, or whether it existed before,
  so that the caller can decide what to do about a resource that is not new.
* not found: the create was not applied and is retried, within the limits of the whole operation. If a slow first
  attempt arrives after all, the platform rejects the retry because the slug is taken, and the next lookup finds it.
  Where it is not known that the platform rejects a second one (`Creation.is_unique`), a create with an unknown outcome
  is not retried.
* the lookup itself fails: the outcome is unknown, and `PolyteiaOutcomeUnknownError` says so.

The platform reports a taken slug as error 500 inside HTTP 200, or 400 (docs/platform-api.md#taken-slugs), so a
rejection is looked up as well.

Whether a resource that was found is ours is decided by its contents and its age. Both times are read from the
platform's clock: ``created_at`` of the resource, and the ``Date`` of the lookup's response minus the time that passed
here since the first attempt. ``Date`` has whole seconds, and the two clocks may differ a little, so within a few
seconds the origin is ambiguous.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_polyteia.client.operation import describe
from airflow_provider_polyteia.client.records import Record, parse_timestamp
from airflow_provider_polyteia.client.retries import (
    FIRST_DELAY,
    Attempts,
    Failure,
    classify,
    note_unknown_outcome,
    outcome_unknown,
)
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
)

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.operation import Creation, Result
    from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient

log = logging.getLogger(__name__)

_DATE_RESOLUTION = timedelta(seconds=1)  # of the header Date
_PLATFORM_SKEW = timedelta(seconds=2)  # how far the platform's database may be behind its web server
_LOCAL_SKEW = timedelta(minutes=5)  # how far our clock may be off, if the platform does not send its own


class Origin(Enum):
    """Where the resource comes from that a create ended with."""

    CREATED = "this call created it"
    UNCERTAIN = "this call created it, or another client did at about the same time"
    PREEXISTING = "it existed before"


class Created(NamedTuple):
    """What a create ended with.

    :param record: the resource as the platform describes it.
    :param rejection: the error after which a lookup found it; None if it was simply created.
    """

    record: Record
    origin: Origin
    rejection: PolyteiaError | None = None

    @property
    def is_new(self) -> bool:
        """True if this call certainly created it."""
        return self.origin is Origin.CREATED

    @property
    def already_existed(self) -> bool:
        """True if it certainly existed before."""
        return self.origin is Origin.PREEXISTING


def create(client: PolyteiaClient, creation: Creation) -> Created:
    """Create a resource exactly once.

    :raises PolyteiaOutcomeUnknownError: if it is unknown whether it was created.
    :raises PolyteiaError: if it was not created.
    """
    attempts = client.attempts(creation.operation)

    def attempt() -> Created:
        try:
            return Created(client.run_flow(creation.operation.start()).data, Origin.CREATED)
        except PolyteiaError as error:
            attempts.failed += 1
            if not _may_exist(attempts, error):
                raise
            return _look_up(client, creation, attempts, error)

    return client.with_retries(attempts, attempt)


def create_new(client: PolyteiaClient, creation: Creation) -> Record:
    """Create a resource exactly once and return its record; fail if it existed before.

    :raises PolyteiaConflictError: if it existed before.
    :raises PolyteiaOutcomeUnknownError: if it is unknown whether this call created it.
    :raises PolyteiaError: if it was not created.
    """
    created = create(client, creation)
    require_new(client, created, creation)
    return created.record


def require_new(
    client: PolyteiaClient, created: Created, creation: Creation, advice: str = "Choose a different slug."
) -> None:
    """Raise if the resource existed before, or if it is unknown whether the call created it.

    :param advice: the last sentence of the exception for a resource that existed before.
    """
    if created.is_new:
        return
    method, named, conn_id = creation.operation.name, describe(creation.natural_key), client.config.conn_id
    found = client.credentials.excerpt(created.record["id"])
    if created.already_existed:
        raise PolyteiaConflictError(
            f"{created.rejection} A lookup shows that {named} is already used by {found!r}. {advice}",
            code=409,
            method=method,
            conn_id=conn_id,
        ) from created.rejection
    raise PolyteiaOutcomeUnknownError(
        f"Polyteia request {method!r} (connection {conn_id!r}) had an ambiguous outcome. A lookup found {named} as "
        f"{found!r}, created at about the same time, either by this call or by another client. Check it "
        "in Polyteia.",
        identifiers=creation.operation.identifiers,
        method=method,
        conn_id=conn_id,
    )


def _may_exist(attempts: Attempts, error: PolyteiaError) -> bool:
    """Return True if the resource may exist now, created by us or before us."""
    failure = classify(error)
    if error.not_applied and not attempts.outcome_unknown:
        return False
    if failure is Failure.REJECTED:
        # A rejection that is not about us may mean that the slug is taken (docs/platform-api.md#taken-slugs). Whatever
        # the rejection, an earlier attempt without a response may have been applied in the meantime.
        about_us = (
            PolyteiaAuthenticationError
            | PolyteiaPermissionError
            | PolyteiaNotFoundError
            | PolyteiaPreconditionError
            | PolyteiaConfigurationError
        )
        return attempts.outcome_unknown or not isinstance(error, about_us)
    return failure in (Failure.OUTCOME_UNKNOWN, Failure.SERVER_ERROR)


def _look_up(client: PolyteiaClient, creation: Creation, attempts: Attempts, error: PolyteiaError) -> Created:
    """Return the resource.

    :raises PolyteiaError: the error, marked as not applied, if the resource does not exist.
    """
    is_unknown = classify(error) is Failure.OUTCOME_UNKNOWN
    attempts.outcome_unknown = attempts.outcome_unknown or is_unknown
    found = _find(client, creation, attempts, error)
    if found is None and is_unknown:
        # A new resource may take some time to become visible (docs/platform-api.md#new-records).
        _sleep(client, creation, attempts, error)
        found = _find(client, creation, attempts, error)
    if found is not None:
        origin = _origin(creation, attempts, found, client.clock(), error)
        # A taken slug is expected when a task runs for the second time.
        level = logging.DEBUG if origin is Origin.PREEXISTING else logging.INFO
        log.log(level, "%s A lookup found the resource: %s.", error, origin.value)
        return Created(found.data, origin, error)
    if not creation.is_unique and not _is_rejection(error):
        raise outcome_unknown(creation.operation, error, "A lookup did not find it so far. ") from error
    if attempts.outcome_unknown and classify(error) is Failure.REJECTED:
        raise note_unknown_outcome(error)
    raise error.extended(not_applied=True)


def _is_rejection(error: PolyteiaError) -> bool:
    """Return True if this very attempt was rejected; a redirect does not say who received it."""
    return isinstance(error, PolyteiaAPIError) and classify(error) is Failure.REJECTED


def _sleep(client: PolyteiaClient, creation: Creation, attempts: Attempts, error: PolyteiaError) -> None:
    try:
        client.sleep(min(FIRST_DELAY, attempts.limits.max_wait))
    except PolyteiaError as killed:
        reason = "The task was killed before a second lookup. "
        raise outcome_unknown(creation.operation, error, reason) from killed


def _find(client: PolyteiaClient, creation: Creation, attempts: Attempts, error: PolyteiaError) -> Result | None:
    """Look the resource up; return None if the platform says that it does not exist."""
    fields = " and ".join(creation.natural_key)
    try:
        found = client.run(creation.lookup(), deadline=attempts.deadline)
    except PolyteiaError as failed:
        # A gateway without a backend responds with 404 as well, but not in the platform's form.
        if isinstance(failed, PolyteiaNotFoundError) and not failed.from_gateway:
            return None
        is_platforms_own = isinstance(error, PolyteiaAPIError) and error.is_inside_success
        if _is_rejection(error) and is_platforms_own and not attempts.outcome_unknown:
            raise error.extended(f"Could not check whether it already exists: {failed}") from failed
        reason = f"The lookup by {fields} failed too: {failed} "
        raise outcome_unknown(creation.operation, error, reason) from failed
    if any(found.data.get(name, value) != value for name, value in creation.natural_key.items()):
        reason = f"A lookup by {fields} returned a different resource. "
        raise outcome_unknown(creation.operation, error, reason) from error
    return found


def _origin(creation: Creation, attempts: Attempts, found: Result, now: float, error: PolyteiaError) -> Origin:
    """Compare contents and age of the resource found with what was sent, and when."""
    if isinstance(error, PolyteiaConflictError) and not (attempts.outcome_unknown or error.from_gateway):
        return Origin.PREEXISTING  # the platform itself says that the slug is taken
    sent = {name: value for name, value in creation.fields.items() if isinstance(value, str)}
    # A field that the platform omits says nothing: any may be absent (docs/platform-api.md#datasets).
    if any(found.data.get(name) not in (None, value) for name, value in sent.items()):
        # Where slugs are not unique, ours may exist beside the one found.
        return Origin.PREEXISTING if creation.is_unique else Origin.UNCERTAIN
    created_at = parse_timestamp(found.data.get("created_at"))
    if created_at is None:
        return Origin.UNCERTAIN
    platform_now = found.date or datetime.now(UTC)
    started = platform_now - timedelta(seconds=now - attempts.started)
    tolerance = _DATE_RESOLUTION if found.date else _LOCAL_SKEW
    if created_at < started - (_PLATFORM_SKEW if found.date else tolerance):
        return Origin.PREEXISTING
    if created_at > started + tolerance or (attempts.outcome_unknown and found.date):
        return Origin.CREATED
    return Origin.UNCERTAIN
