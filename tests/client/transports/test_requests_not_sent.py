"""What proves that a request was never sent, and what does not: on real sockets.

Each case is tried with a write that must not be repeated. If it was certainly never sent, the client tries again and
ends with a transport error; if it may have been carried out, the client stops at once and says so.
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
    """Start servers that misbehave, and stop them."""
    running = []

    def start(behave):
        server = RawServer(behave)
        running.append(server)
        return server.__enter__()

    yield start
    for server in running:
        server.__exit__()


def never_sent(client):
    with pytest.raises(PolyteiaTransportError) as caught:
        send(client, WRITE)
    assert caught.value.not_applied
    assert classify(caught.value) is Failure.NOT_SENT
    assert "after 2 attempt(s)" in str(caught.value)
    return str(caught.value)


def test_name_is_not_resolved(make_client):
    """A name that cannot be resolved: never sent."""
    assert "could not be resolved" in never_sent(make_client(host="https://polyteia.invalid", **QUICK))


def test_connection_refused(make_client):
    """A refused connection: never sent."""
    assert "refused the connection" in never_sent(make_client(host="http://127.0.0.1:1", **QUICK))


def test_connect_timeout(make_client):
    """A connection that does not come about in time: never sent."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)  # noqa: FBT003 - the socket's own signature
            filler.connect_ex(full.getsockname())
        text = never_sent(make_client(host=f"http://127.0.0.1:{full.getsockname()[1]}", **QUICK))
        for filler in fillers:
            filler.close()
    assert "within 0.3 s" in text


def test_tls_handshake_is_reset(make_client, raw):
    """A reset during the TLS handshake: never sent."""
    server = raw(lambda connection: (connection.recv(100), reset(connection)))
    never_sent(make_client(host=f"https://127.0.0.1:{server.port}", **QUICK))
    assert server.accepted == 2


def test_tls_handshake_is_closed(make_client, raw):
    """An end of file during the TLS handshake: never sent."""
    server = raw(lambda connection: (connection.recv(100), connection.close()))
    never_sent(make_client(host=f"https://127.0.0.1:{server.port}", **QUICK))
    assert server.accepted == 2


def test_tls_handshake_hangs(make_client, raw):
    """Silence during the TLS handshake: never sent, although requests calls it a read timeout."""
    server = raw(lambda connection: None)
    assert "within 0.3 s" in never_sent(make_client(host=f"https://127.0.0.1:{server.port}", **QUICK))


def test_tls_server_talks_plain(make_client, raw):
    """A server that does not speak TLS: never sent."""
    server = raw(lambda connection: (connection.recv(100), connection.sendall(b"HTTP/1.1 400 Bad\r\n\r\n" * 5)))
    assert "TLS handshake" in never_sent(make_client(host=f"https://127.0.0.1:{server.port}", **QUICK))


def test_proxy_is_down(make_client):
    """A proxy that refuses the connection: never sent."""
    client = make_client(host="https://polyteia.example", proxies={"https": "http://127.0.0.1:1"}, **QUICK)
    assert "or the proxy before it, refused the connection" in never_sent(client)


def test_proxy_cannot_reach_the_platform(make_client, raw):
    """A proxy that answers CONNECT with 502: never sent."""
    server = raw(
        lambda c: (read_request(c), c.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), c.close())
    )
    proxies = {"https": f"http://127.0.0.1:{server.port}"}
    client = make_client(host="https://polyteia.example", proxies=proxies, **QUICK)
    assert "the proxy would not connect to https://polyteia.example (HTTP 502)" in never_sent(client)
    assert server.accepted == 2


