"""Uploads with their ingests and terms, and exports by presigned URL."""

from __future__ import annotations

import http.client
import io
import time
import xml.etree.ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
import xlsxwriter

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.sandbox.rpc_api.presigned import StoredExport

EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = b"id,name\n1,a\n2,b\n"
OLD = b"id,name\n0,old\n"


def wait(rpc, dataset, ingest):
    """Return all statuses of an ingest until it ends, each once."""
    seen = []
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        status = rpc.ingest_status(dataset, ingest)
        if status not in seen:
            seen.append(status)
        if status["status"] in {"completed", "failed"}:
            return seen
        time.sleep(0.01)
    raise AssertionError(seen)


def test_an_upload_replaces_the_data(rpc, dataset, sandbox):
    """The response contains the id of the ingest, which is completed at once by default."""
    sandbox.upload(dataset, OLD)
    response = rpc.upload(dataset, CSV)
    body = response.json()
    assert response.status_code == 200
    assert body == {"ok": True, "ingestId": body["ingestId"], "size": len(CSV), "contentType": "text/csv"}
    assert body["ingestId"].startswith("dsig_")
    assert rpc.ingest_status(dataset, body["ingestId"]) == {"status": "completed"}
    assert sandbox.content(dataset) == CSV
    assert sandbox.datasets[0]["data"]["rows"] == 2


def test_the_data_is_replaced_when_the_ingest_completes(serve, connect):
    """The status changes from pending to running to completed; until then the old data stays."""
    sandbox = serve(ingest_delay=0.4)
    rpc = connect(sandbox).login()
    dataset = rpc.new_dataset()
    ingest = rpc.upload(dataset, CSV).json()["ingestId"]
    assert sandbox.datasets[0]["data"] is None
    assert [status["status"] for status in wait(rpc, dataset, ingest)] == ["pending", "running", "completed"]
    assert sandbox.content(dataset) == CSV


def test_every_ingest_can_fail(serve, connect):
    """With `ingest_error`, ingests fail with this message and the old data stays."""
    sandbox = serve(ingest_error="bad csv", ingest_delay=0.1)
    rpc = connect(sandbox).login()
    dataset = rpc.new_dataset()
    sandbox.upload(dataset, OLD)
    time.sleep(0.2)
    response = rpc.upload(dataset, CSV)
    assert response.json()["ok"]
    assert wait(rpc, dataset, response.json()["ingestId"])[-1] == {"status": "failed", "errorMessage": "bad csv"}
    assert sandbox.content(dataset) == OLD


@pytest.mark.parametrize(
    ("content", "content_type", "about"),
    [
        (b"PK\x03\x04", "application/vnd.apache.parquet", "not readable"),
        (CSV, "application/octet-stream", "unsupported content type"),
        (CSV, None, "unsupported content type"),
    ],
)
def test_unusable_files_fail(content, content_type, about, rpc, dataset, sandbox):
    """The part must have the content type of the data, and the data must be readable."""
    ingest = rpc.upload(dataset, content, content_type).json()["ingestId"]
    status = rpc.ingest_status(dataset, ingest)
    assert status["status"] == "failed"
    assert about in status["errorMessage"]
    assert str(sandbox.platform.files.root) not in status["errorMessage"]
    assert sandbox.datasets[0]["data"] is None


def test_unknown_ingests_are_missing_if_the_caller_may_edit(serve, connect):
    """An unknown ingest, or one of another dataset, is missing; without the right to edit, the status is 403."""
    sandbox = serve(read_only_paks=["pak_reader"])
    rpc = connect(sandbox).login()
    dataset, other = rpc.new_dataset("a"), rpc.new_dataset("b")
    ingest = rpc.upload(dataset, CSV).json()["ingestId"]
    for unknown in ({"id": dataset, "ingestId": "dsig_preflight_probe"}, {"id": other, "ingestId": ingest}):
        assert rpc.error("dataset/getDatasetIngestStatus", **unknown) == (404, "NOT_FOUND", "ingest not found")
    reader = connect(sandbox).login("pak_reader")
    probe = {"id": dataset, "ingestId": "dsig_preflight_probe"}
    assert reader.error("dataset/getDatasetIngestStatus", **probe)[:2] == (403, "FORBIDDEN")


