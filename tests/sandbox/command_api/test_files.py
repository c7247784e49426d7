"""Uploads and downloads: tokens, multipart bodies and stored files."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

PARQUET = "application/vnd.apache.parquet"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = b"day,amount,note\n2026-01-01,1234.50,K\xc3\xa4mmerei\n2026-01-02,99.10,\n"


def multipart(content, *, boundary=b"b1", name=b"file", end=b"--\r\n"):
    head = b'Content-Disposition: form-data; name="%b"; filename="f"\r\nContent-Type: text/csv' % name
    return b"--%b\r\n%b\r\n\r\n%b\r\n--%b%b" % (boundary, head, content, boundary, end)


def send_multipart(api, token, body, content_type="multipart/form-data; boundary=b1"):
    headers = {"X-Upload-Token": token, "Content-Type": content_type}
    return api.send("POST", "/upload", data=body, headers=headers)


def test_an_upload_becomes_the_datasets_data(api, sandbox, dataset):
    """The bytes are stored as sent, and the record contains type, size, time and columns."""
    before = datetime.now(UTC)
    response = api.upload(api.upload_token(dataset), CSV)
    assert response.status_code == 200
    (stored,) = sandbox.datasets
    assert stored["data"]["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert stored["data"]["rows"] == 2
    info = stored["metadata"]["asset_info"]
    assert (info["content_type"], info["size"]) == ("text/csv", len(CSV))
    assert before <= datetime.fromisoformat(info["uploaded_at"]) <= datetime.now(UTC)
    columns = stored["metadata"]["schema"]["columns"]
    kinds = {name: column["canonical_type"] for name, column in columns.items()}
    assert kinds == {"day": "date", "amount": "number", "note": "text"}


def test_an_upload_token_is_valid_once(api, dataset, sandbox):
    """A used, unknown or missing upload token is rejected, and the data is unchanged."""
    token = api.upload_token(dataset)
    assert api.upload(token, CSV).status_code == 200
    assert api.upload(token, b"other").status_code == 401
    assert api.upload("unknown", b"other").status_code == 401
    assert api.send("POST", "/upload", files={"file": b"other"}).status_code == 401
    assert sandbox.content(dataset) == CSV


@pytest.mark.parametrize(("credential", "status"), [(None, 200), ("invalid", 401)])
def test_authorization_of_an_upload_is_optional_but_validated(credential, status, api, sandbox, connect, dataset):
    """The upload token is sufficient, but an invalid key in addition to it is rejected."""
    response = connect(sandbox, credential).upload(api.upload_token(dataset), CSV)
    assert response.status_code == status


def test_an_upload_needs_a_content_length(api, dataset, sandbox):
    """Chunked transfer encoding is rejected with 411."""
    response = send_multipart(api, api.upload_token(dataset), iter([multipart(CSV)]))
    assert response.status_code == 411
    assert "data" in sandbox.datasets[0]
    assert sandbox.datasets[0]["data"] is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\r\n", b"--b1", b"\r\n--b", b"\r\n--b1x"[:5], b"a\r\n\r\nb\r\n", b"\r\n-" * 5000, b"x" * 3_000_000],
    ids=lambda content: f"{content[:8]!r}x{len(content)}",
)
def test_any_content_is_stored_unchanged(content, api, sandbox, dataset):
    """Content that is empty, long or similar to a delimiter is stored byte by byte."""
    assert send_multipart(api, api.upload_token(dataset), multipart(content)).status_code == 200
    assert sandbox.content(dataset) == content


def test_a_body_can_be_received_byte_by_byte(api, sandbox, dataset):
    """The size of the parts in which the body is received does not matter."""
    token = api.upload_token(dataset)
    body = multipart(b"ab\r\n--b\r\ncd")

    class Trickle:
        def __len__(self):
            return len(body)

        def __iter__(self):
            return (bytes([byte]) for byte in body)

    assert send_multipart(api, token, Trickle()).status_code == 200
    assert sandbox.content(dataset) == b"ab\r\n--b\r\ncd"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart(CSV, name=b"data"), "multipart/form-data; boundary=b1"),
        (multipart(CSV, end=b"\r\n"), "multipart/form-data; boundary=b1"),
        (multipart(CSV, end=b""), "multipart/form-data; boundary=b1"),
        (multipart(CSV)[:-20], "multipart/form-data; boundary=b1"),
        (multipart(CSV, end=b"") + b"\r\n" + multipart(CSV)[6:], "multipart/form-data; boundary=b1"),
        (multipart(CSV, boundary=b"b2"), "multipart/form-data; boundary=b1"),
        (b"", "multipart/form-data; boundary=b1"),
        (CSV, "text/csv"),
        (multipart(CSV), "multipart/form-data"),
    ],
    ids=["name", "open", "cut", "cut content", "two parts", "boundary", "empty", "no multipart", "no boundary"],
)
def test_an_invalid_upload_changes_nothing(body, content_type, api, sandbox, dataset):
    """A body that is not exactly one complete part `file` is rejected, and the data is unchanged."""
    api.upload(api.upload_token(dataset), CSV)
    response = send_multipart(api, api.upload_token(dataset), body, content_type)
    assert (response.status_code, response.json()["code"]) == (400, 400)
    assert sandbox.content(dataset) == CSV
    assert list((sandbox.platform.files.root / "work").iterdir()) == []


def test_a_dataset_deleted_before_its_upload_is_404(api, dataset):
    """An upload to a deleted dataset results in HTTP 404, which the vendor's clients do not take for success."""
    token = api.upload_token(dataset)
    api.data("command", "delete_dataset", id=dataset)
    response = api.upload(token, CSV)
    assert (response.status_code, response.json()) == (404, {"code": 404, "message": "dataset not found"})


