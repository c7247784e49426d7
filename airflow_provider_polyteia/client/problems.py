"""The sentences of the client's errors: what failed, on which connection, what happened, what to do. Pure.

Whatever a platform or a gateway says in an answer may repeat the key; every text taken from an answer passes
through `Identity.redact` before it enters an error.
"""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.config import KEY_ADVICE
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
    PolyteiaTransportError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_polyteia.client.config import ClientConfig
    from airflow_provider_polyteia.client.protocol import Identity, Response

EXCERPT_LENGTH = 200
FIRST_HTTP_ERROR = 400
PROXY_AUTHENTICATION_REQUIRED = 407

_BY_CODE: dict[int, type[PolyteiaAPIError]] = {
    400: PolyteiaBadRequestError,
    401: PolyteiaAuthenticationError,
    403: PolyteiaPermissionError,
    404: PolyteiaNotFoundError,
    409: PolyteiaConflictError,
    429: PolyteiaRateLimitError,
    **dict.fromkeys(range(500, 600), PolyteiaServerError),
}
_ADVICE: dict[type[PolyteiaAPIError], str] = {
    PolyteiaAuthenticationError: f"The key is missing, wrong, expired or revoked; {KEY_ADVICE}.",
    PolyteiaPermissionError: (
        "The key of connection {!r} is valid, but the account that created it may not do this: ask an owner of the "
        "workspace, solution or dataset for access (a solution may also ask for its data-processing terms to be "
        "acknowledged first)."
    ),
    PolyteiaBadRequestError: "Check the parameters.",
    PolyteiaNotFoundError: "Check the id or slug; the account of connection {!r} may also lack the right to see it.",
}


def api_error(response: Response, identity: Identity, name: str, body: Any) -> PolyteiaError:
    """Build the error for an error body: an object, a text or anything else (API reference 3.4, rules 2 to 8).

    An HTTP error status decides over a code in the body; inside HTTP 2xx the code decides.
    """
    status, conn_id = response.status, identity.config.conn_id
    fields = body if isinstance(body, dict) else {"message": body}
    own_code = code_of(fields)
    code = status if status >= FIRST_HTTP_ERROR or own_code is None else own_code
    if status == PROXY_AUTHENTICATION_REQUIRED:
        return proxy_refused(name, conn_id)
    kind = _BY_CODE.get(code, PolyteiaAPIError)
    message = excerpt(fields.get("message"), identity)
    how = f"HTTP {status}" if code == status else f"error {code} in HTTP {status}"
    error = kind(
        text_of(identity, name, f"was refused with {how}" + (f": {message!r}" if message else "")),
        code=status if own_code is None and status >= FIRST_HTTP_ERROR else own_code,
        message=message,
        details=_details(fields.get("details"), identity),
        http_status=status,
        retry_after=response.retry_after,
        method=name,
        conn_id=conn_id,
    )
    if kind in _ADVICE:
        error.add_text(_ADVICE[kind].format(conn_id))
    return error


def _details(value: Any, identity: Identity) -> Sequence[Any]:
    try:
        return identity.redact(value) if isinstance(value, list) else ()
    except RecursionError:  # nested beyond all reason
        return ()


def code_of(fields: dict[str, Any]) -> int | None:
    """Return the body's ``code``, an integer or numeric text, as int; else None (API reference 3.4, rule 10)."""
    value = fields.get("code")
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def foreign(response: Response, identity: Identity, name: str, kind: str) -> PolyteiaProtocolError:
    """Build the error of an answer that is not Polyteia's."""
    begin = excerpt(response.body.decode(errors="replace"), identity)
    return PolyteiaProtocolError(
        text_of(identity, name, f"got {kind} with HTTP {response.status} instead of Polyteia's answer")
        + f" Is the Host of the connection right (it is {identity.config.base_url}), and does nothing in between, "
        "such as a proxy or a login page, answer in the platform's place?"
        + (f" The answer begins: {begin!r}" if begin else ""),
        http_status=response.status,
        method=name,
        conn_id=identity.config.conn_id,
    )


def missing(response: Response, identity: Identity, name: str, key: str) -> PolyteiaProtocolError:
    """Build the error of a success that lacks what it must hold."""
    return PolyteiaProtocolError(
        text_of(identity, name, f"was answered as a success, but without the {key!r} it should hold"),
        http_status=response.status,
        method=name,
        conn_id=identity.config.conn_id,
    )


