"""Uploads: what goes over the wire, from which sources, and how replies are handled."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from conftest import KEY
from servers import ScriptedServer, data, status

from airflow_provider_polyteia.client import progress
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaDataError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
    PolyteiaServerError,
)

TOKEN = "upload-token-SECRET-1"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def token(value=TOKEN):
    return data({"token": value})


def responding(server, *replies):
    """Make the server issue a token before each reply."""
    server.respond(*[reply for pair in zip([token()] * len(replies), replies, strict=True) for reply in pair])


def part_of(request):
    """Return the head and the content of the only part of a multipart request."""
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\w+)", request.headers["content-type"])[1].encode()
    opening, _, rest = request.body.partition(b"\r\n")
    head, _, rest = rest.partition(b"\r\n\r\n")
    content, closing, after = rest.rpartition(b"\r\n--" + boundary + b"--\r\n")
    assert (opening, bool(closing), after) == (b"--" + boundary, True, b"")
    return head.decode(), content


@pytest.fixture
def local(make_hook, server):
    """A hook of the scripted server."""
    return make_hook(host=server.url, password=KEY)


def test_wire(local, server, tmp_path):
    """A token for dataset and content type, then one multipart part with both headers and a known length."""
    (tmp_path / "bookings.csv").write_bytes(b"a\n1\n")
    responding(server, status(200, b"stored", content_type="text/plain"))
    local.upload_dataset("ds_1", tmp_path / "bookings.csv")
    token_request, sent = server.requests
    params = {"id": "ds_1", "content_type": "text/csv"}
    assert token_request.json == {"command": "generate_dataset_upload_token", "params": params}
    assert (sent.verb, sent.path) == ("POST", "/upload")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["x-upload-token"] == TOKEN
    assert sent.headers["content-length"] == str(len(sent.body))
    assert "transfer-encoding" not in sent.headers
    head, content = part_of(sent)
    assert head.split("\r\n") == [
        'Content-Disposition: form-data; name="file"; filename="bookings.csv"',
        "Content-Type: application/octet-stream",
    ]
    assert content == b"a\n1\n"


def test_result(hook, sandbox, dataset_id, csv_file):
    """The result describes what was sent, and the platform stores the same bytes."""
    assert hook.upload_dataset(dataset_id, csv_file) == {
        "dataset_id": dataset_id,
        "bytes": csv_file.stat().st_size,
        "rows": None,
        "columns": {},
        "content_type": "text/csv",
        "filename": "bookings.csv",
        "ingest_id": None,
    }
    assert sandbox.content(dataset_id) == csv_file.read_bytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.CSV", "text/csv"),
        ("a.json", "application/json"),
        ("a.xlsx", XLSX),
        ("a.xls", "application/vnd.ms-excel"),
    ],
)
def test_content_type_by_extension(local, server, tmp_path, name, expected):
    """The extension determines the content type, in upper or lower case."""
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / name)
    responding(server, data({}))
    uploaded = local.upload_dataset("ds_1", str(tmp_path / name), check=name == "a.parquet")
    assert (uploaded["content_type"], uploaded["rows"]) == (expected, 2 if name == "a.parquet" else None)
    assert server.requests[0].json["params"]["content_type"] == expected


@pytest.mark.parametrize(
    ("begin", "end"), [(0, -1), (0, -4), (1, None), (0, 4), (0, 0)], ids=["cut", "no footer", "no head", "4 B", "empty"]
)
def test_incomplete_parquet(local, server, tmp_path, begin, end):
    """A file that is not a complete Parquet file, or not yet, is rejected before anything is sent."""
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "whole")
    (tmp_path / "rows.parquet").write_bytes((tmp_path / "whole").read_bytes()[begin:end])
    problem = "'rows.parquet' cannot be uploaded as Parquet: it is (not a complete Parquet file|empty)"
    with pytest.raises(PolyteiaDataError, match=problem) as caught:
        local.upload_dataset("ds_1", tmp_path / "rows.parquet")
    assert not isinstance(caught.value, AirflowFailException)  # it may be complete when Airflow tries again
    assert server.requests == []


def test_other_name_for_the_platform(local, server, tmp_path):
    """The file name for the platform does not determine the format."""
    (tmp_path / "rows.csv").write_bytes(b"a\n")
    responding(server, data({}))
    assert local.upload_dataset("ds_1", tmp_path / "rows.csv", filename="delivery")["content_type"] == "text/csv"


@pytest.mark.parametrize("name", ["bookings.dat", "bookings", "bookings.csv.gz"])
def test_unknown_extension(local, server, tmp_path, name):
    """An unknown extension is rejected before anything is sent; the error names the argument to set."""
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PolyteiaConfigurationError, match="argument 'content_type'"):
        local.upload_dataset("ds_1", tmp_path / name)
    assert server.requests == []
    responding(server, data({}))
    assert local.upload_dataset("ds_1", tmp_path / name, content_type="text/csv")["content_type"] == "text/csv"


def test_file_name_is_escaped(local, server):
    """A file name cannot end its header, and arrives as UTF-8."""
    responding(server, data({}))
    local.upload_dataset("ds_1", io.BytesIO(b"x"), content_type="text/csv", filename='Straße "1"\r\nX: y.csv')
    head, _ = part_of(server.requests[1])
    assert 'filename="Straße %221%22%0D%0AX: y.csv"' in head
    assert len(head.split("\r\n")) == 2


@pytest.mark.parametrize(
    "make", [str, lambda p: p, lambda p: f"file://{p}", lambda p: ObjectStoragePath(f"file://{p}")]
)
def test_sources_by_path(hook, sandbox, dataset_id, csv_file, make):
    """A string, a path, a URL and an ObjectStoragePath all send the file under its name."""
    assert hook.upload_dataset(dataset_id, make(csv_file))["filename"] == "bookings.csv"
    assert sandbox.content(dataset_id) == csv_file.read_bytes()


def test_object_storage(hook, sandbox, dataset_id, object_storage):
    """An object in object storage is sent, and sent again completely after a dropped connection."""
    path = ObjectStoragePath(f"{object_storage}/bookings.csv")
    with path.open("wb") as file:
        file.write(b"id\n" + b"1\n" * 500_000)
    sandbox.faults.add("/upload:drop-at:50:1")
    hook.upload_dataset(dataset_id, path)
    assert sandbox.content(dataset_id) == b"id\n" + b"1\n" * 500_000


def test_file_object_is_read_from_its_position(hook, sandbox, dataset_id):
    """A file object is sent from its current position in every attempt, and is left open."""
    file = io.BytesIO(b"skipped" + b"id\n1\n")
    file.seek(7)
    sandbox.faults.add("/upload:drop-after:1-2")
    result = hook.upload_dataset(dataset_id, file, content_type="text/csv")
    assert (result["bytes"], result["filename"]) == (5, "data")
    assert sandbox.content(dataset_id) == b"id\n1\n"
    assert not file.closed


def test_empty_file(hook, sandbox, dataset_id):
    """An empty file empties the dataset only without checks; its length is still announced."""
    with pytest.raises(PolyteiaDataError, match="'data' cannot be uploaded as CSV: it is empty"):
        hook.upload_dataset(dataset_id, io.BytesIO(), content_type="text/csv")
    assert sandbox.content(dataset_id) == b"id,name\n1,Before\n"
    hook.upload_dataset(dataset_id, io.BytesIO(), content_type="text/csv", check=False)
    assert sandbox.content(dataset_id) == b""


class Pipe(io.RawIOBase):
    def readable(self):
        return True


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (Pipe(), "not seekable"),
        (io.StringIO("a"), "opened in text mode"),
        ("/", "not a file"),
        (
            "nosuch://bucket/bookings.csv",
            "is not a supported storage URL|cannot be uploaded: ValueError: No filesystem",
        ),
    ],
)
def test_unusable_sources(local, server, source, problem):
    """A source that can never be uploaded is rejected before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match=problem):
        local.upload_dataset("ds_1", source, content_type="text/csv")
    assert server.requests == []


