"""A running sandbox: start, stop and signals."""

from __future__ import annotations

import signal
import socket

import pytest

from airflow_provider_polyteia.sandbox import (
    Sandbox,
)

CSV = b"id,name\n1,<script>alert(1)</script>\n2,b\n"


def test_sandboxes_run_side_by_side_and_stop(connect):
    """Two sandboxes are independent. A stopped one refuses connections."""
    with Sandbox() as first, Sandbox() as second:
        connect(first).new_dataset()
        assert [len(sandbox.records("dataset")) for sandbox in (first, second)] == [1, 0]
        port = int(first.base_url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    assert not first.platform.files.root.exists()


def test_a_port_in_use_is_an_error(sandbox):
    """Starting on a port that is already in use fails immediately."""
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=int(sandbox.base_url.rpartition(":")[2])).start()


def test_signal_handlers_are_not_changed():
    """A sandbox does not change the signal handlers of its process."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Sandbox():
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
