"""What is said over the wire: a call becomes a request, a response becomes data or an error. Pure; no I/O.

Theory of operation
-------------------
Sending a call takes one request, or more: where the connection names an organization, the key is exchanged for an
access token first, and again when the token is refused. `converse` writes this conversation down once, as a
generator that yields requests and is sent responses. A driver runs it::

    conversation = converse(call, identity)
    request = next(conversation)
    while True:
        request = conversation.send(transmit(request))  # StopIteration carries the answer

so that the drivers only move bytes, and cannot disagree.

`decode` follows API reference 3.4 to the letter. HTTP 200 proves nothing: the body may hold an error, or be the
HTML page that the platform's host answers to any unknown path.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeGuard, TypeVar
from urllib.parse import quote

from airflow_provider_polyteia.client import problems
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from airflow_provider_polyteia.client.calls import Call
    from airflow_provider_polyteia.client.config import ClientConfig

EXCHANGE_PATH = "/auth/pak/token"
MAX_RETRY_AFTER = 1e9

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """What a driver puts on the wire. Headers, query and bearer stay out of the repr: they may hold secrets.

    :param name: what errors and logs call it, e.g. ``create_dataset``.
    :param body: bytes, or a stream that the driver knows how to send; None for no body.
    :param sink: takes the body of the response, if it is what it is waiting for; None: the body is kept in memory.
    :param timeout: seconds without a byte in either direction that end it; None: as in the configuration.
    """

    verb: str
    path: str
    name: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)
    sink: Sink | None = field(default=None, repr=False)
    timeout: float | None = None
    bearer: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What a driver took off the wire. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """True for HTTP 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_redirect(self) -> bool:
        """True for HTTP 3xx."""
        return HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST

    @property
    def is_json(self) -> bool:
        """True if the response declares itself to be JSON."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))

    @property
    def is_html(self) -> bool:
        """True if the response is a page, or looks like one."""
        return "html" in self.headers.get("content-type", "").lower() or self.body.lstrip()[:1] == b"<"

    @property
    def date(self) -> datetime | None:
        """The server's clock when it answered; None if it did not say."""
        return _http_date(self.headers.get("date", ""))

    @property
    def retry_after(self) -> float | None:
        """The seconds that ``Retry-After`` asks to wait, given as seconds or as an HTTP date; else None.

        A date is compared with the server's own ``Date``, because the worker's clock may be wrong.
        """
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdecimal():
            return min(float(value), MAX_RETRY_AFTER)
        when = _http_date(value)
        seconds = (when - (self.date or datetime.now(UTC))).total_seconds() if when else None
        return None if seconds is None else min(max(0.0, seconds), MAX_RETRY_AFTER)


class Sink(Protocol):
    """Where a driver puts a body that is too large for memory."""

    def wants(self, head: Response) -> bool:
        """Tell from status and headers whether the body is to be written here; otherwise it is read as an error."""

    def write(self, chunk: bytes) -> None:
        """Take the next part of the body."""

    def close(self, received: int) -> None:
        """Take note of the end of the body, and of how many bytes came over the wire."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The data of a successful call, and the platform's clock when it answered (None if it did not say)."""

    data: Any = field(repr=False)
    date: datetime | None = None


class Identity:
    """Who is calling: the key, and the access token it was exchanged for. Lives in memory only.

    :param on_secret: told of every new secret, so that it can be masked in logs.
    """

    def __init__(self, config: ClientConfig, on_secret: Callable[[str], None]) -> None:
        self.config = config
        self.token: str | None = None
        self._on_secret = on_secret
        self._secrets = _spellings(config.key)

    def __repr__(self) -> str:
        return f"<Identity of connection {self.config.conn_id!r}>"

    def learn(self, secret: str) -> str:
        """Remember a token as secret, and return it."""
        self._secrets |= _spellings(secret)
        self._on_secret(secret)
        return secret

    def redact(self, value: Any) -> Any:
        """Return text, or the texts inside lists and objects, with every known secret replaced."""
        if isinstance(value, str):
            for secret in sorted(self._secrets, key=len, reverse=True):
                value = value.replace(secret, "***")
        elif isinstance(value, list):
            return [self.redact(item) for item in value]
        elif isinstance(value, dict):
            return {self.redact(key): self.redact(item) for key, item in value.items()}
        return value


def _spellings(secret: str) -> set[str]:
    """Return the ways in which a gateway may spell a secret: as it is, in JSON, in a log line, in a URL, in a page."""
    quoted = (json.dumps(secret), repr(secret))
    return {secret, *(text[1:-1] for text in quoted), quote(secret, safe=""), html.escape(secret)}


def encode(call: Call) -> Request:
    """Build the request of a call (API reference 1.1, 1.2)."""
    body = {call.method.kind: call.method.name, "params": call.params}
    return _json_request("POST", call.method.path, call.method.name, body)


def _json_request(verb: str, path: str, name: str, body: Mapping[str, Any]) -> Request:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return Request(verb, path, name, headers, body=json.dumps(body, ensure_ascii=False).encode())


def converse(call: Call, identity: Identity) -> Generator[Request, Response, Answer]:
    """Write down one attempt at a call: yields requests, is sent responses, returns the answer."""
    return (yield from authorised(identity, encode(call), lambda response: _read(call, response, identity)))


