"""What the environment says about proxies means the same in worker and triggerer, however it is spelt.

Each row goes through both clients and a real proxy; what counts is what the proxy was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys

import pytest
import requests.adapters
import trustme
from calls import send
from relays import Relay
from servers import KEY, ScriptedServer

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

pytestmark = pytest.mark.slow  # real proxies

QUERY = make_call("query", "get_dataset", {"id": "ds_1"}, required_field="id")
PASSWORD = "pä@ss:hidden-word"  # made up
CREDENTIALS = "city:p%C3%A4%40ss%3Ahidden-word"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def servers(context):
    """The platform, without and with TLS."""
    with ScriptedServer() as plain, ScriptedServer(context) as tls:
        yield {"http": plain, "https": tls}


@pytest.fixture(scope="module")
def proxies(context):
    """A proxy of each kind."""
    with contextlib.ExitStack() as stack:
        yield {
            "proxy": stack.enter_context(Relay()),
            "with credentials": stack.enter_context(Relay(credentials=f"city:{PASSWORD}")),
            "IPv6": stack.enter_context(Relay(family=socket.AF_INET6)),
            "TLS": stack.enter_context(Relay(ssl_context=context)),
            "SOCKS": stack.enter_context(Relay(is_socks=True)),
        }


def by_requests(config):
    client = PolyteiaClient(config)
    try:
        return send(client, QUERY).data
    finally:
        client.close()


def by_aiohttp(config):
    async def main():
        client = AsyncPolyteiaClient(config)
        try:
            return (await send(client, QUERY)).data
        finally:
            await client.aclose()

    return asyncio.run(main())


@pytest.fixture(params=[by_requests, by_aiohttp])
def ask(request):
    """Send a query with one of the clients."""
    return request.param


@pytest.fixture
def make_config(servers, authority, tmp_path, monkeypatch):
    """Configure a client for one of the servers; the environment holds only what is given."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))

    def make(scheme, environment, **extra):
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        host = servers[scheme].url
        settings = {"api": "command", "max_attempts": 1, "timeout": [2, 2], "verify": str(bundle), **extra}
        return client_config.from_connection("city", host=host, password=KEY, extra=settings)

    return make


SPELLINGS = {
    "http://127.0.0.1:{port}": "proxy",
    "http://127.0.0.1:{port}/": "proxy",
    "http://localhost:{port}": "proxy",
    "HTTP://127.0.0.1:{port}": "proxy",
    "127.0.0.1:{port}": "proxy",
    "localhost:{port}": "proxy",
    "//127.0.0.1:{port}": "proxy",
    "//localhost:{port}": "proxy",
    " http://127.0.0.1:{port} ": "proxy",
    "http://user:unneeded@127.0.0.1:{port}": "proxy",
    "http://" + CREDENTIALS + "@127.0.0.1:{port}": "with credentials",
    CREDENTIALS + "@localhost:{port}": "with credentials",
    "//" + CREDENTIALS + "@localhost:{port}": "with credentials",
    "http://[::1]:{port}": "IPv6",
    "[::1]:{port}": "IPv6",
    "//[::1]:{port}": "IPv6",
    "https://localhost:{port}": "TLS",
}
VARIABLES = [("http", "HTTP_PROXY"), ("http", "http_proxy"), ("http", "ALL_PROXY"), ("https", "HTTPS_PROXY")]
VARIABLES += [("https", "https_proxy"), ("https", "all_proxy")]


ROWS = [
    (scheme, variable, spelling)
    for scheme, variable in VARIABLES
    for spelling, kind in SPELLINGS.items()
    if (scheme, kind) != ("http", "TLS")  # requests does not verify such a proxy, and warns
]


@pytest.mark.parametrize(("scheme", "variable", "spelling"), ROWS)
def test_spellings(make_config, proxies, servers, ask, scheme, variable, spelling):
    """The request goes through the proxy: with TLS by CONNECT, else by its whole URL."""
    proxy = proxies[SPELLINGS[spelling]]
    proxy.requests.clear()
    assert ask(make_config(scheme, {variable: spelling.format(port=proxy.port)})) == {"id": "ds_1"}
    port = servers[scheme].port
    asked = f"CONNECT localhost:{port} HTTP/1." if scheme == "https" else f"POST http://127.0.0.1:{port}/api HTTP/1."
    assert [request[:-1] for request in proxy.requests] == [asked]


