"""Which call misbehaves, and how: the grammar of faults. What they do is in `misbehave.py`.

::

    <call>:<kind>[:<argument>][:<which>]

`call` is a command or query, or `/upload`, `/download`, `/auth/pak/token`, or `*` for any of them. `which` is counted
from the moment the fault is added: `3` the third call, `2-4` the second to the fourth, `2-` from the second on, `p=0.3`
each with this probability (seeded); left out: every call.

"After" kinds apply the call first, so that only its answer is lost or wrong; the others apply nothing. ::

    drop-before          drop-after            connection reset, not one byte of an answer
    close-before         close-after           connection closed in an orderly way, not one byte of an answer
    hang:<s>             hang-after:<s>        no answer for this many seconds, then the connection is reset
    status:<code>        status-after:<code>   this HTTP status with a text body (401: the platform's JSON)
    body-error:<code>    body-error-after:<code>   HTTP 200 with this error.code
    garbage              garbage-after         HTTP 200, announced as JSON, broken
    html                 html-after            HTTP 200 with a web page
    redirect             redirect-after        302 to the start page
    retry-after:<s>      retry-after-date:<s>  429 with Retry-After in seconds, or as an HTTP date
    unavailable:<s>      unavailable-date:<s>  503 likewise
    unavailable-after:<s>                      503 with Retry-After in seconds, although it was applied
    slow:<bytes per s>                         the answer trickles; for /upload the request is read slowly
    drop-at:<percent>                          /upload: reset after this share was read, nothing applied;
                                               /download: reset after this share was sent
    short                                      /download: announces all, sends half, closes
    wrong-length                               /download: announces half and sends half

The first fault added that matches a call is applied to it.
"""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_polyteia.sandbox.command_api.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator

PATHS = ("/upload", "/download", "/auth/pak/token")

_WITHOUT_ARGUMENT = {
    *("drop-before", "drop-after", "close-before", "close-after", "garbage", "garbage-after"),
    *("html", "html-after", "redirect", "redirect-after", "short", "wrong-length"),
}
_ARGUMENTS = {
    "hang": "seconds",
    "hang-after": "seconds",
    "status": "HTTP status",
    "status-after": "HTTP status",
    "body-error": "code",
    "body-error-after": "code",
    "retry-after": "seconds",
    "retry-after-date": "seconds",
    "unavailable": "seconds",
    "unavailable-date": "seconds",
    "unavailable-after": "seconds",
    "slow": "bytes per second",
    "drop-at": "percent",
}
_RANGES: dict[str, tuple[float, float]] = {
    "seconds": (0, 86_400),
    "HTTP status": (400, 599),
    "code": (0, 999),
    "bytes per second": (1, 1e12),
    "percent": (0, 100),
}
_ONLY_FOR = {
    "drop-at": ("/upload", "/download"),
    "short": ("/download",),
    "wrong-length": ("/download",),
}
_APPLIED_FIRST = {
    *("drop-after", "close-after", "hang-after", "status-after", "body-error-after"),
    *("garbage-after", "html-after", "redirect-after", "unavailable-after"),
}
_SHAPING = {"slow", "drop-at", "short", "wrong-length"}
KINDS = _WITHOUT_ARGUMENT | set(_ARGUMENTS)


class FaultError(ValueError):
    """A fault that cannot be understood: says what is wrong with which."""


@dataclass(frozen=True)
class Which:
    """The calls a fault is for: number `first` to `last`, each with a probability."""

    first: int = 1
    last: int | None = None
    probability: float = 1.0


@dataclass
class Fault:
    """One fault: see the module's text.

    :param argument: the number after the kind; 0 for kinds without one.
    :param calls: how many calls of its name it has seen.
    :param hits: how many of them it was applied to.
    """

    spec: str
    call: str
    kind: str
    argument: float
    which: Which
    calls: int = 0
    hits: int = 0

    @property
    def applied_first(self) -> bool:
        """Whether the call takes effect before its answer goes wrong."""
        return self.kind in _APPLIED_FIRST

    @property
    def shaping(self) -> bool:
        """Whether the call is served as usual and only its bytes are held up or cut off."""
        return self.kind in _SHAPING

    def strikes(self, rng: random.Random) -> bool:
        """Count one call, and tell whether the fault is for it."""
        self.calls += 1
        last = self.which.last
        inside = self.calls >= self.which.first and (last is None or self.calls <= last)
        struck = inside and (self.which.probability >= 1 or rng.random() < self.which.probability)
        self.hits += struck
        return struck


def parse_fault(spec: str) -> Fault:
    """Read `<call>:<kind>[:<argument>][:<which>]`.

    :raises FaultError: the text is no fault; the message says why.
    """
    call, *parts = spec.strip().split(":")
    if call not in (*METHODS, *PATHS, "*"):
        raise FaultError(f"Fault {spec!r}: {call!r} is no command, query or path of the API (or '*')")
    kind = parts.pop(0) if parts else ""
    if kind not in KINDS:
        raise FaultError(f"Fault {spec!r}: {kind!r} is no kind of fault; known: {', '.join(sorted(KINDS))}")
    if call not in _ONLY_FOR.get(kind, (call,)):
        raise FaultError(f"Fault {spec!r}: {kind!r} is only for {' and '.join(_ONLY_FOR[kind])}")
    argument = _argument(spec, kind, parts)
    which = _which(spec, parts.pop(0)) if parts else Which()
    if parts:
        raise FaultError(f"Fault {spec!r}: nothing may follow after {':'.join(parts)!r}")
    return Fault(spec=spec, call=call, kind=kind, argument=argument, which=which)


def _argument(spec: str, kind: str, parts: list[str]) -> float:
    if kind in _WITHOUT_ARGUMENT:
        return 0.0
    meaning = _ARGUMENTS[kind]
    low, high = _RANGES[meaning]
    text = parts.pop(0) if parts else ""
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not low <= float(text) <= high:
        raise FaultError(f"Fault {spec!r}: {kind!r} needs {meaning} from {low:g} to {high:g} after it, got {text!r}")
    return float(text)


def _which(spec: str, text: str) -> Which:
    if match := re.fullmatch(r"p=(0?\.\d+|[01](?:\.0+)?)", text):
        return Which(probability=float(match[1]))
    if match := re.fullmatch(r"([1-9]\d*)(-?)([1-9]\d*)?", text):
        first, dash, last = int(match[1]), match[2], match[3]
        if not dash:
            return Which(first=first, last=first)
        if last is None or int(last) >= first:
            return Which(first=first, last=int(last) if last else None)
    raise FaultError(f"Fault {spec!r}: {text!r} says not which call; write 3, 2-4, 2- or p=0.3")


@dataclass
class Faults:
    """The faults of a sandbox. May be changed from any thread while it runs."""

    seed: int = 0
    active: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)  # noqa: S311 - repeatable on purpose
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Fault]:
        """The active faults, in the order they were added."""
        return iter(self.active)

    def add(self, *specs: str) -> None:
        """Add faults; their calls are counted from now on.

        :raises FaultError: one of them cannot be understood; then none is added.
        """
        faults = [parse_fault(spec) for spec in specs]
        with self._lock:
            self.active = [*self.active, *faults]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self.active = []

    def pick(self, name: str) -> Fault | None:
        """Count a call of this name, and return the fault it meets."""
        with self._lock:
            matching = [fault for fault in self.active if fault.call in (name, "*")]
            struck = [fault for fault in matching if fault.strikes(self._rng)]
        return struck[0] if struck else None
