"""Faults on procedures, uploads, SQL and presigned URLs, and what is recorded of the calls."""

from __future__ import annotations

import io
import logging
import re
import time
import xml.etree.ElementTree as ET

import pyarrow.parquet as pq
import pytest
import requests

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.sandbox.faults import FaultError
from airflow_provider_polyteia.sandbox.faults.specs import KINDS, ONLY_FOR_DOWNLOADS

CSV = b"id,name\n1,a\n"
BIG = b"a\n" + b"1\n" * 500_000
CREATE = "dataset/createDataset"
UPLOAD = "/api/upload/dataset"
EXCHANGE = "auth/personalAccessKey/exchange"


def slugs(sandbox):
    return [record["slug"] for record in sandbox.records("dataset")]


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("kind", ["drop", "close"])
def test_connections_end_without_a_response(kind, applied, rpc, sandbox, new_input):
    """Only the `-after` kinds apply the procedure."""
    sandbox.faults.add(f"{CREATE}:{kind}-{'after' if applied else 'before'}:1")
    with pytest.raises(requests.ConnectionError):
        rpc.call(CREATE, **new_input(slug="s"))
    assert slugs(sandbox) == (["s"] if applied else [])


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [
        ("status:503", 503, "text/plain"),
        ("status-after:502", 502, "text/plain"),
        ("status:401", 401, "application/json"),
        ("body-error:409", 409, "application/json"),
        ("body-error-after:500", 500, "application/json"),
        ("garbage", 200, "application/json"),
        ("garbage-after", 200, "application/json"),
        ("html", 200, "text/html"),
        ("html-after", 200, "text/html"),
        ("empty-after", 200, ""),
        ("no-content-after", 204, ""),
        ("null-after", 200, "application/json"),
        ("redirect", 302, ""),
        ("retry-after:7", 429, "text/plain"),
        ("unavailable-after:7", 503, "text/plain"),
    ],
)
def test_replaced_responses(kind, status, content_type, rpc, sandbox, new_input):
    """Each kind sends its own response; `body-error` is an error in the JSON form with this HTTP status."""
    sandbox.faults.add(f"{CREATE}:{kind}:1")
    response = rpc.send("POST", f"/rpc/{CREATE}", json={"json": new_input(slug="s")}, allow_redirects=False)
    assert response.status_code == status
    assert response.headers.get("Content-Type", "").startswith(content_type)
    assert slugs(sandbox) == (["s"] if "-after" in kind.removeprefix("retry-after") else [])
    if kind.startswith("body-error"):
        error = response.json()["json"]
        assert (error["status"], error["message"]) == (status, "injected by the sandbox")
    if kind == "status:401":
        assert response.json()["json"]["code"] == "UNAUTHORIZED"
    assert (sandbox.requests[-1].fault, sandbox.requests[-1].status) == (f"{CREATE}:{kind}:1", status)
    assert rpc.new_dataset("next")


@pytest.mark.parametrize(("code", "status"), [(403, 403), (422, 422), (7, 500), (999, 500)])
def test_errors_have_the_form_of_their_path(code, status, rpc, sandbox, dataset):
    """`body-error` has the form of the REST paths for uploads and SQL, and is XML for presigned URLs."""
    sandbox.faults.add(f"*:body-error:{code}")
    assert rpc.call("dataset/getDatasetById", id=dataset).json()["json"]["status"] == status
    for response in (rpc.upload(dataset, CSV), rpc.query("SELECT 1")):
        assert response.status_code == status
        assert response.json()["error"] == "injected by the sandbox"
    stored = requests.get(f"{sandbox.base_url}/storage/x", timeout=10)
    assert stored.status_code == status
    assert ET.fromstring(stored.text).findtext("Message") == "injected by the sandbox"  # noqa: S314 - our own XML


