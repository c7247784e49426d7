"""What proves to the httpx driver that a request was never sent, and what does not: on real sockets.

Each case is tried with a write that must not be repeated, as in `test_never_sent`, where the requests driver is.
"""

from __future__ import annotations

import asyncio
import socket

import pytest
from calls import send
from servers import KEY, RawServer, read_request, reset

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.httpx_client import AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaOutcomeUnknownError,
    PolyteiaTransportError,
)

WRITE = make_call("command", "create_tag", {"organization_id": "org_1", "name": "x"})
PROXY_ANSWER = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n"


def send(host, **extra):
    extra = {"timeout": [0.3, 0.3], "max_attempts": 2, "max_wait": 0.01, **extra}
    config = client_config.from_connection("city", host=host, password=KEY, extra=extra)

    async def main():
        client = AsyncPolyteiaClient(config)
        try:
            await send(client, WRITE)
        finally:
            await client.aclose()

    asyncio.run(main())


def never_sent(host, **extra):
    with pytest.raises(PolyteiaTransportError, match=r"after 2 attempt\(s\)") as caught:
        send(host, **extra)
    assert caught.value.not_applied
    return str(caught.value)


def in_doubt(host):
    with pytest.raises(PolyteiaOutcomeUnknownError) as caught:
        send(host)
    return str(caught.value)


@pytest.fixture
def raw():
    """Start servers that misbehave, and stop them."""
    running = []

    def start(behave):
        running.append(RawServer(behave))
        return running[-1].__enter__()

    yield start
    for server in running:
        server.__exit__()


def test_name_is_not_resolved():
    """A name that cannot be resolved: never sent."""
    assert "could not be resolved" in never_sent("https://polyteia.invalid")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connection_refused(host):
    """A refused connection, to one address or to all that a name has: never sent."""
    assert "refused the connection" in never_sent(f"http://{host}:1")


def test_connect_timeout():
    """A connection that does not come about in time: never sent."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)  # noqa: FBT003 - the socket's own signature
            filler.connect_ex(full.getsockname())
        text = never_sent(f"http://127.0.0.1:{full.getsockname()[1]}")
        for filler in fillers:
            filler.close()
    assert "within 0.3 s" in text


def test_tls_handshake_is_reset(raw):
    """A reset during the TLS handshake: never sent."""
    server = raw(lambda connection: (connection.recv(100), reset(connection)))
    never_sent(f"https://127.0.0.1:{server.port}")
    assert server.accepted == 2


def test_tls_handshake_hangs(raw):
    """A handshake that does not end: never sent."""
    server = raw(lambda connection: None)
    assert "within 0.3 s" in never_sent(f"https://127.0.0.1:{server.port}")


def test_server_does_not_speak_tls(raw):
    """An answer that is no TLS: never sent."""
    server = raw(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
    assert "TLS handshake" in never_sent(f"https://127.0.0.1:{server.port}")


def test_reset_after_the_request(raw):
    """A reset after the request: it may have been carried out, so it is sent once only."""
    server = raw(lambda connection: (read_request(connection), reset(connection)))
    assert "broke off" in in_doubt(f"http://127.0.0.1:{server.port}")
    assert server.accepted == 1


def test_no_answer(raw):
    """No answer within the read timeout: it may have been carried out."""
    server = raw(read_request)
    assert "silent for 0.3 s" in in_doubt(f"http://127.0.0.1:{server.port}")


def test_answer_that_is_no_http(raw):
    """Something that is no HTTP: it may have been carried out."""
    server = raw(lambda connection: (read_request(connection), connection.sendall(b"hello\r\n\r\n")))
    assert "broke off" in in_doubt(f"http://127.0.0.1:{server.port}")


def test_proxy_refuses_credentials(raw):
    """A proxy that answers 407: nothing was sent, nothing is repeated, and its password is not in the error."""
    server = raw(lambda connection: (connection.recv(65536), connection.sendall(PROXY_ANSWER % 407)))
    proxies = {"https": f"http://user:hidden-word@127.0.0.1:{server.port}"}
    with pytest.raises(PolyteiaConfigurationError, match="HTTP 407") as caught:
        send("https://polyteia.invalid", proxies=proxies)
    assert "hidden-word" not in str(caught.value)
    assert server.accepted == 1


def test_proxy_cannot_connect(raw):
    """A proxy that reaches nobody: never sent."""
    server = raw(lambda connection: (connection.recv(65536), connection.sendall(PROXY_ANSWER % 502)))
    text = never_sent("https://polyteia.invalid", proxies={"https": f"http://127.0.0.1:{server.port}"})
    assert "the proxy would not connect" in text
    assert "HTTP 502" in text
