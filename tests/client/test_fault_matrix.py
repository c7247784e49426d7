"""Every fault of the sandbox against every kind of call, over real sockets.

The tests check how many requests were sent, what the platform contains afterwards, what the caller receives, and how
long the client waited, on a clock that needs no real waiting except for the short timeouts of the hanging faults.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

import pytest
from calls import send
from conftest import FakeTime, HastyTime

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.httpx_client import AsyncPolyteiaClient
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConflictError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox

LOST, LOST_AFTER, SERVER_ERROR, SERVER_ERROR_AFTER = "lost", "lost, applied", "server error", "server error, applied"
RATE_LIMITED, SUCCESS = "rate limited", "success"

FAULTS = {
    **dict.fromkeys(["drop-before", "close-before", "hang:9", "garbage", "html"], LOST),
    **dict.fromkeys(["status:500", "status:502", "status:503", "status:504", "status:408", "unavailable:2"], LOST),
    **dict.fromkeys(["drop-after", "close-after", "hang-after:9", "garbage-after", "html-after"], LOST_AFTER),
    **dict.fromkeys(["status-after:500", "status-after:502", "status-after:504", "unavailable-after:2"], LOST_AFTER),
    "body-error:500": SERVER_ERROR,
    "body-error-after:500": SERVER_ERROR_AFTER,
    **dict.fromkeys(["retry-after:7", "retry-after-date:7"], RATE_LIMITED),
    **dict.fromkeys(["status:400", "body-error:400"], PolyteiaBadRequestError),
    **dict.fromkeys(["status:401", "body-error:401"], PolyteiaAuthenticationError),
    **dict.fromkeys(["status:403", "body-error:403"], PolyteiaPermissionError),
    **dict.fromkeys(["status:404", "body-error:404"], PolyteiaNotFoundError),
    **dict.fromkeys(["status:409", "body-error:409"], PolyteiaConflictError),
    "status:413": PolyteiaAPIError,
    "redirect": PolyteiaProtocolError,
    "slow:5000": SUCCESS,
}
# After these a create is not looked up: the platform does not report a taken slug with them.
NOT_LOOKED_UP = (PolyteiaAuthenticationError, PolyteiaPermissionError, PolyteiaNotFoundError)
serial = itertools.count()


@pytest.fixture(scope="module")
def sandbox():
    """One platform for all tests; each test uses its own dataset."""
    with Sandbox() as running:
        yield running


@dataclass
class Bench:
    """A hook whose delays take no time, and its platform."""

    hook: PolyteiaHook
    sandbox: Sandbox
    time: FakeTime

    def arm(self, method, fault):
        self.sandbox.faults.clear()
        self.sandbox.recorder.clear()
        self.sandbox.faults.add(f"{method}:{fault}:1")

    def sent(self, method):
        return self.sandbox.recorder.counts[method]

    def datasets(self, slug):
        self.sandbox.faults.clear()
        items = self.hook.iterate("list_datasets", {"solution_id": SANDBOX_SOLUTION_ID})
        return [item for item in items if item["slug"] == slug]

    def check_delays(self, fault, *, retries=1, between_lookups=0.0):
        """Before each retry the client waited as requested, otherwise one second, because the jitter is always 1.

        :param between_lookups: seconds between two lookups.
        """
        name, _, retry_after = fault.partition(":")
        is_requested = name in ("retry-after", "retry-after-date", "unavailable", "unavailable-after")
        accuracy = 1.01 if name == "retry-after-date" else 0.01  # an HTTP date has whole seconds
        expected = between_lookups + retries * (float(retry_after) if is_requested else 1.0)
        assert self.time.slept == pytest.approx(expected, abs=accuracy)


@pytest.fixture
def bench(sandbox, fault):
    extra = {"timeout": [5, 0.4 if fault.startswith("hang") else 20]}
    config = client_config.from_connection(
        "city", host=sandbox.base_url, password=sandbox.pak, extra={"api": "command", **extra}
    )
    hasty = HastyTime()
    hook = PolyteiaHook("city")
    hook._client = PolyteiaClient(config, clock=hasty.clock, sleep=hasty.sleep, jitter=lambda: 1.0)
    yield Bench(hook, sandbox, hasty)
    sandbox.faults.clear()
    hook.close()


def new_dataset(hook, **fields):
    given = {"name": "Before", "solution_id": SANDBOX_SOLUTION_ID, "slug": f"s{next(serial)}"}
    return hook.create_dataset(**given, **fields)


@pytest.mark.parametrize("fault", FAULTS)
def test_query(bench, fault):
    """A query is retried after any failure except a rejection, and succeeds."""
    kind, dataset = FAULTS[fault], new_dataset(bench.hook)
    bench.arm("get_dataset", fault)
    if isinstance(kind, type):
        with pytest.raises(kind):
            bench.hook.get_dataset(dataset["id"])
        assert (bench.sent("get_dataset"), bench.time.slept) == (1, 0)
    else:
        assert bench.hook.get_dataset(dataset["id"])["id"] == dataset["id"]
        assert bench.sent("get_dataset") == (1 if kind == SUCCESS else 2)
        bench.check_delays(fault, retries=kind != SUCCESS)


@pytest.mark.parametrize("fault", FAULTS)
def test_query_of_a_trigger(bench, fault):
    """The async client sends as many requests, waits as long and has the same result; triggers only run queries."""
    kind, dataset = FAULTS[fault], new_dataset(bench.hook)
    bench.arm("get_dataset", fault)
    call = make_call("query", "get_dataset", {"id": dataset["id"]})
    config = bench.hook.get_conn().config

    async def sleep(seconds):
        bench.time.sleep(seconds)

    async def run():
        client = AsyncPolyteiaClient(config, clock=bench.time.clock, sleep=sleep, jitter=lambda: 1.0)
        try:
            return (await send(client, call)).data
        finally:
            await client.aclose()

    if isinstance(kind, type):
        with pytest.raises(kind):
            asyncio.run(run())
        assert (bench.sent("get_dataset"), bench.time.slept) == (1, 0)
    else:
        assert asyncio.run(run())["id"] == dataset["id"]
        assert bench.sent("get_dataset") == (1 if kind == SUCCESS else 2)
        bench.check_delays(fault, retries=kind != SUCCESS)


@pytest.mark.parametrize("fault", FAULTS)
def test_idempotent_write(bench, fault):
    """An update is retried after any failure except a rejection, and is applied."""
    kind, dataset = FAULTS[fault], new_dataset(bench.hook)
    bench.arm("update_dataset", fault)
    if isinstance(kind, type):
        with pytest.raises(kind):
            bench.hook.update_dataset(dataset["id"], name="After")
        assert (bench.sent("update_dataset"), bench.time.slept) == (1, 0)
    else:
        assert bench.hook.update_dataset(dataset["id"], name="After")["name"] == "After"
        assert bench.sent("update_dataset") == (1 if kind == SUCCESS else 2)
        bench.check_delays(fault, retries=kind != SUCCESS)
    found = bench.datasets(dataset["slug"])
    assert [item["name"] for item in found] == ["Before" if isinstance(kind, type) else "After"]


@pytest.mark.parametrize("fault", FAULTS)
def test_delete(bench, fault):
    """A delete is retried, and a retry that finds nothing is a success."""
    kind, dataset = FAULTS[fault], new_dataset(bench.hook)
    bench.arm("delete_dataset", fault)
    if isinstance(kind, type):
        with pytest.raises(kind):
            bench.hook.delete_dataset(dataset["id"])
        assert bench.sent("delete_dataset") == 1
    else:
        assert bench.hook.delete_dataset(dataset["id"]) is True
        assert bench.sent("delete_dataset") == (1 if kind == SUCCESS else 2)
        bench.check_delays(fault, retries=kind != SUCCESS)
    assert len(bench.datasets(dataset["slug"])) == (1 if isinstance(kind, type) else 0)


@pytest.mark.parametrize("fault", FAULTS)
def test_write_that_is_not_idempotent(bench, fault):
    """A create without a natural key is sent once; if its outcome is unknown, the exception says so."""
    kind, name = FAULTS[fault], f"tag{next(serial)}"
    bench.arm("create_tag", fault)
    params = {"organization_id": SANDBOX_ORGANIZATION_ID, "name": name}
    if kind in (RATE_LIMITED, SUCCESS):
        assert bench.hook.command("create_tag", params)["id"]
        assert bench.sent("create_tag") == (1 if kind == SUCCESS else 2)
        bench.check_delays(fault, retries=kind != SUCCESS)
    else:
        is_known = isinstance(kind, type) and kind is not PolyteiaProtocolError  # which a gateway may have caused
        expected = kind if is_known else PolyteiaOutcomeUnknownError
        with pytest.raises(expected) as caught:
            bench.hook.command("create_tag", params)
        assert type(caught.value) is expected
        assert (bench.sent("create_tag"), bench.time.slept) == (1, 0)
    bench.sandbox.faults.clear()
    tags = list(bench.hook.iterate("list_tags", {"organization_id": SANDBOX_ORGANIZATION_ID}))
    found = [tag for tag in tags if tag["name"] == name]
    assert len(found) == (1 if kind in (RATE_LIMITED, SUCCESS, LOST_AFTER, SERVER_ERROR_AFTER) else 0)


@pytest.mark.parametrize("if_exists", ["reuse", "update", "fail"])
@pytest.mark.parametrize("fault", FAULTS)
def test_create_dataset(bench, fault, if_exists):
    """A new dataset is created exactly once, regardless of what happens to the first request."""
    kind, slug = FAULTS[fault], f"s{next(serial)}"
    bench.arm("create_dataset", fault)

    def create():
        return bench.hook.create_dataset(name="New", solution_id=SANDBOX_SOLUTION_ID, slug=slug, if_exists=if_exists)

    if isinstance(kind, type):
        with pytest.raises(kind):
            create()
        assert bench.sent("create_dataset") == 1
        assert bench.sent("get_dataset") == (0 if issubclass(kind, NOT_LOOKED_UP) else 1)
        assert bench.datasets(slug) == []
        return
    if kind == SERVER_ERROR_AFTER and if_exists == "fail":
        with pytest.raises(PolyteiaOutcomeUnknownError):
            create()
    else:
        assert create()["slug"] == slug
    creates = {LOST: 2, LOST_AFTER: 1, SERVER_ERROR: 2, SERVER_ERROR_AFTER: 1, RATE_LIMITED: 2, SUCCESS: 1}[kind]
    lookups = {LOST: 2, LOST_AFTER: 1, SERVER_ERROR: 1, SERVER_ERROR_AFTER: 1, RATE_LIMITED: 0, SUCCESS: 0}[kind]
    assert (bench.sent("create_dataset"), bench.sent("get_dataset")) == (creates, lookups)
    bench.check_delays(fault, retries=creates - 1, between_lookups=max(0, lookups - 1))
    assert len(bench.datasets(slug)) == 1


@pytest.mark.parametrize("if_exists", ["reuse", "update", "fail"])
@pytest.mark.parametrize("fault", FAULTS)
def test_create_existing_dataset(bench, fault, if_exists):
    """An existing dataset is reused, updated or a conflict, regardless of what happens to the first request."""
    kind, before = FAULTS[fault], new_dataset(bench.hook)
    bench.arm("create_dataset", fault)

    def create():
        return bench.hook.create_dataset(
            name="New", solution_id=SANDBOX_SOLUTION_ID, slug=before["slug"], if_exists=if_exists
        )

    is_rejected = isinstance(kind, type) and issubclass(kind, NOT_LOOKED_UP)
    if is_rejected or if_exists == "fail":
        with pytest.raises(kind if is_rejected else PolyteiaConflictError):
            create()
    else:
        assert create()["id"] == before["id"]
    assert bench.sent("create_dataset") == (2 if kind == RATE_LIMITED else 1)
    assert bench.sent("get_dataset") == (0 if is_rejected else 1)
    bench.check_delays(fault, retries=kind == RATE_LIMITED)
    found = bench.datasets(before["slug"])
    assert [item["name"] for item in found] == ["New" if if_exists == "update" and not is_rejected else "Before"]
