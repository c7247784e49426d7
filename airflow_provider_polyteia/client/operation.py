"""What flows and transports hand each other: requests, responses, sinks, and the operations that they carry out.

Theory of operation
-------------------
An `Operation` is one thing asked of the platform, such as creating a dataset. It may take several requests: where the
connection names an organization, the key is exchanged for an access token first; an upload asks for an upload token.
One attempt at it is a *flow*: a generator that yields requests, is sent responses, and returns the result. A transport
runs it::

    flow = operation.start()
    request = next(flow)
    while True:
        request = flow.send(transmit(request))  # StopIteration carries the result

so that the transports only move bytes and sleep, and cannot disagree. A transport knows no API: everything that a path,
a header or an envelope depends on is inside the flow.

This module performs no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

MAX_RETRY_AFTER = 1e9
MAX_ERROR_BODY = 64 * 1024  # bytes of the body of an error that are read

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request for a transport to send. Headers, query and bearer stay out of the repr: they may hold secrets.

    :param method: HTTP method.
    :param path: path of the URL, without the query.
    :param name: the name used in exceptions and logs, e.g. ``create_dataset``.
    :param url: complete URL on another host, such as a presigned one; `path` and `query` are then unused. Default:
        empty, the connection's host.
    :param body: bytes, or a re-iterable body with a length such as `multipart.FileBody`. Default: None, no body.
    :param sink: where to write the body of the response if it accepts it. Default: None, keep the body in memory.
    :param idle_timeout: maximum time in seconds without a byte in either direction. Default: the connection's timeout.
    :param bearer: the credential for the Authorization header. Default: empty, no such header.
    :param coalesce: whether concurrent requests like this one may be sent once and share the response, such as the
        exchange of a key for an access token. Default: False.
    """

    method: str
    path: str
    name: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str = field(default="", repr=False)
    body: Any = field(default=None, repr=False)
    sink: Sink | None = field(default=None, repr=False)
    idle_timeout: float | None = None
    bearer: str = field(default="", repr=False)
    coalesce: bool = False

    @property
    def origin(self) -> str:
        """Scheme and host of a URL on another host; empty for the connection's host."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if self.url else ""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response that a transport received. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
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
        """True if the content type is JSON."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))

    @property
    def is_html(self) -> bool:
        """True if the response is a web page, or looks like one."""
        return "html" in self.headers.get("content-type", "").lower() or self.body[:MAX_ERROR_BODY].lstrip()[:1] == b"<"

    @property
    def date(self) -> datetime | None:
        """The server's time when it responded; None if the response does not say."""
        return _parse_http_date(self.headers.get("date", ""))

    @property
    def content_length(self) -> int | None:
        """The length of the body that the response announces, in bytes; None if it announces none."""
        value = self.headers.get("content-length", "")
        return int(value) if value.isascii() and value.isdecimal() else None

    @property
    def is_delimited(self) -> bool:
        """True if the response shows where its body ends; otherwise a lost connection looks like the end.

        A body that ends before the announced length, or before its last chunk, is an error of the transports.
        """
        codings = self.headers.get("transfer-encoding", "").lower().split(",")
        return self.content_length is not None or "chunked" in (coding.strip() for coding in codings)

    @property
    def retry_after(self) -> float | None:
        """The seconds that ``Retry-After`` asks to wait, given as seconds or as an HTTP date; None without it.

        A date is compared with the server's own ``Date``, because the worker's clock may be wrong.
        """
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdecimal():
            return min(float(value), MAX_RETRY_AFTER)
        when = _parse_http_date(value)
        seconds = (when - (self.date or datetime.now(UTC))).total_seconds() if when else None
        return None if seconds is None else min(max(0.0, seconds), MAX_RETRY_AFTER)


class Sink(Protocol):
    """Receives a response body that is too large for memory."""

    def wants(self, head: Response) -> bool:
        """Decide from status and headers whether to receive the body; otherwise it is read as an error."""

    def write(self, chunk: bytes) -> None:
        """Receive the next part of the body."""

    def close(self, received: int) -> None:
        """Receive the end of the body, and the number of bytes that came over the wire."""


Flow: TypeAlias = Generator[Request, Response, T]


class Idempotency(Enum):
    """What happens when the platform receives the same request twice."""

    SAFE = "the same effect"
    DELETES = "the same end state; the retry may fail with 404"
    ADDS = "the same end state; the retry may fail with 409"
    NONE = "may create a duplicate, send a second e-mail, or is undocumented"


class Operation(NamedTuple, Generic[T]):
    """One thing asked of the platform, checked and ready to be sent.

    :param name: the name used in exceptions and logs, e.g. ``create_dataset``.
    :param start: begins one attempt.
    :param idempotency: whether a failed attempt may be repeated when its outcome is unknown.
    :param identifiers: the ids, slugs and names that the operation is about; never a secret.
    :param is_transfer: whether an attempt moves a file, and so may take any time: ``max_elapsed`` then counts only the
        time between attempts. Default: False.
    """

    name: str
    start: Callable[[], Flow[T]]
    idempotency: Idempotency
    identifiers: Mapping[str, str]
    is_transfer: bool = False

    def __repr__(self) -> str:
        return f"<Operation {self.name!r} {self.identifiers!r}>"

    @property
    def is_idempotent(self) -> bool:
        """True if the operation may be sent again although an earlier attempt may have been applied."""
        return self.idempotency is not Idempotency.NONE

    def describe(self) -> str:
        """Return the identifiers for an exception or log line."""
        return describe(self.identifiers)


class Result(NamedTuple):
    """The data of a successful command or query, and the platform's time when it responded (None if unknown)."""

    data: Any
    date: datetime | None = None

    def __repr__(self) -> str:
        return "<Result>"


class Creation(NamedTuple):
    """A create that is identified by a natural key, and the query that finds what it created; see `exactly_once`.

    :param operation: the create.
    :param lookup: returns the query by the natural key.
    :param natural_key: the fields that identify the resource within the platform.
    :param fields: all fields that are sent.
    :param is_unique: whether the platform rejects a second resource with the same natural key.
    """

    operation: Operation[Result]
    lookup: Callable[[], Operation[Result]]
    natural_key: Mapping[str, str]
    fields: Mapping[str, Any]
    is_unique: bool

    def __repr__(self) -> str:
        return f"<Creation {self.operation.name!r} {self.natural_key!r}>"


class Listing(Protocol):
    """A list that the platform returns page by page.

    ::

        while not listing.is_complete:
            records += listing.take(client.run(listing.next_page()))
    """

    @property
    def is_complete(self) -> bool:
        """True if all pages were taken."""

    def next_page(self) -> Operation[Any]:
        """Return the query for the next page."""

    def take(self, data: Any) -> list[Any]:
        """Return the items of the page just received that no earlier page contained."""


def describe(identifiers: Mapping[str, Any]) -> str:
    """Return identifiers as text, e.g. ``solution_id='sol_1', slug='bookings'``."""
    return ", ".join(f"{name}={value!r}" for name, value in identifiers.items())


def _parse_http_date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):  # what the parser raises for malformed dates
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
