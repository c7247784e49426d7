"""Runs single commands and queries with a client, below `PolyteiaHook`."""

from __future__ import annotations

from airflow_provider_polyteia.client import exactly_once
from airflow_provider_polyteia.client.command_api.operations import creation, result_operation


def send(client, call, **options):
    """Run a call and return its result; with the async client, an awaitable of it."""
    return client.run(result_operation(call, client.credentials), **options)


def create(client, call):
    """Create what a call creates exactly once."""
    return exactly_once.create(client, creation(call, client.credentials))
