"""Triggers for uploads: one waits on behalf of a deferred sensor, one reports to Airflow's assets."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_polyteia import exceptions
from airflow_provider_polyteia.client.records import Condition, Upload, last_upload, moment, parse_moment
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.hooks.datasets import reference
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.triggers.bookmark import BEGINNING, Bookmark
from airflow_provider_polyteia.triggers.lookout import Lookout, Snapshot
from airflow_provider_polyteia.triggers.shared import SharedClient, shared_client
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_polyteia.triggers.producer import LookoutProducer

log = logging.getLogger(__name__)

SHORTEST_INTERVAL = 0.01  # seconds; without a pause a wait would keep the triggerer busy
UPLOADED, TIMED_OUT, FAILED = "uploaded", "timed out", "failed"


class DatasetUploadedTrigger(BaseTrigger):
    """Waits for an upload on behalf of `DatasetUploadedSensor`, and gives any outcome as one event; see `outcome`.

    :param polyteia_conn_id: Airflow connection to Polyteia; only its id travels, never a key.
    :param dataset_id: the dataset; or
    :param solution_id: its solution, and
    :param slug: its slug in there.
    :param uploaded_after: ISO 8601; the upload must be later. None: any upload.
    :param min_size: bytes it must have at least; None: any size.
    :param wait_for_creation: whether a dataset that does not exist is waited for.
    :param poke_interval: seconds between two looks.
    :param exponential_backoff: whether that doubles from look to look.
    :param max_wait: seconds up to which it grows; None: without end.
    :param max_attempts: how often one look is attempted at the most when the network or the platform fails; None: as
        in the connection.
    :param deadline: ISO 8601; when to give up. None: never.
    :param silent_fail: whether to go on after any error that does not fail a task at once.
    """

    def __init__(
        self,
        *,
        polyteia_conn_id: str,
        dataset_id: str | None = None,
        solution_id: str | None = None,
        slug: str | None = None,
        uploaded_after: str | None = None,
        min_size: int | None = None,
        wait_for_creation: bool = False,
        poke_interval: float = 60.0,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        max_attempts: int | None = None,
        deadline: str | None = None,
        silent_fail: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        self.polyteia_conn_id = polyteia_conn_id
        self.dataset_id = dataset_id
        self.solution_id = solution_id
        self.slug = slug
        self.uploaded_after = uploaded_after
        self.min_size = min_size
        self.wait_for_creation = wait_for_creation
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.max_attempts = max_attempts
        self.deadline = deadline
        self.silent_fail = silent_fail

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same trigger elsewhere."""
        options = {
            "polyteia_conn_id": self.polyteia_conn_id,
            "dataset_id": self.dataset_id,
            "solution_id": self.solution_id,
            "slug": self.slug,
            "uploaded_after": self.uploaded_after,
            "min_size": self.min_size,
            "wait_for_creation": self.wait_for_creation,
            "poke_interval": self.poke_interval,
            "exponential_backoff": self.exponential_backoff,
            "max_wait": self.max_wait,
            "max_attempts": self.max_attempts,
            "deadline": self.deadline,
            "silent_fail": self.silent_fail,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", options

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and give the outcome."""
        yield TriggerEvent(await self.outcome())  # type: ignore[no-untyped-call]  # as above

    async def outcome(self) -> dict[str, Any]:
        """Wait, and return the outcome as JSON.

        Its ``status`` is ``"uploaded"``, with the upload's summary in ``dataset``; or ``"timed out"``; or ``"failed"``,
        with the error in ``error``, for `rebuild_error`. Never raises: Airflow would not know the type of the error.
        """
        try:
            async with shared_client(self.polyteia_conn_id) as client:
                upload = await self._wait(client)
        except PolyteiaError as error:
            return {"status": FAILED, "error": _describe(error)}
        except Exception as error:
            log.exception("The wait for an upload has ended unexpectedly.")
            return {"status": FAILED, "error": {"type": "PolyteiaError", "text": f"{type(error).__name__}: {error}"}}
        return {"status": UPLOADED, "dataset": upload.summary()} if upload else {"status": TIMED_OUT}

    async def _wait(self, client: SharedClient) -> Upload | None:
        """Look until the upload is there; None if the deadline is over."""
        condition = Condition(
            reference(self.dataset_id, self.solution_id, self.slug),
            uploaded_after=moment(self.uploaded_after),
            min_size=self.min_size,
            wait_for_creation=self.wait_for_creation,
        )
        deadline = moment(self.deadline)
        phase, looks = client.phase(), 0
        while True:
            await asyncio.sleep(self._pause(looks, phase, asyncio.get_running_loop().time()))
            looks += 1
            upload = await self._look(client, condition)
            if upload or (deadline and datetime.now(UTC) > deadline):
                return upload

    async def _look(self, client: SharedClient, condition: Condition) -> Upload | None:
        try:
            record = await client.send(condition.call, max_attempts=self.max_attempts, max_reported=self.max_attempts)
            return condition.met_by(record)
        except PolyteiaError as error:
            if condition.tolerates(error):
                return None
            if not self.silent_fail or isinstance(error, AirflowFailException):
                raise
            log.error("A look has failed, the wait goes on: %s", error)  # noqa: TRY400 - the text says it all
            return None

    def _pause(self, looks: int, phase: float, now: float) -> float:
        """Return the seconds until the next look: the intervals are those of BaseSensorOperator.

        :param looks: how many there were.
        :param phase: at which part of an interval the looks are due, if all intervals are the same.
        :param now: on a clock that all waits share.
        """
        interval = max(self.poke_interval, SHORTEST_INTERVAL)
        if not self.exponential_backoff or not looks:
            return (phase * interval - now) % interval
        least = max(interval * 2.0 ** min(looks - 2, 30), 1.0)
        bounds = [random.uniform(least, 2 * least), _seconds_until(moment(self.deadline)), self.max_wait]  # noqa: S311 - no secret
        return max(0.0, min(bound for bound in bounds if bound is not None))


def _seconds_until(deadline: datetime | None) -> float | None:
    return (deadline - datetime.now(UTC)).total_seconds() if deadline else None


def _describe(error: PolyteiaError) -> dict[str, Any]:
    return {"type": type(error).__name__, "text": str(error), "attributes": dict(vars(error))}


def rebuild_error(described: dict[str, Any]) -> PolyteiaError:
    """Return the error that ended a wait in the triggerer, with type, text and attributes."""
    kind = described["type"] if described["type"] in exceptions.__all__ else "PolyteiaError"
    error: PolyteiaError = getattr(exceptions, kind)(described["text"])
    vars(error).update(described.get("attributes", {}))
    return error


class DatasetUploadedEventTrigger(BaseEventTrigger):
    """Reports each upload into a dataset, for an `AssetWatcher` (Airflow >= 3.0).

    ::

        watcher = AssetWatcher(name="bookings", trigger=DatasetUploadedEventTrigger(solution_id=..., slug="bookings"))
        bookings = Asset("bookings", watchers=[watcher])

    The payload of each event holds the upload: ``id``, ``slug``, ``uploaded_at``, ``size``, ``content_type``.

    Watchers with the same connection, solution and interval share their looks at the platform on Airflow >= 3.3: one
    list of the solution's datasets per interval for all of them. Without `solution_id` the dataset is asked for alone.

    The first look ever only notes what is there; uploads from then on are reported. Up to where, Airflow >= 3.3 keeps
    with the asset, also while no triggerer runs: an upload is missed by no restart, and repeated only if the triggerer
    is killed in the second between storing an event and taking note of it. Older versions forget it when the
    triggerer restarts: then uploads in between are missed, or, with `uploaded_after`, the last one is repeated.

    Of several uploads within one interval, only the last is seen.

    :param dataset_id: the dataset, alone or with its solution; or
    :param solution_id: its solution, and
    :param slug: its slug in there.
    :param uploaded_after: report uploads after this moment from the beginning: a datetime, or text in ISO 8601.
    :param min_size: bytes an upload must have to be reported; None: any size.
    :param poke_interval: seconds between two looks.
    :param polyteia_conn_id: Airflow connection to Polyteia; only its id travels, never a key.
    :raises PolyteiaConfigurationError: if an argument is unusable, or Airflow older than 3.0.
    """

    def __init__(
        self,
        *,
        dataset_id: str | None = None,
        solution_id: str | None = None,
        slug: str | None = None,
        uploaded_after: str | datetime | None = None,
        min_size: int | None = None,
        poke_interval: float = 60.0,
        polyteia_conn_id: str = PolyteiaHook.default_conn_name,
    ) -> None:
        if not AIRFLOW_V_3_0_PLUS:
            raise PolyteiaConfigurationError(
                f"DatasetUploadedEventTrigger needs Airflow 3.0 or newer; this is {AIRFLOW_VERSION}. "
                "Use DatasetUploadedSensor in a DAG that runs on a schedule."
            )
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        if not poke_interval > 0:
            raise PolyteiaConfigurationError(f"poke_interval is {poke_interval!r}; it must be a number above 0.")
        is_by_id = bool(dataset_id) and not slug
        self.reference = reference(dataset_id, None if is_by_id else solution_id, slug)
        self.dataset_id = dataset_id
        self.solution_id = solution_id
        self.slug = slug
        self.uploaded_after = parse_moment(uploaded_after, "uploaded_after")
        self.min_size = min_size
        self.poke_interval = float(poke_interval)
        self.polyteia_conn_id = polyteia_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same trigger elsewhere, and tells it from others."""
        options = {
            "dataset_id": self.dataset_id,
            "solution_id": self.solution_id,
            "slug": self.slug,
            "uploaded_after": self.uploaded_after.isoformat() if self.uploaded_after else None,
            "min_size": self.min_size,
            "poke_interval": self.poke_interval,
            "polyteia_conn_id": self.polyteia_conn_id,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", options

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Report uploads, alone (Airflow before 3.3)."""
        async for event in self._events(self.lookout().snapshots()):
            yield event

    def shared_stream_key(self) -> tuple[str, str, float]:
        """Return what those watchers have in common that share their looks."""
        return self.polyteia_conn_id, self.solution_id or str(self.dataset_id), self.poke_interval

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> LookoutProducer:
        """Look for all watchers with the same key."""
        from airflow_provider_polyteia.triggers.producer import LookoutProducer  # noqa: PLC0415 - needs Airflow >= 3.3

        return LookoutProducer(cls(**kwargs).lookout())

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Snapshot]) -> AsyncIterator[TriggerEvent]:
        """Report the uploads into this watcher's dataset."""
        async for event in self._events(shared_stream):
            yield event

    def lookout(self) -> Lookout:
        """Return what looks for this watcher, and for all with the same key."""
        return Lookout(
            self.polyteia_conn_id,
            solution_id=self.solution_id,
            dataset_id=self.dataset_id,
            interval=self.poke_interval,
        )

    async def _events(self, snapshots: AsyncIterator[Snapshot]) -> AsyncIterator[TriggerEvent]:
        bookmark = Bookmark(getattr(self, "asset_state_store", None), self.reference)
        async for snapshot in snapshots:
            try:
                upload = await self._news(snapshot, bookmark)
            except Exception as error:  # whatever it is, a watcher goes on watching
                unforeseen = not isinstance(error, PolyteiaError)
                log.error("Watching %s has failed: %s", self.reference, error, exc_info=unforeseen)  # noqa: TRY400 - see above
                continue
            if upload is not None:
                yield TriggerEvent(upload.summary())  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed

    async def _news(self, snapshot: Snapshot, bookmark: Bookmark) -> Upload | None:
        """Return the upload that is to be reported, if there is one."""
        await bookmark.load()
        record = await snapshot.find(self.reference, surely=bookmark.moment is None)
        upload = last_upload(record) if record else None
        if bookmark.moment is None:
            bookmark.moment = self.uploaded_after or (upload.moment if upload else BEGINNING)
            await bookmark.save(bookmark.moment)
        after = max(bookmark.moment, self.uploaded_after or BEGINNING)
        if upload is None or not Condition(self.reference, uploaded_after=after, min_size=self.min_size).accepts(
            upload
        ):
            return None
        bookmark.moment = upload.moment
        snapshot.receipts.append(partial(bookmark.save, upload.moment))
        return upload
