"""Which failures prove to the aiohttp client that a request was not sent, on real sockets.

Each case sends a write that is not idempotent, as `test_requests_not_sent` does with the requests client.
"""

from __future__ import annotations

import asyncio
import socket

import pytest
from calls import send
from servers import KEY, RawServer, read_request, reset

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaOutcomeUnknownError,
    PolyteiaTransportError,
)

WRITE = make_call("command", "create_tag", {"organization_id": "org_1", "name": "x"})
PROXY_RESPONSE = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n"


def run(host, **extra):
    extra = {"timeout": [0.3, 0.3], "max_attempts": 2, "max_wait": 0.01, **extra}
    config = client_config.from_connection("city", host=host, password=KEY, extra={"api": "command", **extra})

    async def main():
        client = AsyncPolyteiaClient(config)
        try:
            await send(client, WRITE)
        finally:
            await client.aclose()

    asyncio.run(main())


def not_sent(host, **extra):
    with pytest.raises(PolyteiaTransportError, match=r"after 2 attempts") as caught:
        run(host, **extra)
    assert caught.value.not_applied
    return str(caught.value)


def outcome_unknown(host):
    with pytest.raises(PolyteiaOutcomeUnknownError) as caught:
        run(host)
    return str(caught.value)


@pytest.fixture
def raw():
    """Start servers that fail in a given way, and stop them."""
    running = []

    def start(behave):
        running.append(RawServer(behave))
        return running[-1].__enter__()

    yield start
    for server in running:
        server.__exit__()


def test_dns_failure():
    """A DNS failure counts as not sent."""
    text = not_sent("https://polyteia.invalid")
    assert "the host name in https://polyteia.invalid could not be resolved. If this machine needs a proxy" in text


def test_dns_failure_of_a_proxy():
    """If it is the proxy's name, the exception says so."""
    text = not_sent("https://polyteia.example", proxies={"https": "http://u:S3CRET@proxy.invalid:3128"})
    assert 'the host name of the proxy could not be resolved. Check the extra "proxies"' in text
    assert "S3CRET" not in text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connection_refused(host):
    """A refused connection, to one address or to all addresses of a name, counts as not sent."""
    assert "refused the connection" in not_sent(f"http://{host}:1")


def test_connect_timeout():
    """A connect timeout counts as not sent."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)  # noqa: FBT003 - the socket's own signature
            filler.connect_ex(full.getsockname())
        text = not_sent(f"http://127.0.0.1:{full.getsockname()[1]}")
        for filler in fillers:
            filler.close()
    assert "within 0.3 s" in text


def test_tls_handshake_is_reset(raw):
    """A reset during the TLS handshake counts as not sent."""
    server = raw(lambda connection: (connection.recv(100), reset(connection)))
    not_sent(f"https://127.0.0.1:{server.port}")
    assert server.accepted == 2


def test_tls_handshake_hangs(raw):
    """A timeout during the TLS handshake counts as not sent."""
    server = raw(lambda connection: None)
    assert "within 0.3 s" in not_sent(f"https://127.0.0.1:{server.port}")


def test_server_does_not_speak_tls(raw):
    """A response that is not TLS counts as not sent."""
    server = raw(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
    assert "TLS handshake" in not_sent(f"https://127.0.0.1:{server.port}")


def test_reset_after_the_request(raw):
    """After a reset that follows the request, the outcome is unknown, and the request is sent only once."""
    server = raw(lambda connection: (read_request(connection), reset(connection)))
    assert "was lost" in outcome_unknown(f"http://127.0.0.1:{server.port}")
    assert server.accepted == 1


def test_read_timeout(raw):
    """After a read timeout the outcome is unknown."""
    server = raw(read_request)
    assert "for 0.3 s (read timeout)" in outcome_unknown(f"http://127.0.0.1:{server.port}")


def test_response_that_is_not_http(raw):
    """After a response that is not HTTP the outcome is unknown."""
    server = raw(lambda connection: (read_request(connection), connection.sendall(b"hello\r\n\r\n")))
    assert "was lost" in outcome_unknown(f"http://127.0.0.1:{server.port}")


def test_proxy_rejects_credentials(raw):
    """HTTP 407 from a proxy is not retried, and the exception does not contain the proxy's password."""
    server = raw(lambda connection: (connection.recv(65536), connection.sendall(PROXY_RESPONSE % 407)))
    proxies = {"https": f"http://user:hidden-word@127.0.0.1:{server.port}"}
    with pytest.raises(PolyteiaConfigurationError, match="HTTP 407") as caught:
        run("https://polyteia.invalid", proxies=proxies)
    assert "hidden-word" not in str(caught.value)
    assert server.accepted == 1


def test_proxy_cannot_connect(raw):
    """A proxy that cannot reach the platform counts as not sent."""
    server = raw(lambda connection: (connection.recv(65536), connection.sendall(PROXY_RESPONSE % 502)))
    text = not_sent("https://polyteia.invalid", proxies={"https": f"http://127.0.0.1:{server.port}"})
    assert "the proxy refused to connect" in text
    assert "HTTP 502" in text
