"""What the requests client sends, and how it handles connections, tokens and proxies."""

from __future__ import annotations

import ssl

import pytest
import trustme
from calls import send
from servers import KEY, ScriptedServer, body_error, data, status

from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaTransportError,
)

DOCUMENTED = {
    "name": "Bookings",
    "solution_id": "sol_1",
    "description": "Nächtlicher Export",
    "source": "SAP",
    "slug": "bookings",
}


def test_documented_call(server, client):
    """A documented command is one POST to /api with the bearer, content type and body (docs/platform-api.md#calls)."""
    send(client, make_call("command", "create_dataset", DOCUMENTED))
    (request,) = server.requests
    assert (request.verb, request.path) == ("POST", "/api")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.json == {"command": "create_dataset", "params": DOCUMENTED}


def test_query_has_its_own_key(server, client):
    """A query is sent under the key 'query', with params even if they are empty."""
    send(client, make_call("query", "list_unknown"))
    assert server.requests[0].json == {"query": "list_unknown", "params": {}}


def test_special_path(server, client):
    """execute_sql has its own path, and its name is in the body as well (docs/platform-api.md#endpoints)."""
    send(client, make_call("command", "execute_sql", {"sql": "SELECT 1"}))
    assert server.requests[0].path == "/api/execute_sql"
    assert server.requests[0].json["command"] == "execute_sql"


def test_one_connection_for_many_calls(server, client):
    """Calls of one client share one TCP connection."""
    for _ in range(5):
        send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert (len(server.requests), server.connections) == (5, 1)


def test_idle_connection_is_not_reused(server, client, fake_time):
    """A connection that was idle too long is replaced before anything is sent on it."""
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    fake_time.now += 6
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert server.connections == 2