@pytest.mark.parametrize(
    ("scheme", "no_proxy", "is_direct"),
    [
        ("http", "127.0.0.1", True),
        ("http", "127.0.0.0/8", True),
        ("http", "10.0.0.0/8,127.0.0.0/8", True),
        ("http", "intranet.example, 127.0.0.1", True),
        ("http", "*", True),
        ("https", "localhost", True),
        ("https", "LOCALHOST", True),
        ("https", "localhost:{port}", True),
        ("https", ".localhost", True),
        ("http", "10.0.0.0/8", False),
        ("http", "127.0.0.1:{port}", False),  # requests knows ports of names only
        ("https", "localhost:1", False),
        ("https", "polyteia.example,.city.example", False),
        ("https", "", False),
    ],
)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_no_proxy(make_config, proxies, servers, ask, variable, scheme, no_proxy, is_direct):
    """Hosts in NO_PROXY are reached directly: by name, with port, by network, in lists."""
    proxy = proxies["proxy"]
    proxy.requests.clear()
    environment = {
        "ALL_PROXY": f"127.0.0.1:{proxy.port}",
        variable: no_proxy.format(port=servers[scheme].port),
    }
    assert ask(make_config(scheme, environment)) == {"id": "ds_1"}
    assert bool(proxy.requests) is not is_direct


@pytest.mark.parametrize("spelling", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "//user:p%40ss@127.0.0.1:{port}"])
def test_connection_overrides_the_environment(make_config, proxies, ask, spelling):
    """The extra `proxies` counts more than the environment, and may be spelled in the same ways."""
    proxies["proxy"].requests.clear()
    extra = {"proxies": {"http": spelling.format(port=proxies["proxy"].port)}}
    assert ask(make_config("http", {"HTTP_PROXY": "127.0.0.1:1"}, **extra)) == {"id": "ds_1"}
    assert len(proxies["proxy"].requests) == 1


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://127.0.0.1:1", "its scheme must be one of"),
        ("http://[::1", "its host or port cannot be read"),
        ("127.0.0.1:port", "its host or port cannot be read"),
        ("::1", "its host or port cannot be read"),
        ("http://", "it has no host"),
        ("http:proxy:3128", "its host or port cannot be read"),
        ("http://pro xy:3128", "it has no host, or contains a space"),
        ("user:hidden-word@", "it has no host"),
    ],
)
def test_unusable_proxies(make_config, ask, url, problem):
    """The exception says what is wrong with the URL and where to change it, and contains nothing of it."""
    with pytest.raises(PolyteiaConfigurationError, match=f"{problem}.*http://host:port.*HTTPS_PROXY") as caught:
        ask(make_config("http", {"HTTP_PROXY": url}))
    assert "SOCKS" not in str(caught.value)
    assert "hidden-word" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("kind", "asked"), [("socks5", "ADDRESS 127.0.0.1"), ("socks5h", "NAME localhost")])
def test_socks(make_config, proxies, servers, ask, scheme, kind, asked):
    """A SOCKS proxy gets an address with socks5://, and resolves the name itself with socks5h://."""
    pytest.importorskip("aiohttp_socks")
    proxies["SOCKS"].requests.clear()
    config = make_config(scheme, {"ALL_PROXY": f"{kind}://127.0.0.1:{proxies['SOCKS'].port}"})
    if scheme == "http":
        config = client_config.replace(config, base_url=config.base_url.replace("127.0.0.1", "localhost"))
    assert ask(config) == {"id": "ds_1"}
    assert proxies["SOCKS"].requests == [f"{asked}:{servers[scheme].port}"]


def test_socks_without_its_package(make_config, ask, monkeypatch):
    """Without the packages for SOCKS, the exception names the extra to install, but not the proxy's password."""

    def missing(*_, **__):
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", missing)  # as requests does when it is imported
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    with pytest.raises(PolyteiaConfigurationError, match="airflow-provider-polyteia with its extra 'socks'") as caught:
        ask(make_config("http", {"ALL_PROXY": "socks5://user:hidden-word@127.0.0.1:1"}))
    assert "hidden-word" not in str(caught.value)
    assert caught.value.__context__ is None
