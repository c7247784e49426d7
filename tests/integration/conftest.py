"""One real Airflow for all integration tests, and the platforms that its connections point to."""

from __future__ import annotations

import pytest
from airflow_env import RealAirflow
from error_replies import ERROR_REPLIES, KEYS
from reply_server import ReplyServer

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, Sandbox

# Not the sandbox's default key, which is public: this one must not appear in any log.
SANDBOX_KEY = "pak_of_the_integration_tests_5e1f0c"


@pytest.fixture(scope="session")
def platform():
    """A sandbox that all tests share; each test checks only what it created itself."""
    with Sandbox(paks=[SANDBOX_KEY]) as running:
        yield running


@pytest.fixture(scope="session")
def rejecting_platform():
    """A server that rejects each key with its own error reply."""
    with ReplyServer({KEYS[name]: reply for name, reply in ERROR_REPLIES.items()}) as server:
        yield server


@pytest.fixture(scope="session")
def airflow(tmp_path_factory, platform, rejecting_platform):
    """A running Airflow at log level DEBUG, so that its logs can be searched for secrets.

    Its connection `polyteia_default` points to the sandbox; `rejected_<form>` gets the error reply of that name.
    """
    # With an organization, so that access tokens are in use, which must not appear in any log.
    exchanged = _connection(platform.base_url, SANDBOX_KEY, organization_id=SANDBOX_ORGANIZATION_ID)
    connections = {"polyteia_default": exchanged} | {
        f"rejected_{name}": _connection(rejecting_platform.url, key) for name, key in KEYS.items()
    }
    home = tmp_path_factory.mktemp("airflow")
    with RealAirflow(home, connections=connections, log_level="DEBUG") as running:
        yield running


def _connection(host, key, **extra):
    return {"conn_type": "polyteia", "host": host, "password": key, "extra": {"api": "command", **extra}}
