"""Encodes commands and queries as HTTP requests and decodes responses into data or exceptions. Performs no I/O.

`request_flow` implements one attempt at a call; `authenticated_flow` adds the credential to any request, and exchanges
the key for an access token where the connection names an organization.

HTTP 200 proves nothing: the body may hold an error, or be the HTML page that the platform's host returns for any
unknown path (docs/platform-api.md#errors-inside-http-200). Where nothing of the response is needed, an empty body or
JSON without an error is a success.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.command_api.methods import Kind, Method, find
from airflow_provider_polyteia.client.json_values import NotJSONError, check_json, parse_json
from airflow_provider_polyteia.client.operation import Flow, Idempotency, Request, Response, Result
from airflow_provider_polyteia.client.sql_references import reads_only
from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaNotFoundError,
)

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.credentials import Credentials

EXCHANGE_PATH = "/auth/pak/token"
OTHER_API = "rpc"
_UNKNOWN_PATH = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_IDENTIFIERS = ("slug", "name")
_SUCCESS_CODES = range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One command or query, checked and ready to be sent.

    :param params: plain JSON types only.
    :param idempotency: what happens when the platform receives the call twice.
    :param required_field: key that the response's data must hold, e.g. ``id``. Default: empty, any data.
    """

    method: Method
    params: Mapping[str, Any] = field(repr=False)
    idempotency: Idempotency
    required_field: str = ""

    @property
    def identifiers(self) -> dict[str, str]:
        """The params that say what the call is about: ids, slugs and names; nothing else."""
        return {
            key: value
            for key, value in self.params.items()
            if isinstance(value, str) and (key == "id" or key.endswith("_id") or key in _IDENTIFIERS)
        }

    @property
    def natural_key(self) -> dict[str, str] | None:
        """The params by which a lookup finds what this call creates; None if there is no such lookup."""
        names = self.method.natural_key
        return {name: self.params[name] for name in names} if names and all(map(self.params.get, names)) else None

    @property
    def needs_data(self) -> bool:
        """False for a command whose effect is all that is asked for: its response may be empty.

        A create that a lookup can find is looked up instead, which also returns its record.
        """
        if self.method.kind == "query" or self.required_field or self.method.returns_secret:
            return True
        if self.method.unenveloped:
            return reads_only(str(self.params.get("sql")))
        return self.natural_key is not None and self.idempotency is Idempotency.NONE


def make_call(
    kind: Kind,
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    idempotent: bool | None = None,
    required_field: str = "",
) -> Call:
    """Check a command or query and its params.

    :param idempotent: whether the call is safe to retry. Default: None, what is known of the method (see `methods`).
    :raises PolyteiaConfigurationError: naming the offending value by its path.
    """
    if idempotent is not None and not isinstance(idempotent, bool):
        raise PolyteiaConfigurationError(f"'idempotent' of {name!r} is {idempotent!r}; it must be True, False or None.")
    if not isinstance(name, str) or not name.strip():
        raise PolyteiaConfigurationError(f"The {kind} name is empty; use one such as 'list_datasets'.")
    if not name.isprintable() or " " in name:
        raise PolyteiaConfigurationError(f"The {kind} name contains whitespace or non-printable characters: {name!r}.")
    method = find(name, kind)
    if method.kind != kind:
        raise PolyteiaConfigurationError(f"{name!r} is a {method.kind}, not a {kind}.", method=name)
    check_mapping(name, params)
    try:
        checked = check_json(params or {}, "parameters")
    except NotJSONError as error:
        raise PolyteiaConfigurationError(f"{name!r} cannot be sent: {error}.", method=name) from None
    return Call(method, checked, _idempotency(method, idempotent), required_field)


def check_mapping(name: str, params: Mapping[str, Any] | None) -> None:
    """Check that a call's parameters are a mapping, or None.

    :raises PolyteiaConfigurationError: if they are something else.
    """
    if params is not None and not isinstance(params, Mapping):
        raise PolyteiaConfigurationError(
            f"The parameters of {name!r} are of type {type(params).__name__}; they must be a mapping of names to "
            "values.",
            method=name,
        )