def test_an_expired_session_can_be_simulated(rpc, sandbox, connect):
    """`status:401` on the exchange has the message for an invalid key, on other calls that for the session."""
    sandbox.faults.add("*:status:401:1-2")
    assert rpc.error("dataset/getDatasetById", id="ds_0")[2] == "Unauthorized"
    exchange = connect(sandbox).error(EXCHANGE, key=sandbox.pak, organizationId=SANDBOX_ORGANIZATION_ID)
    assert exchange == (401, "UNAUTHORIZED", "Invalid personal access key")
    assert rpc.error("dataset/getDatasetById", id="ds_0")[0] == 404


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_uploads_can_be_interrupted(percent, rpc, sandbox, dataset):
    """The old data stays, and the next upload succeeds."""
    sandbox.upload(dataset, CSV)
    sandbox.faults.add(f"{UPLOAD}:drop-at:{percent}:1")
    with pytest.raises(requests.ConnectionError):
        rpc.upload(dataset, BIG)
    assert sandbox.content(dataset) == CSV
    assert rpc.upload(dataset, BIG).status_code == 200
    assert sandbox.content(dataset) == BIG
    assert sandbox.count(UPLOAD) == 2


def test_the_response_of_an_upload_can_be_lost(rpc, sandbox, dataset):
    """The ingest has completed even though its id is lost."""
    sandbox.faults.add(f"{UPLOAD}:drop-after:1")
    with pytest.raises(requests.ConnectionError):
        rpc.upload(dataset, CSV)
    assert sandbox.content(dataset) == CSV


@pytest.mark.parametrize(
    ("kind", "status", "stored"),
    [
        ("ingest-failed", {"status": "failed", "errorMessage": "injected by the sandbox"}, False),
        ("ingest-stuck", {"status": "running"}, False),
        ("ingest-lost", None, True),
    ],
)
def test_ingests_can_go_wrong(kind, status, stored, rpc, sandbox, dataset):
    """The upload succeeds, but its ingest fails, never ends, or cannot be found. The next one is not affected."""
    sandbox.faults.add(f"{UPLOAD}:{kind}:1")
    response = rpc.upload(dataset, CSV)
    assert response.status_code == 200
    query = {"id": dataset, "ingestId": response.json()["ingestId"]}
    if status is None:
        assert rpc.error("dataset/getDatasetIngestStatus", **query)[:2] == (404, "NOT_FOUND")
    else:
        assert rpc.value("dataset/getDatasetIngestStatus", **query) == status
    assert (sandbox.datasets[0]["data"] is not None) is stored
    again = rpc.upload(dataset, CSV).json()["ingestId"]
    assert rpc.ingest_status(dataset, again) == {"status": "completed"}


@pytest.fixture
def url(rpc, sandbox, dataset):
    """The presigned URL of a large export."""
    sandbox.upload(dataset, BIG)
    return rpc.value("dataset/exportDatasetData", id=dataset, format="csv")["url"]


@pytest.mark.parametrize("fault", ["drop-at:50", "short"])
def test_downloads_can_be_interrupted(fault, url, sandbox):
    """The download announces its full length but ends early. The URL can be fetched again."""
    sandbox.faults.add(f"/storage:{fault}:1")
    with requests.get(url, timeout=10, stream=True) as response:
        assert int(response.headers["Content-Length"]) == len(BIG)
        with pytest.raises(requests.RequestException):
            _ = response.content
    assert requests.get(url, timeout=10).content == BIG


def test_downloads_can_announce_the_wrong_length(url, sandbox):
    """With `wrong-length`, half of the file is received as a complete response."""
    sandbox.faults.add("/storage:wrong-length:1")
    assert len(requests.get(url, timeout=10).content) == len(BIG) // 2


def test_results_of_queries_can_be_slow_or_garbage(rpc, sandbox):
    """`/api/query` has the faults of other calls."""
    sandbox.faults.add("/api/query:slow:2000:1", "/api/query:garbage:2")
    started = time.monotonic()
    assert rpc.query("SELECT 1 AS a").content[:4] == b"\xff\xff\xff\xff"
    assert time.monotonic() - started > 0.05
    assert rpc.query("SELECT 1 AS a").content[:4] != b"\xff\xff\xff\xff"


def test_every_kind_can_be_added(sandbox):
    """Every kind of fault is accepted for uploads, or for presigned URLs."""
    arguments = {"status": ":503", "status-after": ":503", "drop-at": ":50", "slow": ":9"}
    for kind in KINDS:
        argument = arguments.get(kind, ":1" if kind.startswith(("hang", "retry", "unav", "body", "huge")) else "")
        call = "/storage" if kind in ONLY_FOR_DOWNLOADS else UPLOAD
        sandbox.faults.add(f"{call}:{kind}{argument}")
    assert {fault.kind for fault in sandbox.faults} == KINDS


