"""Which failures prove to the requests client that a request was not sent, on real sockets.

Each case sends a write that is not idempotent. If it was certainly not sent, the client retries it and raises a
transport error; if it may have been applied, the client raises an exception that says so, without a retry.
"""

from __future__ import annotations

import importlib.util
import socket
import ssl
import threading

import pytest
import requests
import trustme
from calls import send
from servers import KEY, RawServer, read_request, reset

from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.retries import Failure, classify
from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaOutcomeUnknownError,
    PolyteiaTransportError,
)

WRITE = make_call("command", "create_tag", {"organization_id": "org_1", "name": "x"})
QUICK = {"timeout": [0.3, 0.3], "max_attempts": 2}


@pytest.fixture
def raw():
    """Start servers that fail in a given way, and stop them."""
    running = []

    def start(behave):
        server = RawServer(behave)
        running.append(server)
        return server.__enter__()

    yield start
    for server in running:
        server.__exit__()


def not_sent(client):
    with pytest.raises(PolyteiaTransportError) as caught:
        send(client, WRITE)
    assert caught.value.not_applied
    assert classify(caught.value) is Failure.NOT_SENT
    assert "after 2 attempts" in str(caught.value)
    return str(caught.value)


def test_dns_failure(make_client):
    """A DNS failure counts as not sent."""
    text = not_sent(make_client(host="https://polyteia.invalid", **QUICK))
    assert "the host name in https://polyteia.invalid could not be resolved. If this machine needs a proxy" in text


def test_dns_failure_of_a_proxy(make_client):
    """If it is the proxy's name, the exception says so."""
    client = make_client(
        host="https://polyteia.example", proxies={"https": "http://u:S3CRET@proxy.invalid:3128"}, **QUICK
    )
    text = not_sent(client)
    assert 'the host name of the proxy could not be resolved. Check the extra "proxies"' in text
    assert "S3CRET" not in text


def test_connection_refused(make_client):
    """A refused connection counts as not sent."""
    assert "refused the connection" in not_sent(make_client(host="http://127.0.0.1:1", **QUICK))


