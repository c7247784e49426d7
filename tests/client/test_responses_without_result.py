"""Writes of which nothing is needed but their effect: each response to them, over a real socket."""

from __future__ import annotations

import asyncio
import io

import pytest
from rpc_responses import SESSION
from servers import KEY, Reply, body_error, data, status

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.operations import CommandAPI
from airflow_provider_polyteia.client.multipart import UploadSource
from airflow_provider_polyteia.client.rpc_api import sessions
from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI
from airflow_provider_polyteia.client.sql_references import Query
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import (
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaProtocolError,
)

JSON, HTML, TEXT = "application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8"
PAGE = b"<!doctype html><title>Polyteia</title>"
EMPTY = [
    Reply(200, b"", content_type=JSON),
    Reply(200, b"", content_type=""),
    Reply(200, b" \r\n", content_type=TEXT),
    Reply(200, b"", content_type=HTML),
    Reply(201, b"", content_type=JSON),
    Reply(202, b"", content_type=""),
    Reply(204, b"", content_type=""),
    Reply(200, b"null", content_type=JSON),
    Reply(200, b" null\n", content_type="application/json; charset=utf-8"),
    Reply(200, b"{}", content_type=JSON),
]
VALUES = [(b"true", True), (b'"ok"', "ok"), (b"[]", []), (b"5", 5)]
OBJECTS = [(b'{"data": null}', None), (b'{"ok": true}', None), (b'{"code": 200, "message": "done"}', None)]


@pytest.fixture(autouse=True)
def _separate_processes():
    """Sessions are kept per process; each test begins without any."""
    sessions._sessions.clear()


def describe(value):
    return f"{value.status} {value.content_type} {value.body!r}" if isinstance(value, Reply) else None


@pytest.fixture(params=["sync", "async"])
def run(request, make_client, server):
    """Run an operation of an API at `server`, with either transport and without real waiting."""

    async def run_async(config, api, operation_of):
        async def sleep(_):
            pass

        client = AsyncPolyteiaClient(config, sleep=sleep, jitter=lambda: 1.0)
        try:
            return await client.run(operation_of(api(client.credentials)))
        finally:
            await client.aclose()

    def run(api, operation_of):
        extra = {"api": "rpc", "organization_id": "org_1"} if api is RpcAPI else {"api": "command"}
        if request.param == "sync":
            client = make_client(**extra)
            return client.run(operation_of(api(client.credentials)))
        config = client_config.from_connection("city", host=server.url, password=KEY, extra=extra)
        return asyncio.run(run_async(config, api, operation_of))

    return run


def delete(api):
    return api.delete_dataset("ds_1")


WRITES = {
    "delete": delete,
    "update": lambda api: api.update_dataset({"id": "ds_1", "name": "a"}, {"name": "b"}),
    "source timestamp": lambda api: api.set_source_timestamp("ds_1", "2026-01-31T00:00:00Z"),
    "roles": lambda api: api.call("command", "bulk_role_update", {"resource_id": "ds_1"}),
    "not idempotent": lambda api: api.call("command", "invite_user_to_organization", {"id": "org_1"}),
    "unknown command": lambda api: api.call("command", "archive_everything"),
    "SQL that writes": lambda api: api.execute_sql(Query("DELETE FROM t", ["ds_1"]), idempotent=True),
}


@pytest.mark.parametrize(
    ("write", "reply"),
    [("roles", reply) for reply in EMPTY] + [(write, reply) for write in WRITES for reply in (EMPTY[1], EMPTY[7])],
    ids=describe,
)
def test_write_on_the_command_api(server, run, reply, write):
    """Any success without content is one: the write is sent once (docs/platform-api.md#response-envelope)."""
    server.respond(reply)
    assert run(CommandAPI, WRITES[write]) in (None, {})  # {} is what SQL without an envelope returns
    assert len(server.requests) == 1


@pytest.mark.parametrize(("body", "expected"), [*VALUES, *OBJECTS])
def test_json_without_an_error(server, run, body, expected):
    """Any JSON is a success unless it reports an error."""
    server.respond(Reply(200, body))
    assert run(CommandAPI, WRITES["roles"]) == expected
    assert len(server.requests) == 1


@pytest.mark.parametrize("write", ["roles", "not idempotent"])
@pytest.mark.parametrize(
    "reply",
    [Reply(200, PAGE, content_type=HTML), Reply(200, PAGE), Reply(200, PAGE, content_type=TEXT), Reply(201, b'{"da')],
    ids=describe,
)
def test_web_page_and_damaged_json(server, run, reply, write):
    """HTML is never a success, whatever its content type, nor is JSON that is incomplete."""
    server.respond(reply)
    is_idempotent = write == "roles"
    with pytest.raises(PolyteiaProtocolError if is_idempotent else PolyteiaOutcomeUnknownError):
        run(CommandAPI, WRITES[write])
    assert len(server.requests) == (5 if is_idempotent else 1)


@pytest.mark.parametrize("reply", [body_error(404), Reply(200, b'{"code": 404, "message": "no"}')], ids=describe)
def test_reported_error(server, run, reply):
    """JSON that reports an error is one."""
    server.respond(reply)
    with pytest.raises(PolyteiaNotFoundError):
        run(CommandAPI, delete)


