"""What the sandbox does with every call: record, delay and log it."""

from __future__ import annotations

import logging
import re
import time

import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.sandbox.faults import FaultError

CSV = b"id,name\n1,<script>alert(1)</script>\n2,b\n"


def test_latency_delays_every_call(start, connect):
    """With a latency every call takes at least this long."""
    api = connect(start(latency=0.2))
    started = time.monotonic()
    api.data("query", "list_organizations", page=1, size=1)
    assert time.monotonic() - started >= 0.2


def test_requests_and_connections_are_recorded(sandbox, api):
    """Every request is recorded as sent. The representation of a request does not contain secrets."""
    dataset_id = api.new_dataset("seen")
    api.upload(api.upload_token(dataset_id), CSV)
    create, token, upload = sandbox.requests
    assert create.headers["authorization"] == f"Bearer {sandbox.pak}"
    assert create.params["slug"] == "seen"
    assert (create.method, create.path, upload.name) == ("POST", "/api", "/upload")
    assert sandbox.count("create_dataset") == sandbox.count("/upload") == sandbox.connections == 1
    assert sandbox.pak not in repr(sandbox.requests) + repr(sandbox) + repr(sandbox.options)
    assert upload.headers["x-upload-token"] not in repr([token, upload])
    sandbox.recorder.clear()
    assert (sandbox.requests, sandbox.count("/upload"), sandbox.connections) == ([], 0, 1)


def test_the_log_has_a_line_for_each_call_and_no_secrets(start, connect, caplog):
    """Name, status and duration are logged, but no key, token, query string or unknown method name."""
    caplog.set_level(logging.DEBUG)
    sandbox = start(paks=["k-SECRET"])
    api = connect(sandbox)
    dataset = api.new_dataset()
    upload_token = api.upload_token(dataset)
    api.upload(upload_token, CSV)
    export_token = api.export_token(f"FROM {dataset}", [dataset])
    api.download(export_token)
    token = api.send("PUT", "/auth/pak/token", json={"organization_id": SANDBOX_ORGANIZATION_ID}).json()["token"]
    api.command("k-SECRET")
    api.send("GET", "/k-SECRET?token=k-SECRET")
    sandbox.stop()
    ours = [record.getMessage() for record in caplog.records if "sandbox" in record.name]
    assert [re.sub(r" [\d.]+ ms$", "", line) for line in ours] == [
        "create_dataset 200",
        "generate_dataset_upload_token 200",
        "/upload 200",
        "generate_query_export_token 200",
        "/download 200",
        "/auth/pak/token 200",
        "POST (not an API call) 200, error 404",
        "GET (not an API call) 200",
    ]
    server_side = "\n".join(record.getMessage() for record in caplog.records if "urllib3" not in record.name)
    assert [secret for secret in ("k-SECRET", upload_token, export_token, token) if secret in server_side] == []


def test_an_internal_failure_is_reported_and_logged(sandbox, api, monkeypatch, caplog):
    """A bug in the sandbox results in HTTP 500 and a traceback in the log."""
    monkeypatch.setattr(sandbox.platform.store, "get", None)
    response = api.query("get_dataset", id="ds_1")
    assert (response.status_code, response.json()["error"]["code"]) == (500, 500)
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("served", "path", "status", "content_type"),
    [("command", "/rpc/dataset/getDatasetById", 200, "text/html"), ("rpc", "/api", 404, "text/plain")],
)
def test_only_the_chosen_api_is_served(served, path, status, content_type, start, connect):
    """A path of the other API is an unknown path, and its calls cannot have faults."""
    sandbox = start(api=served)
    response = connect(sandbox).send("POST", path, json={"json": {}})
    assert (response.status_code, response.headers["Content-Type"].partition(";")[0]) == (status, content_type)
    other = {"command": "dataset/getDatasetById", "rpc": "get_dataset"}[served]
    with pytest.raises(FaultError, match=other):
        sandbox.faults.add(f"{other}:status:503")


def test_both_apis_serve_the_same_data(start, tmp_path):
    """A dataset that was created and filled on one API is there on the other."""
    made = start(data_dir=tmp_path)
    dataset_id = made.call("create_dataset", {"name": "B", "solution_id": SANDBOX_SOLUTION_ID, "slug": "b"})["id"]
    made.upload(dataset_id, CSV)
    made.stop()
    served = start(api="rpc", data_dir=tmp_path)
    assert served.call("dataset/getDatasetById", {"id": dataset_id})["slug"] == "b"
    assert served.content(dataset_id) == CSV
