"""Runs tasks that are killed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.operators.killable import TaskKilledError

SWALLOWING = ("_remove", "remove", "__del__")  # callbacks in which Python ignores exceptions


@pytest.fixture
def kill():
    """Call a task's `on_kill` from a signal handler after a delay, as Airflow 3 does at SIGTERM."""
    before = signal.getsignal(signal.SIGUSR1)

    def send(seconds):
        threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGUSR1]).start()

    def later(task, seconds=0.4):
        def receive(_, frame):
            if frame.f_code.co_name in SWALLOWING:
                send(0.01)
            else:
                task.on_kill()

        signal.signal(signal.SIGUSR1, receive)
        send(seconds)

    yield later
    signal.signal(signal.SIGUSR1, before)


def run_until_killed(task):
    """Run a task that will be killed, and return the seconds that it ran."""
    started = time.monotonic()
    # The client raises its own exception if Python has ignored the one of the signal handler.
    with pytest.raises((TaskKilledError, PolyteiaError), match="was killed"):
        task.execute({})
    return time.monotonic() - started
