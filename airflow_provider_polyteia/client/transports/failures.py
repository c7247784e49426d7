"""What can go wrong on a connection, and the exception for each case.

Each transport classifies the exceptions of its library into a `Failure`; the sentences stand here, once. The libraries'
own texts are never passed on: they show URLs, and those may hold tokens or a proxy's password.
"""

from __future__ import annotations

import socket
import ssl
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_polyteia.client.errors import proxy_authentication_required
from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaProtocolError,
    PolyteiaTransportError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_polyteia.client.config import ClientConfig


class FailureKind(Enum):
    """The kinds of failure. Those before READ_TIMEOUT are certain not to have sent the request."""

    CERTIFICATE_UNTRUSTED = auto()
    CERTIFICATE_UNREADABLE = auto()
    CLIENT_CERTIFICATE_REJECTED = auto()
    PROXY_UNUSABLE = auto()
    SOCKS_UNSUPPORTED = auto()
    PROXY_AUTHENTICATION = auto()
    PROXY_REFUSED = auto()
    NAME_NOT_RESOLVED = auto()
    PROXY_NOT_RESOLVED = auto()
    CONNECTION_REFUSED = auto()
    CONNECT_TIMEOUT = auto()
    TLS_HANDSHAKE = auto()
    CONNECT_ABORTED = auto()
    CONNECT_FAILED = auto()
    READ_TIMEOUT = auto()
    RESPONSE_TIMEOUT = auto()
    TOO_SLOW = auto()
    CONNECTION_LOST = auto()
    RESPONSE_UNREADABLE = auto()
    HEADERS_TOO_LARGE = auto()
    RESPONSE_TOO_LARGE = auto()


class Failure(NamedTuple):
    """One failure.

    :param detail: what the sentence adds: OpenSSL's reason, the proxy's HTTP status, what is wrong with its URL or with
        the body, the rate that was missed, or the type of the library's exception. Never a library's text.
    """

    kind: FailureKind
    detail: str = ""


class UnusableResponseError(OSError):
    """A response exceeds a limit or cannot be decoded, so that reading it was ended."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind.name)
        self.failure = failure


_UNUSABLE = {
    FailureKind.CERTIFICATE_UNTRUSTED: "the server's certificate is not trusted ({detail}). If the certificate is "
    'issued by a corporate proxy or a private CA, set the extra "verify" of connection {conn_id!r} to its CA bundle.',
    FailureKind.CERTIFICATE_UNREADABLE: "a certificate file cannot be read, is encrypted, or is not in PEM format. "
    'Check the extras "verify" and "cert" of connection {conn_id!r} and the environment variables REQUESTS_CA_BUNDLE '
    "and CURL_CA_BUNDLE.",
    FailureKind.CLIENT_CERTIFICATE_REJECTED: "the server requires a client certificate, or rejects the present one "
    '({detail}). Check the extra "cert" of connection {conn_id!r}.',
    FailureKind.PROXY_UNUSABLE: "the proxy of connection {conn_id!r} cannot be used: {detail}. Check its extra "
    '"proxies" and the environment variables HTTPS_PROXY and ALL_PROXY.',
    FailureKind.SOCKS_UNSUPPORTED: "the proxy of connection {conn_id!r} is a SOCKS proxy, which needs packages that "
    "are not installed. Install airflow-provider-polyteia with its extra 'socks'.",  # Airflow's CLI would omit [socks]
}
# OpenSSL's names of the alerts about a client certificate. With TLS 1.3 they arrive in place of the response.
_CERTIFICATE_ALERTS = {
    "SSLV3_ALERT_BAD_CERTIFICATE": "bad certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "certificate expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "certificate revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "certificate unknown",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "unsupported certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "unknown CA",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "certificate required",
}
_NOT_SENT = {
    FailureKind.NAME_NOT_RESOLVED: "the host name in {url} could not be resolved. If this machine needs a proxy, set "
    'the extra "proxies" of connection {conn_id!r}',
    FailureKind.PROXY_NOT_RESOLVED: "the host name of the proxy could not be resolved. Check the extra "
    '"proxies" of connection {conn_id!r} and the environment variables HTTPS_PROXY and ALL_PROXY',
    FailureKind.CONNECTION_REFUSED: "{url}, or the proxy in front of it, refused the connection",
    FailureKind.CONNECT_TIMEOUT: "no connection to {url} within {connect_timeout:g} s",
    FailureKind.TLS_HANDSHAKE: "the TLS handshake with {url} failed",
    FailureKind.CONNECT_ABORTED: "the connection to {url} was lost before the request",
    FailureKind.CONNECT_FAILED: "no connection to {url} ({detail})",
    FailureKind.PROXY_REFUSED: "the proxy refused to connect to {url}{detail}",
}
_RESPONSE_LOST = {
    FailureKind.READ_TIMEOUT: "no data received from {url} for {idle_timeout:g} s (read timeout)",
    FailureKind.RESPONSE_TIMEOUT: "no complete response from {url} within {total_timeout:g} s",
    FailureKind.TOO_SLOW: "less than {detail} bytes per second moved to and from {url}, for {total_timeout:g} s",
    FailureKind.CONNECTION_LOST: "the connection to {url} was lost",
    FailureKind.RESPONSE_UNREADABLE: "the response could not be read ({detail})",
    FailureKind.HEADERS_TOO_LARGE: "{url} sent more than 1 MiB of interim responses, headers or trailers",
}


def to_exception(
    failure: Failure, name: str, config: ClientConfig, idle_timeout: float | None = None, origin: str = ""
) -> PolyteiaError:
    """Return the exception for a failure.

    :param name: name of the request.
    :param idle_timeout: the request's own timeout in seconds. Default: the connection's.
    :param origin: scheme and host of the request. Default: the connection's.
    """
    kind, detail = failure
    if kind is FailureKind.PROXY_AUTHENTICATION:
        return proxy_authentication_required(name, config)
    if kind in _UNUSABLE:
        problem = _UNUSABLE[kind].format(conn_id=config.conn_id, detail=detail)
        text = f"Polyteia request {name!r} was not sent: {problem}"
        return PolyteiaConfigurationError(text, method=name, conn_id=config.conn_id, not_applied=True)
    connect_timeout, read_timeout = config.timeout if idle_timeout is None else (idle_timeout, idle_timeout)
    values = {
        "url": origin or config.base_url,
        "detail": detail,
        "conn_id": config.conn_id,
        "connect_timeout": connect_timeout,
        "idle_timeout": read_timeout,
        "total_timeout": connect_timeout + read_timeout,
    }
    about = f"Polyteia request {name!r} (connection {config.conn_id!r})"
    if kind in _NOT_SENT:
        text = f"{about} was not sent: {_NOT_SENT[kind].format(**values)}."
        return PolyteiaTransportError(text, method=name, conn_id=config.conn_id, not_applied=True)
    if kind is FailureKind.RESPONSE_TOO_LARGE:
        text = (
            f"{about} received a response of more than {config.max_response_mib} MiB, which was not read to its end. "
            "Request less data at once, for example with LIMIT in SQL, or as an export to a file; or raise the extra "
            f"'max_response_mib' of connection {config.conn_id!r}."
        )
        return PolyteiaProtocolError(text, method=name, conn_id=config.conn_id, is_permanent=True)
    text = f"{about} received no usable response: {_RESPONSE_LOST[kind].format(**values)}."
    return PolyteiaTransportError(text, method=name, conn_id=config.conn_id)


def total_timeout(config: ClientConfig) -> float:
    """Return the time in seconds within which a trigger's request must have its complete response."""
    return sum(config.timeout)


