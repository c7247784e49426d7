"""Bounds what a request may take on its connection: time, and bytes that belong to no body.

Theory of operation
-------------------
A timeout between two bytes never ends a response that comes byte by byte, and a fixed deadline would end large
transfers. So a request must move its bytes, in both directions together, at a minimal rate: it may fall behind by a
number of seconds, and catches up with each byte, but gains no lead that it could use up later.

Interim responses, headers, the sizes of chunks and trailers have no end by themselves either. So only a limited number
of bytes may arrive between two pieces of the body.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from airflow_provider_polyteia.client.transports.failures import Failure, FailureKind, UnusableResponseError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_OVERHEAD = 1024 * 1024  # bytes
MIN_RATE = 16 * 1024  # bytes per second
MIN_FILE_RATE = 1024  # bytes per second


class WireGuard:
    """Counts the bytes of one request and of its response.

    :param seconds: time by which the request may fall behind the rate. Default: unlimited, the caller has a deadline.
    :param rate: minimal rate in bytes per second. Default: 16 KiB per second.
    :param clock: returns seconds on a clock that never goes back.
    """

    def __init__(
        self, seconds: float = math.inf, rate: int = MIN_RATE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._rate = rate
        self._clock = clock
        self._deadline: float | None = None
        self._overhead = 0

    def sent(self, count: int) -> None:
        """Count bytes that were sent.

        :raises UnusableResponseError: if the transfer is too slow.
        """
        now = self._clock()
        if self._deadline is None:  # connecting has a timeout of its own
            self._deadline = now + self._seconds
        if now > self._deadline:
            raise UnusableResponseError(Failure(FailureKind.TOO_SLOW, str(self._rate)))
        self._deadline = min(now + self._seconds, self._deadline + count / self._rate)

    def received(self, count: int) -> None:
        """Count bytes that arrived.

        :raises UnusableResponseError: if the transfer is too slow, or too many bytes arrived since `delivered`.
        """
        self.sent(count)
        self._overhead += count
        if self._overhead > MAX_OVERHEAD:
            raise UnusableResponseError(Failure(FailureKind.HEADERS_TOO_LARGE))

    def delivered(self) -> None:
        """Record that a piece of the body was read."""
        self._overhead = 0
