"""What the sandbox does with every call: record, delay and log it."""

from __future__ import annotations

import logging
import re
import time

from starlette.responses import JSONResponse

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, server
from airflow_provider_polyteia.sandbox.api import Api, ApiRoute, CallNames, bearer_credential
from airflow_provider_polyteia.sandbox.backend.platform import Session
from airflow_provider_polyteia.sandbox.command_api import COMMAND_API

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


async def rename(platform, request):
    """Rename a dataset: the only call of a second API."""
    session = Session(platform, platform.access.caller(bearer_credential(request)))
    dataset = session.find("dataset", (await request.json())["dataset"])
    return JSONResponse({"renamed": session.store.change("dataset", dataset, {"name": "New"})["name"]})


SECOND_API = Api(
    routes=(ApiRoute("/second/rename", "POST", rename),),
    calls=CallNames(known=frozenset({"second.rename"})),
    call_name=lambda path, _body: "second.rename" if path == "/second/rename" else "",
    error_response=lambda error, status=None: JSONResponse({"failed": error.message}, status_code=status or error.code),
    unauthorized_response=lambda: JSONResponse({"failed": "credentials"}, status_code=401),
)


def test_a_second_api_can_be_served_from_the_same_backend(monkeypatch, start, connect):
    """Both APIs see the same records. The second one has its own errors, and its calls are recorded and can fail."""
    monkeypatch.setattr(server, "APIS", (COMMAND_API, SECOND_API))
    sandbox = start()
    api = connect(sandbox)
    dataset_id = api.new_dataset()

    def call(client, dataset):
        response = client.send("POST", "/second/rename", json={"dataset": dataset})
        return response.status_code, response.json()

    assert call(api, dataset_id) == (200, {"renamed": "New"})
    assert api.data("query", "get_dataset", id=dataset_id)["name"] == "New"
    assert call(api, "ds_0") == (404, {"failed": "dataset not found"})
    assert call(connect(sandbox, "invalid"), dataset_id) == (401, {"failed": "credentials"})
    assert "text/html" in api.send("GET", "/second/rename").headers["Content-Type"]
    sandbox.faults.add("second.rename:body-error:409:1", "second.rename:status:401:2", "/upload:drop-at:50:1")
    assert [call(api, dataset_id) for _ in range(3)] == [
        (200, {"failed": "injected by the sandbox"}),
        (401, {"failed": "credentials"}),
        (200, {"renamed": "New"}),
    ]
    assert sandbox.count("second.rename") == 7