@pytest.mark.parametrize("source", ["/nowhere/bookings.csv", "file:///nowhere/bookings.csv", "/nowhere/rows.parquet"])
def test_missing_source(local, server, source):
    """A missing file fails before anything is sent; it may still appear, so the task may be retried."""
    with pytest.raises(PolyteiaError, match=r"cannot be uploaded: .*No such file") as caught:
        local.upload_dataset("ds_1", source)
    assert not isinstance(caught.value, AirflowFailException)
    assert server.requests == []


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_source_that_cannot_be_read(local, server, tmp_path, monkeypatch, name):
    """Whatever a storage raises when the file is opened becomes a PolyteiaError."""

    def fail(*_):
        raise RuntimeError("storage failure")

    file = tmp_path / name
    file.write_bytes(b"PAR1PAR1")
    responding(server, data({}))
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(
        PolyteiaError,
        match=r"could not be read completely \(RuntimeError|cannot be read: RuntimeError: storage failure",
    ):
        local.upload_dataset("ds_1", file)


class Changing(io.BytesIO):
    """A file that has grown or shrunk since its size was determined."""

    def __init__(self, content, change):
        super().__init__(content)
        self._change = change

    def seek(self, offset, whence=0):
        return super().seek(offset, whence) + (self._change if whence == 2 else 0)


