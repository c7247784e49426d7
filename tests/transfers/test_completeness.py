"""Exports become files only if all of them has certainly arrived, whatever the platform or a gateway sends."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import KEY
from rpc_responses import SESSION, output
from servers import RawServer, ScriptedServer, read_request

from airflow_provider_polyteia.exceptions import PolyteiaProtocolError, PolyteiaTransportError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.tables.file_checks.ends import new_end_check
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator

pytestmark = pytest.mark.slow  # many exports


def parquet():
    file = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2]}), file)
    return file.getvalue()


def workbook():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


CONTENTS = {
    "json": json.dumps([{"id": 1, "name": 'a "b" [c'}, {"id": 2, "name": "Müller"}], ensure_ascii=False).encode(),
    "csv": 'id,name\n1,"a ""b"""\n2,Müller\n'.encode(),
    "parquet": parquet(),
    "xlsx": workbook(),
}
PROVING = ("json", "parquet", "xlsx")
TYPE = "Content-Type: application/octet-stream\r\n"


def plain(body, status="200 OK", headers=TYPE):
    """A response that ends with its connection."""
    return f"HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n".encode() + body


def framed(body, status="200 OK", headers=TYPE):
    """A response with a length."""
    return plain(body, status, f"{headers}Content-Length: {len(body)}\r\n")


def chunked(body):
    """A response in two chunks."""
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))
    return plain(chunks, headers=f"{TYPE}Transfer-Encoding: chunked\r\n")


@dataclass
class Source:
    """Where exports come from: sends `response` to each download, and counts these."""

    response: bytes = b""
    downloads: int = 0

    def __call__(self, connection):
        with connection:
            if read_request(connection).startswith(b"GET"):
                self.downloads += 1
                connection.sendall(self.response)
            else:
                connection.sendall(framed(b'{"data": {"token": "t"}}', headers="Content-Type: application/json\r\n"))


@pytest.fixture(params=["command", "rpc"])
def source(request, connect):
    """The source of exports of an API; the connection `polyteia_default` leads to it."""
    source = Source()
    extra = {"api": request.param, "organization_id": "org_1", "max_attempts": 2, "max_wait": 0.01}
    with RawServer(source) as raw, ScriptedServer() as platform:
        url = f"http://127.0.0.1:{raw.port}"
        platform.respond(SESSION, output({"url": f"{url}/exports/1"}))
        if request.param == "command":
            del extra["organization_id"]
        connect(host=url if request.param == "command" else platform.url, password=KEY, extra=extra)
        yield source


def export(path):
    with PolyteiaHook() as hook:
        return hook.export_dataset("ds_1", path)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("frame", [framed, chunked])
def test_whole_file(source, tmp_path, frame, kind):
    """A length that is reached, and a last chunk, prove that the file is complete."""
    source.response = frame(CONTENTS[kind])
    assert export(tmp_path / f"rows.{kind}")["bytes"] == len(CONTENTS[kind])
    assert (tmp_path / f"rows.{kind}").read_bytes() == CONTENTS[kind]


@pytest.mark.parametrize("kind", PROVING)
def test_format_that_shows_its_end(source, tmp_path, kind):
    """Without a length, the end of the format proves that the file is complete."""
    source.response = plain(CONTENTS[kind])
    export(tmp_path / f"rows.{kind}")
    assert (tmp_path / f"rows.{kind}").read_bytes() == CONTENTS[kind]


@pytest.mark.parametrize("kind", PROVING)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0])
def test_connection_that_ends_too_early(source, tmp_path, kind, share):
    """Without a length, a file without its end is not a file."""
    content = CONTENTS[kind]
    source.response = plain(content[: min(int(share * len(content)), len(content) - 1)])
    with pytest.raises(PolyteiaTransportError, match=r"the connection ended after|does not show"):
        export(tmp_path / f"rows.{kind}")
    assert (list(tmp_path.iterdir()), source.downloads) == ([], 2)


