"""Encodes calls of procedures as HTTP requests and decodes responses into data or exceptions. Performs no I/O.

`call_flow` implements one attempt at a call; `session_flow` sends any request within a session, and begins one where
there is none: the key is exchanged for it, and is never sent with anything else (docs/platform-api.md#rpc-sessions).

The HTTP status decides. What is not JSON in the platform's form is never a success: the host of the other API returns
its web application, with HTTP 200, for any unknown path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.json_values import NotJSONError, parse_json
from airflow_provider_polyteia.client.operation import Flow, Idempotency, Request, Response, Result
from airflow_provider_polyteia.client.records import parse_record_timestamp
from airflow_provider_polyteia.client.rpc_api import sessions
from airflow_provider_polyteia.client.rpc_api.envelope import Dialect, Input, Output, decode_output, encode_input
from airflow_provider_polyteia.client.rpc_api.procedures import EXCHANGE, Procedure, find
from airflow_provider_polyteia.client.rpc_api.sessions import Session
from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
)

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.credentials import Credentials

RPC_PATH = "/rpc/"
OTHER_API = "command"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(/[A-Za-z][A-Za-z0-9]*)+")
_IDENTIFIERS = ("slug", "name")
_MAX_ISSUES = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a procedure, checked and ready to be sent.

    :param idempotency: what happens when the platform receives the call twice.
    :param required_field: key that the output must hold, e.g. ``id``. Default: empty, any output.
    """

    procedure: Procedure
    input: Input
    idempotency: Idempotency
    required_field: str = ""

    @property
    def identifiers(self) -> dict[str, str]:
        """The parts of the input that say what the call is about: ids, slugs and names; nothing else."""
        return {
            key: value
            for key, value in self.input.json.items()
            if isinstance(value, str) and (key == "id" or key.endswith("Id") or key in _IDENTIFIERS)
        }


def make_call(
    name: str, given: Mapping[str, Any] | None = None, *, idempotent: bool | None = None, required_field: str = ""
) -> Call:
    """Check the name and the input of a procedure.

    :param idempotent: whether the call is safe to retry. Default: None, what is known of the procedure.
    :raises PolyteiaConfigurationError: naming the offending value by its path.
    """
    if idempotent is not None and not isinstance(idempotent, bool):
        raise PolyteiaConfigurationError(f"'idempotent' of {name!r} is {idempotent!r}; it must be True, False or None.")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PolyteiaConfigurationError(
            f"The procedure is {name!r}; it must be a router and a procedure, such as 'dataset/listDatasets'."
        )
    procedure = find(name)
    if procedure.rejection:
        raise PolyteiaConfigurationError(f"{name!r} cannot be called. {procedure.rejection}", method=name)
    if given is not None and not isinstance(given, Mapping):
        raise PolyteiaConfigurationError(
            f"The input of {name!r} is of type {type(given).__name__}; it must be a mapping of names to values.",
            method=name,
        )
    try:
        checked = encode_input(given or {}, procedure.date_fields)
    except NotJSONError as error:
        raise PolyteiaConfigurationError(f"{name!r} cannot be sent: {error}.", method=name) from None
    return Call(procedure, checked, _idempotency(procedure, idempotent), required_field)


def _idempotency(procedure: Procedure, idempotent: bool | None) -> Idempotency:
    if idempotent is False:
        return Idempotency.NONE
    if idempotent and procedure.idempotency is Idempotency.NONE:
        return Idempotency.SAFE
    return procedure.idempotency


def encode(call: Call, dialect: Dialect) -> Request:
    """Return the request of a call (docs/platform-api.md#rpc-requests)."""
    return json_request(RPC_PATH + call.procedure.name, call.procedure.name, call.input.envelope(dialect))