def test_connect_timeout(make_client):
    """A connect timeout counts as not sent."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)  # noqa: FBT003 - the socket's own signature
            filler.connect_ex(full.getsockname())
        text = not_sent(make_client(host=f"http://127.0.0.1:{full.getsockname()[1]}", **QUICK))
        for filler in fillers:
            filler.close()
    assert "within 0.3 s" in text


def test_tls_handshake_is_reset(make_client, raw):
    """A reset during the TLS handshake counts as not sent."""
    server = raw(lambda connection: (connection.recv(100), reset(connection)))
    not_sent(make_client(host=f"https://127.0.0.1:{server.port}", **QUICK))
    assert server.accepted == 2


def test_tls_handshake_is_closed(make_client, raw):
    """A connection closed during the TLS handshake counts as not sent."""
    server = raw(lambda connection: (connection.recv(100), connection.close()))
    not_sent(make_client(host=f"https://127.0.0.1:{server.port}", **QUICK))
    assert server.accepted == 2


def test_tls_handshake_hangs(make_client, raw):
    """A timeout during the TLS handshake counts as not sent, although requests reports a read timeout."""
    server = raw(lambda connection: None)
    assert "within 0.3 s" in not_sent(make_client(host=f"https://127.0.0.1:{server.port}", **QUICK))


def test_server_does_not_speak_tls(make_client, raw):
    """A server that does not speak TLS counts as not sent."""
    server = raw(lambda connection: (connection.recv(100), connection.sendall(b"HTTP/1.1 400 Bad\r\n\r\n" * 5)))
    assert "TLS handshake" in not_sent(make_client(host=f"https://127.0.0.1:{server.port}", **QUICK))


def test_proxy_is_down(make_client):
    """A proxy that refuses the connection counts as not sent."""
    client = make_client(host="https://polyteia.example", proxies={"https": "http://127.0.0.1:1"}, **QUICK)
    assert "or the proxy in front of it, refused the connection" in not_sent(client)


def test_proxy_cannot_reach_the_platform(make_client, raw):
    """A proxy that responds to CONNECT with 502 counts as not sent."""
    server = raw(
        lambda c: (read_request(c), c.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), c.close())
    )
    proxies = {"https": f"http://127.0.0.1:{server.port}"}
    client = make_client(host="https://polyteia.example", proxies=proxies, **QUICK)
    assert "the proxy refused to connect to https://polyteia.example (HTTP 502)" in not_sent(client)
    assert server.accepted == 2


def test_proxy_hangs(make_client, raw):
    """A proxy that does not respond to CONNECT counts as not sent."""
    server = raw(lambda connection: None)
    proxies = {"https": f"http://127.0.0.1:{server.port}"}
    not_sent(make_client(host="https://polyteia.example", proxies=proxies, **QUICK))


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_proxy_rejects_credentials(make_client, raw, scheme):
    """HTTP 407 from a proxy is not retried, and the exception does not contain the proxy's password."""
    server = raw(lambda c: (read_request(c), c.sendall(b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n"), c.close()))
    proxies = {scheme: f"http://city:proxySECRET@127.0.0.1:{server.port}"}
    client = make_client(host=f"{scheme}://polyteia.example", allow_http=True, proxies=proxies, **QUICK)
    with pytest.raises(PolyteiaConfigurationError, match=r'HTTP 407.*extra "proxies" of connection') as caught:
        send(client, WRITE)
    assert server.accepted == 1
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "http://[::1", "127.0.0.1:port"])
def test_unusable_proxy(make_client, monkeypatch, url):
    """An unusable proxy in the environment raises a configuration error that names the variable."""
    monkeypatch.setenv("HTTP_PROXY", url)
    client = make_client(host="http://polyteia.example", allow_http=True, **QUICK)
    with pytest.raises(PolyteiaConfigurationError, match="HTTPS_PROXY"):
        send(client, WRITE)


def test_socks_proxy(make_client):
    """A SOCKS proxy that is down counts as not sent; without its package it is a configuration error."""
    client = make_client(host="http://127.0.0.1:1", proxies={"http": "socks5://127.0.0.1:1"}, **QUICK)
    if importlib.util.find_spec("socks"):
        not_sent(client)
    else:
        with pytest.raises(PolyteiaConfigurationError, match='its extra "proxies"'):
            send(client, WRITE)


def outcome_unknown(client, server):
    with pytest.raises(PolyteiaOutcomeUnknownError) as caught:
        send(client, WRITE)
    assert server.accepted == 1
    assert "organization_id='org_1'" in str(caught.value)
    assert caught.value.identifiers == {"organization_id": "org_1", "name": "x"}
    return str(caught.value)


def test_reset_after_the_request(make_client, raw):
    """After a reset that follows the request, the outcome is unknown."""
    server = raw(lambda connection: (read_request(connection), reset(connection)))
    assert "was lost" in outcome_unknown(make_client(host=f"http://127.0.0.1:{server.port}", **QUICK), server)


def test_reset_before_the_request_is_read(make_client, raw):
    """After a reset of an established connection the outcome is unknown, even if the server read only one byte."""
    server = raw(lambda connection: (connection.recv(1), reset(connection)))
    outcome_unknown(make_client(host=f"http://127.0.0.1:{server.port}", **QUICK), server)


def test_read_timeout(make_client, raw):
    """After a read timeout the outcome is unknown."""
    server = raw(read_request)
    assert "for 0.3 s (read timeout)" in outcome_unknown(
        make_client(host=f"http://127.0.0.1:{server.port}", **QUICK), server
    )


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 99999 Odd\r\n\r\n",
        b"\x00" * 100_000,
    ],
)
def test_broken_responses(make_client, raw, response):
    """After a response that is truncated or not HTTP the outcome is unknown."""
    server = raw(lambda connection: (read_request(connection), connection.sendall(response), connection.close()))
    outcome_unknown(make_client(host=f"http://127.0.0.1:{server.port}", **QUICK), server)


def test_tls_broken_after_the_request(make_client, raw, tmp_path):
    """After an SSL error on an established connection the outcome is unknown."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def behave(connection):
        secure = context.wrap_socket(connection.dup(), server_side=True)
        read_request(secure)
        connection.sendall(b"not a TLS record" * 10)
        secure.close()
        connection.close()

    server = raw(behave)
    client = make_client(host=f"https://127.0.0.1:{server.port}", verify=str(tmp_path / "ca.pem"), **QUICK)
    outcome_unknown(client, server)


def test_reused_connection_is_reset(make_client, raw):
    """If the server resets a reused connection while the request is sent, the outcome is unknown."""
    ok = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"data": 1}'

    def behave(connection):
        read_request(connection)
        connection.sendall(ok)
        threading.Thread(target=lambda: (read_request(connection), reset(connection))).start()

    server = raw(behave)
    client = make_client(host=f"http://127.0.0.1:{server.port}", **QUICK)
    assert send(client, make_call("query", "get_tag", {"id": "tag_1"})).data == 1
    outcome_unknown(client, server)


def test_no_secret_in_any_chain(make_client, raw):
    """The exceptions of requests, whose texts contain URLs, are not chained to the one raised."""
    server = raw(lambda connection: (read_request(connection), reset(connection)))
    client = make_client(host=f"http://127.0.0.1:{server.port}", max_attempts=1)
    with pytest.raises(PolyteiaTransportError) as caught:
        send(client, make_call("query", "get_tag", {"id": "tag_1"}))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert KEY not in str(caught.value)


def test_exception_handled_by_the_caller(make_client, raw):
    """An exception that the caller is handling, here of another service, does not affect the classification."""
    server = raw(lambda connection: (read_request(connection), reset(connection)))
    client = make_client(host=f"http://127.0.0.1:{server.port}", **QUICK)
    try:
        requests.get("http://127.0.0.1:1/", timeout=1)
    except requests.ConnectionError:
        outcome_unknown(client, server)
