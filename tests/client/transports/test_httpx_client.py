"""The httpx driver: it says and does what the requests driver does, for many callers at once."""

from __future__ import annotations

import asyncio
import logging
import ssl

import pytest
import trustme
from calls import send
from servers import DROP, KEY, Reply, ScriptedServer, body_error, data, status

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.httpx_client import AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError

QUERY = make_call("query", "get_dataset", {"id": "ds_1"}, required_field="id")
WRITE = make_call("command", "create_tag", {"organization_id": "org_1", "name": "x"})
ORGANIZATION = {"organization_id": "org_1"}
TOKEN = "token-SECRET-42"  # made up


def make_config(url, **extra):
    return client_config.from_connection("city", host=url, password=KEY, extra=extra)


def in_loop(config, use, fake_time=None, **options):
    """Run `use(client)` in an event loop of its own; waits between attempts take no time if `fake_time` is given."""

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


def send(config, call=QUERY, **options):
    return in_loop(config, lambda client: send(client, call), **options)


def outcome(action):
    """What came of a call: its data, or all there is to know of its error."""
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
def test_both_drivers_agree(server, make_client, fake_time, script, call):
    """The same answers give the same data or error, after the same requests and the same waits."""
    outcomes = []
    for run in (
        lambda: send(make_client(), call),
        lambda: send(make_config(server.url), call, fake_time=fake_time),
    ):
        server.answer(*SCRIPTS[script])
        server.requests.clear()
        begun = fake_time.slept
        result = outcome(run)
        outcomes.append((result, server.calls, fake_time.slept - begun))
    assert outcomes[0] == outcomes[1]


def test_answer_that_cannot_be_unpacked(server, fake_time):
    """An answer that claims to be gzip and is none is no usable answer; the query is repeated."""
    server.answer(Reply(headers={"Content-Encoding": "gzip"}, body=b"not gzip"), data({"id": "ds_1"}))
    assert send(make_config(server.url), fake_time=fake_time).data == {"id": "ds_1"}


@pytest.mark.parametrize("script", [[DROP], [status(503)], [status(401)], [status(404)]])
def test_both_drivers_agree_on_the_exchange(server, make_client, fake_time, script):
    """When the key cannot be exchanged, both say that the call itself was not sent, and repeat it alike."""
    server.answer(*script)
    ours = outcome(lambda: send(make_config(server.url, **ORGANIZATION), WRITE, fake_time=fake_time))
    assert ours == outcome(lambda: send(make_client(**ORGANIZATION), WRITE))
    assert ours[2]["not_applied"]


def test_one_request_looks_as_documented(server):
    """Path, headers and body are those of the API reference, and the length is known."""
    send(make_config(server.url), user_agent="agent/1")
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
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    send(make_config(server.url))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_cookies_are_not_kept(server):
    """A gateway's cookie is not sent back."""
    server.answer(data({"id": "ds_1"}, **{"Set-Cookie": "session=abc; Path=/"}))

    async def twice(client):
        await send(client, QUERY)
        await send(client, QUERY)

    in_loop(make_config(server.url), twice)
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]


@pytest.mark.parametrize("where", ["extra", "environment"])
def test_proxy(server, monkeypatch, where):
    """A proxy is used as the connection says, or else the environment, and is given the full address."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    if where == "environment":
        monkeypatch.setenv("HTTP_PROXY", server.url)
    proxies = {"proxies": {"http": server.url}} if where == "extra" else {}
    send(make_config("http://polyteia.invalid", allow_http=True, **proxies))
    assert server.requests[0].path == "http://polyteia.invalid/api"


def test_no_proxy_for_this_host(server, monkeypatch):
    """NO_PROXY is obeyed."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    send(make_config(server.url))
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
def test_authority_of_ones_own(tls_server, authority, tmp_path, monkeypatch, where):
    """A CA bundle is taken from the connection, or from the variables that requests knows."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if where != "extra":
        monkeypatch.setenv(where, str(bundle))
    extra = {"verify": str(bundle)} if where == "extra" else {}
    assert send(make_config(tls_server.url, **extra)).data == {"id": "ds_1"}


def test_verification_switched_off(tls_server):
    """With verify=false any certificate will do."""
    assert send(make_config(tls_server.url, verify=False)).data == {"id": "ds_1"}


def test_stranger_is_not_trusted(tls_server, make_client):
    """A certificate of an unknown authority: nothing is sent, and both drivers say what to do in the same words."""
    ours = outcome(lambda: send(make_config(tls_server.url)))
    assert ours == outcome(lambda: send(make_client(host=tls_server.url), QUERY))
    assert ours[0] is PolyteiaConfigurationError
    assert '"verify"' in ours[1]
    assert not tls_server.requests


def test_certificate_that_is_none(server, tmp_path):
    """A bundle without a certificate in it is named as what it is."""
    bundle = tmp_path / "empty.pem"
    bundle.write_text("nothing")
    with pytest.raises(PolyteiaConfigurationError, match="certificate file cannot be read"):
        send(make_config(server.url, verify=str(bundle)))


def test_proxy_that_cannot_be_used(server):
    """A SOCKS proxy without its package: the error names the package, and not the proxy's password."""
    config = make_config(server.url, proxies={"http": "socks5://user:hidden-word@127.0.0.1:1"})
    with pytest.raises(PolyteiaConfigurationError, match=r"httpx\[socks\]") as caught:
        send(config)
    assert "hidden-word" not in str(caught.value)
    assert caught.value.__context__ is None


