"""Log lines that report the progress of a transfer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

INTERVAL = 5.0
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


class Progress:
    """Counts bytes and logs a line every few seconds: how many, which share, how fast.

    :param what: beginning of the line, e.g. ``Uploading 'bookings.csv'``.
    :param total: total number of bytes; None if unknown.
    :param clock: returns seconds on a clock that never goes back.
    """

    def __init__(self, what: str, total: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.done = 0
        self._what = what
        self._total = total
        self._clock = clock
        self._started = self._last_reported = clock()

    def advance(self, count: int) -> None:
        """Add `count` bytes, and log the progress at most every `INTERVAL` seconds."""
        self.done += count
        now = self._clock()
        if now - self._last_reported >= INTERVAL:
            self._last_reported = now
            log.info("%s: %s", self._what, str(self))  # formatted now, whenever the record is written

    def __str__(self) -> str:
        seconds = max(self._clock() - self._started, 1e-3)
        rate = f"{format_size(self.done / seconds)}/s"
        if not self._total:
            return f"{format_size(self.done)}, {rate}"
        return f"{format_size(self.done)} of {format_size(self._total)} ({self.done / self._total:.0%}), {rate}"


def format_size(count: float) -> str:
    """Return a number of bytes as text, e.g. ``1.5 MiB``."""
    for unit in _UNITS:
        if count < _STEP or unit == _UNITS[-1]:
            break
        count /= _STEP
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
