"""A requests adapter that tells connection failures apart from lost responses.

A request whose connection was never established was certainly not sent; any other failed request may have been.
requests and urllib3 do not tell the two apart: a reset during the TLS handshake and a reset after the request end as
the same exception, and so do the timeouts of both. So our connections raise `ConnectFailedError` for whatever fails in
`connect`, which covers name resolution, TCP, the proxy's CONNECT and the TLS handshake.
"""

from __future__ import annotations

import logging
import re
import ssl
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import LocationValueError, NewConnectionError, ProtocolError, ProxyError, ReadTimeoutError

from airflow_provider_polyteia.client.transports.environment import UnusableProxyError
from airflow_provider_polyteia.client.transports.failures import (
    Failure,
    FailureKind,
    classify_connect_failure,
    exception_chain,
    proxy_refusal,
    rejected_certificate,
    unusable_response,
)
from airflow_provider_polyteia.client.transports.requests_connections import (
    ConnectFailedError,
    count_bytes,
    use_our_connections,
)

if TYPE_CHECKING:
    from urllib3.poolmanager import PoolManager

_POOL_SIZE = 10
_QUERY = re.compile(r"\?[^\s'\"<>]*")


class ConnectFailureAdapter(HTTPAdapter):
    """requests' adapter on connections that mark connect failures; it retries nothing by itself."""

    def __init__(self) -> None:
        super().__init__(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set up the pools for direct connections."""
        super().init_poolmanager(*args, **kwargs)
        use_our_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> PoolManager:
        """Set up the pools for connections through `proxy`.

        A SOCKS proxy has its own connections; urllib3 raises an exception of its own for their connect failures.
        """
        manager: PoolManager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if proxy.lower().startswith("socks"):
            count_bytes(manager)
        else:
            use_our_connections(manager)
        return manager


class _HideQueries(logging.Filter):
    """Removes the query from every URL in a log record: it may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_hide_query(value) for value in record.args)
        record.msg = _hide_query(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and _hide_query(error) is not error:  # the traceback would show it
            record.exc_info = None
        return True


def _hide_query(value: Any) -> Any:
    text = value if isinstance(value, str) else str(value) if isinstance(value, BaseException) else ""
    return _QUERY.sub("?***", text) if "?" in text else value


_hide_queries = _HideQueries()


def hide_queries_in_logs() -> None:
    """Keep URL queries out of the logs of requests and urllib3, whichever of their loggers writes them.

    urllib3 logs URLs at DEBUG, and at WARNING if a response has malformed headers. A filter applies to a single logger,
    and each of their modules has one.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("urllib3", "requests"):
            logging.getLogger(name).addFilter(_hide_queries)


def classify(error: BaseException, ambient: BaseException | None = None) -> Failure:
    """Return what an exception of requests or urllib3 means.

    :param ambient: what the caller was handling when the request began.
    """
    chain = list(exception_chain(error, ambient))
    failed = next((link for link in chain if isinstance(link, ConnectFailedError | NewConnectionError)), None)
    if failed is not None:
        is_proxied = any(isinstance(link, ProxyError) for link in chain)
        return _classify_connect_failure(list(exception_chain(failed, ambient)), is_proxied=is_proxied)
    unusable = unusable_response(chain) or rejected_certificate(chain) or _classify_proxy(error)
    if unusable is not None:
        return unusable
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return Failure(FailureKind.CERTIFICATE_UNREADABLE)
    for link in chain:
        if isinstance(link, ReadTimeoutError | requests.ReadTimeout | TimeoutError):
            return Failure(FailureKind.READ_TIMEOUT)
        if isinstance(link, ConnectionError | ProtocolError | ssl.SSLError):
            return Failure(FailureKind.CONNECTION_LOST)
    return Failure(FailureKind.RESPONSE_UNREADABLE, type(error).__name__)


def _classify_proxy(error: BaseException) -> Failure | None:
    """Return what is wrong with the proxy's URL; None if it is not that."""
    if isinstance(error, UnusableProxyError):
        return Failure(FailureKind.PROXY_UNUSABLE, str(error))
    if isinstance(error, requests.exceptions.InvalidSchema):  # all that is left: the package for SOCKS is missing
        return Failure(FailureKind.SOCKS_UNSUPPORTED)
    if isinstance(error, requests.exceptions.InvalidURL | LocationValueError):
        return Failure(FailureKind.PROXY_UNUSABLE, "requests cannot use its URL; write http://host:port")
    return None


def _classify_connect_failure(chain: list[BaseException], *, is_proxied: bool) -> Failure:
    for link in chain:
        status = _proxy_status(link)
        if status is not None:
            return proxy_refusal(status)
    return classify_connect_failure(chain, resolves_proxy=is_proxied)


def _proxy_status(link: BaseException) -> int | None:
    """Return the HTTP status with which a proxy refused to open a tunnel.

    http.client raises a bare OSError and keeps the status nowhere but in its text.
    """
    if type(link) is not OSError or link.errno is not None:
        return None
    found = re.match(r"Tunnel connection failed: (\d{3})\b", str(link))
    return int(found[1]) if found else None
