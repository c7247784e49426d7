"""A server that rejects an upload before it has read it: its response is received, over TCP and over TLS."""

from __future__ import annotations

import contextlib
import re
import ssl
import threading

import pytest
import trustme
from conftest import KEY
from servers import RawServer

from airflow_provider_polyteia.client.multipart import UploadSource
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaPermissionError,
    PolyteiaTransportError,
)

SIZE = 32 * 1024 * 1024  # more than the sockets' buffers hold


class Zeros:
    """A file of `SIZE` zeros that takes no memory and counts how much of it is left to read."""

    def __init__(self):
        self.left = SIZE

    def read(self, count):
        count = min(count, self.left)
        self.left -= count
        return bytes(count)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """The TLS context of a server, and the path of the CA bundle that it is trusted with."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    return context, str(bundle)


def http(status, body=b"{}"):
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection = "close" if status != 200 else "keep-alive"
    return head.encode() + f"Connection: {connection}\r\n\r\n".encode() + body


def platform(response, *, context, lingers):
    """Behave like a server that issues tokens, and responds to an upload after its first bytes."""

    def serve(connection):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stream = stack.enter_context(context.wrap_socket(connection, server_side=True) if context else connection)
            while head := _head(stream):
                if head.startswith(b"POST /api"):
                    stream.sendall(http(200, b'{"data": {"token": "upload-token"}}'))
                    continue
                stream.recv(1000)
                stream.sendall(response)
                while lingers and stream.recv(1024 * 1024):
                    pass
                return

    return lambda connection: threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _head(stream):
    """Read the head of a request, and its body if it is short."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = stream.recv(65536)
        if not part:
            return b""
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    while length < 10_000 and len(body) < length:
        body += stream.recv(65536)
    return head


@pytest.mark.parametrize("lingers", [False, True], ids=["hangs up", "lingers"])
@pytest.mark.parametrize("over_tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize(
    ("status", "error", "uploads"),
    [
        ("413", PolyteiaAPIError, 1),
        ("403", PolyteiaPermissionError, 1),
        ("401", PolyteiaAuthenticationError, 2),
        ("", PolyteiaTransportError, 2),
    ],
    ids=["413", "403", "401", "no response"],
)
def test_early_response(make_hook, tls, status, error, uploads, over_tls, lingers):
    """The error is the rejection, not the broken connection; without any response, it is the connection."""
    context, bundle = tls if over_tls else (None, None)
    response = http(status, b'{"error": "because"}') if status else b""
    sent = []

    def opened():
        sent.append(Zeros())
        return contextlib.nullcontext(sent[-1])

    if lingers and not status:
        pytest.skip("a server that sends nothing and reads everything does not respond early")
    with RawServer(platform(response, context=context, lingers=lingers)) as server:
        host = f"{'https' if over_tls else 'http'}://localhost:{server.port}"
        hook = make_hook(host=host, password=KEY, max_attempts=2, verify=bundle)
        source = UploadSource("zeros.csv", SIZE, opened)
        with pytest.raises(error) as caught:
            hook.get_conn().run(hook.api.upload("ds_1", source, "text/csv", 10))
    assert getattr(caught.value, "http_status", None) == (int(status) if status else None)
    assert len(sent) == uploads
    assert lingers or all(zeros.left for zeros in sent)
