"""The JSON interface under `/_sandbox`."""

from __future__ import annotations

import pytest
import requests

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID

CSV = b"id,name\n1,<script>alert(1)</script>\n2,b\n"


def test_other_processes_see_state_and_set_faults(sandbox, api):
    """The JSON interface returns state and counts, adds and removes faults, and does not contain secrets."""
    dataset = api.new_dataset()
    api.upload(api.upload_token(dataset), CSV)
    url = f"{sandbox.base_url}/_sandbox"
    state = requests.get(f"{url}/state", timeout=10)
    assert state.json()["datasets"] == sandbox.datasets
    assert state.json()["organizations"][0]["id"] == SANDBOX_ORGANIZATION_ID
    counted = requests.get(f"{url}/requests", timeout=10)
    assert counted.json()["counts"] == {"create_dataset": 1, "generate_dataset_upload_token": 1, "/upload": 1}
    assert sandbox.pak not in state.text + counted.text
    added = requests.post(f"{url}/faults", json={"faults": ["create_dataset:status:503:1"]}, timeout=10)
    assert added.json() == {"faults": [{"fault": "create_dataset:status:503:1", "calls": 0, "hits": 0}]}
    assert api.command("create_dataset").status_code == 503
    assert requests.get(f"{url}/faults", timeout=10).json()["faults"][0]["hits"] == 1
    assert requests.delete(f"{url}/faults", timeout=10).json() == {"faults": []}
    assert requests.delete(f"{url}/requests", timeout=10).json()["counts"] == {}


@pytest.mark.parametrize("body", ['{"faults": ["nonsense"]}', '{"faults": 1}', "[]", "no json"])
def test_invalid_faults_are_rejected(body, sandbox):
    """Invalid faults result in HTTP 400, and none is added."""
    response = requests.post(f"{sandbox.base_url}/_sandbox/faults", data=body, timeout=10)
    assert response.status_code == 400
    assert response.json()["error"]
    assert list(sandbox.faults) == []
