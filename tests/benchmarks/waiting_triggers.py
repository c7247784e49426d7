"""The triggers of `deferred_waits`, including the one that measures; copied to Airflow's plugins folder."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STEP = 0.02


class LagProbe(BaseTrigger):
    """Sleeps repeatedly for a short time, and records by how much the event loop wakes it too late."""

    def __init__(self, file: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        self.file = file

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return f"{__name__}.LagProbe", {"file": self.file}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Measure indefinitely: write one line per second with the time and the lags of that second."""
        with Path(self.file).open("a", buffering=1) as file:  # noqa: ASYNC230 - writing a line to a local file is fast
            while True:
                lags: list[float] = []
                second = time.time() + 1
                while time.time() < second:
                    started = time.monotonic()
                    await asyncio.sleep(STEP)
                    lags.append(time.monotonic() - started - STEP)
                file.write(json.dumps([time.time(), lags]) + "\n")
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]  # never reached; makes this a generator


class Sleeper(BaseTrigger):
    """Sleeps forever: what 500 triggers cost Airflow itself."""

    def __init__(self, number: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        self.number = number

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return f"{__name__}.Sleeper", {"number": self.number}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep."""
        await asyncio.Event().wait()
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]  # never reached; makes this a generator


def make(competitor: str, number: int, interval: float) -> BaseTrigger:
    """Return a trigger, ours or that of a peer, which waits for something that never happens."""
    if competitor == "idle":
        return Sleeper(number)
    if competitor.startswith("Polyteia"):
        from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger

        return DatasetUploadedTrigger(
            polyteia_conn_id="waiting_polyteia",
            solution_id="sol_1" if competitor.endswith("one solution") else f"sol_{number}",
            slug=f"dataset_{number}",
            uploaded_after="2026-06-01T00:00:00Z",
            poke_interval=interval,
            max_attempts=10,
        )
    if competitor == "HTTP":
        from airflow.providers.http.triggers.http import HttpSensorTrigger

        return HttpSensorTrigger(endpoint=f"wait/{number}", http_conn_id="waiting_http", poke_interval=interval)
    if competitor == "Airbyte":
        from airflow.providers.airbyte.triggers.airbyte import AirbyteSyncTrigger

        return AirbyteSyncTrigger(
            job_id=number, conn_id="waiting_airbyte", end_time=time.time() + 86400, poll_interval=interval
        )
    import pendulum
    from waiting_fivetran import LocalFivetranTrigger

    return LocalFivetranTrigger(
        task_id="wait",
        connector_id=f"c{number}",
        fivetran_conn_id="waiting_fivetran",
        previous_completed_at=pendulum.now(),
        poke_interval=interval,
    )
