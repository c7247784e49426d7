"""The aiohttp client behaves like the requests client, and serves many callers at once."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from contextlib import suppress

import pytest
import trustme
from calls import send
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from servers import DROP, KEY, RawServer, Reply, ScriptedServer, body_error, data, read_request, status

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.operation import Idempotency, Operation, Request
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError, PolyteiaTransportError

QUERY = make_call("query", "get_dataset", {"id": "ds_1"}, required_field="id")
WRITE = make_call("command", "create_tag", {"organization_id": "org_1", "name": "x"})
ORGANIZATION = {"organization_id": "org_1"}
TOKEN = "token-SECRET-42"  # made up


def make_config(url, **extra):
    return client_config.from_connection("city", host=url, password=KEY, extra={"api": "command", **extra})


def in_loop(config, use, fake_time=None, **options):
    """Run `use(client)` in a new event loop. With `fake_time`, delays between attempts take no time."""

    async def main():
        if fake_time:

            async def sleep(seconds):
                fake_time.sleep(seconds)

            options.update(clock=fake_time.clock, sleep=sleep, jitter=lambda: 1.0)
        client = AsyncPolyteiaClient(config, **options)
        try:
            return await use(client)
        finally:
            await client.aclose()

    return asyncio.run(main())


def run(config, call=QUERY, **options):
    return in_loop(config, lambda client: send(client, call), **options)


def outcome(action):
    """Return the data of a call, or type, text and attributes of its exception."""
    try:
        return action().data
    except PolyteiaError as error:
        return type(error), str(error), vars(error)


HTML = Reply(body=b"<!doctype html><p>Hello", content_type="text/html")
SCRIPTS = {
    "success": [data({"id": "ds_1", "name": "Bookings"})],
    "missing id": [data({"name": "Bookings"})],
    "internal error": [body_error(500)],
    "internal error, then success": [body_error(500), data({"id": "ds_1"})],
    "401": [status(401)],
    "403": [body_error(403, "forbidden")],
    "404": [body_error(404, "not found")],
    "rate limit": [status(429, Retry_After="7"), data({"id": "ds_1"})],
    "gateway down": [status(503, b"down", content_type="text/plain")],
    "broken JSON": [Reply(body=b'{"data": ')],
    "web page": [HTML, data({"id": "ds_1"})],
    "redirect": [status(302, Location="/elsewhere")],
    "dropped": [DROP, data({"id": "ds_1"})],
    "always dropped": [DROP],
}


@pytest.mark.parametrize("call", [QUERY, WRITE], ids=["query", "write"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_both_transports_agree(server, make_client, fake_time, script, call):
    """The same responses give the same data or exception, after the same requests and the same delays."""
    outcomes = []
    for action in (
        lambda: send(make_client(), call),
        lambda: run(make_config(server.url), call, fake_time=fake_time),
    ):
        server.respond(*SCRIPTS[script])
        server.requests.clear()
        before = fake_time.slept
        result = outcome(action)
        outcomes.append((result, server.calls, fake_time.slept - before))
    assert outcomes[0] == outcomes[1]


def test_response_that_cannot_be_decompressed(server, fake_time):
    """A query is retried if the response claims to be gzip but is not."""
    server.respond(Reply(headers={"Content-Encoding": "gzip"}, body=b"not gzip"), data({"id": "ds_1"}))
    assert run(make_config(server.url), fake_time=fake_time).data == {"id": "ds_1"}


@pytest.mark.parametrize("script", [[DROP], [status(503)], [status(401)], [status(404)]])
def test_both_transports_agree_on_the_exchange(server, make_client, fake_time, script):
    """If the key cannot be exchanged, both transports report that the call was not sent, and retry it alike."""
    server.respond(*script)
    ours = outcome(lambda: run(make_config(server.url, **ORGANIZATION), WRITE, fake_time=fake_time))
    assert ours == outcome(lambda: send(make_client(**ORGANIZATION), WRITE))
    assert ours[2]["not_applied"]


def test_documented_request(server):
    """Path, headers and body are as documented (docs/platform-api.md#calls), and the length is known."""
    run(make_config(server.url), user_agent="agent/1")
    (request,) = server.requests
    assert (request.verb, request.path) == ("POST", "/api")
    assert request.json == {"query": "get_dataset", "params": {"id": "ds_1"}}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "agent/1"
    assert request.headers["content-length"] == str(len(request.body))


def test_netrc_does_not_replace_the_key(server, tmp_path, monkeypatch):
    """An entry for the host in .netrc is not used."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login city password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    run(make_config(server.url))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_cookies_are_not_kept(server):
    """A gateway's cookie is not sent back."""
    server.respond(data({"id": "ds_1"}, **{"Set-Cookie": "session=abc; Path=/"}))

    async def twice(client):
        await send(client, QUERY)
        await send(client, QUERY)

    in_loop(make_config(server.url), twice)
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]