def json_request(path: str, name: str, body: Mapping[str, Any], *, coalesce: bool = False) -> Request:
    """Return a POST of JSON."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    encoded = json.dumps(body, ensure_ascii=False).encode()
    return Request("POST", path, name, headers, body=encoded, coalesce=coalesce)


def call_flow(call: Call, credentials: Credentials) -> Flow[Result]:
    """Make one attempt at a call; the result's data is the procedure's output."""
    return session_flow(
        credentials,
        lambda session: encode(call, session.dialect),
        lambda response: decode(call, response, credentials),
    )


def session_flow(
    credentials: Credentials, build: Callable[[Session], Request], read: Callable[[Response], T]
) -> Flow[T]:
    """Send a request within a session, and read the response.

    A kept session that the platform rejects is renewed once (docs/platform-api.md#rpc-sessions).
    """
    session = sessions.kept(credentials)
    if session is None:
        session = yield from begin_session(credentials)
        return read((yield _within(session, build)))
    response = yield _within(session, build)
    try:
        return read(response)
    except PolyteiaAuthenticationError:
        sessions.drop(credentials, session)
    session = sessions.kept(credentials) or (yield from begin_session(credentials))
    return read((yield _within(session, build)))


def _within(session: Session, build: Callable[[Session], Request]) -> Request:
    return replace(build(session), bearer=session.token)


def begin_session(credentials: Credentials) -> Flow[Session]:
    """Exchange the key for a new session. If this fails, the call itself was not sent."""
    config = credentials.config
    organization = (
        {"organizationId": config.organization_id}
        if config.organization_id
        else {"organizationSlug": config.organization_slug}
    )
    body = {"json": {"key": config.key, **organization}}
    try:
        response = yield json_request(RPC_PATH + EXCHANGE.name, EXCHANGE.name, body, coalesce=True)
        return _read_session(response, credentials)
    except PolyteiaError as error:
        if isinstance(error, PolyteiaNotFoundError) and not error.from_gateway:
            raise errors.unknown_organization(credentials, EXCHANGE.name) from None
        hint = ""
        if isinstance(error, PolyteiaPermissionError) and not error.from_gateway:
            hint = (
                "The account must be a licensed member of the organization (being its administrator is not enough), "
                "and the organization must allow personal access keys."
            )
        raise error.extended(hint, not_applied=True) from error.__cause__


def _read_session(response: Response, credentials: Credentials) -> Session:
    output = _output(response, credentials, EXCHANGE.name)
    fields = output.value if isinstance(output.value, dict) else {}
    token = fields.get("token")
    if not (isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token)):
        raise errors.missing_field(response, credentials, EXCHANGE.name, "token")
    organization_id = fields.get("organizationId")
    expires_at = parse_record_timestamp(fields.get("expiresAt"))
    # Compared with the platform's own clock, because the worker's may be wrong.
    lifetime = (expires_at - (response.date or datetime.now(UTC))).total_seconds() if expires_at else None
    session = Session(
        credentials.add_secret(token),
        organization_id if isinstance(organization_id, str) and organization_id else credentials.config.organization_id,
        output.dialect or Dialect.NUMBERS,
        sessions.renewal_time(credentials.clock(), lifetime),
    )
    return sessions.keep(credentials, session)


def decode(call: Call, response: Response, credentials: Credentials) -> Result:
    """Return a procedure's output, or raise the exception that the response amounts to."""
    name = call.procedure.name
    try:
        output = _output(response, credentials, name, lambda: call.identifiers)
    except PolyteiaNotFoundError as error:
        if call.idempotency is Idempotency.NONE:
            # This does not prove that nothing was done (docs/platform-api.md#rpc-writes).
            raise error.extended(may_be_applied=True) from error.__cause__
        raise
    data, masked = output.value, call.procedure.masked_output
    required = call.required_field
    if required and not (isinstance(data, dict) and isinstance(data.get(required), str) and data[required]):
        raise errors.missing_field(response, credentials, name, required)
    secret_output = data.get(masked) if isinstance(data, dict) else data
    if masked and isinstance(secret_output, str):
        credentials.add_secret(_credential_in(secret_output))
    return Result(data, response.date)


def _credential_in(text: str) -> str:
    """Return the part of a presigned URL that is its credential, the query; a token as it is."""
    return text.partition("?")[2] or text


def _output(response: Response, credentials: Credentials, name: str, subject: errors.Subject = dict) -> Output:
    """Return the output in a successful response; raise for everything else (docs/platform-api.md#rpc-responses)."""
    raise_for_status(response, credentials, name, subject)
    text = response.body.strip()
    if not text or (response.is_json and text == b"null"):
        return Output(None)  # a procedure without a return value
    if not response.is_json:
        kind = "an HTML page" if response.is_html else "content that is not JSON"
        raise errors.unexpected_response(response, credentials, name, kind, other_api=OTHER_API)
    body = parse_json(response.body)
    if not isinstance(body, dict):
        raise errors.unexpected_response(response, credentials, name, "a body that is not a JSON object")
    if not ("json" in body or not body):
        raise errors.unexpected_response(
            response, credentials, name, "JSON that is not the RPC API's", other_api=OTHER_API
        )
    return decode_output(body)


def raise_for_status(response: Response, credentials: Credentials, name: str, subject: errors.Subject = dict) -> None:
    """Raise the exception for an HTTP status that is not a success (docs/platform-api.md#rpc-errors)."""
    if response.is_success:
        return
    if response.is_redirect:
        raise errors.unexpected_response(response, credentials, name, "a redirect, which is never followed")
    fields = _error_fields(parse_json(response.body))
    if fields is not None:
        raise errors.api_error(response, credentials, name, fields, subject=subject)
    other_api = OTHER_API if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED) else ""
    text = response.body.decode(errors="replace")
    raise errors.api_error(response, credentials, name, text, from_gateway=True, subject=subject, other_api=other_api)


def _error_fields(body: Any) -> dict[str, Any] | None:
    """Return code, message and details of an error in the platform's form; None if it is in another form."""
    fields = body.get("json") if isinstance(body, dict) else None
    if not isinstance(fields, dict):
        fields = body
    if not isinstance(fields, dict) or not isinstance(fields.get("code"), str):
        return None
    data = fields.get("data")
    issues = data.get("issues") if isinstance(data, dict) else None
    issues = [issue for issue in issues if isinstance(issue, dict)] if isinstance(issues, list) else []
    message = fields.get("message", fields.get("error"))
    if issues:
        message = f"{message}: " + "; ".join(_describe_issue(issue) for issue in issues[:_MAX_ISSUES])
    return {"code": fields["code"], "message": message, "details": issues}


def _describe_issue(issue: Mapping[str, Any]) -> str:
    path = issue.get("path")
    where = ".".join(str(part) for part in path) if isinstance(path, list) else ""
    return f"{where}: {issue.get('message')}" if where else str(issue.get("message"))
