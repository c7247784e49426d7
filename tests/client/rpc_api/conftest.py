"""Fixtures for the tests of the RPC API's client."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.client.rpc_api import probe, sessions


@pytest.fixture(autouse=True)
def _separate_processes():
    """Sessions and detected APIs are kept per process; each test begins without any."""
    sessions._sessions.clear()
    probe._hosts_with_rpc_api.clear()
    probe._hosts_without.clear()


@pytest.fixture
def rpc_client(make_client):
    """A client of `server` that makes a single attempt."""
    return make_client(api="rpc", organization_id="org_1", max_attempts=1)