def test_an_interrupted_ingest_fails(serve, connect, tmp_path):
    """An ingest that is running when the sandbox stops has failed after the next start."""
    first = serve(ingest_delay=60, data_dir=tmp_path)
    rpc = connect(first).login()
    dataset = rpc.new_dataset()
    ingest = rpc.upload(dataset, CSV).json()["ingestId"]
    first.stop()
    again = connect(serve(data_dir=tmp_path)).login()
    assert again.ingest_status(dataset, ingest)["status"] == "failed"


def test_missing_terms_are_rejected_until_they_are_acknowledged(serve, connect):
    """The error is exactly the documented one. Nothing is stored."""
    sandbox = serve(unacknowledged_solutions=[SANDBOX_SOLUTION_ID])
    rpc = connect(sandbox).login()
    dataset = rpc.new_dataset()
    rejected = rpc.upload(dataset, b"a\n" + b"1\n" * 1_000_000)
    assert rejected.status_code == 412
    assert rejected.text == '{"error":"Data processing terms not acknowledged","code":"dpa.not-acknowledged"}'
    assert sandbox.datasets[0]["data"] is None
    solution = {"solutionId": SANDBOX_SOLUTION_ID}
    assert rpc.value("dpa/getMyAcceptanceStatus", **solution) == {"acknowledged": False}
    assert rpc.call("dpa/recordAcceptance", **solution).json() == {}
    assert rpc.value("dpa/getMyAcceptanceStatus", **solution) == {"acknowledged": True}
    assert rpc.upload(dataset, CSV).status_code == 200


def test_an_upload_needs_a_content_length(rpc, dataset, sandbox):
    """Chunked transfer encoding is rejected with 411."""
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = rpc.send("POST", f"/api/upload/dataset/{dataset}", data=iter([b"--b--"]), headers=headers)
    assert (response.status_code, response.json()["code"]) == (411, "request.length-required")
    assert sandbox.datasets[0]["data"] is None


@pytest.mark.parametrize("files", [{"data": b"x"}, {"file": b"x", "other": b"y"}])
def test_an_upload_has_one_part(files, rpc, dataset, sandbox):
    """The only part must be named `file`."""
    response = rpc.send("POST", f"/api/upload/dataset/{dataset}", files=files)
    assert (response.status_code, response.json()["code"]) == (400, "request.invalid")
    assert sandbox.datasets[0]["data"] is None


def test_an_unknown_dataset(rpc):
    """An upload to an unknown dataset results in HTTP 404 in the form of the REST paths; GET is an unknown path."""
    response = rpc.upload("ds_0", CSV)
    assert response.status_code == 404
    assert response.json() == {"error": "dataset not found", "code": "resource.not-found"}
    assert "text/plain" in rpc.send("GET", "/api/upload/dataset/ds_0").headers["Content-Type"]


@pytest.fixture
def url(rpc, dataset, sandbox):
    """The presigned URL of an export."""

    def export(file_format="csv"):
        sandbox.upload(dataset, CSV)
        value = rpc.value("dataset/exportDatasetData", id=dataset, format=file_format)
        assert value.keys() == {"url"}
        return value["url"]

    return export


def fetch(url, **arguments):
    return requests.get(url, timeout=10, **arguments)


@pytest.mark.parametrize("file_format", ["csv", "json", "parquet"])
def test_an_export_is_fetched_without_a_session(file_format, url, sandbox, dataset):
    """The URL alone returns the whole dataset as it was at the time of the call, any number of times."""
    exported = url(file_format)
    sandbox.upload(dataset, OLD)
    first, second = fetch(exported), fetch(exported)
    assert first.status_code == 200
    assert first.content == second.content
    assert int(first.headers["Content-Length"]) == len(first.content)
    if file_format == "csv":
        assert first.content == CSV
    else:
        rows = first.json() if file_format == "json" else pq.read_table(io.BytesIO(first.content)).to_pylist()
        assert rows == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]