class Platform:
    """Answers calls to holders of the token of the day, and hands it out."""

    def __init__(self):
        self.token = TOKEN

    def __call__(self, request):
        if request.path == "/auth/pak/token":
            return Reply(body=b'{"token": "%s"}' % self.token.encode())
        known = request.headers["authorization"] == f"Bearer {self.token}"
        return data({"id": "ds_1"}) if known else status(401)


def test_many_calls_need_one_token(server):
    """50 calls at once exchange the key once, and again once when the token is refused to all of them."""
    platform = Platform()
    server.answer(platform)

    async def use(client):
        client.serve(200)
        await asyncio.gather(*(send(client, QUERY) for _ in range(50)))
        first = server.calls.count("/auth/pak/token")
        platform.token = "token-OF-TOMORROW"
        await asyncio.gather(*(send(client, QUERY) for _ in range(50)))
        return first, server.calls.count("/auth/pak/token")

    assert in_loop(make_config(server.url, **ORGANIZATION), use) == (1, 2)


def test_exchange_is_shared_until_its_token_is_known(server):
    """Who asks in the moment between the end of an exchange and the arrival of its token begins no second one."""
    server.answer(Platform())

    async def use(client):
        seen = []
        first = asyncio.create_task(send(client, QUERY))
        async with asyncio.timeout(10):
            while client._exchange is None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        exchange = client._exchange
        exchange.add_done_callback(lambda _: seen.append((client._identity.token, client._exchange is exchange)))
        await first
        return seen, client._identity.token, client._exchange

    assert in_loop(make_config(server.url, **ORGANIZATION), use) == ([(None, True)], TOKEN, None)


def test_caller_that_leaves_does_not_break_the_exchange(server):
    """The first of two callers is cancelled during the exchange; the second gets its answer."""
    server.answer(Platform())

    async def use(client):
        first, second = (asyncio.create_task(send(client, QUERY)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return (await second).data

    assert in_loop(make_config(server.url, **ORGANIZATION), use) == {"id": "ds_1"}
    assert server.calls.count("/auth/pak/token") == 1


def test_failed_exchange_fails_each_call_by_itself(server, fake_time):
    """Calls that share an exchange which fails get an error each, with its own account of attempts."""
    server.answer(DROP)

    async def use(client):
        return await asyncio.gather(send(client, QUERY), send(client, QUERY), return_exceptions=True)

    one, other = in_loop(make_config(server.url, max_attempts=2, **ORGANIZATION), use, fake_time)
    assert one is not other
    assert [str(error).count("Gave up") for error in (one, other)] == [1, 1]
    assert [error.not_applied for error in (one, other)] == [True, True]


def test_tokens_are_masked(server):
    """The token is told to who masks secrets, before the call has its answer."""
    server.answer(Platform())
    masked = []

    async def mask(secret):
        masked.append(secret)

    send(make_config(server.url, **ORGANIZATION), on_secret=mask)
    assert masked == [TOKEN]


def test_no_secret_in_any_log(server, caplog):
    """Neither the key nor the token is in a log record at DEBUG, httpx's and httpcore's included."""
    server.answer(Platform(), status(401), status(401))
    with caplog.at_level(logging.DEBUG):
        outcome(lambda: send(make_config(server.url, **ORGANIZATION)))
    assert "get_dataset" in caplog.text
    assert KEY not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(("users", "most"), [(1, 5), (100, 10), (5000, 50)])
def test_connections_grow_with_users(server, users, most):
    """100 calls at once use 5 connections, one for ten users if those are more, and never more than 50."""

    async def use(client):
        client.serve(users)
        await asyncio.gather(*(send(client, QUERY) for _ in range(100)))

    in_loop(make_config(server.url), use)
    assert len(server.requests) == 100
    assert server.connections <= most


def test_repr_and_config_hide_the_key(server):
    """Nothing that may be printed shows the key."""
    client = AsyncPolyteiaClient(make_config(server.url))
    assert KEY not in repr(client)
    assert "city" in repr(client)