@pytest.mark.parametrize("where", ["extra", "environment"])
def test_proxy(server, monkeypatch, where):
    """The proxy of the connection, or else of the environment, receives the full URL."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    if where == "environment":
        monkeypatch.setenv("HTTP_PROXY", server.url)
    proxies = {"proxies": {"http": server.url}} if where == "extra" else {}
    run(make_config("http://polyteia.invalid", allow_http=True, **proxies))
    assert server.requests[0].path == "http://polyteia.invalid/api"


def test_no_proxy(server, monkeypatch):
    """NO_PROXY in the environment is respected."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    run(make_config(server.url))
    assert len(server.requests) == 1


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls_server(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with ScriptedServer(context) as running:
        yield running


@pytest.mark.parametrize("where", ["extra", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_private_ca(tls_server, authority, tmp_path, monkeypatch, where):
    """A CA bundle is read from the connection, or from the environment variables that requests supports."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if where != "extra":
        monkeypatch.setenv(where, str(bundle))
    extra = {"verify": str(bundle)} if where == "extra" else {}
    assert run(make_config(tls_server.url, **extra)).data == {"id": "ds_1"}


def test_verification_disabled(tls_server):
    """With verify=false, any certificate is accepted."""
    assert run(make_config(tls_server.url, verify=False)).data == {"id": "ds_1"}


def test_untrusted_certificate(tls_server, make_client):
    """With a certificate of an unknown CA nothing is sent, and both transports raise the same exception."""
    ours = outcome(lambda: run(make_config(tls_server.url)))
    assert ours == outcome(lambda: send(make_client(host=tls_server.url), QUERY))
    assert ours[0] is PolyteiaConfigurationError
    assert '"verify"' in ours[1]
    assert not tls_server.requests


@pytest.mark.parametrize(
    "content",
    [b"", b"not a certificate", b"\x30\x82\x01\x0a", b"-----BEGIN CERTIFICATE-----\n$\n-----END CERTIFICATE-----\n"],
)
@pytest.mark.parametrize("extra", ["verify", "cert"])
def test_file_without_a_certificate(tls_server, make_client, tmp_path, content, extra):
    """A file that contains no certificate in PEM format is a configuration error for both transports."""
    file = tmp_path / "city-ca.cer"
    file.write_bytes(content)
    ours = outcome(lambda: run(make_config(tls_server.url, **{extra: str(file)})))
    assert ours == outcome(lambda: send(make_client(host=tls_server.url, **{extra: str(file)}), QUERY))
    assert ours[0] is PolyteiaConfigurationError
    assert "a certificate file cannot be read, is encrypted, or is not in PEM format" in ours[1]
    assert not tls_server.requests


def test_encrypted_key(tls_server, make_client, tmp_path):
    """A client certificate whose key is encrypted is a configuration error; OpenSSL does not ask for a password."""
    issued = trustme.CA().issue_cert("airflow.stadt.example")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    file = tmp_path / "client.pem"
    file.write_bytes(issued.cert_chain_pems[0].bytes() + encrypted)
    ours = outcome(lambda: run(make_config(tls_server.url, cert=str(file))))
    assert ours == outcome(lambda: send(make_client(host=tls_server.url, cert=str(file)), QUERY))
    assert ours[0] is PolyteiaConfigurationError
    assert "a certificate file cannot be read, is encrypted, or is not in PEM format" in ours[1]


class Platform:
    """A platform that issues an access token and accepts no other."""

    def __init__(self):
        self.token = TOKEN

    def __call__(self, request):
        if request.path == "/auth/pak/token":
            return Reply(body=b'{"token": "%s"}' % self.token.encode())
        is_valid = request.headers["authorization"] == f"Bearer {self.token}"
        return data({"id": "ds_1"}) if is_valid else status(401)


def test_concurrent_calls_share_an_exchange(server):
    """50 concurrent calls exchange the key once, and once more when the token is rejected for all of them."""
    platform = Platform()
    server.respond(platform)

    async def use(client):
        await asyncio.gather(*(send(client, QUERY) for _ in range(50)))
        first = server.calls.count("/auth/pak/token")
        platform.token = "token-RENEWED-43"
        await asyncio.gather(*(send(client, QUERY) for _ in range(50)))
        return first, server.calls.count("/auth/pak/token")

    assert in_loop(make_config(server.url, **ORGANIZATION), use) == (1, 2)


def test_exchange_is_shared_until_its_token_is_delivered(server):
    """A call that arrives between the end of the exchange and the delivery of its token does not start a second one."""
    server.respond(Platform())

    async def use(client):
        states = []
        first = asyncio.create_task(send(client, QUERY))
        async with asyncio.timeout(10):
            while not client._coalesced:  # noqa: ASYNC110 - no event signals it
                await asyncio.sleep(0)
        (exchange,) = client._coalesced.values()
        exchange.add_done_callback(
            lambda _: states.append((client.credentials.access_token, exchange in client._coalesced.values()))
        )
        await first
        return states, client.credentials.access_token, client._coalesced

    assert in_loop(make_config(server.url, **ORGANIZATION), use) == ([(None, True)], TOKEN, {})


def test_cancelled_caller_does_not_cancel_the_exchange(server):
    """If the first of two callers is cancelled during the exchange, the second receives its response."""
    server.respond(Platform())

    async def use(client):
        first, second = (asyncio.create_task(send(client, QUERY)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return (await second).data

    assert in_loop(make_config(server.url, **ORGANIZATION), use) == {"id": "ds_1"}
    assert server.calls.count("/auth/pak/token") == 1


def test_failed_exchange_fails_each_call_separately(server, fake_time):
    """Calls that share a failed exchange each raise an exception with their own number of attempts."""
    server.respond(DROP)

    async def use(client):
        return await asyncio.gather(send(client, QUERY), send(client, QUERY), return_exceptions=True)

    first, second = in_loop(make_config(server.url, max_attempts=2, **ORGANIZATION), use, fake_time)
    assert first is not second
    assert [str(error).count("Giving up") for error in (first, second)] == [1, 1]
    assert [error.not_applied for error in (first, second)] == [True, True]


def test_tokens_are_masked(server):
    """The access token is passed to `on_secret`."""
    server.respond(Platform())
    masked = []

    async def mask(secret):
        masked.append(secret)

    run(make_config(server.url, **ORGANIZATION), on_secret=mask)
    assert masked == [TOKEN]


def test_no_secret_in_any_log(server, caplog):
    """Neither the key nor the token is in any log record at DEBUG, including those of aiohttp and asyncio."""
    server.respond(Platform(), status(401), status(401))
    with caplog.at_level(logging.DEBUG):
        outcome(lambda: run(make_config(server.url, **ORGANIZATION)))
    assert "get_dataset" in caplog.text
    assert KEY not in caplog.text
    assert TOKEN not in caplog.text


def test_no_request_waits_for_another(server):
    """30 requests that receive no response do not hold back another one."""
    silent = threading.Event()
    waiting = []

    def respond(request):
        if request.json["params"]["id"] != "ds_1":
            waiting.append(request)
            silent.wait(10)
        return data({"id": "ds_1"})

    server.respond(respond)
    hanging = make_call("query", "get_dataset", {"id": "ds_2"})

    async def use(client):
        tasks = [asyncio.create_task(send(client, hanging)) for _ in range(30)]
        async with asyncio.timeout(10):
            while len(waiting) < len(tasks):  # noqa: ASYNC110 - no event signals it
                await asyncio.sleep(0.01)
            found = (await send(client, QUERY)).data
        silent.set()
        await asyncio.gather(*tasks)
        return found

    assert in_loop(make_config(server.url), use) == {"id": "ds_1"}


def test_response_without_end():
    """A response that comes byte by byte ends the request after connect and read timeout together, not later."""

    def drip(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        with suppress(OSError):
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.05)

    with RawServer(drip) as raw:
        config = make_config(f"http://127.0.0.1:{raw.port}", timeout=[0.1, 0.3], max_attempts=1)
        started = time.monotonic()
        with pytest.raises(PolyteiaTransportError, match=r"no complete response from .* within 0\.4 s"):
            run(config)
        assert time.monotonic() - started < 2


def test_repeated_headers(server):
    """A header that comes twice is joined to one, as requests does it."""
    responses = []

    def flow():
        responses.append((yield Request("GET", "/api", "get", bearer=KEY)))

    def two(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Two: a\r\nx-two: b\r\n\r\n")

    with RawServer(two) as raw:
        config = make_config(f"http://127.0.0.1:{raw.port}")
        operation = Operation("get", flow, Idempotency.SAFE, {})
        in_loop(config, lambda client: client.run(operation))
        PolyteiaClient(config).run(operation)
    assert [response.headers["x-two"] for response in responses] == ["a, b", "a, b"]


def test_repr_hides_the_key(server):
    """The repr names the connection, but does not contain the key."""
    client = AsyncPolyteiaClient(make_config(server.url))
    assert KEY not in repr(client)
    assert "city" in repr(client)