@pytest.mark.parametrize(
    ("change", "how"), [(-3, "grew beyond"), (3, "shrank below"), (-600_000, "grew beyond"), (10**6, "shrank below")]
)
def test_source_changes_size(hook, sandbox, dataset_id, change, how):
    """A source that is longer or shorter than announced aborts the upload; the dataset is unchanged."""
    before = sandbox.content(dataset_id)
    source = Changing(b"id\n" + b"1\n" * 400_000, change)
    with pytest.raises(PolyteiaError, match=f"'data' {how} its initial size of"):
        hook.upload_dataset(dataset_id, source, content_type="text/csv")
    assert sandbox.content(dataset_id) == before
    assert sandbox.count("generate_dataset_upload_token") == 1


def test_file_grows_while_it_is_sent(hook, sandbox, dataset_id, csv_file, monkeypatch):
    """A file that grows while it is sent aborts the upload."""
    sandbox.faults.add("/upload:slow:20000000")
    size = csv_file.stat().st_size
    monkeypatch.setattr(progress.Progress, "advance", _appending(csv_file, progress.Progress.advance))
    with pytest.raises(PolyteiaError, match=f"grew beyond its initial size of {size} bytes"):
        hook.upload_dataset(dataset_id, csv_file)
    assert sandbox.content(dataset_id) == b"id,name\n1,Before\n"


def _appending(path, advance):
    def advanced(self, count):
        with path.open("ab") as file:
            file.write(b"9,late\n")
        advance(self, count)

    return advanced


class Broken(io.BytesIO):
    """A storage that fails in the middle, with an error that looks like a network error."""

    def read(self, size=-1):
        if self.tell() > 300_000:
            raise ConnectionResetError("storage failure")
        return super().read(size)


def test_unreadable_source(hook, sandbox, dataset_id):
    """A source that cannot be read completely is not mistaken for a failure of the platform, and not retried."""
    with pytest.raises(PolyteiaError, match=r"'data' could not be read completely \(ConnectionResetError"):
        hook.upload_dataset(dataset_id, Broken(b"1\n" * 400_000), content_type="text/csv", check=False)
    assert sandbox.content(dataset_id) == b"id,name\n1,Before\n"
    assert sandbox.count("generate_dataset_upload_token") == 1
    with pytest.raises(PolyteiaError, match="'data' cannot be read: ConnectionResetError"):
        hook.upload_dataset(dataset_id, Broken(b"1\n" * 400_000), content_type="text/csv")
    assert sandbox.count("generate_dataset_upload_token") == 1


@pytest.mark.parametrize(
    "reply",
    [data({}), data(None), status(201, b""), status(204, b""), status(200, b"ok", content_type="text/plain")],
)
def test_replies_that_mean_success(local, server, reply):
    """Any 2xx response that is neither a web page nor a JSON error means that the data was replaced."""
    responding(server, reply)
    local.upload_dataset("ds_1", io.BytesIO(b"x"), content_type="text/csv")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "error", "attempts"),
    [
        (status(200, b"<html>", content_type="text/html"), PolyteiaProtocolError, 5),
        (status(200, b"<!doctype html>", content_type="text/plain"), PolyteiaProtocolError, 5),
        (status(200, b'{"error": {"code": 403, "message": "no"}}'), PolyteiaPermissionError, 1),
        (status(200, b'{"error": {"code": 500, "message": "no"}}'), PolyteiaServerError, 3),
        (status(302, b"", location="/elsewhere"), PolyteiaProtocolError, 1),
        (status(403), PolyteiaPermissionError, 1),
        (status(404), PolyteiaNotFoundError, 2),
        (status(502), PolyteiaServerError, 5),
    ],
)
def test_replies_that_mean_failure(local, server, reply, error, attempts):
    """A web page, an error inside HTTP 200, a redirect and an error status fail; transient failures are retried."""
    responding(server, *[reply] * 5)
    with pytest.raises(error):
        local.upload_dataset("ds_1", io.BytesIO(b"x"), content_type="text/csv")
    assert server.calls.count("/upload") == attempts
    assert server.calls.count("generate_dataset_upload_token") == attempts


def test_too_large(local, server):
    """The error for HTTP 413 contains the size of the file; the upload is not retried."""
    responding(server, status(413, b"too large", content_type="text/plain"))
    with pytest.raises(
        PolyteiaAPIError, match=r"HTTP 413: 'too large'\. The file \(2\.0 KiB\) exceeds the size limit of the platform"
    ) as caught:
        local.upload_dataset("ds_1", io.BytesIO(b"1\n" * 1024), content_type="text/csv")
    assert (caught.value.http_status, len(server.requests)) == (413, 2)


