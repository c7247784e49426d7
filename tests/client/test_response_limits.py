"""Responses that have no end, are too large, too slow, or encoded in another way than requested.

Each is sent over real sockets to the client of workers and to the client of triggers, on both APIs.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from calls import send
from relays import Relay
from rpc_responses import SESSION
from servers import KEY, RawServer, Reply, body_error, data, read_request, status

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.operation import MAX_ERROR_BODY
from airflow_provider_polyteia.client.rpc_api import protocol as rpc
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
    PolyteiaServerError,
    PolyteiaTransportError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

pytestmark = pytest.mark.slow  # waits for real timeouts, processes and signals

QUERY = make_call("query", "get_dataset", {"id": "ds_1"}, required_field="id")
WRITE = make_call("command", "create_tag", {"organization_id": "org_1", "name": "x"})
MIB = 1024 * 1024
FOUND = json.dumps({"data": {"id": "ds_1", "name": "x" * 5000}}).encode()
SOON = 5.0  # seconds; generous, because the machine may be busy


def run_worker(config, call):
    with PolyteiaClient(config) as client:
        return send(client, call).data


def run_trigger(config, call):
    async def run():
        client = AsyncPolyteiaClient(config)
        try:
            return (await send(client, call)).data
        finally:
            await client.aclose()

    return asyncio.run(run())


@pytest.fixture(params=[run_worker, run_trigger], ids=["worker", "trigger"])
def run(request):
    """Run a call with the client of workers, or with that of triggers."""
    return request.param


def make_config(url, **extra):
    given = {"api": "command", "max_attempts": 1, "max_response_mib": 1, **extra}
    return client_config.from_connection("city", host=url, password=KEY, extra=given)


def compressed(content, bits):
    compressor = zlib.compressobj(wbits=bits)
    return compressor.compress(content) + compressor.flush()


CODED = {
    "gzip": ("gzip", gzip.compress(FOUND)),
    "gzip, two members": ("x-gzip", gzip.compress(FOUND[:100]) + gzip.compress(FOUND[100:])),
    "deflate": ("deflate", zlib.compress(FOUND)),
    "deflate without a header": ("Deflate", compressed(FOUND, -15)),
    "identity": ("identity", FOUND),
}


@pytest.mark.parametrize("kind", CODED)
def test_codings(server, run, kind):
    """What both clients ask for is decoded."""
    coding, body = CODED[kind]
    server.respond(Reply(200, body, {"Content-Encoding": coding}))
    assert run(make_config(server.url), QUERY)["id"] == "ds_1"
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("kind", [kind for kind in CODED if kind != "identity"])
def test_compressed_response_that_ends_early(server, run, kind):
    """Compressed data is only complete with its end; JSON before it counts as little as the announced length."""
    coding, body = CODED[kind]
    for cut in (1, 2, len(body) // 2, len(body) - 5, len(body) - 1):
        server.respond(Reply(200, body[:cut], {"Content-Encoding": coding}))
        with pytest.raises(PolyteiaTransportError, match="ends too early"):
            run(make_config(server.url), QUERY)


@pytest.mark.parametrize(
    ("header", "value", "shown"),
    [
        ("Content-Encoding", "br", "br, was not requested"),
        ("Content-Encoding", "zstd", "zstd, was not requested"),
        ("Content-Encoding", KEY, "unknown, was not requested"),
        ("Content-Encoding", "gzip, gzip", "of several steps, was not requested"),
        ("Transfer-Encoding", "gzip, chunked", "transfer coding|was lost"),  # aiohttp rejects it beside a length
    ],
)
def test_coding_that_was_not_requested(server, run, header, value, shown):
    """Any other coding is rejected, and only a known name is shown. Of an error, the status still counts."""
    server.respond(Reply(200, gzip.compress(FOUND), {header: value}))
    with pytest.raises(PolyteiaTransportError, match=shown) as caught:
        run(make_config(server.url, timeout=[1, 1]), QUERY)
    assert KEY not in str(caught.value)
    server.respond(status(403, gzip.compress(FOUND), Content_Encoding="br"))
    with pytest.raises(PolyteiaPermissionError):
        run(make_config(server.url), QUERY)


ROWS = b"id,name\n" + b"".join(b"%d,%d\n" % (number, hash(str(number))) for number in range(20_000))
CODED_FILES = {
    "gzip": ("Content-Encoding", "gzip", gzip.compress(ROWS)),
    "gzip that ends early": ("Content-Encoding", "gzip", gzip.compress(ROWS)[:-20_000]),
    "deflate that ends early": ("Content-Encoding", "deflate", zlib.compress(ROWS)[:-20_000]),
    "br": ("Content-Encoding", "br", gzip.compress(ROWS)),
    "several": ("Content-Encoding", "gzip, br", gzip.compress(ROWS)),
    "transfer coding": ("Transfer-Encoding", "gzip, chunked", gzip.compress(ROWS)),
}


@pytest.fixture(params=["command", "rpc"])
def download(request, server, connect, tmp_path):
    """Export a dataset whose file is sent as the given reply; return the file."""
    connect(host=server.url, extra={"api": request.param, "organization_id": "org_1", "max_attempts": 1})

    def run(reply):
        def respond(received):
            if received.path.startswith(("/download", "/stored")):
                return reply
            if received.path == "/auth/pak/token":
                return Reply(200, b'{"token": "tok-A-123"}')
            if request.param == "command":
                return data({"token": "tok-A-123"})
            is_exchange = "organizationId" in received.json["json"]
            return (
                SESSION if is_exchange else Reply(200, json.dumps({"json": {"url": server.url + "/stored"}}).encode())
            )

        server.respond(respond)
        path = tmp_path / "rows.csv"
        with PolyteiaHook() as hook:
            hook.export_dataset("ds_1", path, timeout=1)
        return path

    return run


def test_download(server, download):
    """A file is asked for as it is."""
    assert download(Reply(200, ROWS, {"Content-Encoding": "identity"}, "text/csv")).read_bytes() == ROWS
    assert server.requests[-1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("kind", CODED_FILES)
def test_download_in_a_coding(download, tmp_path, kind):
    """A file in any coding is rejected, and nothing of it is kept: its length would not show whether it is complete."""
    header, value, body = CODED_FILES[kind]
    with pytest.raises(PolyteiaTransportError, match="was not requested"):
        download(Reply(200, body, {header: value}, "text/csv"))
    assert list(tmp_path.iterdir()) == []


def test_compressed_error_of_a_download(download):
    """An error instead of a file may be compressed, as any response that is read."""
    body = json.dumps({"code": 403, "message": "no access", "error": None}).encode()
    with pytest.raises(PolyteiaAPIError) as caught:
        download(status(403, gzip.compress(body), Content_Encoding="gzip"))
    assert caught.value.http_status == 403


JSON_HEAD = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"
# Of each response: what begins it, and what follows again and again.
ENDLESS = {
    "chunks": (JSON_HEAD % 200 + CHUNKED, CHUNK),
    "body without a length": (JSON_HEAD % 200 + b"\r\n", b" " * 65536),
    "HTTP 100": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "HTTP 103": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000),
    "status line": (b"HTTP/1.1 200 ", b"x" * 65536),
    "headers": (JSON_HEAD % 200, b"X-Header: x\r\n" * 1000),
    "header": (JSON_HEAD % 200 + b"X-Header: ", b"x" * 65536),
    "size of a chunk": (JSON_HEAD % 200 + CHUNKED, b"0" * 65536),
    "extension of a chunk": (JSON_HEAD % 200 + CHUNKED + b"1;", b"x" * 65536),
    "trailers": (JSON_HEAD % 200 + CHUNKED + b"1\r\n{\r\n0\r\n", b"X-Trailer: x\r\n" * 1000),
    "trailer": (JSON_HEAD % 200 + CHUNKED + b"1\r\n{\r\n0\r\nX-Trailer: ", b"x" * 65536),
    "members of gzip": (
        JSON_HEAD % 200 + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(FOUND),
        gzip.compress(b"") * 1000,
    ),
}


def endless(beginning, rest, delay=0.0):
    """Return what a server does with a connection: it reads the request and responds without end."""

    def behave(connection):
        read_request(connection)
        with suppress(OSError):
            connection.sendall(beginning)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                connection.sendall(rest)
                time.sleep(delay)

    return behave


@pytest.mark.parametrize("kind", ENDLESS)
def test_response_without_end(run, kind):
    """It is rejected after little more than the limit of 1 MiB, long before any timeout."""
    with RawServer(endless(*ENDLESS[kind])) as raw:
        started = time.monotonic()
        with pytest.raises(PolyteiaError) as caught:
            run(make_config(f"http://127.0.0.1:{raw.port}"), QUERY)
        assert time.monotonic() - started < SOON
    assert isinstance(caught.value, PolyteiaTransportError | PolyteiaProtocolError)
    assert not caught.value.not_applied


@pytest.mark.parametrize("kind", ["HTTP 100", "HTTP 103"])
def test_response_without_end_through_a_socks_proxy(run, kind):
    """The connections of a SOCKS proxy, which belong to another package, have the same limits."""
    pytest.importorskip("socks")
    pytest.importorskip("aiohttp_socks")
    with RawServer(endless(*ENDLESS[kind])) as raw, Relay(is_socks=True) as proxy:
        config = make_config(
            f"http://127.0.0.1:{raw.port}", proxies={"http": f"socks5://127.0.0.1:{proxy.port}"}, max_attempts=2
        )
        with pytest.raises(PolyteiaTransportError, match="more than 1 MiB of interim responses"):
            run(config, QUERY)
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("code", [302, 403, 500, 503])
@pytest.mark.parametrize("kind", ["chunks", "body without a length"])
def test_error_without_end(run, kind, code):
    """Of an error, the beginning is read, and the status counts."""
    beginning, rest = ENDLESS[kind]
    with RawServer(endless(beginning.replace(b"200", b"%d" % code), rest)) as raw:
        with pytest.raises(PolyteiaError) as caught:
            run(make_config(f"http://127.0.0.1:{raw.port}"), QUERY)
        assert caught.value.http_status == code
        assert len(str(caught.value)) < 2000


def test_interim_responses(run):
    """Interim responses before the final one are skipped, and the connection stays usable."""
    final = JSON_HEAD % 200 + b"Content-Length: %d\r\n\r\n" % len(FOUND) + FOUND
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 X\r\n\r\n"

    def behave(connection):
        read_request(connection)
        connection.sendall(interim + final)

    with RawServer(behave) as raw:
        assert run(make_config(f"http://127.0.0.1:{raw.port}"), QUERY)["id"] == "ds_1"


@pytest.mark.parametrize("spare", [0, -1])
@pytest.mark.parametrize("coding", ["identity", "gzip", "length"])
def test_limit(server, run, coding, spare):
    """A body of exactly the limit is read; one byte more is rejected without a retry, naming the extra."""
    body = FOUND.ljust(MIB - spare)
    headers = {"Content-Encoding": "gzip"} if coding == "gzip" else {}
    server.respond(Reply(200, gzip.compress(body) if coding == "gzip" else body, headers))
    config = make_config(server.url, max_attempts=3)
    if spare == 0:
        assert run(config, QUERY)["id"] == "ds_1"
        return
    with pytest.raises(PolyteiaProtocolError, match=r"more than 1 MiB.*'max_response_mib' of connection 'city'"):
        run(config, QUERY)
    with pytest.raises(PolyteiaOutcomeUnknownError):  # the write was applied, or may have been
        run(config, WRITE)
    assert len(server.requests) == 2


def test_limit_on_the_rpc_api(server, run):
    """The limit applies to the procedures of the RPC API as well."""
    config = make_config(server.url, api="rpc", organization_id="org_1")
    server.respond(SESSION, Reply(200, b'{"json": {"id": "ds_1"}}'.ljust(MIB + 1)))

    def flow(credentials):
        return rpc.call_flow(rpc.make_call("dataset/getDatasetById", {"id": "ds_1"}), credentials)

    if run is run_worker:
        with PolyteiaClient(config) as client, pytest.raises(PolyteiaProtocolError, match="max_response_mib"):
            client.run_flow(flow(client.credentials))
        return

    async def trigger():
        client = AsyncPolyteiaClient(config)
        try:
            await client.run_flow(flow(client.credentials))
        finally:
            await client.aclose()

    with pytest.raises(PolyteiaProtocolError, match="max_response_mib"):
        asyncio.run(trigger())


def test_connection_is_kept_after_a_complete_response(server):
    """Reading a body to its end, an empty one included, keeps the connection; one that was cut does not."""
    empty = Reply(403, b"", {}, "text/plain")
    with PolyteiaClient(make_config(server.url)) as client:
        for reply, connections in ((data({"id": "ds_1"}), 1), (empty, 1), (empty, 1), (status(403, b"x" * MIB), 1)):
            server.respond(reply)
            with suppress(PolyteiaPermissionError):
                send(client, QUERY)
            assert server.connections == connections
        server.respond(data({"id": "ds_1"}))
        assert send(client, QUERY).data == {"id": "ds_1"}
        assert server.connections == 2


@pytest.mark.parametrize("place", ["status line", "headers", "body", "interim responses"])
def test_response_that_comes_byte_by_byte(run, place):
    """Bytes that arrive all the time do not keep a request alive: it ends after connect and read timeout together."""
    beginning, rest = {
        "status line": (b"HTTP/1.1 200 ", b"x"),
        "headers": (JSON_HEAD % 200 + b"X-Header: ", b"x"),
        "body": (JSON_HEAD % 200 + b"Content-Length: 100000\r\n\r\n", b" "),
        "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    }[place]
    with RawServer(endless(beginning, rest, delay=0.02)) as raw:
        started = time.monotonic()
        with pytest.raises(PolyteiaTransportError, match=r"0\.6 s"):
            run(make_config(f"http://127.0.0.1:{raw.port}", timeout=[0.2, 0.4]), QUERY)
        assert time.monotonic() - started < SOON


def test_download_that_comes_byte_by_byte(connect, tmp_path):
    """A file may take any time, but not at a few bytes per second."""
    token = json.dumps({"data": {"token": "tok-A-123"}}).encode()
    replies = [JSON_HEAD % 200 + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(token) + token]

    def behave(connection):
        if replies:
            read_request(connection)
            connection.sendall(replies.pop())
            connection.close()
        else:
            endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 99999\r\n\r\nid", b"\n", 0.02)(
                connection
            )

    with RawServer(behave) as raw:
        connect(host=f"http://127.0.0.1:{raw.port}", extra={"max_attempts": 1})
        started = time.monotonic()
        with PolyteiaHook() as hook, pytest.raises(PolyteiaTransportError, match=r"less than 1024 bytes per second"):
            hook.export_dataset("ds_1", tmp_path / "rows.csv", timeout=0.3)
        assert time.monotonic() - started < SOON
    assert list(tmp_path.iterdir()) == []


def test_response_that_takes_long_but_flows(run):
    """A response that takes longer than the timeouts is complete as long as it flows, in workers."""
    body = FOUND.ljust(400_000)
    pieces = [body[start : start + 20_000] for start in range(0, len(body), 20_000)]

    def behave(connection):
        read_request(connection)
        with suppress(OSError):
            connection.sendall(JSON_HEAD % 200 + b"Content-Length: %d\r\n\r\n" % len(body))
            for piece in pieces:
                time.sleep(0.05)
                connection.sendall(piece)

    with RawServer(behave) as raw:
        config = make_config(f"http://127.0.0.1:{raw.port}", timeout=[0.2, 0.4])
        if run is run_worker:
            assert run(config, QUERY)["id"] == "ds_1"
        else:
            with pytest.raises(PolyteiaTransportError, match=r"within 0\.6 s"):
                run(config, QUERY)


def test_head_that_ends_early(run):
    """A connection that ends within the head of a response has no response, even if the status was there."""
    for head in (b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", JSON_HEAD % 200):

        def behave(connection, head=head):
            read_request(connection)
            connection.sendall(head)
            connection.close()

        with RawServer(behave) as raw, pytest.raises(PolyteiaOutcomeUnknownError, match="was lost"):
            run(make_config(f"http://127.0.0.1:{raw.port}"), WRITE)


def test_error_of_any_size_inside_a_success(server, run):
    """The message is cut before it is processed, and details that would fill the database are left out."""
    error = {"code": 500, "message": "m" * 300_000, "details": [{"text": "d" * 300_000}]}
    server.respond(Reply(200, json.dumps({"error": error}).encode()))
    with pytest.raises(PolyteiaServerError) as caught:
        run(make_config(server.url), QUERY)
    assert len(json.dumps(caught.value.to_dict())) < 3000


@pytest.mark.parametrize("offset", range(0, len(KEY) * 4, 7))
def test_cut_does_not_show_a_part_of_the_key(server, run, offset):
    """A key that is echoed where an error is cut, even with spaces inside it, is not shown in part."""
    for size in (MAX_ERROR_BODY, 16_000):
        start = size - offset
        server.respond(status(500, b" " * start + " ".join(KEY).encode() + KEY.encode() * 2, content_type="text/plain"))
        with pytest.raises(PolyteiaServerError) as caught:
            run(make_config(server.url), QUERY)
        assert KEY[:4] not in str(caught.value).replace(" ", "")


MEASURE = """
import sys
from test_response_limits import QUERY, make_config, run_trigger, run_worker
from airflow_provider_polyteia.exceptions import PolyteiaError

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

