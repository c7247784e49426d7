"""Thousands of datasets through a platform that misbehaves all the time: none twice, none lost, no lie told."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaOutcomeUnknownError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

CALLS = int(os.environ.get("POLYTEIA_SOAK_CALLS", "2000"))
SEED = int(os.environ.get("POLYTEIA_SOAK_SEED", "1"))
SHARE = 0.3  # of all requests, look-ups included, that a fault strikes
THREADS = 6
# Not among them: 404 for something that is there. No client can tell such a platform from one that is right.
KINDS = [
    *("drop-before", "drop-after", "close-before", "close-after", "hang:1", "hang-after:1"),
    *("status:500", "status:502", "status:503", "status:504", "status:400"),
    *("status-after:500", "status-after:502", "status-after:503", "status-after:504", "status-after:400"),
    *("body-error:500", "body-error-after:500", "body-error:400", "body-error:409"),
    *("garbage", "garbage-after", "html", "html-after", "redirect", "redirect-after"),
    *("retry-after:5", "retry-after-date:5", "unavailable:5", "unavailable-after:5", "slow:20000"),
]


def faults():
    """Every kind with the same probability, such that all together strike the share."""
    each = 1 - (1 - SHARE) ** (1 / len(KINDS))
    return [f"*:{kind}:p={each:.6f}" for kind in KINDS]


def new_hook(sandbox):
    extra = {"timeout": [5, 0.3], "max_wait": 0.001}
    hook = PolyteiaHook("city")
    config = client_config.from_connection("city", host=sandbox.base_url, password=sandbox.pak, extra=extra)
    hook._client = PolyteiaClient(config)
    return hook


def create(sandbox, hook, slug, outcomes):
    """Create one dataset; after a failure again, as Airflow's retries and a person who clears the task do."""
    for _ in range(50):
        try:
            record = hook.create_dataset(name=slug, solution_id=SANDBOX_SOLUTION_ID, slug=slug)
        except PolyteiaError as error:
            outcomes[type(error).__name__] += 1
            told = isinstance(error, PolyteiaOutcomeUnknownError)
            outcomes["lie: failure, but it is there"] += not told and is_there(sandbox, slug)
        else:
            outcomes["success"] += 1
            outcomes["lie: success, but it is not there"] += record["slug"] != slug or not is_there(sandbox, slug)
            return
    outcomes["never succeeded"] += 1


def is_there(sandbox, slug):
    """Ask the platform itself, not over HTTP."""
    try:
        return bool(sandbox.call("get_dataset", {"solution_id": SANDBOX_SOLUTION_ID, "slug": slug}))
    except Exception as error:
        if getattr(error, "code", None) != 404:
            raise
        return False


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_soak():
    """With every fault injected into 30 % of all requests, there is exactly one dataset for each create."""
    outcomes = Counter()
    with Sandbox(faults=faults(), seed=SEED) as sandbox:

        def work(number):
            hook = new_hook(sandbox)
            for index in range(number, CALLS, THREADS):
                create(sandbox, hook, f"s{index}", outcomes)
            hook.close()

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
        there = Counter(item["slug"] for item in all_datasets(sandbox))
        struck = Counter(request.fault for request in sandbox.recorder.requests)
        requests = sum(struck.values())
        struck.pop(None)
    print(f"Of the last {requests} requests, {struck.total()} were struck.\n{dict(outcomes)}")  # noqa: T201 - the report
    assert there == Counter(f"s{index}" for index in range(CALLS))
    assert outcomes["success"] == CALLS
    assert not [outcome for outcome, count in outcomes.items() if count and outcome.startswith(("lie", "never"))]
    assert struck.total() == pytest.approx(SHARE * requests, rel=0.2)
    assert len(struck) == len(KINDS)


def all_datasets(sandbox):
    page, items = 1, []
    while batch := sandbox.call("list_datasets", {"solution_id": SANDBOX_SOLUTION_ID, "page": page, "size": 100})[
        "items"
    ]:
        items += batch
        page += 1
    return items