def test_rejected_upload_token(local, server):
    """A rejected upload token is replaced by a new one, once, and the whole file is sent again."""
    server.respond(token("first-token"), status(401), token("second-token"), data({}))
    local.upload_dataset("ds_1", io.BytesIO(b"content"), content_type="text/csv")
    uploads = [request for request in server.requests if request.path == "/upload"]
    assert [upload.headers["x-upload-token"] for upload in uploads] == ["first-token", "second-token"]
    assert [part_of(upload)[1] for upload in uploads] == [b"content", b"content"]


def test_upload_token_rejected_twice(local, server):
    """A second rejection in a row fails like a rejected key, after two uploads."""
    responding(server, *[status(401)] * 4)
    with pytest.raises(PolyteiaAuthenticationError):
        local.upload_dataset("ds_1", io.BytesIO(b"x"), content_type="text/csv")
    assert server.calls.count("/upload") == 2


def test_access_token_rejected(make_hook, server):
    """An organization's access token that is rejected for the upload is renewed, and the whole file is sent again."""
    hook = make_hook(host=server.url, password=KEY, organization_id="org_1")
    exchanged = [status(200, b'{"token": "access-%d"}' % number) for number in (1, 2)]
    server.respond(exchanged[0], token(), status(401), exchanged[1], data({}))
    hook.upload_dataset("ds_1", io.BytesIO(b"content"), content_type="text/csv")
    uploads = [request for request in server.requests if request.path == "/upload"]
    assert [upload.headers["authorization"] for upload in uploads] == ["Bearer access-1", "Bearer access-2"]
    assert [part_of(upload)[1] for upload in uploads] == [b"content", b"content"]


def test_attempts_are_limited(make_hook, server):
    """The connection's limits apply to the upload as a whole; the duration of attempts does not count."""
    hook = make_hook(host=server.url, password=KEY, max_attempts=3, max_elapsed=10)
    client = hook.get_conn()

    def slow(request):
        client.sleep(500)
        return status(502)

    responding(server, *[slow] * 5)
    with pytest.raises(PolyteiaServerError, match="Giving up after 3 attempt"):
        hook.upload_dataset("ds_1", io.BytesIO(b"x"), content_type="text/csv")
    assert server.calls.count("/upload") == 3
    assert client.clock() > 3 * 500


def test_no_secret_is_logged(make_hook, server, caplog):
    """At level DEBUG, and after a failure, neither key nor token is logged; the token is passed on for masking."""
    masked = []
    caplog.set_level(logging.DEBUG)
    hook = make_hook(host=server.url, password=KEY, on_secret=masked.append)
    responding(server, status(502, TOKEN.encode(), content_type="text/plain"), data({}))
    hook.upload_dataset("ds_1", io.BytesIO(b"x"), content_type="text/csv")
    assert masked[0] == TOKEN
    assert "POST /upload" in caplog.text
    assert TOKEN not in caplog.text
    assert KEY not in caplog.text


def test_progress_is_logged(hook, sandbox, dataset_id, csv_file, monkeypatch, caplog):
    """During an upload and at its end, the log shows the size, the share and the rate."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "INTERVAL", 0)
    hook.upload_dataset(dataset_id, csv_file)
    line = r"Uploading 'bookings.csv': [\d.]+ MiB of 2\.\d MiB \(\d+%\), [\d.]+ [KMG]iB/s"
    assert len(re.findall(line, caplog.text)) > 1
    assert re.search(
        rf"Uploaded 'bookings.csv' to dataset '{dataset_id}': 2\.\d MiB in \d+\.\d s \([\d.]+ [KMG]iB/s\)", caplog.text
    )


def test_progress_is_logged_every_few_seconds(caplog):
    """A transfer of a minute logs a line every five seconds, not one for each chunk."""
    caplog.set_level(logging.INFO)
    now = 0.0
    reported = progress.Progress("Uploading 'x'", 3600, clock=lambda: now)
    for now in range(1, 61):  # noqa: B007 - the clock reads it
        reported.advance(1)
    assert [record.getMessage() for record in caplog.records][:2] == [
        "Uploading 'x': 5 B of 3.5 KiB (0%), 1 B/s",
        "Uploading 'x': 10 B of 3.5 KiB (0%), 1 B/s",
    ]
    assert len(caplog.records) == 12


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 1024**3, "3.0 GiB"), (1e16, "9094.9 TiB")]
)
def test_format_size(count, text):
    """Sizes are shown in binary units with one decimal place."""
    assert progress.format_size(count) == text


def test_one_connection_for_token_and_upload(make_hook):
    """Token and upload share one TCP connection."""
    with ScriptedServer() as server:
        hook = make_hook(host=server.url, password=KEY)
        responding(server, data({}))
        hook.upload_dataset("ds_1", io.BytesIO(b"x"), content_type="text/csv")
        assert server.connections == 1
