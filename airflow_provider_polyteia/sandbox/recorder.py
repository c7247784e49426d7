"""Recorded requests, which tests can inspect."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container

MAX_REQUESTS = 10_000


@dataclass
class RecordedRequest:
    """One request as received. Its representation does not contain secrets.

    :param name: Name of the call. Command API: the command or query, or the path for `/upload`, `/download` and
        `/auth/pak/token`. RPC API: the procedure, such as `dataset/createDataset`, or `/api/upload/dataset`,
        `/api/query` or `/storage`. Empty for unknown paths.
    :param method: HTTP method.
    :param path: Path of the URL. May contain secrets.
    :param headers: Headers as sent, with names in lower case. Contains secrets.
    :param query: Query string of the URL. Contains secrets.
    :param body: Body of a JSON request. Empty for uploads.
    :param json: Decoded body of a JSON request. May contain secrets.
    :param params: Parameters of a command or query, input of a procedure, or body of `/api/query`. May contain secrets.
    :param fault: Fault that was applied to the call, as written by the user.
    :param error: Code of the business error that was sent.
    :param status: HTTP status that was sent. None before the response, or if no response was sent.
    :param received_at: Time at which the request was received, in UTC.
    :param seconds: Time in seconds until the response was sent or the connection closed. None before that.
    """

    name: str
    method: str
    path: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    query: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    json: Any = field(default=None, repr=False)
    params: dict[str, Any] = field(default_factory=dict, repr=False)
    fault: str | None = None
    error: int | None = None
    status: int | None = None
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC), repr=False)
    seconds: float | None = field(default=None, repr=False)

    def label(self, known: Container[str]) -> str:
        """Return the name of a known call, or only the HTTP method, because other names could contain secrets."""
        return self.name if self.name in known else f"{self.method} (not an API call)"


@dataclass
class Recorder:
    """The latest 10,000 requests, and the number of requests by name.

    :param connections: Number of TCP connections accepted.
    """

    requests: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=MAX_REQUESTS), repr=False)
    counts: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    def add(self, request: RecordedRequest) -> None:
        """Record a request."""
        self.requests.append(request)
        self.counts[request.name] += 1

    def latest(self, period: timedelta) -> list[RecordedRequest]:
        """Return the requests of the last `period`, newest first."""
        start = datetime.now(UTC) - period
        newest_first = reversed(list(self.requests))
        return list(itertools.takewhile(lambda request: request.received_at >= start, newest_first))

    def clear(self) -> None:
        """Remove all requests and reset their counts. The number of connections is not reset."""
        self.requests.clear()
        self.counts.clear()
