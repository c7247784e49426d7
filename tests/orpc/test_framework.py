"""The table of exchanges is what the framework does, in both major versions."""

from __future__ import annotations

import pytest
from orpc.exchanges import EXCHANGES, MIDNIGHT, find
from orpc.target import perform_and_verify

pytestmark = pytest.mark.integration  # starts Node.js


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_exchange(orpc_server, exchange):
    """The framework replies as the table says, and does not change anything when it rejects."""
    perform_and_verify(orpc_server, exchange)


def test_failed_output_validation_after_a_write(orpc_server):
    """When the output of a procedure breaks its contract, the procedure has run: error 500, and the dataset exists."""
    given = orpc_server.prepare()
    assert not orpc_server.perform(find("contract createAndBreakOutput"), given)
    created = {"solutionId": given["solutionId"], "slug": given["newSlug"]}
    assert orpc_server.call("dataset/getDatasetBySolutionSlug", created, given)["name"] == "Created"


def test_cleared_date(orpc_server):
    """A date in an input is stored, and an update with null clears it."""
    given = orpc_server.prepare()
    by_id = {"id": given["datasetId"]}
    assert not orpc_server.perform(find("update with a date"), given)
    assert orpc_server.call("dataset/getDatasetById", by_id, given)["dataAsOf"] == MIDNIGHT
    assert not orpc_server.perform(find("update with null"), given)
    assert orpc_server.call("dataset/getDatasetById", by_id, given)["dataAsOf"] is None
