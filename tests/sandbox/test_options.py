"""Validation of the options of a sandbox."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.sandbox import Sandbox


@pytest.mark.parametrize("option", ["latency", "ingest_delay", "token_lifetime"])
def test_negative_times_are_refused(option):
    """Options that make no sense are told when the sandbox is made."""
    with pytest.raises(ValueError, match=option):
        Sandbox(**{option: -1})


@pytest.mark.parametrize("options", [{"paks": "key"}, {"paks": []}, {"read_only_paks": [""]}, {"faults": "*:html"}])
def test_unusable_keys_and_faults_are_refused(options):
    """A text where a list belongs, or an empty key, is told when the sandbox is made."""
    with pytest.raises((TypeError, ValueError), match=r"key|list"):
        Sandbox(**options)
