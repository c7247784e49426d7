"""Fixtures for all tests. Tests run in a new Airflow home, without proxies from the environment."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time

# Set before the first import of Airflow, which reads these variables once.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "NETRC"):
    os.environ.pop(name, None)

import pytest  # noqa: E402 - after the environment is set
from servers import KEY, ScriptedServer  # noqa: E402 - after the environment is set

from airflow_provider_polyteia.client import config as client_config  # noqa: E402 - after the environment is set
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient  # noqa: E402 - after the environment is set

MAX_ID_LENGTH = 100


class FakeTime:
    """A clock that only advances during `sleep`, and records the time slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


class HastyTime(FakeTime):
    """A real clock that jumps ahead during `sleep` instead of waiting."""

    def clock(self) -> float:
        return time.monotonic() + self.slept


@pytest.fixture
def server():
    """A server that sends the replies of a test, and records the requests."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def object_storage():
    """The URL of a bucket in an object storage, which is not a file system."""
    try:
        from airflow.sdk.io import attach  # noqa: PLC0415 - Airflow 3
    except ImportError:
        from airflow.io.store import attach  # noqa: PLC0415 - Airflow 2
    from fsspec.implementations.memory import MemoryFileSystem  # noqa: PLC0415 - few tests use it

    storage = MemoryFileSystem()
    attach("memory", fs=storage)
    yield "memory://bucket"
    storage.rm("/", recursive=True)


@pytest.fixture
def fake_time():
    """A clock for clients that retry without real waiting."""
    return FakeTime()


@pytest.fixture
def make_client(server, fake_time):
    """Create clients of `server` (or of another host) whose waits take no time."""
    clients = []

    def make(*, host=None, jitter=lambda: 1.0, on_secret=lambda _: None, **extra):
        given = {"api": "command", **extra}  # so that a server with scripted replies is not asked which API it serves
        config = client_config.from_connection("city", host=host or server.url, password=KEY, extra=given)
        client = PolyteiaClient(
            config, clock=fake_time.clock, sleep=fake_time.sleep, jitter=jitter, on_secret=on_secret
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client):
    """A client of `server` with default limits, whose waits take no time."""
    return make_client()


@pytest.fixture
def connect(monkeypatch):
    """Define an Airflow connection as an environment variable. Default: `polyteia_default`."""

    def define(conn_id="polyteia_default", *, host=None, password=KEY, extra=None, **parts):
        if isinstance(extra, dict | None):
            extra = {"api": "command", **(extra or {})}  # as for `make_client`
        parts |= {"conn_type": "polyteia", "host": host, "password": password, "extra": extra}
        given = {name: value for name, value in parts.items() if value is not None}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(given))

    return define


@pytest.fixture
def connected(connect, server):
    """The server of the Airflow connection `polyteia_default`, which has no long waits."""
    connect(host=server.url, extra={"max_attempts": 2, "max_wait": 0.01})
    return server


def outlet_events():
    """Return Airflow's accessor for the events of a task's outlets, as in the context of a task."""
    try:
        from airflow.sdk.execution_time.context import OutletEventAccessors  # noqa: PLC0415 - as installed
    except ImportError:
        from airflow.utils.context import OutletEventAccessors  # noqa: PLC0415 - as installed
    return OutletEventAccessors()


def pytest_make_parametrize_id(val, argname):
    """Name long values by their parameter: files that are made for a test contain the time, but all processes must
    find the same tests.
    """
    return argname if isinstance(val, bytes | str) and len(val) > MAX_ID_LENGTH else None
