"""Runs a blocking function in a thread, so that a kill or a timeout can cancel it."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from contextvars import copy_context
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# Seconds until the main thread notices a signal that the system delivered to another thread. It notices its own
# signals immediately.
_POLL_INTERVAL = 0.5
# Maximum number of times to cancel a query, once per poll interval, before its thread is abandoned.
_MAX_CANCELLATIONS = 10
_REPORT_INTERVAL = 5.0  # seconds

T = TypeVar("T")


def run_interruptible(
    function: Callable[[], T], cancel: Callable[[], None], report: Callable[[], None] = lambda: None
) -> T:
    """Run a function in a thread and return its result.

    :param cancel: is called if the calling thread is interrupted.
    :param report: is called every 5 seconds. Default: nothing is.
    """
    result: Future[T] = Future()
    ended = Event()
    context = copy_context()

    def run() -> None:
        try:
            result.set_result(context.run(function))
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            result.set_exception(error)
        finally:
            ended.set()

    Thread(target=run, name="polyteia-sql", daemon=True).start()
    try:
        # Not `Thread.join`: if a signal interrupts it, it may regard the running thread as ended.
        reported = time.monotonic()
        while not ended.wait(_POLL_INTERVAL):
            if time.monotonic() - reported >= _REPORT_INTERVAL:
                reported = time.monotonic()
                report()
    except BaseException:
        _cancel(cancel, ended)
        raise
    return result.result()


def _cancel(cancel: Callable[[], None], ended: Event) -> None:
    """Cancel until the thread has ended. A single call may come too early, when no query is running yet."""
    log.info("Cancelling the query")
    for _ in range(_MAX_CANCELLATIONS):
        try:
            cancel()
        except Exception:
            log.warning("Cancelling the query failed", exc_info=True)
        if ended.wait(_POLL_INTERVAL):
            return
    log.warning("The query could not be cancelled; the database will abort it when the connection closes")