def unknown_organization(identity: Identity, name: str) -> PolyteiaConfigurationError:
    """Build the error of a key that does not open the connection's organization (API reference 2.2)."""
    config = identity.config
    return PolyteiaConfigurationError(
        f"The key of connection {config.conn_id!r} does not open the organization {config.organization_id!r} named "
        "in its extra 'organization_id': the platform does not know it, or the key's account is no member.",
        method=name,
        conn_id=config.conn_id,
        no_effect=True,
    )


def not_sent(name: str, conn_id: str, problem: str) -> PolyteiaTransportError:
    """Build the error of a call that certainly did not reach the platform."""
    return PolyteiaTransportError(
        f"Polyteia's {name!r} (connection {conn_id!r}) was not sent: {problem}.",
        method=name,
        conn_id=conn_id,
        no_effect=True,
    )


def no_answer(name: str, conn_id: str, problem: str) -> PolyteiaTransportError:
    """Build the error of a call that may have reached the platform."""
    return PolyteiaTransportError(
        f"Polyteia's {name!r} (connection {conn_id!r}) got no usable answer: {problem}.",
        method=name,
        conn_id=conn_id,
    )


def untrusted(name: str, conn_id: str, problem: str) -> PolyteiaConfigurationError:
    """Build the error of a server whose certificate is not trusted."""
    return PolyteiaConfigurationError(
        f"Polyteia's {name!r} was not sent: the server's certificate is not trusted ({problem}). If a proxy or an "
        f'authority of your own signs it, name its CA bundle in the extra "verify" of connection {conn_id!r}.',
        method=name,
        conn_id=conn_id,
        no_effect=True,
    )


def proxy_refused(name: str, conn_id: str) -> PolyteiaConfigurationError:
    """Build the error of a proxy that does not accept our credentials (HTTP 407)."""
    return PolyteiaConfigurationError(
        f"Polyteia's {name!r} was not sent: the proxy asks for credentials or refuses those it got (HTTP 407). Put "
        f'them into the extra "proxies" of connection {conn_id!r}, or into the environment variable HTTPS_PROXY.',
        method=name,
        conn_id=conn_id,
        no_effect=True,
    )


def unusable_proxy(name: str, conn_id: str, package: str) -> PolyteiaConfigurationError:
    """Build the error of a proxy setting that cannot be used.

    :param package: what a SOCKS proxy needs.
    """
    return PolyteiaConfigurationError(
        f"Polyteia's {name!r} was not sent: the proxy set for connection {conn_id!r} cannot be used. Check its extra "
        f'"proxies" and the environment variable HTTPS_PROXY (a socks5:// proxy needs {package}).',
        method=name,
        conn_id=conn_id,
        no_effect=True,
    )


def unreadable_certificate(name: str, conn_id: str) -> PolyteiaConfigurationError:
    """Build the error of a certificate file that is not there, or holds no certificate."""
    return PolyteiaConfigurationError(
        f"Polyteia's {name!r} was not sent: a certificate file cannot be read. Check the extras "
        f'"verify" and "cert" of connection {conn_id!r} and the environment variable REQUESTS_CA_BUNDLE.',
        method=name,
        conn_id=conn_id,
        no_effect=True,
    )


def causes(error: BaseException | None, outside: BaseException | None = None) -> Iterator[BaseException]:
    """Yield an error and all that it was made from: causes, contexts, members, and what it keeps in reason and args.

    :param outside: what the caller was handling when the call began. Python chains it to every error, but it says
        nothing about the call.
    """
    seen = {id(outside)}
    todo = [error]
    while todo:
        link = todo.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
            todo += getattr(link, "exceptions", ())


def what_prevented(chain: Sequence[BaseException], config: ClientConfig) -> str:
    """Say why no connection was made, from an error's causes."""
    where = config.base_url
    for kinds, problem in (
        (socket.gaierror, f"the name in {where} could not be resolved"),
        (ConnectionRefusedError, f"{where}, or the proxy before it, refused the connection"),
        (TimeoutError, f"no connection to {where} within {config.timeout[0]:g} s"),
        (ssl.SSLError, f"the TLS handshake with {where} failed"),
        (ConnectionError, f"the connection to {where} broke off before the request"),
    ):
        if any(isinstance(link, kinds) for link in chain):
            return problem
    return f"no connection to {where} ({type(chain[-1]).__name__})"


def text_of(identity: Identity, name: str, event: str) -> str:
    """Return one sentence with the method's name and the connection's id."""
    return f"Polyteia's {name!r} (connection {identity.config.conn_id!r}) {event}."


def excerpt(value: Any, identity: Identity) -> str:
    """Return the beginning of a text or JSON value on one line, without secrets."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(identity.redact(text).split())
    return line if len(line) <= EXCERPT_LENGTH else line[:EXCERPT_LENGTH] + "..."
