"""What was asked of the sandbox: for tests to look at."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

KEPT = 10_000


@dataclass
class RecordedRequest:
    """One request, as it arrived. Its representation shows no secret.

    :param name: command or query; the path for `/upload`, `/download` and `/auth/pak/token`; empty otherwise.
    :param headers: as sent, names in lower case. Holds secrets.
    :param query: the query string. Holds secrets.
    :param body: the bytes of a JSON request; empty for uploads.
    :param json: the decoded body of a JSON request. May hold secrets.
    :param fault: the fault that was applied to it, as written.
    :param error: the code of the business error answered.
    :param status: the HTTP status answered; None while there is none, or none was sent.
    """

    name: str
    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    query: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    json: Any = field(default=None, repr=False)
    fault: str | None = None
    error: int | None = None
    status: int | None = None

    @property
    def params(self) -> dict[str, Any]:
        """The `params` of a command or query."""
        params = self.json.get("params") if isinstance(self.json, dict) else None
        return params if isinstance(params, dict) else {}


@dataclass
class Recorder:
    """The latest 10,000 requests, and how many there were of each name.

    :param connections: TCP connections accepted.
    """

    requests: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=KEPT), repr=False)
    counts: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    def add(self, request: RecordedRequest) -> None:
        """Remember a request."""
        self.requests.append(request)
        self.counts[request.name] += 1

    def clear(self) -> None:
        """Forget all requests; connections are counted on."""
        self.requests.clear()
        self.counts.clear()
