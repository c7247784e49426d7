"""The sandbox replies as the framework behind the platform's RPC API does, in both dialects."""

from __future__ import annotations

import pytest
import requests
from orpc.exchanges import EXCHANGES
from orpc.target import Target, perform_and_verify

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox

# Dialect -> exchange -> how the sandbox still differs. An entry whose exchange agrees fails, and has to be removed.
DISAGREEMENTS = {
    1: {},
    2: {},
}


def cases():
    """Return all exchanges that apply to the sandbox, in both dialects."""
    for dialect, disagreements in DISAGREEMENTS.items():
        for exchange in EXCHANGES:
            if exchange.emulated:
                reason = disagreements.get(exchange.name)
                marks = [pytest.mark.xfail(reason=f"The sandbox {reason}")] if reason else []
                yield pytest.param(dialect, exchange, marks=marks, id=f"dialect-{dialect}-{exchange.name}")


@pytest.mark.parametrize(("dialect", "exchange"), list(cases()))
def test_exchange(dialect, exchange):
    """The sandbox replies as the table says, and does not change anything when it refuses."""
    with Sandbox(api="rpc", rpc_dialect=dialect) as sandbox, requests.Session() as session:
        known = {
            "key": sandbox.pak,
            "organizationId": SANDBOX_ORGANIZATION_ID,
            "organizationSlug": "stadt_musterhausen",
            "solutionId": SANDBOX_SOLUTION_ID,
        }
        perform_and_verify(Target(sandbox.base_url, dialect, known, session), exchange)
