"""The trigger that waits for an ingest, for a transfer that was deferred after its upload."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_polyteia.client.datasets import INGEST_POLL_INTERVAL
from airflow_provider_polyteia.client.ingest import IngestWait, unfinished
from airflow_provider_polyteia.client.json_values import to_encodable
from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.triggers.shared_client import shared_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger(__name__)

COMPLETED, FAILED = "completed", "failed"


class IngestTrigger(BaseTrigger):
    """Waits until an upload was ingested, and yields any outcome as one event; see `result`.

    For a transfer with ``deferrable=True``, on the RPC API (docs/platform-api.md#rpc-ingests).

    :param polyteia_conn_id: Airflow connection to Polyteia; only its id travels, never a key.
    :param dataset_id: id of the dataset, ``ds_...``.
    :param ingest_id: id of the ingest, as in the result of `PolyteiaHook.upload_dataset`.
    :param deadline: when to give up (ISO 8601 with a time zone). There is at least one poll, even after that.
    :param poll_interval: time in seconds before the first poll, and between two polls. Default: 5.
    :param load: what the task needs when it resumes. The event contains it, because `airflow dags test` of Airflow 3
        passes nothing else on. Default: none.
    """

    def __init__(
        self,
        *,
        polyteia_conn_id: str,
        dataset_id: str,
        ingest_id: str,
        deadline: str,
        poll_interval: float = INGEST_POLL_INTERVAL,
        load: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        self.polyteia_conn_id = polyteia_conn_id
        self.dataset_id = dataset_id
        self.ingest_id = ingest_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.load = load

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that create the same trigger in another process."""
        options = {
            "polyteia_conn_id": self.polyteia_conn_id,
            "dataset_id": self.dataset_id,
            "ingest_id": self.ingest_id,
            "deadline": self.deadline,
            "poll_interval": self.poll_interval,
            "load": self.load,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", options

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the result."""
        event = await self.result() | ({"load": self.load} if self.load else {})
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed

    async def result(self) -> dict[str, Any]:
        """Wait, and return the result as data that Airflow can encode.

        Its ``status`` is ``"completed"``; or ``"failed"``, with the exception in ``error``, for
        `PolyteiaError.from_dict`. Never raises: Airflow would lose the type of the exception.
        """
        try:
            await self._wait()
        except PolyteiaError as error:
            return _failure(error)
        except Exception as error:
            log.exception("The wait for an ingest ended unexpectedly.")
            problem = f"could not be followed to its end ({type(error).__name__}), and may still complete"
            return _failure(unfinished(self.dataset_id, self.ingest_id, self.polyteia_conn_id, problem))
        return {"status": COMPLETED}

    async def _wait(self) -> None:
        left = datetime.fromisoformat(self.deadline) - datetime.now(UTC)
        wait = IngestWait(
            self.dataset_id,
            self.ingest_id,
            self.polyteia_conn_id,
            timeout=left.total_seconds(),
            poll_interval=self.poll_interval,
            clock=asyncio.get_running_loop().time,
            # A trigger that fires within the scheduler's own delays can make Airflow lose the task's state.
            first_delay=self.poll_interval,
        )
        async with shared_client(self.polyteia_conn_id) as client:
            while True:
                await asyncio.sleep(wait.next_delay())
                limit = asyncio.timeout(wait.time_for_poll())
                try:
                    async with limit:
                        status = await client.ingest_status(
                            self.dataset_id, self.ingest_id, interval=self.poll_interval
                        )
                    if wait.is_completed(status):
                        return
                except TimeoutError:
                    if not limit.expired():
                        raise
                    log.warning("A poll of ingest %r did not end before its deadline.", self.ingest_id)
                except PolyteiaError as error:
                    wait.record_failure(error)


def _failure(error: PolyteiaError) -> dict[str, Any]:
    return {"status": FAILED, "error": to_encodable(error.to_dict())}
