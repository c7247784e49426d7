"""Lines in the log that tell how far a transfer has come. Pure but for the clock and the log."""

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
    """Counts bytes and writes a line every few seconds: how much, which share, how fast.

    :param what: beginning of the line, e.g. ``Uploading 'bookings.csv'``.
    :param total: bytes in all; None if nobody knows.
    :param clock: seconds on a clock that never goes back.
    """

    def __init__(self, what: str, total: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.done = 0
        self._what = what
        self._total = total
        self._clock = clock
        self._begun = self._told = clock()

    def advance(self, count: int) -> None:
        """Count so many bytes, and tell if it is time to."""
        self.done += count
        now = self._clock()
        if now - self._told >= INTERVAL:
            self._told = now
            log.info("%s: %s", self._what, str(self))  # as it is now, whenever it is written

    def __str__(self) -> str:
        seconds = max(self._clock() - self._begun, 1e-3)
        rate = f"{size_of(self.done / seconds)}/s"
        if not self._total:
            return f"{size_of(self.done)}, {rate}"
        return f"{size_of(self.done)} of {size_of(self._total)} ({self.done / self._total:.0%}), {rate}"


def size_of(count: float) -> str:
    """Return a number of bytes for people, e.g. ``1.5 MiB``."""
    for unit in _UNITS:
        if count < _STEP or unit == _UNITS[-1]:
            break
        count /= _STEP
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
