"""Triggers for uploads: one waits for a deferred sensor, one reports to Airflow's assets."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_polyteia.client.json_values import to_encodable
from airflow_provider_polyteia.client.records import DatasetRef, parse_user_timestamp
from airflow_provider_polyteia.client.upload_condition import UploadCondition, UploadWait
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.provider_info import DEFAULT_CONNECTION
from airflow_provider_polyteia.triggers.poller import DatasetPoller
from airflow_provider_polyteia.triggers.shared_client import shared_client
from airflow_provider_polyteia.triggers.upload_poll import UploadPoll
from airflow_provider_polyteia.triggers.watermark import BEGINNING, Watermark
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from airflow_provider_polyteia.client.records import Upload
    from airflow_provider_polyteia.triggers.poller import PollResult
    from airflow_provider_polyteia.triggers.shared_client import SharedClient
    from airflow_provider_polyteia.triggers.shared_stream import PollerProducer

log = logging.getLogger(__name__)

UPLOADED, TIMED_OUT, FAILED = "uploaded", "timed out", "failed"


class DatasetUploadedTrigger(BaseTrigger):
    """Waits for an upload for `DatasetUploadedSensor`, and yields any outcome as one event; see `result`.

    :param options: the fields of `UploadWait`. They contain the id of the connection, never a key.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        self.wait = UploadWait(**options)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that create the same trigger in another process."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self.wait.serialize()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the result."""
        yield TriggerEvent(await self.result())  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed

    async def result(self) -> dict[str, Any]:
        """Wait, and return the result as data that Airflow can encode.

        Its ``status`` is ``"uploaded"``, with the upload's summary in ``dataset``; or ``"timed out"``; or ``"failed"``,
        with the exception in ``error``, for `PolyteiaError.from_dict`. Never raises: Airflow would lose the type of the
        exception.
        """
        try:
            async with shared_client(self.wait.polyteia_conn_id) as client:
                upload = await self._poll_until_over(client)
        except PolyteiaError as error:
            return _failure(error)
        except Exception as error:
            log.exception("The wait for an upload ended unexpectedly.")
            return _failure(PolyteiaError(f"{type(error).__name__}: {error}"))
        return {"status": UPLOADED, "dataset": upload.summary()} if upload else {"status": TIMED_OUT}

    async def _poll_until_over(self, client: SharedClient) -> Upload | None:
        """Poll until the upload exists; return None at the deadline, whatever a request is doing then."""
        now = asyncio.get_running_loop().time
        polls = 0
        async with UploadPoll(client, self.wait) as poll:
            while True:
                await asyncio.sleep(self.wait.next_delay(polls, poll.offset, now()))
                if polls and self.wait.is_over:
                    return None
                limit = asyncio.timeout(self.wait.time_for_poll(polls))
                try:
                    async with limit:
                        upload = await self._poll(poll)
                except TimeoutError:
                    if not limit.expired():
                        raise
                    return None
                polls += 1
                if upload:
                    return upload

    async def _poll(self, poll: UploadPoll) -> Upload | None:
        condition = self.wait.condition
        try:
            upload = await poll.last_upload(is_last=self.wait.is_last_poll)
        except PolyteiaError as error:
            if condition.ignores(error):
                return None
            if not self.wait.silent_fail or isinstance(error, AirflowFailException):
                raise
            log.warning("Poll failed, continuing to wait: %s", error)
            return None
        return upload if condition.matches(upload) else None


def _failure(error: PolyteiaError) -> dict[str, Any]:
    return {"status": FAILED, "error": to_encodable(error.to_dict())}