def rejection(response):
    assert response.headers["Content-Type"].startswith("application/xml")
    return response.status_code, ET.fromstring(response.text).findtext("Code")  # noqa: S314 - our own XML


def test_a_presigned_url_must_be_complete_and_alone(url):
    """A session is rejected like in an object storage, and so is a URL that is changed or unknown."""
    exported = url()
    unsigned, _, _ = exported.partition("?")
    assert rejection(fetch(exported, headers={"Authorization": "Bearer x"})) == (400, "InvalidArgument")
    assert rejection(fetch(unsigned)) == (403, "AccessDenied")
    assert rejection(fetch(exported + "0")) == (403, "AccessDenied")
    assert rejection(fetch(exported.replace("/storage/", "/storage/x"))) == (403, "AccessDenied")


def test_a_presigned_url_expires(serve, connect):
    """After its lifetime, the URL results in HTTP 403 and the file is removed."""
    sandbox = serve(url_lifetime=0.2)
    rpc = connect(sandbox).login()
    dataset = rpc.new_dataset()
    sandbox.upload(dataset, CSV)
    exported = rpc.value("dataset/exportDatasetData", id=dataset, format="csv")["url"]
    assert fetch(exported).content == CSV
    time.sleep(0.3)
    assert rejection(fetch(exported)) == (403, "AccessDenied")
    assert len(list((sandbox.platform.files.root / "files").iterdir())) == 1


@pytest.mark.parametrize("file_format", ["xlsx", "pdf"])
def test_unsupported_exports(file_format, rpc, dataset, sandbox):
    """Formats that the sandbox cannot write, or that do not exist, result in HTTP 400."""
    sandbox.upload(dataset, CSV)
    assert rpc.error("dataset/exportDatasetData", id=dataset, format=file_format)[:2] == (400, "BAD_REQUEST")


def test_an_export_needs_data(rpc, dataset):
    """A dataset without data cannot be exported."""
    status, _, message = rpc.error("dataset/exportDatasetData", id=dataset, format="csv")
    assert status == 400
    assert "does not have data yet" in message


def test_a_workbook_is_ingested_queried_and_exported(rpc, dataset):
    """The first sheet of an Excel file becomes the data. A file that is not one fails its ingest."""
    with xlsxwriter.Workbook(file := io.BytesIO()) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["id", "name"])
        sheet.write_row(1, 0, [1, "Kämmerei"])
    ingest = rpc.upload(dataset, file.getvalue(), EXCEL).json()["ingestId"]
    assert rpc.ingest_status(dataset, ingest) == {"status": "completed"}
    arrow = rpc.query(f"FROM '{dataset}'").content
    assert pa.ipc.open_stream(arrow).read_all().to_pylist() == [{"id": 1, "name": "Kämmerei"}]
    exported = rpc.value("dataset/exportDatasetData", id=dataset, format="csv")["url"]
    assert fetch(exported).content == "id,name\n1,Kämmerei\n".encode()
    broken = rpc.upload(dataset, b"PK", EXCEL).json()["ingestId"]
    status = rpc.ingest_status(dataset, broken)
    assert (status["status"], "cannot be read" in status["errorMessage"]) == ("failed", True)


def test_a_large_upload_is_received_byte_by_byte(rpc, dataset, sandbox):
    """The body is streamed, so the size of its parts does not matter."""
    head = b'Content-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: text/csv'
    body = b"--b\r\n" + head + b"\r\n\r\na\n1\n\r\n--b--"
    host = sandbox.base_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.putrequest("POST", f"/api/upload/dataset/{dataset}")
    connection.putheader("Authorization", rpc.session.headers["Authorization"])
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    for byte in body:
        connection.send(bytes([byte]))
    assert connection.getresponse().status == 200
    connection.close()
    assert sandbox.content(dataset) == b"a\n1\n"


def test_secrets_are_not_shown():
    """The signature of a URL is not in the representation of an export."""
    assert "s3cret" not in repr(StoredExport("file", "text/csv", "s3cret"))
