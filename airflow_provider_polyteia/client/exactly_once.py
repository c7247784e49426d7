"""Create something exactly once, on a platform without idempotency keys.

Theory of operation
-------------------
A dataset is identified within the platform by its solution and slug (docs/platform-api.md#slugs). Normally, creating
one is a single request. When a create fails in a way that does not prove that nothing was applied, the resource is
looked up by that natural key:

* found: it is the result. `Created.origin` says what is known about who created it, so that the caller can decide what
  to do about a resource that may not be new.
* not found: the create was not applied and is retried, within the limits of the whole operation. If a slow first
  attempt arrives after all, the platform rejects the retry because the slug is taken, and the next lookup finds it.
  Where it is not known that the platform rejects a second one (`Creation.is_unique`), a create with an unknown outcome
  is not retried.
* the lookup itself fails: the outcome is unknown, and `PolyteiaOutcomeUnknownError` says so.

The platform reports a taken slug as error 500 inside HTTP 200, or 400 (docs/platform-api.md#taken-slugs), so a
rejection is looked up as well.

Only a response to the create itself proves that the resource is ours. A resource that a lookup finds may be another
client's, which created it with the same contents while our response was lost: no field of a record says who created
it. Different contents prove nothing either, because the platform may trim or normalize what it stores. So the origin of
a resource found is uncertain, unless one of these shows that it is not ours:

* the platform itself rejected the create, and no earlier attempt can have been applied;
* it is older than the first attempt by more than the clocks may differ (`_CLOCK_TOLERANCE`). Both times are read from
  the platform's clocks: ``created_at`` of the resource, and the ``Date`` of the lookup's response minus the time that
  passed here since the first attempt. Database and web server may disagree by hours, for example by a time zone.

A caller that needs a new resource therefore calls `require_absent` first: what exists before anything is sent is not
ours, whatever the clocks say.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_polyteia.client.operation import describe
from airflow_provider_polyteia.client.records import Record, is_same, parse_record_timestamp
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
    from collections.abc import Mapping

    from airflow_provider_polyteia.client.operation import Creation, Result
    from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient

log = logging.getLogger(__name__)

# How far the platform's database may be behind its web server, or behind our clock if the platform does not send its
# own. The largest plausible difference is that of a time zone.
_CLOCK_TOLERANCE = timedelta(days=1)


class Origin(Enum):
    """Where the resource comes from that a create ended with."""

    CREATED = "this call created it"
    UNCERTAIN = "either this call or another client created it"
    PREEXISTING = "another call created it"


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
        """True if this call certainly did not create it."""
        return self.origin is Origin.PREEXISTING


def create(client: PolyteiaClient, creation: Creation) -> Created:
    """Create a resource exactly once.

    :raises PolyteiaOutcomeUnknownError: if it is unknown whether it was created.
    :raises PolyteiaError: if it was not created, or if the task was killed and may run again.
    """
    attempts = client.attempts(creation.operation)

    def attempt() -> Created:
        try:
            return Created(client.run_flow(creation.operation.start()).data, Origin.CREATED)
        except PolyteiaError as error:
            attempts.failed += 1
            if not _may_exist(attempts, error):
                raise
            try:
                return _look_up(client, creation, attempts, error)
            except PolyteiaOutcomeUnknownError:
                if not (client.is_cancelled and creation.is_unique):
                    raise
                raise _killed(creation, error) from None

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
    excerpt = client.credentials.excerpt
    found = excerpt(created.record["id"])
    if created.already_existed:
        raise PolyteiaConflictError(
            f"{created.rejection} A lookup shows that {named} is already used by {found!r}. {advice}",
            code=409,
            method=method,
            conn_id=conn_id,
        ) from created.rejection
    differing = ", ".join(_differing(created.record, creation.fields))
    raise PolyteiaOutcomeUnknownError(
        f"Polyteia request {method!r} (connection {conn_id!r}) had an ambiguous outcome. A lookup found {named} as "
        f"{found!r}, created at {excerpt(created.record.get('created_at'))!r} either by this call or by another client"
        + (f"; its {differing} differs from this call's. " if differing else ". ")
        + "Check it in Polyteia.",
        identifiers=creation.operation.identifiers,
        method=method,
        conn_id=conn_id,
    ) from created.rejection


def _differing(record: Record, fields: Mapping[str, Any]) -> list[str]:
    """Return the names of the texts that a record shows otherwise than they were sent."""
    shown = {name: record[name] for name in fields if record.get(name) is not None}
    return [name for name in shown if isinstance(fields[name], str) and not is_same(shown[name], fields[name])]


def require_absent(client: PolyteiaClient, creation: Creation, advice: str) -> None:
    """Raise if the resource exists, before anything is sent; a failed lookup, which proves nothing, is only logged.

    :param advice: the last sentence of the exception.
    :raises PolyteiaConflictError: if it exists.
    """
    named = describe(creation.natural_key)
    try:
        # A single attempt, because the create is safe without it.
        found = client.run(creation.lookup(), deadline=client.clock())
    except PolyteiaError as error:
        if not _is_absent(error):
            log.info("Could not check whether %s already exists: %s", named, error)
        return
    if _is_it(found, creation):
        method, conn_id = creation.operation.name, client.config.conn_id
        raise PolyteiaConflictError(
            f"Polyteia request {method!r} (connection {conn_id!r}) was not sent: {named} is already used by "
            f"{client.credentials.excerpt(found.data['id'])!r}. {advice}",
            code=409,
            method=method,
            conn_id=conn_id,
            not_applied=True,
        )


def _killed(creation: Creation, error: PolyteiaError) -> PolyteiaError:
    """Return the exception for a task that was killed while the outcome is unknown. Airflow may run the task again."""
    name, identifiers = creation.operation.name, creation.operation.describe()
    return PolyteiaError(
        f"{error} The task was killed before a lookup showed whether {name!r} ({identifiers}) was applied. If the task "
        "runs again, it checks this.",
        method=name,
        conn_id=error.conn_id,
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
        level = logging.INFO if attempts.outcome_unknown else logging.DEBUG
        log.log(level, "%s A lookup found the resource: %s.", error, origin.value)
        return Created(found.data, origin, error)
    if not creation.is_unique and not _is_rejection(error):
        raise outcome_unknown(creation.operation, error, "A lookup did not find it so far. ") from None
    if attempts.outcome_unknown and classify(error) is Failure.REJECTED:
        raise note_unknown_outcome(error)
    raise error.extended(not_applied=True)


def _is_rejection(error: PolyteiaError) -> bool:
    """Return True if this very attempt was rejected; a redirect does not say who received it."""
    return isinstance(error, PolyteiaAPIError) and classify(error) is Failure.REJECTED


def _is_own_rejection(error: PolyteiaError) -> bool:
    """Return True if the platform itself rejected this very attempt; an HTTP error status may be a gateway's."""
    return isinstance(error, PolyteiaAPIError) and error.is_inside_success and _is_rejection(error)


