"""A server that refuses an upload before it has read it: its answer is heard, over TCP and over TLS."""

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
from airflow_provider_polyteia.client.upload import upload
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaPermissionError,
    PolyteiaTransportError,
)

SIZE = 32 * 1024 * 1024  # more than the sockets' buffers hold


class Zeros:
    """A file of `SIZE` zeros that takes no memory; it remembers how much of it was read."""

    def __init__(self):
        self.left = SIZE

    def read(self, count):
        count = min(count, self.left)
        self.left -= count
        return bytes(count)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A server's TLS context, and the bundle that it is trusted with."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    return context, str(bundle)


def http(status, body=b"{}"):
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection = "close" if status != 200 else "keep-alive"
    return head.encode() + f"Connection: {connection}\r\n\r\n".encode() + body


def platform(answer, *, context, lingers):
    """Behave like a server that gives tokens, and answers an upload after its first bytes."""

    def serve(connection):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stream = stack.enter_context(context.wrap_socket(connection, server_side=True) if context else connection)
            while head := _head(stream):
                if head.startswith(b"POST /api"):
                    stream.sendall(http(200, b'{"data": {"token": "upload-token"}}'))
                    continue
                stream.recv(1000)
                stream.sendall(answer)
                while lingers and stream.recv(1024 * 1024):
                    pass
                return

    return lambda connection: threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _head(stream):
    """Read a request's head, and its body if it is a short one."""
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
    ids=["413", "403", "401", "no answer"],
)
def test_early_answer(make_hook, tls, status, error, uploads, over_tls, lingers):
    """The refusal is told, not the broken connection; without any answer, it is the connection."""
    context, bundle = tls if over_tls else (None, None)
    answer = http(status, b'{"error": "because"}') if status else b""
    sent = []

    def opened():
        sent.append(Zeros())
        return contextlib.nullcontext(sent[-1])

    if lingers and not status:
        pytest.skip("a server that says nothing and reads everything is not early")
    with RawServer(platform(answer, context=context, lingers=lingers)) as server:
        host = f"{'https' if over_tls else 'http'}://localhost:{server.port}"
        client = make_hook(host=host, password=KEY, max_attempts=2, verify=bundle).get_conn()
        with pytest.raises(error) as caught:
            upload(client, "ds_1", Source("zeros.csv", SIZE, opened), "text/csv", timeout=10)
    assert getattr(caught.value, "http_status", None) == (int(status) if status else None)
    assert len(sent) == uploads
    assert lingers or all(zeros.left for zeros in sent)
