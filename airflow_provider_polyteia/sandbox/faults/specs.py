"""Parses faults and selects the calls to which they are applied. The grammar is in the docstring of the package."""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_polyteia.sandbox.api import CallNames

_WITHOUT_ARGUMENT = {
    *("drop-before", "drop-after", "close-before", "close-after", "garbage", "garbage-after"),
    *("html", "html-after", "redirect", "redirect-after", "endless"),
    *("short", "wrong-length", "partial", "no-bytes", "unframed", "gzip-short", "unknown-coding"),
    *("empty-after", "no-content-after", "null-after", "text-after"),
    *("ingest-failed", "ingest-stuck", "ingest-lost"),
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
    "huge": "MiB",
}
_RANGES: dict[str, tuple[float, float]] = {
    "seconds": (0, 86_400),
    "HTTP status": (400, 599),
    "code": (0, 999),
    "bytes per second": (1, 1e12),
    "percent": (0, 100),
    "MiB": (1, 1024),
}
_ONLY_FOR_FILES = {"drop-at"}
ONLY_FOR_DOWNLOADS = {"short", "wrong-length", "partial", "no-bytes", "unframed", "gzip-short", "unknown-coding"}
_ONLY_FOR_INGESTS = {"ingest-failed", "ingest-stuck", "ingest-lost"}
_APPLY_FIRST = {
    *("drop-after", "close-after", "hang-after", "status-after", "body-error-after"),
    *("garbage-after", "html-after", "redirect-after", "unavailable-after"),
    *("empty-after", "no-content-after", "null-after", "text-after"),
}
_THROTTLES = {"slow", "drop-at"} | ONLY_FOR_DOWNLOADS
KINDS = _WITHOUT_ARGUMENT | set(_ARGUMENTS)


class FaultError(ValueError):
    """A fault is invalid; the message contains the fault and the cause."""


@dataclass(frozen=True)
class Selector:
    """The calls to which a fault is applied: number `first` to `last`, each with a probability."""

    first: int = 1
    last: int | None = None
    probability: float = 1.0


@dataclass
class Fault:
    """One fault.

    :param spec: The fault as written by the user.
    :param call: Name of the calls to which it is applied, or `*`.
    :param argument: Number after the kind; 0 for kinds without an argument.
    :param calls: Number of calls with this name since the fault was added.
    :param hits: Number of calls to which the fault was applied.
    """

    spec: str
    call: str
    kind: str
    argument: float
    selector: Selector
    calls: int = 0
    hits: int = 0

    @property
    def apply_first(self) -> bool:
        """Whether the call is applied before its response is replaced."""
        return self.kind in _APPLY_FIRST

    @property
    def throttles(self) -> bool:
        """Whether the call is served as usual, but its transfer is slowed down or cut off."""
        return self.kind in _THROTTLES

    @property
    def affects_ingest(self) -> bool:
        """Whether the call is served as usual, but the ingest that it starts goes wrong."""
        return self.kind in _ONLY_FOR_INGESTS

    def matches(self, rng: random.Random) -> bool:
        """Count one call, and return True if the fault must be applied to it."""
        self.calls += 1
        last = self.selector.last
        in_range = self.calls >= self.selector.first and (last is None or self.calls <= last)
        hit = in_range and (self.selector.probability >= 1 or rng.random() < self.selector.probability)
        self.hits += hit
        return hit


def parse_fault(spec: str, names: CallNames) -> Fault:
    """Parse `<call>:<kind>[:<argument>][:<selector>]`.

    :param names: Names of the calls for which faults are allowed.
    :raises FaultError: if the fault is invalid.
    """
    call, *parts = spec.strip().split(":")
    if call != "*" and call not in names.known:
        raise FaultError(f"Fault {spec!r}: {call!r} is not a known command, query, procedure or path (or '*')")
    kind = parts.pop(0) if parts else ""
    if kind not in KINDS:
        raise FaultError(f"Fault {spec!r}: {kind!r} is not a kind of fault; use one of {', '.join(sorted(KINDS))}")
    allowed = _allowed_calls(kind, names)
    if allowed is not None and call not in allowed:
        where = f"only supported for {' and '.join(allowed)}" if allowed else "not supported by this API"
        raise FaultError(f"Fault {spec!r}: {kind!r} is {where}")
    argument = _parse_argument(spec, kind, parts)
    selector = _parse_selector(spec, parts.pop(0)) if parts else Selector()
    if parts:
        raise FaultError(f"Fault {spec!r}: remove {':'.join(parts)!r} after the call selector")
    return Fault(spec=spec, call=call, kind=kind, argument=argument, selector=selector)


def _allowed_calls(kind: str, names: CallNames) -> tuple[str, ...] | None:
    """Return the only calls that support a kind of fault, or None if all calls support it."""
    if kind in _ONLY_FOR_FILES:
        return names.uploads + names.downloads
    if kind in _ONLY_FOR_INGESTS:
        return names.ingests
    return names.downloads if kind in ONLY_FOR_DOWNLOADS else None


def _parse_argument(spec: str, kind: str, parts: list[str]) -> float:
    if kind in _WITHOUT_ARGUMENT:
        return 0.0
    meaning = _ARGUMENTS[kind]
    low, high = _RANGES[meaning]
    text = parts.pop(0) if parts else ""
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not low <= float(text) <= high:
        raise FaultError(f"Fault {spec!r}: {kind!r} must be followed by {meaning} ({low:g} to {high:g}), got {text!r}")
    return float(text)


def _parse_selector(spec: str, text: str) -> Selector:
    if match := re.fullmatch(r"p=(0?\.\d+|[01](?:\.0+)?)", text):
        return Selector(probability=float(match[1]))
    if match := re.fullmatch(r"([1-9]\d*)(-?)([1-9]\d*)?", text):
        first, dash, last = int(match[1]), match[2], match[3]
        if not dash:
            return Selector(first=first, last=first)
        if last is None or int(last) >= first:
            return Selector(first=first, last=int(last) if last else None)
    raise FaultError(f"Fault {spec!r}: invalid call selector {text!r}; use 3, 2-4, 2- or p=0.3")


class Faults:
    """The active faults of a sandbox, in the order in which they were added. Thread-safe.

    :param names: Names of the calls for which faults are allowed.
    :param seed: Random seed for fault probabilities.
    """

    def __init__(self, names: CallNames, seed: int = 0) -> None:
        self.active: list[Fault] = []
        self._names = names
        self._rng = random.Random(seed)  # noqa: S311 - deterministic on purpose
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.active)

    def add(self, *specs: str) -> None:
        """Add faults. Their calls are counted from now on.

        :raises FaultError: if one of the faults is invalid. In this case none is added.
        """
        faults = [parse_fault(spec, self._names) for spec in specs]
        with self._lock:
            self.active = [*self.active, *faults]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self.active = []

    def pick(self, name: str) -> Fault | None:
        """Count a call with this name, and return the fault to apply to it, or None."""
        with self._lock:
            candidates = [fault for fault in self.active if fault.call in (name, "*")]
            matching = [fault for fault in candidates if fault.matches(self._rng)]
        return matching[0] if matching else None