def _read(call: Call, response: Response, identity: Identity) -> Answer:
    try:
        return decode(call, response, identity)
    except (PolyteiaNotFoundError, PolyteiaPermissionError) as error:
        if call.identity:
            named = ", ".join(f"{name}={value!r}" for name, value in call.identity.items())
            error.add_text(f"The call named {problems.excerpt(named, identity)}.")
        raise


def authorised(identity: Identity, request: Request, read: Callable[[Response], T]) -> Generator[Request, Response, T]:
    """Send `request` in the name of `identity`, and read the response.

    Where the connection names an organization, its access token is used: fetched before the first request, and
    once again when the platform refuses it (API reference 2.2).
    """
    if identity.config.organization_id is None:
        return read((yield replace(request, bearer=identity.config.key)))
    kept = identity.token
    token = kept or (yield from _exchange(identity))
    response = yield replace(request, bearer=token)
    try:
        return read(response)
    except PolyteiaAuthenticationError:
        if kept is None:
            raise
    if identity.token == kept:  # otherwise another conversation has renewed it meanwhile
        identity.token = None
    token = identity.token or (yield from _exchange(identity))
    return read((yield replace(request, bearer=token)))


def _exchange(identity: Identity) -> Generator[Request, Response, str]:
    """Exchange the key for an access token. Whatever fails here, the call itself was not sent."""
    body = {"organization_id": identity.config.organization_id}
    request = _json_request("PUT", EXCHANGE_PATH, EXCHANGE_PATH, body)
    try:
        response = yield replace(request, bearer=identity.config.key)
        token = _object(response, identity, EXCHANGE_PATH).get("token")
        if not _is_token(token):
            raise problems.missing(response, identity, EXCHANGE_PATH, "token")
    except PolyteiaError as error:
        if isinstance(error, PolyteiaNotFoundError) and not error.is_foreign:
            raise problems.unknown_organization(identity, EXCHANGE_PATH) from error
        error.no_effect = True
        raise
    identity.token = identity.learn(token)
    return token


def decode(call: Call, response: Response, identity: Identity) -> Answer:
    """Return the answer's data, or raise the error that the response amounts to (API reference 3.4)."""
    if call.method.free_form:
        return Answer(_free_form(response, identity, call.method.name), response.date)
    data = _object(response, identity, call.method.name).get("data")
    if call.needs and not (isinstance(data, dict) and isinstance(data.get(call.needs), str) and data[call.needs]):
        raise problems.missing(response, identity, call.method.name, call.needs)
    if call.method.returns_secret and isinstance(data, dict) and "token" in data:
        if not _is_token(data["token"]):
            raise problems.missing(response, identity, call.method.name, "token")
        identity.learn(data["token"])
    return Answer(data, response.date)


def _is_token(value: Any) -> TypeGuard[str]:
    """Tell whether a value can be sent in a header."""
    return isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]+", value) is not None


def check(name: str, response: Response, identity: Identity) -> None:
    """Check an answer that need not be JSON: only errors and HTML are refused (API reference 7.1, step 4)."""
    if not response.is_success or (response.is_json and response.body):
        _object(response, identity, name)
    elif response.is_html:
        raise problems.foreign(response, identity, name, "an HTML page")


def _free_form(response: Response, identity: Identity, name: str) -> Any:
    """Return the data of an answer that need not be in an envelope; raise for errors."""
    if response.is_success and response.is_json and isinstance(rows := _parse(response.body), list):
        return rows
    body = _object(response, identity, name)
    return body.get("data", body)


def _object(response: Response, identity: Identity, name: str) -> dict[str, Any]:
    """Return the JSON object of a successful response; raise for everything else."""
    if not response.is_success:
        raise _refusal(response, identity, name)
    if not response.is_json:
        kind = "an HTML page" if response.is_html else "something that is not JSON"
        raise problems.foreign(response, identity, name, kind)
    body = _parse(response.body)
    if not isinstance(body, dict):
        raise problems.foreign(response, identity, name, "JSON that is broken or no object")
    if body.get("error") is not None:
        raise problems.api_error(response, identity, name, body["error"])
    if "data" not in body and problems.code_of(body) is not None and "message" in body:
        raise problems.api_error(response, identity, name, body)
    return body


def _refusal(response: Response, identity: Identity, name: str) -> PolyteiaError:
    """Build the error for an HTTP status that is not a success."""
    if response.is_redirect:
        return problems.foreign(response, identity, name, "a redirect, which is never followed,")
    body = _parse(response.body)
    is_ours = isinstance(body, dict) and (body.get("error") is not None or {"code", "message"} <= body.keys())
    if not isinstance(body, dict):
        body = response.body.decode(errors="replace")
    elif body.get("error") is not None:
        body = body["error"]
    error = problems.api_error(response, identity, name, body)
    if isinstance(error, PolyteiaAPIError):
        error.is_foreign = not is_ours
    return error


def _parse(body: bytes) -> Any:
    """Return the JSON value in `body`, or None if there is none."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _http_date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (
        ValueError,
        TypeError,
        OverflowError,
        IndexError,
    ):  # the parser's ways of refusing a malformed date
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
