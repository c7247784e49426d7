"""The sandbox replies as the framework behind the platform's RPC API does, in both dialects."""

from __future__ import annotations

import pytest
import requests
from orpc.exchanges import EXCHANGES
from orpc.target import Target, perform_and_verify

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox


@pytest.mark.parametrize("exchange", [one for one in EXCHANGES if one.emulated], ids=lambda exchange: exchange.name)
@pytest.mark.parametrize("dialect", [1, 2], ids=["dialect-1", "dialect-2"])
def test_exchange(dialect, exchange):
    """The sandbox replies as the table says, and does not change anything when it rejects."""
    with Sandbox(api="rpc", rpc_dialect=dialect) as sandbox, requests.Session() as session:
        known = {
            "key": sandbox.pak,
            "organizationId": SANDBOX_ORGANIZATION_ID,
            "organizationSlug": "stadt_musterhausen",
            "solutionId": SANDBOX_SOLUTION_ID,
        }
        perform_and_verify(Target(sandbox.base_url, dialect, known, session), exchange)