@pytest.mark.parametrize(
    ("spec", "about"),
    [
        ("dataset/createDatset:html", "createDatset"),
        (f"{CREATE}:ingest-failed", UPLOAD),
        ("*:ingest-stuck", UPLOAD),
        (f"{CREATE}:drop-at:5", f"{UPLOAD} and /storage"),
        (f"{UPLOAD}:short", "/storage"),
    ],
)
def test_invalid_faults_are_rejected(spec, about, sandbox):
    """Kinds for files and ingests are accepted for their calls only."""
    with pytest.raises(FaultError, match=about):
        sandbox.faults.add(spec)


def test_the_command_api_has_no_ingests_to_fail(start):
    """Faults of ingests are rejected by the command API."""
    with pytest.raises(FaultError, match="not supported by this API"):
        start(faults=["/upload:ingest-failed"])


def test_calls_are_recorded_without_secrets(rpc, sandbox, dataset):
    """Name and parameters of each call are recorded. Keys, tokens and URLs are not in representations."""
    sandbox.upload(dataset, CSV)
    rpc.upload(dataset, CSV)
    rpc.query("SELECT 1", args=[])
    url = rpc.value("dataset/exportDatasetData", id=dataset, format="csv")["url"]
    assert requests.get(url, timeout=10).content == CSV
    names = [EXCHANGE, CREATE, UPLOAD, "/api/query", "dataset/exportDatasetData", "/storage"]
    assert [request.name for request in sandbox.requests] == names
    assert [sandbox.count(name) for name in names] == [1] * len(names)
    exchange, create, upload, query, export, _ = (request.params for request in sandbox.requests)
    assert exchange == {"key": sandbox.pak, "organizationId": SANDBOX_ORGANIZATION_ID}
    assert (create["slug"], upload, export) == ("bookings", {}, {"id": dataset, "format": "csv"})
    assert query == {"query": "SELECT 1", "solution_id": SANDBOX_SOLUTION_ID, "args": []}
    token = rpc.session.headers["Authorization"].partition(" ")[2]
    secrets = [sandbox.pak, token, *re.findall(r"/storage/([\w-]+)\?.*Signature=(\w+)", url)[0]]
    shown = repr(sandbox.requests) + repr(sandbox) + repr(sandbox.options) + repr(vars(sandbox.platform))
    assert [secret for secret in secrets if secret in shown] == []


def test_the_log_has_a_line_for_each_call_and_no_secrets(serve, connect, caplog):
    """Name, status and duration are logged, but no key, token, URL or unknown procedure."""
    caplog.set_level(logging.DEBUG)
    sandbox = serve(paks=["k-SECRET"])
    rpc = connect(sandbox).login()
    dataset = rpc.new_dataset()
    rpc.upload(dataset, CSV)
    url = rpc.value("dataset/exportDatasetData", id=dataset, format="parquet")["url"]
    assert pq.read_table(io.BytesIO(requests.get(url, timeout=10).content)).num_rows == 1
    requests.get(url + "0", timeout=10)
    rpc.call("k-SECRET/k-SECRET")
    rpc.send("GET", "/k-SECRET?token=k-SECRET")
    sandbox.stop()
    ours = [record.getMessage() for record in caplog.records if "sandbox" in record.name]
    assert [re.sub(r" [\d.]+ ms$", "", line) for line in ours] == [
        f"{EXCHANGE} 200",
        f"{CREATE} 200",
        f"{UPLOAD} 200",
        "dataset/exportDatasetData 200",
        "/storage 200",
        "/storage 403, error 403",
        "POST (not an API call) 404",
        "GET (not an API call) 404",
    ]
    token = rpc.session.headers["Authorization"].partition(" ")[2]
    secrets = ["k-SECRET", token, *re.findall(r"/storage/([\w-]+)\?.*Signature=(\w+)", url)[0]]
    server_side = "\n".join(record.getMessage() for record in caplog.records if "urllib3" not in record.name)
    assert [secret for secret in secrets if secret in server_side] == []


def test_an_internal_failure_is_reported_and_logged(rpc, sandbox, monkeypatch, caplog):
    """A bug in the sandbox results in HTTP 500 in the JSON form and a traceback in the log."""
    monkeypatch.setattr(sandbox.platform.store, "get", None)
    assert rpc.error("dataset/getDatasetById", id="ds_1")[:2] == (500, "INTERNAL_SERVER_ERROR")
    assert any(record.exc_info for record in caplog.records)
