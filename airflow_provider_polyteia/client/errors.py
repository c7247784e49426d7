"""Builds exceptions from responses: what failed, on which connection, what the platform said, how to fix it.

Every text taken from a response passes through `Credentials.excerpt` or `Credentials.redact` first. Performs no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_polyteia.client import redaction
from airflow_provider_polyteia.client.config import KEY_ADVICE
from airflow_provider_polyteia.client.json_values import to_encodable
from airflow_provider_polyteia.client.operation import MAX_ERROR_BODY, describe
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
    PolyteiaProtocolError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
    PolyteiaTransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_provider_polyteia.client.config import ClientConfig
    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.operation import Response

Subject: TypeAlias = "Callable[[], Mapping[str, str]]"

FIRST_HTTP_ERROR = 400
_API_TITLES = {"command": "command", "rpc": "RPC"}
PROXY_AUTHENTICATION_REQUIRED = 407

_BY_CODE: dict[int, type[PolyteiaAPIError]] = {
    400: PolyteiaBadRequestError,
    401: PolyteiaAuthenticationError,
    403: PolyteiaPermissionError,
    404: PolyteiaNotFoundError,
    409: PolyteiaConflictError,
    412: PolyteiaPreconditionError,
    429: PolyteiaRateLimitError,
    **dict.fromkeys(range(500, 600), PolyteiaServerError),
}
_ADVICE: dict[type[PolyteiaAPIError], str] = {
    PolyteiaAuthenticationError: f"The key is missing, invalid, expired or revoked; {KEY_ADVICE}.",
    PolyteiaPermissionError: (
        "The key of connection {!r} is valid, but its account does not have permission for this operation. Ask an "
        "owner of the workspace, solution or dataset for access (a solution may also require that its data-processing "
        "terms are acknowledged first)."
    ),
    PolyteiaPreconditionError: (
        "The owner of the key of connection {!r} must open the solution in Polyteia and acknowledge its current "
        "data-processing terms. Until then, every retry fails in the same way."
    ),
    PolyteiaBadRequestError: "Check the parameters.",
    PolyteiaNotFoundError: "Check the id or slug; the account of connection {!r} may also lack permission to see it.",
}

_WEB_PAGE_ADVICE = (
    "The response is an HTML page, probably the login or block page of a proxy or firewall: ask your network team to "
    "allow {}. If Polyteia sent it, check the key of connection {!r} and its permissions."
)

_NAMING_THE_SUBJECT = (PolyteiaPermissionError, PolyteiaNotFoundError, PolyteiaPreconditionError)


def api_error(
    response: Response,
    credentials: Credentials,
    name: str,
    body: Any,
    *,
    from_gateway: bool = False,
    subject: Subject = dict,
    other_api: str = "",
) -> PolyteiaError:
    """Return the exception for an error body: an object, a string or anything else.

    An HTTP error status takes precedence over a code in the body; inside HTTP 2xx the code decides
    (docs/platform-api.md#errors-inside-http-200).

    :param from_gateway: whether the body is not in the platform's form.
    :param subject: returns the identifiers of what a call is about, which are named where access is rejected or nothing
        was found. Default: none.
    :param other_api: the API that the host may serve instead, as the connection's extra ``api`` names it. Default:
        empty, nothing suggests that.
    """
    status = response.status
    fields = body if isinstance(body, dict) else {"message": body}
    own_code = error_code(fields)
    code = status if status >= FIRST_HTTP_ERROR or own_code is None else own_code
    if status == PROXY_AUTHENTICATION_REQUIRED:
        return proxy_authentication_required(name, credentials.config)
    cls = _BY_CODE.get(code, PolyteiaAPIError)
    message = credentials.excerpt(fields.get("message"))
    word = credentials.excerpt(fields["code"]) if own_code is None and isinstance(fields.get("code"), str) else ""
    how = f"HTTP {status}" if code == status else f"error {code} in HTTP {status}"
    how += f" {word}" if word else ""
    rejected = _sentence(credentials, name, f"was rejected with {how}" + (f": {message!r}" if message else ""))
    is_web_page = from_gateway and response.is_html
    return cls(
        " ".join([rejected, *_advice(cls, credentials, subject, other_api, is_web_page=is_web_page)]),
        code=word or (status if own_code is None and status >= FIRST_HTTP_ERROR else own_code),
        message=message,
        # Airflow stores them with the event of a trigger; of an error inside HTTP 200, the whole body was read.
        details=_details(fields.get("details"), credentials) if len(response.body) <= MAX_ERROR_BODY else (),
        http_status=status,
        retry_after=response.retry_after,
        from_gateway=from_gateway,
        method=name,
        conn_id=credentials.config.conn_id,
    )


def _advice(
    cls: type[PolyteiaAPIError], credentials: Credentials, subject: Subject, other_api: str, *, is_web_page: bool
) -> Iterator[str]:
    """Yield what to do about an error response, and what it is about."""
    config, hint = credentials.config, _other_api(credentials, other_api)
    if is_web_page and cls not in (PolyteiaRateLimitError, PolyteiaServerError):
        yield _WEB_PAGE_ADVICE.format(config.base_url, config.conn_id)
    elif cls in _ADVICE and not hint:
        yield _ADVICE[cls].format(config.conn_id)
    if cls in _NAMING_THE_SUBJECT and (identifiers := describe(subject())):
        yield f"Requested: {credentials.excerpt(identifiers)}."
    if hint:
        yield hint


def foreseen_rejection(
    cls: type[PolyteiaAPIError], credentials: Credentials, name: str, event: str, identifiers: Mapping[str, str]
) -> PolyteiaAPIError:
    """Return the exception for a request that was not sent, because a query has shown that it would be rejected.

    :param cls: the exception of the rejection.
    :param name: the query.
    :param event: what the query has shown, after its name.
    """
    conn_id = credentials.config.conn_id
    sentences = [_sentence(credentials, name, event), _ADVICE[cls].format(conn_id)]
    sentences.append(f"Requested: {credentials.excerpt(describe(identifiers))}.")
    return cls(" ".join(sentences), method=name, conn_id=conn_id, not_applied=True)


def _details(value: Any, credentials: Credentials) -> Sequence[Any]:
    details: Sequence[Any] = credentials.redact(to_encodable(value)) if isinstance(value, list) else ()
    return details


def error_code(fields: Mapping[str, Any]) -> int | None:
    """Return the body's ``code``, an integer or numeric string, as int; None without one."""
    value = fields.get("code")
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9 else None


def unexpected_response(
    response: Response, credentials: Credentials, name: str, kind: str, *, other_api: str = ""
) -> PolyteiaProtocolError:
    """Return the exception for a response that is not Polyteia's, such as a web page.

    :param other_api: as for `api_error`.
    """
    hint = _other_api(credentials, other_api)
    begin = credentials.excerpt(response.body[:MAX_ERROR_BODY].decode(errors="replace"))
    return PolyteiaProtocolError(
        _sentence(credentials, name, f"returned HTTP {response.status} with {kind}, instead of a Polyteia response")
        + f" Check the connection's host (currently {credentials.config.base_url}), and check whether a proxy or login "
        "page is intercepting the request."
        + (f" {hint}" if hint else "")
        + (f" The response begins with {begin!r}." if begin else ""),
        http_status=response.status,
        method=name,
        conn_id=credentials.config.conn_id,
    )


def missing_field(response: Response, credentials: Credentials, name: str, field: str) -> PolyteiaProtocolError:
    """Return the exception for a success that lacks a required field."""
    return PolyteiaProtocolError(
        _sentence(credentials, name, f"succeeded, but the response is missing the required field {field!r}"),
        http_status=response.status,
        method=name,
        conn_id=credentials.config.conn_id,
    )


def _other_api(credentials: Credentials, other_api: str) -> str:
    """Return the advice to use the other API; empty if nothing suggests it, or the host is known not to serve it."""
    if not other_api or not credentials.config.may_serve(other_api):
        return ""
    return (
        f"If this host serves the {_API_TITLES[other_api]} API, set the extra 'api' of connection "
        f"{credentials.config.conn_id!r} to {other_api!r}."
    )


def incomplete_response(credentials: Credentials, name: str, problem: str) -> PolyteiaTransportError:
    """Return the exception for a response that ended too early."""
    return PolyteiaTransportError(
        _sentence(credentials, name, f"received no usable response: {problem}"),
        method=name,
        conn_id=credentials.config.conn_id,
    )


def unknown_organization(credentials: Credentials, name: str) -> PolyteiaConfigurationError:
    """Return the exception for a key without access to the connection's organization."""
    config = credentials.config
    extra = "organization_id" if config.organization_id else "organization_slug"
    value = str(getattr(config, extra))
    may_be_key = redaction.may_be_key(value) and not value.startswith("org_")
    shown = "" if may_be_key else f" {credentials.excerpt(value)!r}"
    return PolyteiaConfigurationError(
        f"The key of connection {config.conn_id!r} cannot access the organization{shown} set in "
        f"its extra {extra!r}: either it does not exist or the key's account is not a member.",
        method=name,
        conn_id=config.conn_id,
        not_applied=True,
    )


def proxy_authentication_required(name: str, config: ClientConfig) -> PolyteiaConfigurationError:
    """Return the exception for a proxy that rejects our credentials (HTTP 407)."""
    return PolyteiaConfigurationError(
        f"Polyteia request {name!r} was not sent: the proxy requires valid credentials (HTTP 407). Set them in the "
        "extra "
        f'"proxies" of connection {config.conn_id!r}, or in the environment variable HTTPS_PROXY.',
        method=name,
        conn_id=config.conn_id,
        not_applied=True,
    )


def _sentence(credentials: Credentials, name: str, event: str) -> str:
    return f"Polyteia request {name!r} (connection {credentials.config.conn_id!r}) {event}."
