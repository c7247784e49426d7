"""Uploads and exports of the RPC API over real sockets: what counts as accepted, and what another host receives."""

from __future__ import annotations

import io
from contextlib import contextmanager
from functools import partial

import pytest
from rpc_responses import SESSION, TOKEN, failure, output
from servers import DROP, KEY, Reply, ScriptedServer, status

from airflow_provider_polyteia.client.file_sink import Destination
from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPreconditionError,
    PolyteiaProtocolError,
    PolyteiaTransportError,
)
from airflow_provider_polyteia.storage import open_source
from airflow_provider_polyteia.tables.file_checks.ends import new_end_check

CONTENT = b"id,name\n1,a\n"
ACCEPTED = Reply(200, b'{"ok": true, "ingestId": "dsig_1", "size": 12, "contentType": "text/csv"}')
HTML = Reply(200, b"<!doctype html>", content_type="text/html")
SECRET = "X-Signature=presigned-SECRET-5550123"


def upload(client):
    source = open_source(io.BytesIO(CONTENT), "a.csv")
    return client.run(RpcAPI(client.credentials).upload("ds_1", source, "text/csv", 5))


def test_upload(server, rpc_client):
    """One part named `file` with the data's own type and a known length, within the session."""
    server.respond(SESSION, ACCEPTED)
    assert upload(rpc_client).ingest_id == "dsig_1"
    sent = server.requests[-1]
    assert sent.path == "/api/upload/dataset/ds_1"
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert int(sent.headers["content-length"]) == len(sent.body)
    assert b'name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n' + CONTENT in sent.body


@pytest.mark.parametrize(
    ("reply", "expected", "text"),
    [
        (HTML, PolyteiaProtocolError, "set the extra 'api'"),
        (Reply(200, b"OK", content_type="text/plain"), PolyteiaProtocolError, "not a JSON object"),
        (Reply(200, b"[]"), PolyteiaProtocolError, "not a JSON object"),
        (Reply(200, b'{"ok": true}'), PolyteiaOutcomeUnknownError, "'ingestId'.*not sent again"),
        (Reply(200, b'{"ok": true, "ingestId": ""}'), PolyteiaOutcomeUnknownError, "'ingestId'"),
        (Reply(200, b'{"ingestId": "dsig_1", "size": 0}'), PolyteiaTransportError, "received 0 of 12 bytes"),
        (status(413, b"<html>too large</html>", content_type="text/html"), PolyteiaAPIError, "exceeds the size limit"),
        (status(412, b'{"error": "Terms", "code": "dpa.not-acknowledged"}'), PolyteiaPreconditionError, "acknowledge"),
        (status(404, b'{"error": "no", "code": "dataset.not-found"}'), PolyteiaNotFoundError, "id='ds_1'"),
        (DROP, PolyteiaTransportError, "city"),
    ],
)
def test_upload_that_was_not_accepted(server, rpc_client, reply, expected, text):
    """HTTP 2xx alone proves nothing."""
    server.respond(SESSION, reply)
    with pytest.raises(expected, match=text):
        upload(rpc_client)


def test_upload_is_retried_completely(server, make_client):
    """After a lost response, a lost connection and a rejected session, the whole file is sent again."""
    server.respond(SESSION, DROP, status(502), failure(401, "UNAUTHORIZED"), SESSION, ACCEPTED)
    upload(make_client(api="rpc", organization_id="org_1"))
    bodies = [request.body for request in server.requests if request.path.startswith("/api/upload")]
    assert len(bodies) == 4
    assert all(CONTENT in body for body in bodies)


@pytest.fixture
def storage():
    """The object storage, another host."""
    with ScriptedServer() as running:
        running.respond(Reply(200, CONTENT, content_type="text/csv"))
        yield running


@pytest.fixture
def export(storage):
    """Export a dataset; return the operation's result and what was written."""

    def run(client, content_type="text/csv"):
        written = io.BytesIO()

        @contextmanager
        def open_destination():
            written.seek(0)
            written.truncate()
            yield written

        target = Destination(open_destination, content_type, "a.csv", partial(new_end_check, content_type))
        size = client.run(RpcAPI(client.credentials).export_dataset("ds_1", target, 5))
        return size, written.getvalue()

    return run


def url(storage):
    return output({"url": f"{storage.url}/exports/1?{SECRET}"})


