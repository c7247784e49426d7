"""Thousands of creates on a fault-injecting platform: no duplicate, no lost dataset, no false result."""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaOutcomeUnknownError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

CALLS = int(os.environ.get("POLYTEIA_SOAK_CALLS", "2000"))
SEED = int(os.environ.get("POLYTEIA_SOAK_SEED", "1"))
SHARE = 0.3  # share of all requests, including lookups, that are affected by a fault
THREADS = 6
# Without 404 for an existing resource: no client can distinguish that from a correct response.
KINDS = [
    *("drop-before", "drop-after", "close-before", "close-after", "hang:1", "hang-after:1"),
    *("status:500", "status:502", "status:503", "status:504", "status:400"),
    *("status-after:500", "status-after:502", "status-after:503", "status-after:504", "status-after:400"),
    *("body-error:500", "body-error-after:500", "body-error:400", "body-error:409"),
    *("garbage", "garbage-after", "html", "html-after", "redirect", "redirect-after"),
    *("retry-after:5", "retry-after-date:5", "unavailable:5", "unavailable-after:5", "slow:20000"),
]
LOOKUPS = {
    "command": ("get_dataset", {"solution_id": SANDBOX_SOLUTION_ID}),
    "rpc": ("dataset/getDatasetBySolutionSlug", {"solutionId": SANDBOX_SOLUTION_ID}),
}


def faults():
    """Return all kinds of faults with equal probabilities that add up to the share."""
    each = 1 - (1 - SHARE) ** (1 / len(KINDS))
    return [f"*:{kind}:p={each:.6f}" for kind in KINDS]


def create(sandbox, hook, slug, outcomes):
    """Create one dataset; repeat after a failure, like Airflow's retries and a user who clears the task."""
    for _ in range(50):
        try:
            record = hook.create_dataset(name=slug, solution_id=SANDBOX_SOLUTION_ID, slug=slug)
        except PolyteiaError as error:
            outcomes[type(error).__name__] += 1
            is_unknown = isinstance(error, PolyteiaOutcomeUnknownError)
            outcomes["false: failure, but it exists"] += not is_unknown and exists(sandbox, slug)
        else:
            outcomes["success"] += 1
            outcomes["false: success, but it does not exist"] += record["slug"] != slug or not exists(sandbox, slug)
            return
    outcomes["never succeeded"] += 1


def exists(sandbox, slug):
    """Query the sandbox directly, without HTTP."""
    name, params = LOOKUPS[sandbox.options.api]
    try:
        return bool(sandbox.call(name, {**params, "slug": slug}))
    except Exception as error:
        if getattr(error, "code", None) != 404:
            raise
        return False


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("api", LOOKUPS)
def test_soak(connect, api):
    """With faults in 30 % of all requests, there is exactly one dataset for each create."""
    outcomes = Counter()
    with Sandbox(api=api, faults=faults(), seed=SEED) as sandbox:
        extra = json.loads(sandbox.airflow_connection())["extra"]
        connect(host=sandbox.base_url, password=sandbox.pak, extra={**extra, "timeout": [5, 0.3], "max_wait": 0.001})

        def work(number):
            with PolyteiaHook() as hook:
                for index in range(number, CALLS, THREADS):
                    create(sandbox, hook, f"s{index}", outcomes)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
        created = Counter(item["slug"] for item in sandbox.records("dataset"))
        affected = Counter(request.fault for request in sandbox.recorder.requests)
        requests = sum(affected.values())
        affected.pop(None)
    print(f"Of the last {requests} requests, {affected.total()} were affected by a fault.\n{dict(outcomes)}")  # noqa: T201 - the report
    assert created == Counter(f"s{index}" for index in range(CALLS))
    assert outcomes["success"] == CALLS
    assert not [outcome for outcome, count in outcomes.items() if count and outcome.startswith(("false", "never"))]
    assert affected.total() == pytest.approx(SHARE * requests, rel=0.2)
    assert len(affected) == len(KINDS)
