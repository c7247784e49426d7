"""What the client makes of each response of the RPC API, over a real socket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rpc_responses import SESSION, TOKEN, failure, output
from servers import KEY, Reply, status

from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.rpc_api import sessions
from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
    PolyteiaProtocolError,
    PolyteiaServerError,
)

NO_SUCH_PATH = status(404, b"Not found", content_type="text/plain")
HTML = Reply(200, b"<!doctype html><title>Polyteia</title>", content_type="text/html")


def call(client, name="dataset/getDatasetStats", given=None, **options):
    return client.run(RpcAPI(client.credentials).call(name, given or {"id": "ds_1"}, **options))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (output({"a": 1}), {"a": 1}),
        (output(None), None),
        (output([1]), [1]),
        (Reply(200, b"{}"), None),
        (Reply(200, b""), None),
        (Reply(204, b"", content_type=""), None),
        (Reply(201, b'{"json": 5, "meta": null}'), 5),
    ],
)
def test_success(server, rpc_client, reply, expected):
    """Any 2xx in the platform's form is a success; nothing at all is the value None."""
    server.respond(SESSION, reply)
    assert call(rpc_client) == expected


@pytest.mark.parametrize(
    "reply",
    [
        HTML,
        Reply(200, b"<html></html>"),
        Reply(200, b"OK", content_type="text/plain"),
        Reply(200, b'{"data": {"id": "ds_1"}}'),
        Reply(200, b"[]"),
        Reply(200, b'{"json": '),
        Reply(302, b"", {"Location": "https://login.example"}),
    ],
    ids=["html", "html as JSON", "text", "command API", "list", "truncated", "redirect"],
)
def test_not_the_platforms_form(server, rpc_client, reply):
    """Nothing else is a success, whatever its status."""
    server.respond(SESSION, reply)
    with pytest.raises(PolyteiaProtocolError):
        call(rpc_client)
    assert len(server.requests) == 2


@pytest.mark.parametrize("reply", [HTML, Reply(200, b'{"data": 1}'), NO_SUCH_PATH])
def test_other_api(server, rpc_client, reply):
    """What the host of the command API responds leads to the extra that chooses the API."""
    server.respond(SESSION, reply)
    with pytest.raises(PolyteiaError, match=r"the command API, set the extra 'api' of connection 'city' to 'command'"):
        call(rpc_client)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (failure(400, "BAD_REQUEST"), PolyteiaBadRequestError),
        (failure(403, "FORBIDDEN"), PolyteiaPermissionError),
        (failure(404, "NOT_FOUND"), PolyteiaNotFoundError),
        (failure(412, "PRECONDITION_FAILED"), PolyteiaPreconditionError),
        (status(412, b'{"error": "Terms", "code": "dpa.not-acknowledged"}'), PolyteiaPreconditionError),
        (failure(500, "INTERNAL_SERVER_ERROR"), PolyteiaServerError),
        (status(403, b"Forbidden", content_type="text/plain"), PolyteiaPermissionError),
        (status(418, b'{"json": {"code": "TEAPOT"}}'), PolyteiaAPIError),
    ],
)
def test_errors(server, rpc_client, reply, expected):
    """The HTTP status decides the exception, in any form of the body."""
    server.respond(SESSION, reply)
    with pytest.raises(expected) as caught:
        call(rpc_client)
    assert type(caught.value) is expected
    assert "'city'" in str(caught.value)
    assert len(server.requests) == 2


def test_missing_field(server, rpc_client):
    """A record without an id is not a record."""
    server.respond(SESSION, output({"slug": "a"}))
    with pytest.raises(PolyteiaProtocolError, match="missing the required field 'id'"):
        rpc_client.run(RpcAPI(rpc_client.credentials).get_dataset(DatasetRef("ds_1")))


def test_issues(server, rpc_client):
    """Issues of the input are shown with their paths, cut and without secrets."""
    issues = [{"path": ["a", 0], "message": f"got {KEY}"}, {"message": 300 * "x"}]
    server.respond(SESSION, failure(400, "BAD_REQUEST", "invalid", issues=issues))
    with pytest.raises(PolyteiaBadRequestError, match=r"a\.0: got \*\*\*") as caught:
        call(rpc_client)
    assert KEY not in str(caught.value)
    assert KEY not in str(caught.value.details)
    assert "x" * 250 not in str(caught.value)


def test_requests(server, rpc_client):
    """The key goes into the body of the exchange only; calls carry the session."""
    server.respond(SESSION, output({}))
    call(rpc_client, given={"id": "ds_1"})
    exchange, sent = server.requests
    assert exchange.path == "/rpc/auth/personalAccessKey/exchange"
    assert exchange.json == {"json": {"key": KEY, "organizationId": "org_1"}}
    assert "authorization" not in exchange.headers
    assert (sent.path, sent.json) == ("/rpc/dataset/getDatasetStats", {"json": {"id": "ds_1"}})
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert KEY not in sent.body.decode() + str(sent.headers)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (failure(401, "UNAUTHORIZED"), PolyteiaAuthenticationError),
        (failure(403, "FORBIDDEN"), PolyteiaPermissionError),
        (failure(404, "NOT_FOUND"), PolyteiaConfigurationError),
        (HTML, PolyteiaProtocolError),
        (output({"token": "with space"}), PolyteiaProtocolError),
        (output({"organizationId": "org_1"}), PolyteiaProtocolError),
        (Reply(200, b"{}"), PolyteiaProtocolError),
    ],
)
def test_failed_exchange(server, rpc_client, reply, expected):
    """If the exchange fails, nothing else is sent: not even a write has an unknown outcome."""
    server.respond(reply)
    with pytest.raises(expected) as caught:
        call(rpc_client, "tag/createTag")
    assert type(caught.value) is expected
    assert caught.value.not_applied
    assert len(server.requests) == 1
    assert sessions._sessions == {}


