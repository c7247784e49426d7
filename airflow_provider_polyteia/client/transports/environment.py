"""What the connection and the environment say about proxies and certificates: the same in worker and triggerer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy

if TYPE_CHECKING:
    import ssl

    from airflow_provider_polyteia.client.config import ClientConfig

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


class UnusableProxyError(ValueError):
    """A proxy's URL cannot be used. The text says why, and contains nothing of the URL: it may hold a password."""


class Settings(NamedTuple):
    """How to reach a URL.

    :param proxy: complete URL of the proxy, which may hold credentials; empty for a direct connection.
    :param verify: whether to verify certificates, or the path of a CA bundle.
    :param cert: client certificate: one PEM file, or certificate and key.
    """

    proxy: str
    verify: bool | str
    cert: str | tuple[str, str] | None

    def __repr__(self) -> str:
        return "<Settings>"


def settings_for(config: ClientConfig, url: str = "") -> Settings:
    """Return the settings for a URL, as requests merges those of the connection and of the environment.

    :param url: URL on another host, which does not get the client certificate. Default: empty, the connection's host.
    :raises UnusableProxyError: if it is to be reached through a proxy whose URL is unusable.
    """
    target = url or config.base_url
    merged = requests.Session().merge_environment_settings(target, dict(config.proxies), None, config.verify, None)
    proxy = select_proxy(target, merged["proxies"])
    verify = config.verify if merged["verify"] is None else merged["verify"]
    return Settings(_complete(proxy) if proxy else "", verify, None if url else config.cert)


def load_certificates(context: ssl.SSLContext, verify: bool | str, cert: str | tuple[str, str] | None) -> None:
    """Load CAs and client certificate.

    :param verify: as in `Settings`; a path may be that of a directory.
    :param cert: as in `Settings`.
    :raises OSError: if a file does not exist, or, as `ssl.SSLError`, if it is encrypted or not in PEM format.
    """
    if isinstance(verify, str):
        is_directory = Path(verify).is_dir()
        context.load_verify_locations(**{"capath" if is_directory else "cafile": verify})
    if cert is not None:
        file, key = (cert, None) if isinstance(cert, str) else cert
        context.load_cert_chain(file, key, password=lambda: "")  # otherwise OpenSSL would ask in the terminal


def _complete(proxy: str) -> str:
    """Return a proxy's URL with its scheme, which is often left out: ``proxy:3128`` and ``//proxy:3128``."""
    text = proxy.strip()
    if "://" not in text:
        text = f"http://{text.removeprefix('//')}"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UnusableProxyError("its host or port cannot be read; write http://host:port") from None
    if parts.scheme not in _SCHEMES:
        raise UnusableProxyError(f"its scheme must be one of {', '.join(_SCHEMES)}; write http://host:port")
    if not host or any(character.isspace() for character in text):
        raise UnusableProxyError("it has no host, or contains a space; write http://host:port")
    return text