def _idempotency(method: Method, idempotent: bool | None) -> Idempotency:
    if idempotent is False:
        return Idempotency.NONE
    if idempotent and method.idempotency is Idempotency.NONE:
        return Idempotency.SAFE
    return method.idempotency


def encode(call: Call) -> Request:
    """Return the request of a call (docs/platform-api.md#requests)."""
    body = {call.method.kind: call.method.name, "params": call.params}
    return _json_request("POST", call.method.path, call.method.name, body)


def _json_request(method: str, path: str, name: str, body: Mapping[str, Any], *, coalesce: bool = False) -> Request:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    encoded = json.dumps(body, ensure_ascii=False).encode()
    return Request(method, path, name, headers, body=encoded, coalesce=coalesce)


def request_flow(call: Call, credentials: Credentials) -> Flow[Result]:
    """Make one attempt at a call."""
    return authenticated_flow(credentials, encode(call), lambda response: decode(call, response, credentials))


def authenticated_flow(credentials: Credentials, request: Request, read: Callable[[Response], T]) -> Flow[T]:
    """Send `request` with the credential of the connection, and read the response.

    Where the connection names an organization, its access token is used: fetched before the first request, and once
    again when the platform rejects it (docs/platform-api.md#token-exchange).
    """
    if credentials.config.organization_id is None:
        return read((yield replace(request, bearer=credentials.config.key)))
    kept = credentials.access_token
    token = kept or (yield from _exchange(credentials))
    response = yield replace(request, bearer=token)
    try:
        return read(response)
    except PolyteiaAuthenticationError:
        if kept is None:
            raise
    if credentials.access_token == kept:  # otherwise another flow has renewed it in the meantime
        credentials.access_token = None
    token = credentials.access_token or (yield from _exchange(credentials))
    return read((yield replace(request, bearer=token)))


def _exchange(credentials: Credentials) -> Flow[str]:
    """Exchange the key for an access token. If this fails, the call itself was not sent."""
    body = {"organization_id": credentials.config.organization_id}
    request = _json_request("PUT", EXCHANGE_PATH, EXCHANGE_PATH, body, coalesce=True)
    try:
        response = yield replace(request, bearer=credentials.config.key)
        token = _json_object(response, credentials, EXCHANGE_PATH).get("token")
        if not _is_token(token):
            raise errors.missing_field(response, credentials, EXCHANGE_PATH, "token")
    except PolyteiaError as error:
        if isinstance(error, PolyteiaNotFoundError) and not error.from_gateway:
            raise errors.unknown_organization(credentials, EXCHANGE_PATH) from None
        raise error.extended(not_applied=True) from error.__cause__
    credentials.access_token = credentials.add_secret(token)
    return token


def decode(call: Call, response: Response, credentials: Credentials) -> Result:
    """Return the response's data, or raise the exception that the response amounts to."""
    name = call.method.name

    def subject() -> Mapping[str, str]:
        return call.identifiers

    if not call.needs_data and _is_without_object(response):
        return Result(parse_json(response.body), response.date)
    if call.method.unenveloped:
        return Result(_unenveloped(response, credentials, name, subject), response.date)
    data = _json_object(response, credentials, name, subject).get("data")
    required = call.required_field
    if required and not (isinstance(data, dict) and isinstance(data.get(required), str) and data[required]):
        raise errors.missing_field(response, credentials, name, required)
    if call.method.returns_secret and isinstance(data, dict) and "token" in data:
        if not _is_token(data["token"]):
            raise errors.missing_field(response, credentials, name, "token")
        credentials.add_secret(data["token"])
    return Result(data, response.date)


def _is_token(value: Any) -> TypeGuard[str]:
    """Return True if a value can be sent in a header."""
    return isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]+", value) is not None