@pytest.mark.parametrize(
    ("reply", "is_page"),
    [
        (failure(403, "FORBIDDEN"), False),
        (status(403, b"<html>Blocked</html>", content_type="text/html"), True),
    ],
)
def test_advice_for_a_rejected_exchange(server, rpc_client, reply, is_page):
    """A page of a proxy is not explained with the rights of the account."""
    server.respond(reply)
    with pytest.raises(PolyteiaPermissionError) as caught:
        call(rpc_client)
    assert ("must be a licensed member of the organization" in str(caught.value)) is not is_page
    assert ("probably the login or block page of a proxy or firewall" in str(caught.value)) is is_page


@pytest.mark.parametrize("reply", [failure(404, "NOT_FOUND"), status(404, b"Not found"), failure(500, "X"), HTML])
def test_outcome_of_a_write(server, rpc_client, reply):
    """A 404, a 500 or a web page after a write that is not idempotent does not prove that nothing was done."""
    server.respond(SESSION, reply)
    with pytest.raises(PolyteiaOutcomeUnknownError):
        call(rpc_client, "tag/createTag")
    assert len(server.requests) == 2


def test_session_is_renewed_before_it_expires(server, rpc_client, fake_time):
    """A session with less than a minute left is renewed before the next call."""
    expiring = session_until(datetime.now(UTC) + timedelta(hours=1))
    server.respond(expiring, output(1), output(2), expiring, output(3))
    assert call(rpc_client) == 1
    fake_time.now += 3530
    assert call(rpc_client) == 2
    fake_time.now += 60
    assert call(rpc_client) == 3
    assert [request.path for request in server.requests].count("/rpc/auth/personalAccessKey/exchange") == 2


def test_session_that_seems_to_have_expired(server, rpc_client):
    """If the platform's clocks disagree, a session is used until it is rejected."""
    server.respond(session_until(datetime.now(UTC) - timedelta(hours=1)), output(1), output(2))
    assert (call(rpc_client), call(rpc_client)) == (1, 2)


def session_until(expiry):
    fields = {"token": TOKEN, "organizationId": "org_1", "expiresAt": expiry.isoformat()}
    return output(fields, [1, "expiresAt"])


def test_rejected_session(server, rpc_client):
    """A kept session that is rejected is renewed once; a new one that is rejected is final."""
    server.respond(SESSION, output(1), failure(401, "UNAUTHORIZED"), SESSION, output(2))
    assert (call(rpc_client), call(rpc_client)) == (1, 2)
    sessions._sessions.clear()
    server.respond(SESSION, failure(401, "UNAUTHORIZED"))
    server.requests.clear()
    with pytest.raises(PolyteiaAuthenticationError):
        call(rpc_client)
    assert len(server.requests) == 2


def test_update_without_nulls(server, rpc_client):
    """If null is rejected, empty values are sent instead; the as-of time stays null, without a date in `meta`."""
    record = {"id": "ds_1", "name": "a", "slug": "a", "description": None, "documentation": None, "data_as_of": None}
    server.respond(SESSION, failure(400, "BAD_REQUEST"), output({"id": "ds_1"}))
    rpc_client.run(RpcAPI(rpc_client.credentials).update_dataset(record, {"source": "SAP"}))
    fields = {"id": "ds_1", "name": "a", "slug": "a", "source": "SAP", "dataAsOf": None}
    assert [request.json for request in server.requests[1:]] == [
        {"json": {**fields, "description": None, "documentation": None}},
        {"json": {**fields, "description": "", "documentation": {}}},
    ]


def test_update_that_would_lose_the_as_of_time(server, rpc_client):
    """A record that does not show the as-of time is not replaced, unless the caller names it."""
    api, record = RpcAPI(rpc_client.credentials), {"id": "ds_1", "name": "a", "slug": "a", "source": None}
    with pytest.raises(PolyteiaConfigurationError, match="source_timestamp"):
        api.update_dataset(record, {"name": "b"})
    del record["source"]
    with pytest.raises(PolyteiaConfigurationError, match="lacks its 'source'"):
        api.update_dataset(record, {"name": "b"}, "2026-01-31T00:00:00Z")
    server.respond(SESSION, output({"id": "ds_1"}))
    rpc_client.run(api.update_dataset(record, {"name": "b", "source": ""}, "2026-01-31T00:00:00Z"))
    assert server.requests[-1].json["meta"] == [[1, "dataAsOf"]]