class DatasetUploadedEventTrigger(BaseEventTrigger):
    """Reports each upload into a dataset, for an `AssetWatcher` (Airflow >= 3.0).

    ::

        watcher = AssetWatcher(name="bookings", trigger=DatasetUploadedEventTrigger(solution_id=..., slug="bookings"))
        bookings = Asset("bookings", watchers=[watcher])

    The payload of each event is the upload: ``id``, ``slug``, ``uploaded_at``, ``size``, ``content_type``.

    Watchers with the same connection, solution, interval and `timestamp_field` share their polls on Airflow >= 3.3: one
    list of the solution's datasets per interval for all of them. Without `solution_id` the dataset is polled
    individually.

    The very first poll only records the current state; later uploads are reported. Airflow >= 3.3 stores the watermark
    with the asset, even while no triggerer runs: a restart misses no upload, and repeats one only if the triggerer is
    killed in the second between storing an event and storing the watermark. Older versions lose the watermark when the
    triggerer restarts: then uploads in between are missed, or, with `uploaded_after`, the last one is repeated.

    Of several uploads within one interval, only the last is reported.

    :param dataset_id: id of the dataset, alone or with its solution; or
    :param solution_id: id of its solution, and
    :param slug: slug of the dataset in that solution.
    :param uploaded_after: report uploads after this time from the beginning (datetime or ISO 8601 string, UTC if
        naive). Default: none.
    :param min_size: minimum size in bytes of an upload to be reported; not on the RPC API, and not with
        `timestamp_field`. Default: any size.
    :param timestamp_field: date field of the dataset's record that shows an upload. Default: the time of the upload
        itself; on the RPC API, which does not show it, ``data_as_of`` (docs/sensors.md#on-the-rpc-api).
    :param poke_interval: time in seconds between two polls. Default: 60.
    :param polyteia_conn_id: Airflow connection to Polyteia; only its id is stored, never a key. Default:
        ``polyteia_default``.
    :raises PolyteiaConfigurationError: if an argument is unusable, or Airflow is older than 3.0.
    """

    def __init__(
        self,
        *,
        dataset_id: str | None = None,
        solution_id: str | None = None,
        slug: str | None = None,
        uploaded_after: str | datetime | None = None,
        min_size: int | None = None,
        timestamp_field: str | None = None,
        poke_interval: float = 60.0,
        polyteia_conn_id: str = DEFAULT_CONNECTION,
    ) -> None:
        if not AIRFLOW_V_3_0_PLUS:
            raise PolyteiaConfigurationError(
                f"DatasetUploadedEventTrigger needs Airflow 3.0 or newer; this is {AIRFLOW_VERSION}. "
                "Use DatasetUploadedSensor in a scheduled DAG instead."
            )
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        if not poke_interval > 0:
            raise PolyteiaConfigurationError(f"poke_interval is {poke_interval!r}; it must be a number greater than 0.")
        is_by_id = bool(dataset_id) and not slug
        self.dataset = DatasetRef.of(dataset_id, None if is_by_id else solution_id, slug)
        self.dataset_id = dataset_id
        self.solution_id = solution_id
        self.slug = slug
        self.uploaded_after = parse_user_timestamp(uploaded_after, "uploaded_after")
        self.min_size = min_size
        self.timestamp_field = timestamp_field
        self.poke_interval = float(poke_interval)
        self.polyteia_conn_id = polyteia_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that create the same trigger, and distinguish it from others."""
        options = {
            "dataset_id": self.dataset_id,
            "solution_id": self.solution_id,
            "slug": self.slug,
            "uploaded_after": self.uploaded_after.isoformat() if self.uploaded_after else None,
            "min_size": self.min_size,
            "timestamp_field": self.timestamp_field,
            "poke_interval": self.poke_interval,
            "polyteia_conn_id": self.polyteia_conn_id,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", options

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Report uploads, with polls of its own (Airflow before 3.3)."""
        async for event in self._events(self.poller().results()):
            yield event

    def shared_stream_key(self) -> tuple[str, str, float, str | None]:
        """Return what watchers have in common that share their polls."""
        solution = self.solution_id or str(self.dataset_id)
        return self.polyteia_conn_id, solution, self.poke_interval, self.timestamp_field

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> PollerProducer:
        """Return what polls for all watchers with the same key."""
        from airflow_provider_polyteia.triggers.shared_stream import PollerProducer  # noqa: PLC0415 - needs Airflow >= 3.3

        return PollerProducer(cls(**kwargs).poller())

    async def filter_shared_stream(self, shared_stream: AsyncIterator[PollResult]) -> AsyncIterator[TriggerEvent]:
        """Report the uploads into this watcher's dataset."""
        async for event in self._events(shared_stream):
            yield event

    def poller(self) -> DatasetPoller:
        """Return what polls for this watcher, and for all with the same key."""
        return DatasetPoller(
            self.polyteia_conn_id,
            solution_id=self.solution_id,
            dataset_id=self.dataset_id,
            interval=self.poke_interval,
            timestamp_field=self.timestamp_field,
        )

    async def _events(self, results: AsyncIterator[PollResult]) -> AsyncIterator[TriggerEvent]:
        watermark = Watermark(getattr(self, "asset_state_store", None), self.dataset)
        async for result in results:
            try:
                upload = await self._new_upload(result, watermark)
            except Exception as error:  # whatever it is, a watcher keeps watching
                unforeseen = not isinstance(error, PolyteiaError)
                log.error("Watching dataset %s failed: %s", self.dataset, error, exc_info=unforeseen)  # noqa: TRY400 - as given
                continue
            if upload is not None:
                yield TriggerEvent(upload.summary())  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed

    async def _new_upload(self, result: PollResult, watermark: Watermark) -> Upload | None:
        """Return the upload to report, if there is one."""
        condition = UploadCondition(self.dataset, min_size=self.min_size, timestamp_field=self.timestamp_field)
        result.api.check_condition(condition)
        await watermark.load(self.timestamp_field or result.api.upload_field)
        upload = await result.last_upload(self.dataset, verify=watermark.timestamp is None)
        if watermark.timestamp is None:
            watermark.timestamp = self.uploaded_after or (upload.timestamp if upload else BEGINNING)
            await watermark.save(watermark.timestamp)
        after = max(watermark.timestamp, self.uploaded_after or BEGINNING)
        if upload is None or not condition._replace(uploaded_after=after).matches(upload):
            return None
        watermark.timestamp = upload.timestamp
        result.on_stored.append(partial(watermark.save, upload.timestamp))
        return upload