def exception_chain(error: BaseException | None, ambient: BaseException | None = None) -> Iterator[BaseException]:
    """Yield an exception and all that it was made from: causes, contexts, members, and what it keeps in reason and
    args.

    :param ambient: what the caller was handling when the request began. Python chains it to every exception, but it
        says nothing about the request.
    """
    seen = {id(ambient)}
    todo = [error]
    while todo:
        link = todo.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
            todo += getattr(link, "exceptions", ())


def unusable_response(chain: Iterable[BaseException]) -> Failure | None:
    """Return why reading a response was ended; None if that is not what happened."""
    return next((link.failure for link in chain if isinstance(link, UnusableResponseError)), None)


def rejected_certificate(chain: Iterable[BaseException]) -> Failure | None:
    """Return how the server rejected our certificate or the lack of one; None if that is not what happened."""
    for link in chain:
        reason = getattr(link, "reason", None)  # aiohttp's own exceptions pose as an `ssl.SSLError` without it
        if isinstance(link, ssl.SSLError) and reason in _CERTIFICATE_ALERTS:
            return Failure(FailureKind.CLIENT_CERTIFICATE_REJECTED, _CERTIFICATE_ALERTS[reason])
    return None


def classify_connect_failure(chain: Sequence[BaseException], *, resolves_proxy: bool) -> Failure:
    """Return why no connection was made, from the exceptions of sockets and TLS.

    :param resolves_proxy: whether the name that is resolved is that of a proxy.
    """
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return Failure(FailureKind.CERTIFICATE_UNTRUSTED, link.verify_message)
    if rejected := rejected_certificate(chain):
        return rejected
    for classes, kind in (
        (socket.gaierror, FailureKind.PROXY_NOT_RESOLVED if resolves_proxy else FailureKind.NAME_NOT_RESOLVED),
        (ConnectionRefusedError, FailureKind.CONNECTION_REFUSED),
        (TimeoutError, FailureKind.CONNECT_TIMEOUT),
        (ssl.SSLError, FailureKind.TLS_HANDSHAKE),
        (ConnectionError, FailureKind.CONNECT_ABORTED),
    ):
        if any(isinstance(link, classes) for link in chain):
            return Failure(kind)
    return Failure(FailureKind.CONNECT_FAILED, type(chain[-1]).__name__)


def proxy_refusal(status: int | None) -> Failure:
    """Return the failure of a proxy that refused to connect.

    :param status: the HTTP status of its response; None if unknown.
    """
    if status == 407:  # noqa: PLR2004 - Proxy Authentication Required
        return Failure(FailureKind.PROXY_AUTHENTICATION)
    return Failure(FailureKind.PROXY_REFUSED, f" (HTTP {status})" if status else "")
