"""One real Airflow for all integration tests, and the platforms its connections lead to: started once."""

from __future__ import annotations

import pytest
from airflow_env import RealAirflow
from refusals import KEYS, REFUSALS
from reply_server import ReplyServer

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, Sandbox

# Not the sandbox's well-known key: this one must not be found in any log.
SANDBOX_KEY = "pak_of_the_integration_tests_5e1f0c"


@pytest.fixture(scope="session")
def platform():
    """A sandbox, shared by all tests: look at what you have made yourself."""
    with Sandbox(paks=[SANDBOX_KEY]) as running:
        yield running


@pytest.fixture(scope="session")
def refusing_platform():
    """Refuses every key in the form that belongs to it."""
    with ReplyServer({KEYS[name]: reply for name, reply in REFUSALS.items()}) as server:
        yield server


@pytest.fixture(scope="session")
def airflow(tmp_path_factory, platform, refusing_platform):
    """A running Airflow at log level DEBUG, so that a search of its logs for secrets means something.

    Its connection `polyteia_default` leads to the sandbox, `refused_<form>` to each form of refusal.
    """
    # With an organization, so that access tokens are under way that no log may show.
    exchanged = {**_connection(platform.base_url, SANDBOX_KEY), "extra": {"organization_id": SANDBOX_ORGANIZATION_ID}}
    connections = {"polyteia_default": exchanged} | {
        f"refused_{name}": _connection(refusing_platform.url, key) for name, key in KEYS.items()
    }
    home = tmp_path_factory.mktemp("airflow")
    with RealAirflow(home, connections=connections, log_level="DEBUG") as running:
        yield running


def _connection(host, key):
    return {"conn_type": "polyteia", "host": host, "password": key}