def _is_without_object(response: Response) -> bool:
    """Return True for a success that is empty, or valid JSON without an object, which cannot report an error."""
    text = response.body.strip()
    if not response.is_success or not text:
        return response.is_success
    value = parse_json(text)
    return response.is_json and not isinstance(value, dict) and (value is not None or text == b"null")


def raise_for_error(name: str, response: Response, credentials: Credentials) -> None:
    """Check a response of which nothing is needed; its content type does not matter (docs/platform-api.md#uploads).

    :raises PolyteiaError: if its status is not a success, if its body is JSON that reports an error, or may have been
        before it was damaged, or if it is a web page.
    """
    if not response.is_success:
        raise _error_from_status(response, credentials, name, dict)
    body = parse_json(response.body)
    if isinstance(body, dict):
        _raise_reported_error(body, response, credentials, name, dict)
    elif body is None and response.is_json and response.body.lstrip()[:1] in (b"{", b"["):
        raise errors.unexpected_response(response, credentials, name, "invalid JSON")
    elif body is None and response.is_html and b"<" in response.body:
        raise errors.unexpected_response(response, credentials, name, "an HTML page")


def _unenveloped(response: Response, credentials: Credentials, name: str, subject: errors.Subject) -> Any:
    """Return the data of a response that need not have an envelope; raise for errors."""
    if response.is_success and response.is_json and isinstance(rows := parse_json(response.body), list):
        return rows
    body = _json_object(response, credentials, name, subject)
    return body.get("data", body)


def _json_object(
    response: Response, credentials: Credentials, name: str, subject: errors.Subject = dict
) -> dict[str, Any]:
    """Return the JSON object of a successful response; raise for everything else."""
    if not response.is_success:
        raise _error_from_status(response, credentials, name, subject)
    if not response.is_json:
        kind = "an HTML page" if response.is_html else "content that is not JSON"
        raise errors.unexpected_response(response, credentials, name, kind, other_api=OTHER_API)
    body = parse_json(response.body)
    if not isinstance(body, dict):
        raise errors.unexpected_response(response, credentials, name, "a body that is not a JSON object")
    if _is_of_other_api(body):
        raise errors.unexpected_response(response, credentials, name, "JSON of the RPC API", other_api=OTHER_API)
    _raise_reported_error(body, response, credentials, name, subject)
    return body


def _raise_reported_error(
    body: Mapping[str, Any], response: Response, credentials: Credentials, name: str, subject: errors.Subject
) -> None:
    """Raise the error that a JSON object inside HTTP 2xx reports, if it does (docs/platform-api.md#decoding-rules)."""
    if body.get("error") is not None:
        raise errors.api_error(response, credentials, name, body["error"], subject=subject)
    code = errors.error_code(body)
    if "data" not in body and "message" in body and code is not None and code not in _SUCCESS_CODES:
        raise errors.api_error(response, credentials, name, body, subject=subject)


def _error_from_status(
    response: Response, credentials: Credentials, name: str, subject: errors.Subject
) -> PolyteiaError:
    """Return the exception for an HTTP status that is not a success."""
    if response.is_redirect:
        return errors.unexpected_response(response, credentials, name, "a redirect, which is never followed")
    body = parse_json(response.body)
    is_platforms_form = isinstance(body, dict) and (body.get("error") is not None or {"code", "message"} <= body.keys())
    is_other_api = response.status in _UNKNOWN_PATH and not is_platforms_form
    if not isinstance(body, dict):
        body = response.body.decode(errors="replace")
    elif body.get("error") is not None:
        body = body["error"]
    return errors.api_error(
        response,
        credentials,
        name,
        body,
        from_gateway=not is_platforms_form,
        subject=subject,
        other_api=OTHER_API if is_other_api else "",
    )


def _is_of_other_api(body: Mapping[str, Any]) -> bool:
    return "json" in body and not body.keys() & {"data", "error", "code"}
