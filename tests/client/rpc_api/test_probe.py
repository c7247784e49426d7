"""Which API a host serves is found out with one request that carries no key."""

from __future__ import annotations

import pytest
from rpc_responses import SESSION, failure, output
from servers import DROP, KEY, Reply, body_error, data, status

from airflow_provider_polyteia.client.api import select_api
from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.rpc_api import probe
from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
    PolyteiaTransportError,
)

PROBE = "/rpc/auth/personalAccessKey/exchange"
HTML = Reply(200, b"<!doctype html><title>Polyteia</title>", content_type="text/html")
RPC = failure(400, "BAD_REQUEST", "Input validation failed")


def select(client):
    return client.run(select_api(client.credentials))


@pytest.fixture
def asking(make_client):
    """A client that does not know which API its host serves, and makes a single attempt."""
    return make_client(api="auto", organization_id="org_1", max_attempts=1)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (RPC, "rpc"),
        (failure(401, "UNAUTHORIZED"), "rpc"),
        (HTML, "command"),
        (Reply(200, b"<html></html>"), "command"),
        (status(404, b"Not found", content_type="text/plain"), "command"),
        (status(405, b""), "command"),
        (status(401, b'{"error": "Unauthorized"}'), "command"),
        (status(404, b'{"code": 404, "message": "no such path"}'), "command"),
        (body_error(404), "command"),
        (data({"id": "ds_1"}), "command"),
    ],
)
def test_decided(server, asking, reply, expected):
    """The response to the probe shows the API; neither the key nor a session was sent."""
    server.respond(reply)
    assert select(asking).name == expected
    (request,) = server.requests
    assert (request.path, request.json) == (PROBE, {"json": {}})
    assert "authorization" not in request.headers
    assert KEY not in str(request)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(302, b"", {"Location": "https://login.example"}), PolyteiaConfigurationError),
        (status(403, b"<html>blocked</html>", content_type="text/html"), PolyteiaConfigurationError),
        (status(401, b"", content_type="text/plain"), PolyteiaConfigurationError),
        (Reply(200, b'{"id": "ds_1"}'), PolyteiaConfigurationError),
        (status(429, b""), PolyteiaRateLimitError),
        (status(502, b"<html>bad gateway</html>", content_type="text/html"), PolyteiaServerError),
        (status(503, b'{"error": "no healthy upstream"}'), PolyteiaServerError),
        (status(500, b'{"code": 500, "message": "internal error"}'), PolyteiaServerError),
        (status(429, b'{"error": "slow down"}'), PolyteiaRateLimitError),
        (status(407, b'{"error": "proxy"}'), PolyteiaConfigurationError),
        (Reply(302, b'{"error": "moved"}', {"Location": "https://login.example"}), PolyteiaConfigurationError),
        (DROP, PolyteiaTransportError),
    ],
)
def test_undecided(server, asking, reply, expected):
    """Where nothing can be concluded, the exception names the extra that decides; nothing else was sent."""
    server.respond(reply)
    with pytest.raises(expected, match=r"the extra 'api' of connection 'city' \('command' or 'rpc'\)") as caught:
        select(asking)
    assert caught.value.not_applied
    assert len(server.requests) == 1


def test_outage_is_retried(server, make_client):
    """A failure of the network does not decide anything, and is retried."""
    server.respond(DROP, status(503, b""), RPC)
    assert select(make_client(api="auto", organization_id="org_1")).name == "rpc"


def test_how_long_a_result_is_kept(server, asking, make_client, monkeypatch):
    """The RPC API is detected once per process and host; the command API, which is only probable, for five minutes."""
    server.respond(HTML, RPC)
    assert [select(asking).name for _ in range(2)] == ["command", "command"]
    assert len(server.requests) == 1
    monkeypatch.setattr(probe, "NEGATIVE_LIFETIME", 0.0)
    probe._hosts_without.clear()
    assert select(asking).name == "rpc"
    other = make_client(api="auto", organization_id="org_1")
    assert select(other).name == "rpc"
    assert len(server.requests) == 2


def test_organization_is_checked_for_the_api_found(server, make_client):
    """What the API needs is only known after the probe."""
    server.respond(RPC)
    with pytest.raises(PolyteiaConfigurationError, match="has no organization, which the RPC API requires"):
        select(make_client(api="auto"))
    server.respond(HTML)
    with pytest.raises(PolyteiaConfigurationError, match="which only the RPC API supports"):
        select(make_client(api="auto", organization_slug="stadt", host=server.url.replace("127.0.0.1", "localhost")))


@pytest.mark.parametrize("api", ["command", "rpc"])
def test_no_probe_where_the_connection_says(server, make_client, api):
    """The extra decides without a request."""
    assert select(make_client(api=api, organization_id="org_1")).name == api
    assert server.requests == []


def test_key_after_a_wrong_choice(server, make_client):
    """With the wrong extra, the exception says which one to set."""
    server.respond(HTML)
    api = select(make_client(api="rpc", organization_id="org_1", max_attempts=1))
    client = make_client(api="rpc", organization_id="org_1", max_attempts=1)
    with pytest.raises(PolyteiaError, match="set the extra 'api' of connection 'city' to 'command'"):
        client.run(api.get_dataset(DatasetRef("ds_1")))
    server.respond(output({"code": "BAD_REQUEST"}))
    api = select(make_client(api="command", max_attempts=1))
    with pytest.raises(PolyteiaError, match="set the extra 'api' of connection 'city' to 'rpc'"):
        make_client(api="command", max_attempts=1).run(api.get_dataset(DatasetRef("ds_1")))
    server.respond(SESSION, data({"id": "ds_1"}))
    with pytest.raises(PolyteiaError, match="to 'command'"):
        client.run(select(client).get_dataset(DatasetRef("ds_1")))
