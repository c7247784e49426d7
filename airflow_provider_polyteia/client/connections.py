"""Connections for requests that can prove what was never sent, and the words for what went wrong on them.

A request whose connection was never established has certainly not happened; any other broken request may have.
requests and urllib3 don't keep the two apart: a reset during the TLS handshake and a reset after the request was
sent end as the same error, and so do the time-outs of both. So our connections mark whatever fails in `connect`,
which covers name resolution, TCP, the proxy's CONNECT and the TLS handshake, as `ConnectFailedError`.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationValueError, NewConnectionError, ProtocolError, ReadTimeoutError

from airflow_provider_polyteia.client import problems

if TYPE_CHECKING:
    from urllib3.poolmanager import PoolManager

    from airflow_provider_polyteia.client.config import ClientConfig
    from airflow_provider_polyteia.exceptions import PolyteiaError

_POOL_SIZE = 10
# The base URL was checked, so an unusable URL can only be a proxy's.
_UNUSABLE_PROXY = (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, LocationValueError)


class ConnectFailedError(OSError):
    """No connection could be made; the cause says why."""


class _PlainConnection(HTTPConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, HTTPError) as error:
            raise ConnectFailedError from error


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, HTTPError) as error:
            raise ConnectFailedError from error

    def send(self, data: Any) -> None:
        """Send, and let an answer be heard that a server gave before it hung up on a long body (HTTP 413, say).

        urllib3 looks for that answer after a broken pipe, but not after what TLS makes of one.
        """
        try:
            super().send(data)
        except ssl.SSLEOFError as error:
            raise BrokenPipeError from error


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class ProvingAdapter(HTTPAdapter):
    """requests' transport, on connections that prove what was never sent; it repeats nothing by itself."""

    def __init__(self) -> None:
        super().__init__(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set up the pools for direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _use_our_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> PoolManager:
        """Set up the pools for connections through `proxy`.

        A SOCKS proxy has connections of its own; they prove it by the error that urllib3 raises for them alone.
        """
        manager: PoolManager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if not proxy.lower().startswith("socks"):
            _use_our_connections(manager)
        return manager


def _use_our_connections(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


def explain(
    error: BaseException, name: str, config: ClientConfig, outside: BaseException | None = None
) -> PolyteiaError:
    """Turn what requests or urllib3 raised into an error of ours.

    Their texts are not passed on: they show URLs, and those may hold tokens or a proxy's password.

    :param outside: what the caller was handling when the request began.
    """
    chain = list(problems.causes(error, outside))
    failed = next((link for link in chain if isinstance(link, ConnectFailedError | NewConnectionError)), None)
    if failed is not None:
        return _explain_no_connection(list(problems.causes(failed, outside)), name, config)
    if isinstance(error, _UNUSABLE_PROXY):
        return problems.unusable_proxy(name, config.conn_id, "requests[socks]")
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return problems.unreadable_certificate(name, config.conn_id)
    return problems.no_answer(name, config.conn_id, _what_broke(chain, config))


def _explain_no_connection(chain: list[BaseException], name: str, config: ClientConfig) -> PolyteiaError:
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return problems.untrusted(name, config.conn_id, link.verify_message)
        if _proxy_status(link) == problems.PROXY_AUTHENTICATION_REQUIRED:
            return problems.proxy_refused(name, config.conn_id)
    return problems.not_sent(name, config.conn_id, _what_prevented(chain, config))


def _proxy_status(link: BaseException) -> int | None:
    """Return the HTTP status with which a proxy refused to open a tunnel.

    http.client raises a bare OSError and keeps the status nowhere but in its text.
    """
    if type(link) is not OSError or link.errno is not None:
        return None
    found = re.match(r"Tunnel connection failed: (\d{3})\b", str(link))
    return int(found[1]) if found else None


def _what_prevented(chain: list[BaseException], config: ClientConfig) -> str:
    status = next(filter(None, map(_proxy_status, chain)), None)
    if status is not None:
        return f"the proxy would not connect to {config.base_url} (HTTP {status})"
    return problems.what_prevented(chain, config)


def _what_broke(chain: list[BaseException], config: ClientConfig) -> str:
    for link in chain:
        if isinstance(link, ReadTimeoutError | requests.ReadTimeout | TimeoutError):
            return f"{config.base_url} was silent for {config.timeout[1]:g} s"
        if isinstance(link, ConnectionError | ProtocolError | ssl.SSLError):
            return f"the connection to {config.base_url} broke off"
    return f"the answer could not be read ({type(chain[0]).__name__})"
