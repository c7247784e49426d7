"""The operations of `PolyteiaHook` on the framework behind the platform's RPC API, in both dialects."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, date, datetime

import pytest

from airflow_provider_polyteia.client import config
from airflow_provider_polyteia.client.api import select_api
from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.rpc_api import probe, sessions
from airflow_provider_polyteia.client.rpc_api.envelope import Dialect
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

pytestmark = pytest.mark.integration  # starts Node.js

LARGE = 9_007_199_254_740_993


@pytest.fixture(autouse=True)
def _separate_processes():
    sessions._sessions.clear()
    probe._hosts_with_rpc_api.clear()
    probe._hosts_without.clear()


@pytest.fixture
def make_hook(orpc_server, connect):
    """Create hooks of the framework's server; other contents of the connection may be given."""
    hooks = []

    def make(key=None, **extra):
        organization = {} if "organization_slug" in extra else {"organization_id": orpc_server.known["organizationId"]}
        extra = {"api": "rpc", "max_attempts": 1, **organization, **extra}
        connect("city", host=orpc_server.base_url, password=key or orpc_server.known["key"], extra=extra)
        hooks.append(PolyteiaHook("city"))
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture
def hook(make_hook):
    """A hook of the framework's server."""
    return make_hook()


@pytest.fixture
def new(orpc_server, hook):
    """Create a dataset."""

    def create(**fields):
        given = {"name": "Bookings", "solution_id": orpc_server.known["solutionId"], "slug": f"b{uuid.uuid4().hex[:9]}"}
        return hook.create_dataset(**given | fields)

    return create


def test_dialect_is_learned_from_the_exchange(hook, orpc_server):
    """The first session shows the dialect in which dates must be sent."""
    hook.test_connection()
    (session,) = sessions._sessions.values()
    assert session.dialect is (Dialect.NUMBERS if orpc_server.dialect == 1 else Dialect.WORDS)
    assert session.organization_id == orpc_server.known["organizationId"]


@pytest.mark.parametrize("name", ["organization_id", "organization_slug"])
def test_exchange(make_hook, orpc_server, name):
    """The key is exchanged for an organization by its id or its slug."""
    key = {"organization_id": "organizationId", "organization_slug": "organizationSlug"}[name]
    hook = make_hook(**{name: orpc_server.known[key]})
    assert hook.test_connection() == (True, "Connected to organization 'Stadt Musterhausen'.")


def test_rejected_exchange(make_hook):
    """A wrong key and an unknown organization are different exceptions."""
    with pytest.raises(PolyteiaAuthenticationError, match="Invalid personal access key"):
        make_hook("pak_wrong").get_dataset("ds_1")
    with pytest.raises(PolyteiaConfigurationError, match=r"'org_unknown' set in its extra 'organization_id'"):
        make_hook(organization_id="org_unknown").get_dataset("ds_1")
    with pytest.raises(PolyteiaConfigurationError, match="extra 'organization_slug'"):
        make_hook(organization_slug="unknown").get_dataset("ds_1")


def test_detection(make_hook):
    """A host with the framework is found to serve the RPC API."""
    assert make_hook(api="auto").api.name == "rpc"


def test_datasets(new, hook, orpc_server):
    """A dataset is created once, found, listed, updated and deleted."""
    record = new()
    assert record["data_as_of"] is None
    assert hook.get_dataset(record["id"]) == record
    assert hook.get_dataset(solution_id=record["solution_id"], slug=record["slug"]) == record
    assert record in list(hook.list_datasets(record["solution_id"]))
    assert new(slug=record["slug"], name="Other")["name"] == "Bookings"
    with pytest.raises(PolyteiaConflictError):
        new(slug=record["slug"], if_exists="fail", name="Other")
    assert hook.delete_dataset(record["id"]) is True
    assert hook.delete_dataset(record["id"], ignore_missing=True) is False
    assert list(hook.list_datasets(orpc_server.known["solutionId"])) == []


def test_update(new, hook):
    """An update keeps null and the as-of time; a date is accepted in the dialect of the platform."""
    record = new()
    hook.set_source_timestamp(record["id"], "2026-01-31T12:00:00+01:00")
    updated = hook.update_dataset(record["id"], name="After")
    assert (updated["name"], updated["data_as_of"]) == ("After", "2026-01-31T11:00:00.000Z")
    assert updated["description"] == record["description"]
    raw = {key: updated[key] for key in ("id", "name", "slug")} | {"documentation": None}
    hook.call("dataset/updateDataset", {**raw, "description": None, "source": None, "dataAsOf": date(2026, 2, 1)})
    kept = hook.update_dataset(record["id"], name="Again")
    assert (kept["description"], kept["source"], kept["documentation"]) == (None, None, None)
    assert kept["data_as_of"] == "2026-02-01T00:00:00.000Z"


def test_missing_dataset(hook):
    """A missing dataset is a 404 with the framework's own word."""
    with pytest.raises(PolyteiaNotFoundError, match="Dataset not found") as caught:
        hook.get_dataset("ds_unknown")
    assert (caught.value.http_status, caught.value.code, caught.value.from_gateway) == (404, "NOT_FOUND", False)


def test_unknown_procedure(hook):
    """A missing procedure is a 404 that is not the framework's, and may mean the wrong API."""
    with pytest.raises(PolyteiaOutcomeUnknownError, match="set the extra 'api'"):
        hook.call("dataset/doesNotExist")
    with pytest.raises(PolyteiaNotFoundError, match="set the extra 'api'") as caught:
        hook.call("dataset/doesNotExist", idempotent=True)
    assert caught.value.from_gateway


def test_types_in_outputs(new, hook, orpc_server):
    """Each type of the framework arrives as the Python value that stands for it."""
    record = new()
    stats = hook.call("dataset/getDatasetStats", {"id": record["id"]})
    assert stats["rowCount"] == LARGE
    assert stats["columnTypes"] == {"amount": "DOUBLE", "day": "DATE"}
    assert stats["lastChanges"] == {record["id"]: "2026-01-31T00:00:00.000Z"}
    assert stats["formats"] == ["csv", "parquet"]
    assert stats["counts"] == [1, 2]
    assert (stats["mean"], stats["invalidDate"], stats["nothing"]) == (None, None, None)
    assert stats["samples"] == ["a", None, "c"]
    assert stats["pattern"] == "/^[a-z]+$/i"
    assert stats["page"] == "https://example.com/datasets?page=1"
    assert "unset" not in stats


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("returnDate", "2026-01-31T00:00:00.000Z"),
        ("returnNull", None),
        ("returnText", "Straße"),
        ("returnUndefined", None),
    ],
)
def test_single_values(hook, name, expected):
    """A value that is not an object, and no value at all."""
    assert hook.call(f"contract/{name}", idempotent=True) == expected


def test_types_in_inputs(hook):
    """Dates and large integers reach the handler as such, wherever they are; the framework returns them unchanged."""
    given = {
        "a": datetime(2026, 1, 31, 12, 30, 0, 123456, tzinfo=UTC),
        "nested": [{"day": date(2026, 2, 1), "number": LARGE}, None, "text", 1.5, True],
    }
    returned = hook.call("contract/returnInput", given, idempotent=True)
    assert returned["type"] == "object"
    assert returned["input"] == {
        "a": "2026-01-31T12:30:00.123Z",
        "nested": [{"day": "2026-02-01T00:00:00.000Z", "number": LARGE}, None, "text", 1.5, True],
    }


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("BAD_REQUEST", 400, PolyteiaBadRequestError),
        ("FORBIDDEN", 403, PolyteiaPermissionError),
        ("NOT_FOUND", 404, PolyteiaNotFoundError),
        ("CONFLICT", 409, PolyteiaConflictError),
        ("PRECONDITION_FAILED", 412, PolyteiaPreconditionError),
        ("PAYLOAD_TOO_LARGE", 413, PolyteiaAPIError),
        ("TOO_MANY_REQUESTS", 429, PolyteiaRateLimitError),
        ("SERVICE_UNAVAILABLE", 503, PolyteiaServerError),
        ("INTERNAL_SERVER_ERROR", 500, PolyteiaServerError),
    ],
)
def test_errors(hook, code, status, expected):
    """The HTTP status decides the exception; word and message are kept."""
    with pytest.raises(expected, match="what happened") as caught:
        hook.call("contract/fail", {"code": code, "message": "what happened"}, idempotent=True)
    assert type(caught.value) is expected
    assert (caught.value.http_status, caught.value.code, caught.value.message) == (status, code, "what happened")


def test_word_of_the_application(hook):
    """A word of the application is an error with the status that the framework gives it."""
    with pytest.raises(PolyteiaAPIError) as caught:
        hook.call("contract/fail", {"code": "TEAPOT", "message": "short and stout"}, idempotent=True)
    assert caught.value.code == "TEAPOT"


def test_issues_of_an_invalid_input(hook):
    """The exception names each offending field."""
    given = {"organizationId": "org_contract", "description": "", "source": "", "documentation": {}}
    with pytest.raises(PolyteiaBadRequestError, match=r"name: .*; solutionId: ") as caught:
        hook.call("dataset/createDataset", {**given, "name": 1, "solutionId": 2})
    assert [issue["path"] for issue in caught.value.details] == [["name"], ["solutionId"]]


def test_output_that_breaks_the_contract(hook, orpc_server):
    """A 500 after a write does not say that nothing was done: here, the dataset exists."""
    with pytest.raises(PolyteiaOutcomeUnknownError):
        hook.call("contract/createAndBreakOutput", {"slug": "broken"})
    assert hook.get_dataset(solution_id=orpc_server.known["solutionId"], slug="broken")["slug"] == "broken"


def test_failed_ingest(new, hook):
    """The state of an ingest and its reason are read."""
    status = hook.get_conn().run(hook.api.ingest_status(new()["id"], "dsig_1"))
    assert (status.status, status.message) == ("failed", "bad csv")


def test_client_of_triggers(new, hook, orpc_server):
    """The async client sends and reads the same."""
    record = new()
    settings = {"api": "rpc", "organization_id": orpc_server.known["organizationId"]}
    key = orpc_server.known["key"]
    given = config.from_connection("city", host=orpc_server.base_url, password=key, extra=settings)

    async def read():
        client = AsyncPolyteiaClient(given)
        try:
            api = await client.run(select_api(client.credentials))
            return await client.run(api.get_dataset(DatasetRef(record["id"])))
        finally:
            await client.aclose()

    assert asyncio.run(read()) == record