def test_export(server, storage, rpc_client, export):
    """The file is fetched from the storage, which receives neither key nor session."""
    server.respond(SESSION, url(storage))
    assert export(rpc_client) == (len(CONTENT), CONTENT)
    assert server.requests[-1].json == {"json": {"id": "ds_1", "format": "csv"}}
    (fetched,) = storage.requests
    assert fetched.path == f"/exports/1?{SECRET}"
    assert "authorization" not in fetched.headers
    assert not {KEY, TOKEN} & set(str(fetched).split("'"))


def test_url_that_has_expired(server, storage, rpc_client, export):
    """A URL that the storage rejects is replaced once."""
    storage.respond(
        status(403, b"<Error/>", content_type="application/xml"), Reply(200, CONTENT, content_type="text/csv")
    )
    server.respond(SESSION, url(storage))
    assert export(rpc_client) == (len(CONTENT), CONTENT)
    assert len(storage.requests) == 2


@pytest.mark.parametrize(
    "reply",
    [
        status(403, f"<Error><Url>{SECRET}</Url></Error>".encode(), content_type="application/xml"),
        status(404, b"<Error/>", content_type="application/xml"),
        Reply(302, b"", {"Location": "https://elsewhere.example"}),
    ],
    ids=["403", "404", "redirect"],
)
def test_refused_for_good(server, storage, make_client, export, caplog, reply):
    """A storage that rejects the request is not asked again and again; the exception names its host, never the URL."""
    storage.respond(reply)
    server.respond(SESSION, url(storage))
    with caplog.at_level("DEBUG"), pytest.raises(PolyteiaError) as caught:
        export(make_client(api="rpc", organization_id="org_1"))
    assert storage.url in str(caught.value)
    assert len(storage.requests) == (2 if reply.status == 403 else 1)
    assert "SECRET" not in str(caught.value) + repr(caught.value.__cause__) + caplog.text


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, CONTENT, {"Content-Length": "100", "Connection": "close"}, content_type="text/csv"),
        status(503, b"", content_type="text/plain"),
        HTML,
    ],
    ids=["too short", "503", "html"],
)
def test_storage_out_of_order(server, storage, make_client, export, reply):
    """A failure of the storage is retried with a new URL."""
    storage.respond(reply, Reply(200, CONTENT, content_type="text/csv"))
    server.respond(SESSION, url(storage))
    assert export(make_client(api="rpc", organization_id="org_1", timeout=1)) == (len(CONTENT), CONTENT)
    assert [request.path for request in server.requests].count("/rpc/dataset/exportDatasetData") == 2


XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (XLSX, b"<html>blocked</html>"),
        (XLSX, b"not a workbook"),
        ("text/csv", b"<!DOCTYPE html><p>sign in"),
        ("application/json", b'{"error": "no", "code": "x"}'),
    ],
)
def test_not_the_file(server, storage, rpc_client, export, content_type, body):
    """A page, an error or another format is not taken for the file, whatever its status."""
    storage.respond(Reply(200, body, content_type=content_type))
    server.respond(SESSION, url(storage))
    with pytest.raises(PolyteiaProtocolError):
        export(rpc_client, content_type)


UNUSABLE = [
    "ftp://storage.example/x",
    "/relative",
    "https://",
    "file:///etc/passwd",
    "http://[::1",
    "http://a b/",
    "http://h:99999/",
]


@pytest.mark.parametrize("issued", UNUSABLE)
def test_unusable_url(server, rpc_client, export, issued):
    """A URL that is not one of a web server is not fetched."""
    server.respond(SESSION, output({"url": issued}))
    with pytest.raises(PolyteiaProtocolError, match="cannot be used"):
        export(rpc_client)


def test_incomplete_parquet(server, storage, rpc_client, export):
    """A Parquet file is checked at both ends."""
    storage.respond(Reply(200, b"PAR1....", content_type="application/octet-stream"))
    server.respond(SESSION, url(storage))
    with pytest.raises(PolyteiaProtocolError, match="incomplete Parquet file"):
        export(rpc_client, "application/vnd.apache.parquet")


def test_format_that_is_not_exported(server, rpc_client, export):
    """An unknown format is rejected before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match="exports only csv, json, parquet, xlsx"):
        export(rpc_client, "application/pdf")
    assert server.requests == []