def test_a_report_deleted_before_its_image_is_404(api):
    """An image of a deleted report results in HTTP 404."""
    report = api.data("command", "create_report", solution_id=SANDBOX_SOLUTION_ID, name="R")["id"]
    name = "generate_report_image_upload_token"
    token = api.data("command", name, f"/api/{name}", id=report, content_type="image/png")["token"]
    api.data("command", "delete_report", id=report)
    assert api.upload(token, b"x").status_code == 404


def test_a_dataset_deleted_before_its_export_is_404(api, dataset):
    """An export of a dataset that was deleted after its token was issued results in HTTP 404."""
    api.upload(api.upload_token(dataset), CSV)
    token = api.export_token(f"FROM {dataset}", [dataset])
    api.data("command", "delete_dataset", id=dataset)
    response = api.download(token)
    assert (response.status_code, response.json()) == (404, {"code": 404, "message": "dataset not found"})


def test_a_denied_export_is_403(start, connect):
    """A missing permission at a download results in HTTP 403, even if calls report it inside HTTP 200."""
    sandbox = start(paks=["all"], denied_solutions={"denied": [SANDBOX_SOLUTION_ID]})
    api = connect(sandbox)
    dataset = api.new_dataset()
    api.upload(api.upload_token(dataset), CSV)
    token = api.export_token(f"FROM {dataset}", [dataset])
    assert connect(sandbox, "denied").download(token).status_code == 403


def test_a_rejected_upload_is_received_completely(api):
    """A large upload with an invalid token receives the response instead of a broken connection."""
    assert api.upload("unknown", b"x" * 30_000_000).status_code == 401


@pytest.mark.parametrize("path", ["/upload", "/download"])
def test_injected_errors_have_their_status(path, api, sandbox, dataset):
    """`body-error` has the form and status in which these paths report errors."""
    sandbox.faults.add(f"{path}:body-error:409")
    response = api.download("t") if path == "/download" else api.upload(api.upload_token(dataset), CSV)
    assert (response.status_code, response.json()["code"]) == (409, 409)


def test_an_export_token_is_valid_once(api, dataset):
    """A used or unknown export token results in HTTP 404."""
    api.upload(api.upload_token(dataset), CSV)
    token = api.export_token(f"FROM {dataset}", [dataset])
    assert api.download(token).content.startswith(b"PAR1")
    for wrong in (token, "unknown", ""):
        assert api.download(wrong).status_code == 404