def test_netrc_does_not_replace_the_key(server, client, tmp_path, monkeypatch):
    """A .netrc entry for the host does not replace the bearer."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login city password other")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_cookies_are_not_kept(server, client):
    """A gateway's cookie is not sent back."""
    server.respond(data({}, **{"Set-Cookie": "sticky=1; Path=/"}))
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirects_are_not_followed(server, client, code):
    """A redirect fails after one request: following it would turn POST into GET and forward the key."""
    server.respond(status(code, b"", location=server.url + "/elsewhere"))
    with pytest.raises(Exception, match="a redirect, which is never followed") as caught:
        send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert (len(server.requests), caught.value.http_status) == (1, code)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls_server(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with ScriptedServer(context) as running:
        yield running


@pytest.fixture
def bundle(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_private_ca(tls_server, make_client, bundle):
    """A CA bundle set in the connection is trusted."""
    send(make_client(host=tls_server.url, verify=bundle), make_call("query", "get_dataset", {"id": "ds_1"}))
    assert len(tls_server.requests) == 1


def test_untrusted_certificate(tls_server, make_client, fake_time):
    """An untrusted certificate fails immediately, nothing is sent, and the exception names the extra to set."""
    with pytest.raises(PolyteiaConfigurationError, match=r"not trusted .* extra \"verify\" of connection 'city'"):
        send(make_client(host=tls_server.url), make_call("query", "get_dataset", {"id": "ds_1"}))
    assert (tls_server.requests, fake_time.slept) == ([], 0)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # raised by urllib3 because verification is disabled
def test_environment_does_not_override_verify(tls_server, make_client, bundle, monkeypatch):
    """The connection's verify takes precedence over REQUESTS_CA_BUNDLE."""
    other = trustme.CA()
    with other.cert_pem.tempfile() as path:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", path)
        send(make_client(host=tls_server.url, verify=bundle), make_call("query", "get_dataset", {"id": "ds_1"}))
        send(make_client(host=tls_server.url, verify=False), make_call("query", "get_dataset", {"id": "ds_1"}))
    assert len(tls_server.requests) == 2


def test_missing_bundle_in_the_environment(make_client, tls_server, monkeypatch):
    """A REQUESTS_CA_BUNDLE that does not exist raises a configuration error that names it, not an OSError."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(PolyteiaConfigurationError, match="REQUESTS_CA_BUNDLE"):
        send(make_client(host=tls_server.url), make_call("query", "get_dataset", {"id": "ds_1"}))


def exchange(token):
    return lambda request: status(200, b'{"token": "%s"}' % token.encode())


def test_token_exchange(server, make_client):
    """The key is exchanged once, and all calls use the token (docs/platform-api.md#token-exchange)."""
    secrets = []
    client = make_client(organization_id="org_1", on_secret=secrets.append)
    server.respond(exchange("tok-A-123"), data(1), data(2))
    call = make_call("query", "get_dataset", {"id": "ds_1"})
    assert [send(client, call).data, send(client, call).data] == [1, 2]
    first, second, third = server.requests
    assert (first.verb, first.path, first.json) == ("PUT", "/auth/pak/token", {"organization_id": "org_1"})
    assert [r.headers["authorization"] for r in (first, second, third)] == [
        f"Bearer {KEY}",
        "Bearer tok-A-123",
        "Bearer tok-A-123",
    ]
    assert secrets == ["tok-A-123"]


@pytest.mark.parametrize("rejection", [status(401), body_error(401)])
def test_token_is_renewed_once(server, make_client, rejection):
    """If a token is rejected, the key is exchanged once more and the call, even a create, is sent again."""
    client = make_client(organization_id="org_1")
    server.respond(exchange("tok-A-123"), data(1), rejection, exchange("tok-B-456"), data(2))
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert send(client, make_call("command", "create_tag", {"name": "x"})).data == 2
    assert server.requests[-1].headers["authorization"] == "Bearer tok-B-456"


def test_second_rejection_is_final(server, make_client, fake_time):
    """If a new token is rejected, the call fails immediately, without retries."""
    client = make_client(organization_id="org_1")
    server.respond(exchange("tok-A-123"), data(1), status(401), exchange("tok-B-456"), status(401))
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    with pytest.raises(PolyteiaAuthenticationError):
        send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert (len(server.requests), fake_time.slept) == (5, 0)


def test_invalid_key_at_the_exchange(server, make_client):
    """HTTP 401 at the exchange fails immediately as an invalid key (docs/platform-api.md#error-bodies, no. 1)."""
    server.respond(status(401, b'{"error": "Unauthorized"}'))
    with pytest.raises(PolyteiaAuthenticationError, match="create a new key"):
        send(make_client(organization_id="org_1"), make_call("query", "get_dataset", {"id": "ds_1"}))
    assert len(server.requests) == 1


def test_unknown_organization(server, make_client):
    """After HTTP 404 at the exchange the exception names the organization and the extra (error body no. 2)."""
    server.respond(status(404, b'{"code": 404, "message": "not found"}'))
    with pytest.raises(PolyteiaConfigurationError, match="'org_9' set in its extra 'organization_id'"):
        send(make_client(organization_id="org_9"), make_call("query", "get_dataset", {"id": "ds_1"}))
    assert len(server.requests) == 1


def test_write_is_retried_after_a_failed_exchange(server, make_client):
    """A write whose token exchange failed was not sent, so it is retried."""
    client = make_client(organization_id="org_1")
    server.respond(status(502), exchange("tok-A-123"), data({"id": "tag_1"}))
    assert send(client, make_call("command", "create_tag", {"name": "x"})).data == {"id": "tag_1"}


def test_proxy_is_used(server, make_client):
    """A proxy of the connection receives the request."""
    client = make_client(host="http://polyteia.example", allow_http=True, proxies={"http": server.url})
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert server.requests[0].path == "http://polyteia.example/api"


def test_proxy_of_the_environment(server, make_client, monkeypatch):
    """The proxy in HTTP_PROXY receives the request."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    client = make_client(host="http://polyteia.example", allow_http=True)
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert server.requests[0].path == "http://polyteia.example/api"


def test_no_proxy(server, client, monkeypatch):
    """NO_PROXY in the environment is respected."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    send(client, make_call("query", "get_dataset", {"id": "ds_1"}))
    assert server.requests[0].path == "/api"


def test_refused_connection_names_the_host(make_client):
    """The exception for a refused connection states the URL and the number of attempts."""
    client = make_client(host="http://127.0.0.1:1", max_attempts=3)
    with pytest.raises(PolyteiaTransportError, match=r"http://127.0.0.1:1.* refused .* after 3 attempt") as caught:
        send(client, make_call("command", "create_tag", {"name": "x"}))
    assert caught.value.not_applied
