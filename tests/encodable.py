"""Checks that Airflow can store a value, and values from a platform that it cannot store unchanged."""

from __future__ import annotations

import json

HIGH_SURROGATE = "\ud800"  # unpaired: a JSON string may contain it as an escape, UTF-8 cannot encode it
HUGE = 2**70  # does not fit into the 64 bits of msgpack


def nested(depth):
    """Return a list that is nested this many levels deep."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def assert_encodable(value):
    """Fail unless a value can be encoded as UTF-8 JSON, and as msgpack if that is installed, without loss."""
    encoded = json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert json.loads(encoded.encode()) == value
    assert "\\u0000" not in encoded  # PostgreSQL rejects it
    try:
        import msgpack  # noqa: PLC0415 - Airflow 3 requires it, Airflow 2 does not
    except ImportError:
        return
    # Integers and strings have the same limits as in Airflow's messages between tasks, triggers and supervisors.
    assert msgpack.unpackb(msgpack.packb(value)) == value


def assert_log_encodable(caplog):
    """Fail unless all log lines can be written as UTF-8."""
    for record in caplog.records:
        record.getMessage().encode()
