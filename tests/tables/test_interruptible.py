"""A blocking query is cancelled when its task is interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from airflow_provider_polyteia.tables.from_database import stage_query

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


class InterruptedBySignalError(BaseException):
    """Raised by the signal handler."""


@pytest.mark.parametrize("send", [os.kill, lambda _, number: signal.raise_signal(number)], ids=["process", "thread"])
def test_interrupted_query(city, tmp_path, send):
    """A signal is noticed while the driver blocks in C code, whichever thread receives it; the query is cancelled."""

    def interrupt(*_):
        raise InterruptedBySignalError

    before = signal.signal(signal.SIGUSR1, interrupt)
    threading.Timer(0.3, send, [os.getpid(), signal.SIGUSR1]).start()
    started = time.monotonic()
    try:
        with pytest.raises(InterruptedBySignalError):
            stage_query("city", ENDLESS, temp_dir=str(tmp_path))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - started < 5
    remaining = [thread for thread in threading.enumerate() if thread.name == "polyteia-sql"]
    for thread in remaining:
        thread.join(2)
    assert not any(thread.is_alive() for thread in remaining)
