"""Every fault of the sandbox against every kind of call, over real sockets.

The tests check how many requests were sent, what the platform contains afterwards, what the caller receives, and how
long the client waited, on a clock that needs no real waiting except for the short timeouts of the hanging faults.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from dataclasses import dataclass

import pytest
from conftest import FakeTime, HastyTime

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.api import select_api
from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
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

pytestmark = pytest.mark.slow  # waits for real timeouts

LOST, LOST_AFTER, SERVER_ERROR, SERVER_ERROR_AFTER = "lost", "lost, applied", "server error", "server error, applied"
RATE_LIMITED, RENEWED, SUCCESS = "rate limited", "session renewed", "success"
NO_RESULT = "applied, without a result"  # which is a success where nothing of the response is needed

FAULTS = {
    **dict.fromkeys(["drop-before", "close-before", "hang:9", "garbage", "html"], LOST),
    **dict.fromkeys(["status:500", "status:502", "status:503", "status:504", "status:408", "unavailable:2"], LOST),
    **dict.fromkeys(["drop-after", "close-after", "hang-after:9", "garbage-after", "html-after"], LOST_AFTER),
    **dict.fromkeys(["status-after:500", "status-after:502", "status-after:504", "unavailable-after:2"], LOST_AFTER),
    **dict.fromkeys(["empty-after", "no-content-after", "null-after"], NO_RESULT),
    "text-after": LOST_AFTER,
    "huge:3": LOST,
    "endless": PolyteiaProtocolError,
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
# On the RPC API, an error is never inside HTTP 200, and a session that is rejected is renewed once.
FAULTS_ON_RPC = FAULTS | {
    "body-error:500": LOST,
    "body-error-after:500": LOST_AFTER,
    **dict.fromkeys(["status:401", "body-error:401"], RENEWED),
}
CALLS = {
    "command": {
        "create": "create_dataset",
        "create tag": "create_tag",
        "get": "get_dataset",
        "look up": "get_dataset",
        "update": "update_dataset",
        "delete": "delete_dataset",
        "upload": "/upload",
    },
    "rpc": {
        "create": "dataset/createDataset",
        "create tag": "tag/createTag",
        "get": "dataset/getDatasetById",
        "look up": "dataset/getDatasetBySolutionSlug",
        "update": "dataset/updateDataset",
        "delete": "dataset/deleteDataset",
        "upload": "/api/upload/dataset",
    },
}
# After these a create is not looked up: the platform does not report a taken slug with them.
NOT_LOOKED_UP = (PolyteiaAuthenticationError, PolyteiaPermissionError, PolyteiaNotFoundError)
serial = itertools.count()


@pytest.fixture(scope="module", params=CALLS)
def sandbox(request):
    """One platform per API for all tests; each test uses its own dataset."""
    with Sandbox(api=request.param) as running:
        yield running


@dataclass
class Bench:
    """A hook whose delays take no time, and its platform."""

    hook: PolyteiaHook
    sandbox: Sandbox
    time: FakeTime

    @property
    def is_rpc(self):
        return self.sandbox.options.api == "rpc"

    def expected(self, fault):
        """What a fault amounts to: an outcome, or the type of an exception."""
        return (FAULTS_ON_RPC if self.is_rpc else FAULTS)[fault]

    def arm(self, call, fault):
        self.sandbox.faults.clear()
        self.sandbox.recorder.clear()
        self.sandbox.faults.add(f"{self._name(call)}:{fault}:1")

    def sent(self, call):
        return self.sandbox.recorder.counts[self._name(call)]

    def datasets(self, slug):
        self.sandbox.faults.clear()
        return [item for item in self.sandbox.platform.store.all("dataset") if item["slug"] == slug]

    def create_tag(self, name):
        """Create something without a natural key."""
        if not self.is_rpc:
            return self.hook.command("create_tag", {"organization_id": SANDBOX_ORGANIZATION_ID, "name": name})
        ids = {"organizationId": SANDBOX_ORGANIZATION_ID, "solutionId": SANDBOX_SOLUTION_ID}
        return self.hook.call("tag/createTag", {**ids, "name": name, "description": "", "color": "red"})

    def lookups_after(self, rejection):
        """How often a dataset that does not exist is looked up after a create was rejected."""
        if self.is_rpc and rejection is PolyteiaNotFoundError:
            return 2  # docs/platform-api.md#rpc-writes: this does not prove that nothing was created
        return 0 if issubclass(rejection, NOT_LOOKED_UP) else 1

    def run_async(self, operation_of):
        """Run an operation of the API with the async client, on the same clock."""
        config = self.hook.get_conn().config

        async def sleep(seconds):
            self.time.sleep(seconds)

        async def run():
            client = AsyncPolyteiaClient(config, clock=self.time.clock, sleep=sleep, jitter=lambda: 1.0)
            try:
                return await client.run(operation_of(await client.run(select_api(client.credentials))))
            finally:
                await client.aclose()

        return asyncio.run(run())

    def tags(self, name):
        self.sandbox.faults.clear()
        return [tag for tag in self.sandbox.records("tag") if tag["name"] == name]

    def _name(self, call):
        return CALLS[self.sandbox.options.api][call]

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
    connection = json.loads(sandbox.airflow_connection())
    extra = {"timeout": [5, 0.6 if fault.startswith("hang") else 20], "max_response_mib": 1}
    config = client_config.from_connection(
        "city", host=sandbox.base_url, password=sandbox.pak, extra={**connection["extra"], **extra}
    )
    hasty = HastyTime()
    hook = PolyteiaHook("city")
    hook._client = PolyteiaClient(config, clock=hasty.clock, sleep=hasty.sleep, jitter=lambda: 1.0)
    next(hook.list_datasets(SANDBOX_SOLUTION_ID), None)  # begins a session where the API has sessions
    hasty.slept = 0.0
    yield Bench(hook, sandbox, hasty)
    sandbox.faults.clear()
    hook.close()


def new_dataset(hook, **fields):
    given = {"name": "Before", "solution_id": SANDBOX_SOLUTION_ID, "slug": f"s{next(serial)}"}
    return hook.create_dataset(**given, **fields)


@pytest.mark.parametrize("fault", FAULTS)
def test_query(bench, fault):
    """A query is retried after any failure except a rejection, and succeeds."""
    kind, dataset = bench.expected(fault), new_dataset(bench.hook)
    bench.arm("get", fault)
    if isinstance(kind, type):
        with pytest.raises(kind):
            bench.hook.get_dataset(dataset["id"])
        assert (bench.sent("get"), bench.time.slept) == (1, 0)
    else:
        assert bench.hook.get_dataset(dataset["id"])["id"] == dataset["id"]
        assert bench.sent("get") == (1 if kind == SUCCESS else 2)
        bench.check_delays(fault, retries=kind not in (SUCCESS, RENEWED))


@pytest.mark.parametrize("fault", FAULTS)
def test_query_of_a_trigger(bench, fault):
    """The async client sends as many requests, waits as long and has the same result; triggers only run queries."""
    kind, dataset = bench.expected(fault), new_dataset(bench.hook)
    bench.arm("get", fault)

    def run():
        return bench.run_async(lambda api: api.get_dataset(DatasetRef(dataset["id"])))

    if isinstance(kind, type):
        with pytest.raises(kind):
            run()
        assert (bench.sent("get"), bench.time.slept) == (1, 0)
    else:
        assert run()["id"] == dataset["id"]
        assert bench.sent("get") == (1 if kind == SUCCESS else 2)
        bench.check_delays(fault, retries=kind not in (SUCCESS, RENEWED))


@pytest.mark.parametrize("fault", FAULTS)
def test_idempotent_write(bench, fault):
    """An update is retried after any failure except a rejection, and is applied."""
    kind, dataset = bench.expected(fault), new_dataset(bench.hook)
    bench.arm("update", fault)
    if isinstance(kind, type):
        with pytest.raises(kind):
            bench.hook.update_dataset(dataset["id"], name="After")
        assert (bench.sent("update"), bench.time.slept) == (1, 0)
    else:
        assert bench.hook.update_dataset(dataset["id"], name="After")["name"] == "After"
        assert bench.sent("update") == (1 if kind in (SUCCESS, NO_RESULT) else 2)
        bench.check_delays(fault, retries=kind not in (SUCCESS, NO_RESULT, RENEWED))
    found = bench.datasets(dataset["slug"])
    assert [item["name"] for item in found] == ["Before" if isinstance(kind, type) else "After"]


@pytest.mark.parametrize("fault", FAULTS)
def test_delete(bench, fault):
    """A delete is retried, and a retry that finds nothing is a success."""
    kind, dataset = bench.expected(fault), new_dataset(bench.hook)
    bench.arm("delete", fault)
    if isinstance(kind, type):
        with pytest.raises(kind):
            bench.hook.delete_dataset(dataset["id"])
        assert bench.sent("delete") == 1
    else:
        assert bench.hook.delete_dataset(dataset["id"]) is True
        assert bench.sent("delete") == (1 if kind in (SUCCESS, NO_RESULT) else 2)
        bench.check_delays(fault, retries=kind not in (SUCCESS, NO_RESULT, RENEWED))
    assert len(bench.datasets(dataset["slug"])) == (1 if isinstance(kind, type) else 0)


@pytest.mark.parametrize("fault", FAULTS)
def test_delete_by_the_async_client(bench, fault):
    """The async client makes the same of each response to a write."""
    kind, dataset = bench.expected(fault), new_dataset(bench.hook)
    bench.arm("delete", fault)
    if isinstance(kind, type):
        with pytest.raises(kind):
            bench.run_async(lambda api: api.delete_dataset(dataset["id"]))
        assert (bench.sent("delete"), bench.time.slept) == (1, 0)
    else:
        assert bench.run_async(lambda api: api.delete_dataset(dataset["id"])) is None
        assert bench.sent("delete") == (1 if kind in (SUCCESS, NO_RESULT) else 2)
        bench.check_delays(fault, retries=kind not in (SUCCESS, NO_RESULT, RENEWED))
    assert len(bench.datasets(dataset["slug"])) == (1 if isinstance(kind, type) else 0)


UPLOADS = ["empty-after", "no-content-after", "null-after", "text-after", "html-after", "garbage-after"]


@pytest.mark.parametrize("fault", UPLOADS)
def test_upload(bench, fault):
    """A file is sent once whatever the command API responds, except a web page; the RPC API must show an ingest."""
    dataset = new_dataset(bench.hook)
    bench.arm("upload", fault)
    bench.hook.upload_dataset(dataset["id"], io.BytesIO(b"a\n1\n"), content_type="text/csv")
    is_accepted = not bench.is_rpc and fault not in ("html-after", "garbage-after")
    assert bench.sent("upload") == (1 if is_accepted else 2)
    assert bench.sandbox.content(dataset["id"]) == b"a\n1\n"


@pytest.mark.parametrize("fault", FAULTS)
def test_write_that_is_not_idempotent(bench, fault):
    """A create without a natural key is sent once; if its outcome is unknown, the exception says so."""
    kind, name = bench.expected(fault), f"tag{next(serial)}"
    bench.arm("create tag", fault)
    if kind == NO_RESULT:
        assert bench.create_tag(name) is None
        assert (bench.sent("create tag"), bench.time.slept) == (1, 0)
    elif kind in (RATE_LIMITED, RENEWED, SUCCESS):
        assert bench.create_tag(name)["id"]
        assert bench.sent("create tag") == (1 if kind == SUCCESS else 2)
        bench.check_delays(fault, retries=kind == RATE_LIMITED)
    else:
        is_known = isinstance(kind, type) and kind is not PolyteiaProtocolError  # which a gateway may have caused
        if bench.is_rpc and kind is PolyteiaNotFoundError:
            is_known = False  # docs/platform-api.md#rpc-writes
        expected = kind if is_known else PolyteiaOutcomeUnknownError
        with pytest.raises(expected) as caught:
            bench.create_tag(name)
        assert type(caught.value) is expected
        assert (bench.sent("create tag"), bench.time.slept) == (1, 0)
    applied = (RATE_LIMITED, RENEWED, SUCCESS, NO_RESULT, LOST_AFTER, SERVER_ERROR_AFTER)
    assert len(bench.tags(name)) == (1 if kind in applied else 0)


@pytest.mark.parametrize("if_exists", ["reuse", "update", "fail"])
@pytest.mark.parametrize("fault", FAULTS)
def test_create_dataset(bench, fault, if_exists):
    """A new dataset is created exactly once, regardless of what happens to the first request."""
    kind, slug = bench.expected(fault), f"s{next(serial)}"
    bench.arm("create", fault)
    before = 1 if if_exists == "fail" else 0  # lookups before the create

    def create():
        return bench.hook.create_dataset(name="New", solution_id=SANDBOX_SOLUTION_ID, slug=slug, if_exists=if_exists)

    if isinstance(kind, type):
        with pytest.raises(kind):
            create()
        assert bench.sent("create") == 1
        assert bench.sent("look up") == before + bench.lookups_after(kind)
        assert bench.datasets(slug) == []
        return
    if kind in (LOST_AFTER, NO_RESULT, SERVER_ERROR_AFTER) and if_exists == "fail":
        with pytest.raises(PolyteiaOutcomeUnknownError):
            create()
    else:
        assert create()["slug"] == slug
    creates = {LOST: 2, SERVER_ERROR: 2, RATE_LIMITED: 2, RENEWED: 2}.get(kind, 1)
    lookups = {LOST: 2, LOST_AFTER: 1, NO_RESULT: 1, SERVER_ERROR: 1, SERVER_ERROR_AFTER: 1}.get(kind, 0)
    assert (bench.sent("create"), bench.sent("look up")) == (creates, before + lookups)
    retries = 0 if kind == RENEWED else creates - 1
    bench.check_delays(fault, retries=retries, between_lookups=max(0, lookups - 1))
    assert len(bench.datasets(slug)) == 1


@pytest.mark.parametrize("if_exists", ["reuse", "update"])
@pytest.mark.parametrize("fault", FAULTS)
def test_create_existing_dataset(bench, fault, if_exists):
    """An existing dataset is reused or updated."""
    kind, before = bench.expected(fault), new_dataset(bench.hook)
    bench.arm("create", fault)

    def create():
        return bench.hook.create_dataset(
            name="New", solution_id=SANDBOX_SOLUTION_ID, slug=before["slug"], if_exists=if_exists
        )

    is_rejected = isinstance(kind, type) and not bench.lookups_after(kind)
    if is_rejected:
        with pytest.raises(kind):
            create()
    else:
        assert create()["id"] == before["id"]
    assert bench.sent("create") == (2 if kind in (RATE_LIMITED, RENEWED) else 1)
    assert bench.sent("look up") == (0 if is_rejected else 1)
    bench.check_delays(fault, retries=kind == RATE_LIMITED)
    found = bench.datasets(before["slug"])
    assert [item["name"] for item in found] == ["New" if if_exists == "update" and not is_rejected else "Before"]


@pytest.mark.parametrize("fault", ["status:500"])
def test_create_existing_dataset_that_must_be_new(bench, fault):
    """An existing dataset is a conflict for which no create is sent."""
    before = new_dataset(bench.hook)
    bench.arm("create", fault)
    with pytest.raises(PolyteiaConflictError):
        bench.hook.create_dataset(name="New", solution_id=SANDBOX_SOLUTION_ID, slug=before["slug"], if_exists="fail")
    assert (bench.sent("create"), bench.sent("look up"), bench.time.slept) == (0, 1, 0)