def _sleep(client: PolyteiaClient, creation: Creation, attempts: Attempts, error: PolyteiaError) -> None:
    try:
        client.sleep(min(FIRST_DELAY, attempts.limits.max_wait))
    except PolyteiaError:
        reason = "The task was killed before a second lookup. "
        raise outcome_unknown(creation.operation, error, reason) from None


def _find(client: PolyteiaClient, creation: Creation, attempts: Attempts, error: PolyteiaError) -> Result | None:
    """Look the resource up; return None if the platform says that it does not exist."""
    fields = " and ".join(creation.natural_key)
    try:
        found = client.run(creation.lookup(), deadline=attempts.deadline)
    except PolyteiaError as failed:
        if _is_absent(failed):
            return None
        if _is_own_rejection(error) and not attempts.outcome_unknown:
            raise error.extended(f"Could not check whether it already exists: {failed}") from None
        reason = f"The lookup by {fields} failed too: {failed} "
        raise outcome_unknown(creation.operation, error, reason) from None
    if not _is_it(found, creation):
        reason = f"A lookup by {fields} returned a different resource. "
        raise outcome_unknown(creation.operation, error, reason) from None
    return found


def _is_absent(error: PolyteiaError) -> bool:
    """Return True if a failed lookup shows that the resource does not exist.

    A gateway without a backend responds with 404 as well, but not in the platform's form.
    """
    return isinstance(error, PolyteiaNotFoundError) and not error.from_gateway


def _is_it(found: Result, creation: Creation) -> bool:
    """Return True if a lookup returned what it asked for; the platform may omit or normalize a field."""
    return all(
        found.data.get(name) is None or is_same(found.data[name], value, ignore_case=name == "slug")
        for name, value in creation.natural_key.items()
    )


def _origin(creation: Creation, attempts: Attempts, found: Result, now: float, error: PolyteiaError) -> Origin:
    """Return what the platform's response and the age of the resource found say about who created it."""
    is_conflict = isinstance(error, PolyteiaConflictError) and not error.from_gateway
    if (is_conflict or _is_own_rejection(error)) and not attempts.outcome_unknown:
        return Origin.PREEXISTING  # the platform itself says that this call was not applied
    created_at = parse_record_timestamp(found.data.get("created_at"))
    if created_at is None or not creation.is_unique:  # where slugs are not unique, ours may exist beside the one found
        return Origin.UNCERTAIN
    started = (found.date or datetime.now(UTC)) - timedelta(seconds=now - attempts.started)
    return Origin.PREEXISTING if created_at < started - _CLOCK_TOLERANCE else Origin.UNCERTAIN