def test_proxy_hangs(make_client, raw):
    """A proxy that never answers CONNECT: never sent."""
    server = raw(lambda connection: None)
    proxies = {"https": f"http://127.0.0.1:{server.port}"}
    never_sent(make_client(host="https://polyteia.example", proxies=proxies, **QUICK))


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_proxy_wants_credentials(make_client, raw, scheme):
    """A proxy that answers 407 fails at once, without a word of the credentials it was given."""
    server = raw(lambda c: (read_request(c), c.sendall(b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n"), c.close()))
    proxies = {scheme: f"http://city:proxySECRET@127.0.0.1:{server.port}"}
    client = make_client(host=f"{scheme}://polyteia.example", allow_http=True, proxies=proxies, **QUICK)
    with pytest.raises(PolyteiaConfigurationError, match=r'HTTP 407.*extra "proxies" of connection') as caught:
        send(client, WRITE)
    assert server.accepted == 1
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "http://[::1", "127.0.0.1:port"])
def test_unusable_proxy(make_client, monkeypatch, url):
    """A proxy of the environment that cannot be used is named as such."""
    monkeypatch.setenv("HTTP_PROXY", url)
    client = make_client(host="http://polyteia.example", allow_http=True, **QUICK)
    with pytest.raises(PolyteiaConfigurationError, match="HTTPS_PROXY"):
        send(client, WRITE)


def test_socks_proxy(make_client):
    """A SOCKS proxy that is down: never sent; without its package: named as unusable."""
    client = make_client(host="http://127.0.0.1:1", proxies={"http": "socks5://127.0.0.1:1"}, **QUICK)
    if importlib.util.find_spec("socks"):
        never_sent(client)
    else:
        with pytest.raises(PolyteiaConfigurationError, match='its extra "proxies"'):
            send(client, WRITE)


def in_doubt(client, server):
    with pytest.raises(PolyteiaOutcomeUnknownError) as caught:
        send(client, WRITE)
    assert server.accepted == 1
    assert "organization_id='org_1'" in str(caught.value)
    assert caught.value.identifiers == {"organization_id": "org_1", "name": "x"}
    return str(caught.value)


def test_reset_after_the_request(make_client, raw):
    """A reset after the request was read: in doubt."""
    server = raw(lambda connection: (read_request(connection), reset(connection)))
    assert "broke off" in in_doubt(make_client(host=f"http://127.0.0.1:{server.port}", **QUICK), server)


def test_reset_before_the_request_is_read(make_client, raw):
    """A reset of an established connection proves nothing, even if the server has hardly begun to read: in doubt."""
    server = raw(lambda connection: (connection.recv(1), reset(connection)))
    in_doubt(make_client(host=f"http://127.0.0.1:{server.port}", **QUICK), server)


def test_silence_after_the_request(make_client, raw):
    """No answer in time: in doubt."""
    server = raw(read_request)
    assert "silent for 0.3 s" in in_doubt(make_client(host=f"http://127.0.0.1:{server.port}", **QUICK), server)


@pytest.mark.parametrize(
    "answer",
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
def test_broken_answers(make_client, raw, answer):
    """An answer that is cut short or is no HTTP: in doubt."""
    server = raw(lambda connection: (read_request(connection), connection.sendall(answer), connection.close()))
    in_doubt(make_client(host=f"http://127.0.0.1:{server.port}", **QUICK), server)


def test_tls_broken_after_the_request(make_client, raw, tmp_path):
    """Garbage inside an established TLS connection is an SSL error, but no proof: in doubt."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def behave(connection):
        secure = context.wrap_socket(connection.dup(), server_side=True)
        read_request(secure)
        connection.sendall(b"this is no TLS record" * 10)
        secure.close()
        connection.close()

    server = raw(behave)
    client = make_client(host=f"https://127.0.0.1:{server.port}", verify=str(tmp_path / "ca.pem"), **QUICK)
    in_doubt(client, server)


def test_kept_connection_is_reset(make_client, raw):
    """A kept connection that the server closes as we send on it: in doubt, as nobody knows what was read."""
    ok = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"data": 1}'

    def behave(connection):
        read_request(connection)
        connection.sendall(ok)
        threading.Thread(target=lambda: (read_request(connection), reset(connection))).start()

    server = raw(behave)
    client = make_client(host=f"http://127.0.0.1:{server.port}", **QUICK)
    assert send(client, make_call("query", "get_tag", {"id": "tag_1"})).data == 1
    in_doubt(client, server)


def test_no_secret_in_any_chain(make_client, raw):
    """The original errors of requests, whose texts show URLs, are not the context of ours."""
    server = raw(lambda connection: (read_request(connection), reset(connection)))
    client = make_client(host=f"http://127.0.0.1:{server.port}", max_attempts=1)
    with pytest.raises(PolyteiaTransportError) as caught:
        send(client, make_call("query", "get_tag", {"id": "tag_1"}))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert KEY not in str(caught.value)


def test_trouble_of_the_callers_own(make_client, raw):
    """What the caller is dealing with, here another service that is down, says nothing about our request."""
    server = raw(lambda connection: (read_request(connection), reset(connection)))
    client = make_client(host=f"http://127.0.0.1:{server.port}", **QUICK)
    try:
        requests.get("http://127.0.0.1:1/", timeout=1)
    except requests.ConnectionError:
        in_doubt(client, server)
