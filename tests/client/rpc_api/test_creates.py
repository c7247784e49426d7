"""Creates on the RPC API whose record does not show when it was created, as is to be expected of the platform."""

from __future__ import annotations

import pytest
from rpc_responses import SESSION, failure, output
from servers import DROP

from airflow_provider_polyteia.client import exactly_once
from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI
from airflow_provider_polyteia.exceptions import PolyteiaConflictError, PolyteiaOutcomeUnknownError

FIELDS = {"name": "a", "solution_id": "sol_1", "slug": "a"}
RECORD = output({"id": "ds_1", "solutionId": "sol_1", "name": "a", "slug": "a"})
CONFLICT = failure(409, "CONFLICT", "slug already exists")


def create_new(client):
    return exactly_once.create_new(client, RpcAPI(client.credentials).create_dataset(FIELDS))


def test_definite_conflict(server, rpc_client):
    """If the platform says that the slug is taken, and nothing is unknown, the dataset existed before."""
    server.respond(SESSION, CONFLICT, RECORD)
    with pytest.raises(PolyteiaConflictError, match="is already used by 'ds_1'"):
        create_new(rpc_client)


def test_conflict_after_a_lost_response(server, make_client):
    """If an earlier attempt may have created it, the conflict does not say whose it is."""
    missing = failure(404, "NOT_FOUND")
    server.respond(SESSION, DROP, missing, missing, CONFLICT, RECORD)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="either by this call or by another client"):
        create_new(make_client(api="rpc", organization_id="org_1"))


def test_what_is_sent(server, rpc_client):
    """All fields are sent, with the organization of the session; the record has the command API's names."""
    server.respond(SESSION, RECORD)
    record = create_new(rpc_client)
    assert record["solution_id"] == "sol_1"
    assert server.requests[-1].json == {
        "json": {
            "organizationId": "org_1",
            "solutionId": "sol_1",
            "name": "a",
            "slug": "a",
            "description": "",
            "source": "",
            "documentation": {},
        }
    }
