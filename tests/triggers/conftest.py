"""Fixtures for the tests of triggers."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.triggers import poller


@pytest.fixture
def sandbox(connect, monkeypatch):
    monkeypatch.setattr(poller, "JOINING_TIME", 0.02)
    with Sandbox() as running:
        connect(host=running.base_url, password=running.pak, extra={"max_attempts": 1})
        yield running


@pytest.fixture
def make_dataset(sandbox):
    def make(slug):
        params = {"name": slug, "slug": slug, "solution_id": SANDBOX_SOLUTION_ID}
        return sandbox.call("create_dataset", params)["id"]

    return make
