"""Servers that require a client certificate, over real TLS: the extra `cert`, on both transports."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme
from calls import send
from servers import KEY, ScriptedServer

from airflow_provider_polyteia.client import config
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaTransportError

QUERY = make_call("query", "get_dataset", {"id": "ds_1"})


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def server(authority, request):
    """A server that requires a certificate of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = request.param
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("localhost").configure_cert(context)
    with ScriptedServer(context) as running:
        yield running


@pytest.fixture(params=["requests", "aiohttp"])
def ask(authority, server, make_client, tmp_path, request):
    """Return a function that sends a query to the server, with these extras."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))

    def with_requests(**extra):
        return send(make_client(host=server.url, **extra), QUERY).data

    def with_aiohttp(**extra):
        async def main():
            given = config.from_connection("city", host=server.url, password=KEY, extra={"api": "command", **extra})
            client = AsyncPolyteiaClient(given)
            try:
                return (await send(client, QUERY)).data
            finally:
                await client.aclose()

        return asyncio.run(main())

    ask_with = {"requests": with_requests, "aiohttp": with_aiohttp}[request.param]
    return lambda **extra: ask_with(verify=str(bundle), max_wait=0.01, **extra)


def write_certificate(authority, folder):
    """Write a certificate of this authority; return the paths of certificate, key, and both in one file."""
    issued = authority.issue_cert("airflow.stadt.example")
    parts = (issued.cert_chain_pems[0], issued.private_key_pem, issued.private_key_and_cert_chain_pem)
    paths = [str(folder / name) for name in ("cert.pem", "key.pem", "both.pem")]
    for part, path in zip(parts, paths, strict=True):
        part.write_to_path(path)
    return paths


def test_accepted_certificate(authority, ask, tmp_path):
    """The certificate is one file with its key, or two files."""
    certificate, key, both = write_certificate(authority, tmp_path)
    assert ask(cert=both) == {"id": "ds_1"}
    assert ask(cert=[certificate, key]) == {"id": "ds_1"}


def test_certificate_of_another_authority(server, ask, tmp_path):
    """A certificate that the server rejects fails the task immediately, and nothing was applied."""
    *_, both = write_certificate(trustme.CA(), tmp_path)
    with pytest.raises(PolyteiaConfigurationError, match=r"rejects the present one \(unknown CA\).*\"cert\"") as caught:
        ask(cert=both)
    assert caught.value.not_applied
    assert server.requests == []


def test_missing_certificate(server, ask, request):
    """With TLS 1.3 the server says that it requires one; with TLS 1.2, only that the handshake failed."""
    with pytest.raises((PolyteiaConfigurationError, PolyteiaTransportError)) as caught:
        ask()
    required, failed = "requires a client certificate", "the TLS handshake with"
    assert (required if "TLSv1_3" in request.node.name else failed) in str(caught.value)
    assert caught.value.not_applied
    assert server.requests == []
