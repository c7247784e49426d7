"""Fixtures for the tests of transfers: a platform, a hook whose waits take no time, and files."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from conftest import HastyTime
from kills import kill

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

__all__ = ["kill"]  # a fixture of its tests

serial = itertools.count()
CSV = b"id,name\n" + b"".join(b"%d,M\xc3\xbcller\n" % i for i in range(150_000))


@pytest.fixture(scope="module")
def platform():
    """One sandbox for the tests of a module; each test uses its own dataset."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def sandbox(platform, connect):
    """The platform without faults; the connection `polyteia_default` points to it, without long waits."""
    platform.faults.clear()
    platform.recorder.clear()
    connect(host=platform.base_url, password=platform.pak, extra={"max_wait": 0.01})
    yield platform
    platform.faults.clear()


@pytest.fixture
def make_hook(platform):
    """Create hooks whose waits take no time."""
    hooks = []

    def make(*, host=None, password=None, on_secret=lambda _: None, **extra):
        config = client_config.from_connection(
            "city", host=host or platform.base_url, password=password or platform.pak, extra={"api": "command", **extra}
        )
        hasty = HastyTime()
        hook = PolyteiaHook("city")
        hook._client = PolyteiaClient(
            config, clock=hasty.clock, sleep=hasty.sleep, jitter=lambda: 1.0, on_secret=on_secret
        )
        hooks.append(hook)
        return hook

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture
def hook(make_hook, sandbox):
    """A hook of the sandbox with default limits."""
    return make_hook()


@pytest.fixture
def dataset_id(platform):
    """A new dataset with a small table."""
    slug = f"t{next(serial)}"
    params = {"name": slug, "solution_id": SANDBOX_SOLUTION_ID, "slug": slug}
    created = platform.call("create_dataset", params)["id"]
    platform.upload(created, b"id,name\n1,Before\n")
    return created


@pytest.fixture
def csv_file(tmp_path):
    """A CSV file of two megabytes."""
    path = tmp_path / "bookings.csv"
    path.write_bytes(CSV)
    return path


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stored(platform, dataset_id) -> str:
    """The checksum of the data on the platform."""
    return hashlib.sha256(platform.content(dataset_id)).hexdigest()