@pytest.mark.parametrize("body", [b'{"id": 1}\n{"id": 2}\n', b"12", b'{"rows": []}'])
def test_json_that_may_go_on(source, tmp_path, body):
    """Several documents, or a number, may end too early without a trace."""
    source.response = plain(body)
    with pytest.raises(PolyteiaTransportError, match="JSON that is not an array"):
        export(tmp_path / "rows.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [8, 12, 27, 35])
def test_csv_without_a_length(source, tmp_path, length):
    """CSV may end after any row, so without a length it never becomes a file; the exception says what to do."""
    source.response = plain(CONTENTS["csv"][:length])
    with pytest.raises(PolyteiaTransportError, match=r"does not show where the file ends.*export Parquet"):
        export(tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_chunks_that_end_too_early(source, tmp_path, kind):
    """Wherever the connection ends within the chunks, there is no file."""
    response = chunked(CONTENTS[kind])
    last = response.index(b"\r\n0\r\n") + 2
    for cut in range(response.index(b"\r\n\r\n") + 4, last + 1):
        source.response = response[:cut]
        with pytest.raises(PolyteiaTransportError):
            export(tmp_path / f"rows.{kind}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("status", ["206 Partial Content", "202 Accepted", "203 Non-Authoritative Information"])
def test_other_success(source, tmp_path, kind, status):
    """Only HTTP 200 has the file: no range was requested."""
    source.response = framed(CONTENTS[kind], status)
    with pytest.raises(PolyteiaProtocolError, match=f"HTTP {status[:3]} with (a part of the|no) data") as caught:
        export(tmp_path / f"rows.{kind}")
    assert list(tmp_path.iterdir()) == []
    assert "Müller" not in str(caught.value)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("body", [b"", b" \n\n"], ids=["empty", "blank"])
def test_nothing(source, tmp_path, kind, body):
    """Zero bytes, or only whitespace, are not a file of any format."""
    source.response = framed(body)
    with pytest.raises(PolyteiaProtocolError):
        export(tmp_path / f"rows.{kind}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("json", CONTENTS["json"][:-1]),
        ("json", CONTENTS["json"][:20]),
        ("json", b"[1, {2]"),
        ("csv", b"id,name\n1,a\n2"),
        ("csv", b'id,name\n1,a\n2,"b'),
        ("csv", "id,name\n1,ü".encode()[:-1]),
        ("parquet", CONTENTS["parquet"][:-1]),
        ("xlsx", CONTENTS["xlsx"][:-1]),
        ("csv", b"<!doctype html><p>sign in"),
    ],
)
@pytest.mark.parametrize("frame", [framed, chunked])
def test_part_with_a_length(source, tmp_path, frame, kind, body):
    """A part that a gateway sends as if it were all is recognized by its format, as far as that shows it."""
    source.response = frame(body)
    with pytest.raises(PolyteiaProtocolError):
        export(tmp_path / f"rows.{kind}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_task(source, tmp_path, kind):
    """A task fails in the same way, and keeps the file of yesterday."""
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(b"yesterday's")
    source.response = plain(CONTENTS[kind][:-2])
    with pytest.raises(PolyteiaTransportError):
        PolyteiaToFileOperator(task_id="export", dataset_id="ds_1", destination=str(path)).execute({})
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], b"yesterday's")


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("kind", CONTENTS)
def test_parts_of_any_size(kind, size):
    """The checks do not depend on how a file is divided into parts."""
    content = CONTENTS[kind] if kind != "json" else json.dumps([{"a\\": '"[\\'}] * 200).encode()
    content_type = {"json": "application/json", "csv": "text/csv"}.get(kind, "application/vnd.apache.parquet")
    for end, is_complete in ((len(content), True), (len(content) - 3, False)):
        check = new_end_check(content_type) if kind != "xlsx" else new_end_check(XLSX)
        for start in range(0, end, size):
            check.feed(content[start : min(start + size, end)])
        expected = is_complete or kind == "csv"
        assert (check.problem(is_delimited=True) == "") is expected


XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def test_workbook_with_a_comment():
    """The comment of a ZIP archive belongs to it."""
    file = io.BytesIO(CONTENTS["xlsx"])
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"made by hand"
    for cut, problem in ((None, ""), (-1, "an Excel workbook that is incomplete or damaged")):
        check = new_end_check(XLSX)
        check.feed(file.getvalue()[:cut])
        assert check.problem(is_delimited=False) == problem
