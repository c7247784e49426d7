"""Helpers for tests of `DatasetUploadedEventTrigger`: Airflow's part of watching assets, and the sandbox's polls."""

from __future__ import annotations

import asyncio
import json

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.triggers import shared_client

INTERVAL = 0.03
CSV = b"a,b\n1,2\n"
IN_SOLUTION = {"solution_id": SANDBOX_SOLUTION_ID, "poke_interval": INTERVAL}


class Store:
    """Replaces Airflow's asset_state_store, which needs an API server."""

    def __init__(self):
        self.values = {}

    async def aget(self, key, default=None):
        return self.values.get(key, default)

    async def aset(self, key, value):
        self.values[key] = json.loads(json.dumps(value))


class Triggerer:
    """Runs watchers as Airflow's TriggerRunner does, with the same manager of shared streams."""

    def __init__(self, *, confirms=True):
        from airflow.triggers.shared_stream import SharedStreamManager  # noqa: PLC0415 - new in Airflow 3.3

        self.events = []
        self._confirms = confirms
        self._manager = SharedStreamManager()
        self._tasks = []

    def watch(self, trigger, store=None):
        trigger.asset_state_store = store
        self._tasks.append(asyncio.create_task(self._run(trigger, number=len(self._tasks))))

    async def _run(self, trigger, number):
        key = trigger.shared_stream_key()
        stream = self._manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                seq = self._manager.bind_pending_event(trigger_id=number, key=key)
                self.events.append((number, event.payload))
                if self._confirms:  # in Airflow the database does, a second later
                    asyncio.get_running_loop().call_soon(self._manager.confirm_persisted, [seq])
        finally:
            await self._manager.unsubscribe(number, key)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes
        assert dict(shared_client._clients[asyncio.get_running_loop()]) == {}


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - conditions of a sandbox in another thread
            await asyncio.sleep(0.01)


async def polls(sandbox, number, name="list_datasets"):
    """Wait until `number` more polls are complete."""
    goal = sandbox.count(name) + number + 1
    await until(lambda: sandbox.count(name) >= goal)


async def upload(sandbox, *dataset_ids):
    for dataset_id in dataset_ids:
        await asyncio.to_thread(sandbox.upload, dataset_id, CSV)
