"""Rejects requests that a web page of another site makes a browser send to the sandbox.

The sandbox is reachable by every page that is open in a browser of the same machine. A page can point a name of its own
to the loopback address (DNS rebinding), and then reads every response; the `Host` header shows it. A page can also send
a POST to the control pages without reading the response; the headers `Origin` and `Sec-Fetch-Site` show it.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("airflow_provider_polyteia.sandbox")

CONTROL_PATH = "/_sandbox/"
ANY_HOST = "*"

_NETLOC = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s/?#@:\[\]\\]+))(?::[0-9]*)?")
_READS = ("GET", "HEAD", "OPTIONS")
_OWN_SITE = ("same-origin", "none")


class ServedHosts:
    """The hosts for which a sandbox serves requests: loopback names and addresses, and those given here.

    :param names: Host names and addresses, with or without a port. `*` stands for every host. An address that stands
        for all interfaces, such as `0.0.0.0`, stands for every address, but not for names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        known = [name if name == ANY_HOST else _host_of(name) for name in names]
        self._names = {name for name in known if name}
        self._serves_addresses = any(_is_unspecified(name) for name in self._names)

    def __contains__(self, header: str) -> bool:
        """Return True if a request with this `Host` header is served."""
        host = _host_of(header)
        if host in self._names or ANY_HOST in self._names:
            return True
        address = _address(host)
        if address is None:
            return host == "localhost" or host.endswith(".localhost")
        return address.is_loopback or self._serves_addresses


class RequestGuard:
    """ASGI middleware that rejects requests for other hosts, and changes by pages of other sites."""

    def __init__(self, app: ASGIApp, hosts: ServedHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request (ASGI)."""
        headers = Headers(scope=scope)
        rejection: Response | None = None
        if headers.get("host", "") not in self._hosts:
            rejection = _refuse_host(headers.get("host", ""))
        elif _is_change(scope) and not _is_from_own_site(headers):
            rejection = _refuse_site()
        await (rejection or self._app)(scope, receive, send)


def _is_change(scope: Scope) -> bool:
    return scope["path"].startswith(CONTROL_PATH) and scope["method"] not in _READS


def _is_from_own_site(headers: Headers) -> bool:
    """Return True unless a browser reports another origin. Other programs do not send these headers."""
    if headers.get("sec-fetch-site", "none") not in _OWN_SITE:
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers["host"]


def _refuse_host(header: str) -> Response:
    text = f"The sandbox is not served at the host {header!r}. Allow it with --allowed-host or allowed_hosts."
    logger.warning("%s", text)
    return PlainTextResponse(text, status_code=HTTPStatus.MISDIRECTED_REQUEST)


def _refuse_site() -> Response:
    text = "A page of another site cannot control the sandbox."
    logger.warning("%s", text)
    return PlainTextResponse(text, status_code=HTTPStatus.FORBIDDEN)


def _host_of(netloc: str) -> str:
    """Return the host in lower case without the port, or an empty string if it is malformed."""
    if _address(netloc):
        return netloc.lower()
    match = _NETLOC.fullmatch(netloc.lower())
    return (match[1] or match[2]).removesuffix(".") if match else ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_unspecified(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified
