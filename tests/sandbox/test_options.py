"""Validation of the options of a sandbox."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.sandbox import Sandbox


@pytest.mark.parametrize("option", ["latency", "ingest_delay", "token_lifetime", "url_lifetime"])
def test_negative_times_are_rejected(option):
    """A negative time is rejected when the sandbox is created."""
    with pytest.raises(ValueError, match=option):
        Sandbox(**{option: -1})


@pytest.mark.parametrize(
    "options", [{"paks": "key"}, {"paks": []}, {"read_only_paks": [""]}, {"faults": "*:html"}, {"allowed_hosts": "x"}]
)
def test_invalid_keys_and_faults_are_rejected(options):
    """A string instead of a list, and an empty key, are rejected when the sandbox is created."""
    with pytest.raises((TypeError, ValueError), match=r"key|list"):
        Sandbox(**options)


@pytest.mark.parametrize(
    ("options", "about"),
    [
        ({"api": "graphql"}, "api must be one of command, rpc"),
        ({"rpc_dialect": 3}, "rpc_dialect"),
        ({"unacknowledged_solutions": "sol_1"}, "must be a list"),
    ],
)
def test_invalid_options_of_an_api_are_rejected(options, about):
    """An unknown API or dialect, and a string instead of a list, are rejected when the sandbox is created."""
    with pytest.raises((TypeError, ValueError), match=about):
        Sandbox(**options)