@pytest.mark.parametrize(
    "needs_data",
    [
        lambda api: api.call("query", "list_tags", {"organization_id": "org_1"}),
        lambda api: api.call("command", "generate_dataset_upload_token", {"id": "ds_1"}),
        lambda api: api.execute_sql(Query("SELECT 1", ["ds_1"]), idempotent=True),
    ],
    ids=["query", "token", "SQL that reads"],
)
@pytest.mark.parametrize(
    "reply", [Reply(200, b""), Reply(204, b"", content_type=""), Reply(200, b"null")], ids=describe
)
def test_missing_data(server, run, reply, needs_data):
    """Where the data is what was asked for, a response without it is retried, and then an error."""
    server.respond(reply, data({"token": "t", "items": []}))
    assert run(CommandAPI, needs_data)
    server.respond(reply)
    with pytest.raises(PolyteiaProtocolError):
        run(CommandAPI, needs_data)


def test_create_that_a_lookup_finds(server, make_client):
    """A create without a record in its response is looked up, and not sent again."""
    from airflow_provider_polyteia.client import exactly_once  # noqa: PLC0415 - imports tenacity

    record = {"id": "ins_1", "slug": "a", "solution_id": "sol_1"}
    server.respond(Reply(200, b""), data(record))
    client = make_client()
    creation = CommandAPI(client.credentials).call("command", "create_insight", {"solution_id": "sol_1", "slug": "a"})
    assert exactly_once.create(client, creation).record == record
    assert server.calls == ["create_insight", "get_insight"]


@pytest.mark.parametrize(
    ("procedure", "reply"),
    [("dataset/deleteDataset", reply) for reply in EMPTY]
    + [(procedure, EMPTY[1]) for procedure in ("dataset/setDatasetLock", "dpa/toggleActivity")],
    ids=describe,
)
def test_write_on_the_rpc_api(server, run, reply, procedure):
    """A procedure without a return value may respond with nothing, or null (docs/platform-api.md#rpc-responses)."""
    server.respond(SESSION, reply)
    assert run(RpcAPI, lambda api: api.call(procedure, {"id": "ds_1"})) is None
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "reply", [Reply(200, PAGE, content_type=HTML), Reply(200, PAGE), Reply(200, b"nul")], ids=describe
)
def test_web_page_on_the_rpc_api(server, run, reply):
    """HTML is never a success of the RPC API either."""
    server.respond(SESSION, reply)
    with pytest.raises(PolyteiaError):
        run(RpcAPI, delete)


ACCEPTED = [
    *EMPTY,
    *(Reply(200, body, content_type=kind) for body, _ in VALUES + OBJECTS for kind in (JSON, TEXT, HTML, "")),
    Reply(200, b"OK", content_type=TEXT),
    Reply(200, b"OK", content_type=JSON),
    Reply(200, b"stored", content_type=HTML),
    Reply(200, b'{"data": {"token": "x"}}'),
    Reply(200, b'{"error": null}'),
]
NOT_ACCEPTED = [
    Reply(200, PAGE, content_type=HTML),
    Reply(200, b"Please <a href='/login'>log in</a>", content_type=HTML),
    Reply(200, PAGE, content_type=TEXT),
    Reply(200, PAGE, content_type=JSON),
    Reply(200, PAGE, content_type=""),
    Reply(200, b'{"error": {"code": 40', content_type=JSON),
]


def upload(client):
    """Upload a small file. The async client sends no files, but reads each response in the same way."""
    source = UploadSource("a.csv", 4, lambda: io.BytesIO(b"a\n1\n"))
    return client.run(CommandAPI(client.credentials).upload("ds_1", source, "text/csv", None))


def respond_to_upload(server, reply):
    """Issue tokens, and send the reply to every upload."""
    server.respond(lambda request: reply if request.path == "/upload" else data({"token": f"t{len(server.requests)}"}))


@pytest.mark.parametrize("reply", ACCEPTED, ids=describe)
def test_upload(server, client, reply):
    """A file is sent once, whatever responds to it (docs/platform-api.md#upload-responses)."""
    respond_to_upload(server, reply)
    upload(client)
    assert server.calls == ["generate_dataset_upload_token", "/upload"]


@pytest.mark.parametrize("reply", NOT_ACCEPTED, ids=describe)
def test_upload_that_a_web_page_responds_to(server, client, reply):
    """A real web page, or JSON of which a part is missing, is not a success of an upload."""
    respond_to_upload(server, reply)
    with pytest.raises(PolyteiaProtocolError):
        upload(client)
    assert server.calls.count("/upload") == 5


@pytest.mark.parametrize("kind", [JSON, TEXT, HTML, ""])
@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"code": 404, "message": "no"}}',
        b'{"code": 404, "message": "no"}',
        b'{"code": "404", "message": ""}',
    ],
)
def test_upload_with_a_reported_error(server, client, kind, body):
    """JSON that reports an error is one under any content type."""
    respond_to_upload(server, Reply(200, body, content_type=kind))
    with pytest.raises(PolyteiaNotFoundError):
        upload(client)
    assert server.calls.count("/upload") == 2  # once more with a new token


def test_status_of_an_upload(server, client):
    """A failure by its status is one even without a body."""
    respond_to_upload(server, status(404, b"", content_type=""))
    with pytest.raises(PolyteiaNotFoundError):
        upload(client)