run = {"run_worker": run_worker, "run_trigger": run_trigger}[sys.argv[1]]
run(make_config(sys.argv[2]), QUERY)  # loads what the first request needs
before = peak()
try:
    run(make_config(sys.argv[2], max_response_mib=64), QUERY)
except PolyteiaError as error:
    print(type(error).__name__, (peak() - before) // 1024)
"""


def expanding(size):
    """Return gzip data that expands to `size` bytes."""
    compressor = zlib.compressobj(9, wbits=31)
    return b"".join(compressor.compress(bytes(MIB)) for _ in range(size // MIB)) + compressor.flush()


HEAVY = {  # made when needed, because the measured process imports this module
    "text": lambda: status(500, b"text and " * (100 * MIB // 9), content_type="text/plain"),
    "gzip": lambda: status(500, expanding(420 * MIB), content_type="text/plain", Content_Encoding="gzip"),
    "gzip in a success": lambda: Reply(200, expanding(420 * MIB), {"Content-Encoding": "gzip"}),
    "message in a success": lambda: body_error(500, "text and " * (5 * MIB)),
}
EXPECTED = {  # the exception, and the MiB by which the memory may grow
    "text": ("PolyteiaServerError", 16),
    "gzip": ("PolyteiaServerError", 16),
    "gzip in a success": ("PolyteiaProtocolError", 160),
    "message in a success": ("PolyteiaServerError", 320),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_memory(server, run, kind):
    """The peak memory of a new process grows little with a large error, and with a bomb not beyond the limit."""
    server.respond(data({"id": "ds_1"}), HEAVY[kind]())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, run.__name__, server.url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=environment,
    )
    name, grown = done.stdout.splitlines()[-1].split()
    expected, limit = EXPECTED[kind]
    assert name == expected
    assert int(grown) <= limit
