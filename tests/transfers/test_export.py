"""Exports: what is requested, what counts as the file, where it is written, and that no token is logged."""

from __future__ import annotations

import io
import json
import logging
import os
import resource
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from conftest import KEY
from servers import DROP, body_error, data, status

from airflow_provider_polyteia.client.formats import BY_EXTENSION
from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
    PolyteiaTransportError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

TOKEN = "export/token+SECRET=1"
DATASET = "ds_d2k7p8f4c5v1s8h3q9v0"
PARQUET = "application/vnd.apache.parquet"


def parquet(rows=3):
    file = io.BytesIO()
    pq.write_table(pa.table({"id": range(rows)}), file)
    return file.getvalue()


def responding(server, *replies):
    """Make the server issue a token before each reply."""
    tokens = [data({"token": TOKEN})] * len(replies)
    server.respond(*[reply for pair in zip(tokens, replies, strict=True) for reply in pair])


@pytest.fixture
def local(make_hook, server):
    """A hook of the scripted server that makes up to three attempts."""
    return make_hook(host=server.url, password=KEY, max_attempts=3)


def export(hook, path, sql=f"FROM '{DATASET}'", datasets=(DATASET,), **options):
    return hook.export(sql, list(datasets), path, **options)


def test_wire(local, server, tmp_path):
    """The documented command with all its params, then a GET with the bearer and the quoted token."""
    responding(server, status(200, parquet(), content_type=PARQUET))
    path = tmp_path / "rows.parquet"
    assert export(local, path, args=[1, "ä"]) == {
        "path": str(path),
        "bytes": len(parquet()),
        "rows": 3,
        "content_type": PARQUET,
        "datasets": [DATASET],
    }
    token_request, download = server.requests
    assert token_request.json == {
        "command": "generate_query_export_token",
        "params": {"sql": f"FROM '{{{{{DATASET}}}}}'", "datasets": [DATASET], "args": [1, "ä"], "format": PARQUET},
    }
    assert (download.verb, download.path) == ("GET", f"/download?token={quote(TOKEN, safe='')}")
    assert download.headers["authorization"] == f"Bearer {KEY}"
    assert download.headers["accept-encoding"] == "identity"
    assert path.read_bytes() == parquet()


@pytest.mark.parametrize(("extension", "content_type"), BY_EXTENSION.items())
def test_format_by_extension(local, server, tmp_path, extension, content_type):
    """The extension of the destination determines the requested format."""
    contents = {".parquet": parquet(), ".xlsx": b"PK\x05\x06" + bytes(18)}
    content = contents.get(extension, b'[{"id": 1}]')
    responding(server, status(200, content, content_type=content_type))
    assert export(local, tmp_path / f"rows{extension}")["content_type"] == content_type
    assert server.requests[0].json["params"]["format"] == content_type


def test_format_by_argument(local, server, tmp_path):
    """The argument `format` is sent; without it, an unknown extension is rejected."""
    with pytest.raises(PolyteiaConfigurationError, match="argument 'format'"):
        export(local, tmp_path / "rows.dat")
    responding(server, status(200, b"a\n1\n", content_type="text/plain"))
    assert export(local, tmp_path / "rows.dat", format="text/csv")["bytes"] == 4


def test_destinations(hook, sandbox, dataset_id, tmp_path, object_storage):
    """Strings, URLs and ObjectStoragePaths work on file systems and in object storage; only the file is left."""
    url = str(ObjectStoragePath(f"{object_storage}/sub/rows.csv"))  # older versions write memory:///
    places = [str(tmp_path / "a.csv"), f"file://{tmp_path}/b.csv", ObjectStoragePath(f"file://{tmp_path}/c.csv"), url]
    for place in places:
        assert export(hook, place, f"FROM '{dataset_id}'", [dataset_id])["path"] == str(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "c.csv"]
    assert ObjectStoragePath(url).open("rb").read() == (tmp_path / "a.csv").read_bytes() == b"id,name\n1,Before\n"
    assert [path.name for path in ObjectStoragePath(f"{object_storage}/sub").iterdir()] == ["rows.csv"]


def test_object_storage_after_a_failure(make_hook, sandbox, dataset_id, object_storage):
    """A failed download leaves nothing in the storage, and does not change the existing object."""
    path = ObjectStoragePath(f"{object_storage}/rows.csv")
    with path.open("wb") as file:
        file.write(b"yesterday's")
    sandbox.faults.add("/download:drop-at:50")
    with pytest.raises(PolyteiaTransportError):
        export(make_hook(max_attempts=2), path, f"FROM '{dataset_id}'", [dataset_id])
    assert [found.name for found in ObjectStoragePath(object_storage).iterdir()] == ["rows.csv"]
    with path.open("rb") as file:
        assert file.read() == b"yesterday's"


def test_values_survive(hook, sandbox, dataset_id, tmp_path):
    """The exported rows are those of the query, with arguments, names and umlauts."""
    sandbox.upload(dataset_id, "id,straße\n1,Müllerstraße\n2,Öhringer Weg\n".encode())
    path = tmp_path / "rows.parquet"
    exported = hook.export("SELECT straße FROM {streets} WHERE id = ?", {"streets": dataset_id}, path, args=[2])
    assert exported["rows"] == 1
    assert pq.read_table(path).to_pylist() == [{"straße": "Öhringer Weg"}]


@pytest.mark.parametrize(
    ("reply", "error", "attempts"),
    [
        (status(200, b"<html>x</html>", content_type="text/html"), PolyteiaProtocolError, 3),
        (status(200, b"<html>x</html>", content_type=PARQUET), PolyteiaProtocolError, 3),
        (status(200, b'{"error": {"code": 403, "message": "no"}}'), PolyteiaPermissionError, 1),
        (status(200, b'{"error": "gone", "data": 1}'), PolyteiaError, 3),
        (status(200, b'{"code": 404, "message": "not found"}'), PolyteiaNotFoundError, 2),
        (status(200, b'{"data": {}}'), PolyteiaProtocolError, 3),
        (status(200, b"", content_type=PARQUET), PolyteiaProtocolError, 3),
        (status(200, parquet()[:-1], content_type=PARQUET), PolyteiaProtocolError, 3),
        (status(200, b"x" + parquet(), content_type=PARQUET), PolyteiaProtocolError, 3),
        (status(302, b"", location="/elsewhere"), PolyteiaProtocolError, 1),
        (status(200, b"x", content_length="5", content_type=PARQUET), PolyteiaTransportError, 3),
        (DROP, PolyteiaTransportError, 3),
    ],
)
def test_replies_that_are_not_the_file(local, server, tmp_path, reply, error, attempts):
    """A web page, an error, another format, an incomplete file and an empty body raise, and leave no file."""
    responding(server, *[reply] * 3)
    with pytest.raises(error):
        export(local, tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []
    assert sum(request.verb == "GET" for request in server.requests) == attempts


@pytest.mark.parametrize("body", [b'{"error": {"code": 403, "message": "no"}}', b'{"code": 403, "message": "no"}'])
def test_error_instead_of_a_json_file(local, server, tmp_path, body):
    """If JSON is requested, an error is distinguished from rows."""
    responding(server, status(200, body))
    with pytest.raises(PolyteiaPermissionError):
        export(local, tmp_path / "rows.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "rows", [[], [{"error": None}], {"id": 1}, [{"code": 1, "message": "x"}] * 9000], ids=lambda rows: str(rows)[:9]
)
def test_json_rows_that_resemble_errors(local, server, tmp_path, rows):
    """Rows that resemble errors are exported as rows."""
    responding(server, status(200, json.dumps(rows).encode()))
    export(local, tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == rows


def test_rejected_export_token(local, server, tmp_path):
    """A rejected export token is replaced by a new one, once."""
    server.respond(
        data({"token": "first"}), status(401), data({"token": "second"}), status(200, b"a\n", content_type="text/csv")
    )
    export(local, tmp_path / "rows.csv")
    assert [r.path for r in server.requests if r.verb == "GET"] == ["/download?token=first", "/download?token=second"]


def test_no_token_is_logged(make_hook, server, tmp_path, caplog):
    """At level DEBUG, neither the log, including urllib3's, nor the error contains the token; it is masked."""
    masked = []
    caplog.set_level(logging.DEBUG)
    hook = make_hook(host=server.url, password=KEY, on_secret=masked.append, max_attempts=2)
    responding(server, status(502, TOKEN.encode(), content_type="text/plain"), DROP)
    with pytest.raises(PolyteiaTransportError) as caught:
        export(hook, tmp_path / "rows.csv")
    assert {TOKEN, quote(TOKEN, safe="")} <= set(masked)
    assert '"GET /download?*** HTTP/1.1" 502' in caplog.text
    chain, error = "", caught.value
    while error is not None:
        chain += repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__
    for secret in (TOKEN, quote(TOKEN, safe=""), KEY):
        assert secret not in caplog.text + chain


def test_disk_full(local, server, tmp_path):
    """A file that cannot be written completely is removed, the error contains the reason; there is no retry."""
    responding(server, status(200, bytes(1_000_000), content_type="text/csv"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        with pytest.raises(PolyteiaError, match=r"rows.csv' could not be written: File too large"):
            export(local, tmp_path / "rows.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 2


def test_missing_directory(local):
    """The error names the directory as the cause, because the file itself need not exist."""
    with pytest.raises(
        PolyteiaError, match=r"'/nowhere/rows.csv' cannot be written: its directory does not exist on this worker"
    ):
        export(local, "/nowhere/rows.csv")


@pytest.mark.parametrize(
    ("place", "is_final"), [("/nowhere/rows.csv", False), ("/proc/rows.csv", False), ("nosuch://bucket/rows.csv", True)]
)
def test_destination_that_cannot_be_written(local, server, place, is_final):
    """It fails before anything is sent; the task may be retried, unless the storage is not supported at all."""
    with pytest.raises(PolyteiaError, match=r"cannot be written|is not a supported storage URL") as caught:
        export(local, place)
    assert isinstance(caught.value, AirflowFailException) is is_final
    assert server.requests == []


@pytest.mark.parametrize(
    ("extra", "replies"),
    [
        ({}, [data({"token": "a"}), body_error(404, "unknown token"), data({"token": "b"})]),
        (
            {"organization_id": "org_1"},
            [
                status(200, b'{"token": "first"}'),
                data({"token": "a"}),
                body_error(401, "expired"),
                status(200, b'{"token": "second"}'),
            ],
        ),
    ],
    ids=["export token", "access token"],
)
def test_rejected_token_leaves_nothing_in_the_file(connect, server, tmp_path, extra, replies):
    """If JSON is requested, an error inside HTTP 200 is not written to the file before the rows of the next try."""
    connect(host=server.url, extra=extra)
    rows = json.dumps([{"a": "x" * 200_000}]).encode()
    server.respond(*replies, status(200, rows))
    with PolyteiaHook() as hook:
        exported = export(hook, tmp_path / "rows.json")
    assert (tmp_path / "rows.json").read_bytes() == rows
    assert exported["bytes"] == len(rows)


def test_deeply_nested_json(local, server, tmp_path):
    """Rows that are nested too deeply to be parsed are neither mistaken for an error nor raise one."""
    rows = b"[" * 20_000 + b"]" * 20_000
    responding(server, status(200, rows))
    export(local, tmp_path / "rows.json")
    assert (tmp_path / "rows.json").read_bytes() == rows


def test_symbolic_link(local, server, tmp_path):
    """A link stays a link, its target keeps its mode, and the target's name may have the maximum length."""
    target, link = tmp_path / ("x" * 240 + ".csv"), tmp_path / "rows.csv"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    responding(server, status(200, b"a\n1\n", content_type="text/csv"))
    export(local, link)
    assert link.is_symlink()
    assert target.read_bytes() == b"a\n1\n"
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("reply", [status(200, b"a\n", content_type="text/csv"), status(403)])
def test_storage_that_cannot_remove_the_temporary_file(local, server, tmp_path, monkeypatch, caplog, reply):
    """If a temporary file with a name cannot be removed, a warning is logged; the result or error is kept."""

    def fail(*_, **__):
        raise ConnectionError("storage failure")

    responding(server, reply)
    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setattr(Path, "unlink", fail)
    if reply.status == 200:
        export(local, tmp_path / "rows.csv")
        assert (tmp_path / "rows.csv").read_bytes() == b"a\n"
    else:
        with pytest.raises(PolyteiaPermissionError):
            export(local, tmp_path / "rows.csv")
        assert f"A temporary file may be left beside '{tmp_path}/rows.csv': " in caplog.text


def test_file_whose_rows_cannot_be_counted(local, server, tmp_path, caplog):
    """A file with both magic numbers of Parquet is kept even if it cannot be parsed; a warning is logged."""
    responding(server, status(200, b"PAR1 rows PAR1", content_type="application/octet-stream"))
    exported = export(local, tmp_path / "rows.parquet")
    assert exported["rows"] is None
    assert (tmp_path / "rows.parquet").read_bytes() == b"PAR1 rows PAR1"
    assert "rows.parquet' could not be counted: " in caplog.text


@pytest.mark.parametrize(
    ("sql", "datasets", "sent", "ids"),
    [
        (f"FROM '{DATASET}'", [DATASET], f"FROM '{{{{{DATASET}}}}}'", [DATASET]),
        (f"FROM '{DATASET}'", DATASET, f"FROM '{{{{{DATASET}}}}}'", [DATASET]),
        (f"FROM '{{{{{DATASET}}}}}'", [DATASET], f"FROM '{{{{{DATASET}}}}}'", [DATASET]),
        ("FROM {b} JOIN '{b}'", {"b": "ds_1"}, "FROM '{{ds_1}}' JOIN '{{ds_1}}'", ["ds_1"]),
        ("SELECT {'b': 1} FROM {b}", {"b": "ds_1"}, "SELECT {'b': 1} FROM '{{ds_1}}'", ["ds_1"]),
        ("FROM {a}, {b}", {"a": "ds_1", "b": "ds_1"}, "FROM '{{ds_1}}', '{{ds_1}}'", ["ds_1"]),
        ("SELECT 1", [], "SELECT 1", []),
    ],
)
def test_references(local, server, tmp_path, sql, datasets, sent, ids):
    """Ids in quotes and names in braces are translated to the platform's syntax."""
    responding(server, status(200, b"a\n", content_type="text/csv"))
    local.export(sql, datasets, tmp_path / "rows.csv")
    params = server.requests[0].json["params"]
    assert (params["sql"], params["datasets"]) == (sent, ids)


@pytest.mark.parametrize(
    ("sql", "datasets", "problem"),
    [
        ("FROM 'x'", ["ds_1'}} --"], "must look like"),
        ("FROM {x}", {"x": "bookings"}, "dataset id of 'x' is 'bookings'"),
        ("FROM {x}", {"x": "ds_1", "y": "ds_2"}, "'datasets' defines 'y', but the SQL statement does not use {y}"),
        ("FROM ''", ["ds_1"], "does not reference 'ds_1'"),
        ("FROM '{{ds_1}}', '{{ds_2}}'", ["ds_1"], "uses the dataset 'ds_2'"),
        ("  ", ["ds_1"], "non-empty"),
        (None, ["ds_1"], "non-empty"),
        ("FROM {x}", {"x": None}, "must look like"),
    ],
)
def test_unusable_references(local, server, tmp_path, sql, datasets, problem):
    """An invalid id, or a dataset that is missing on one side, is rejected before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match=problem):
        local.export(sql, datasets, tmp_path / "rows.csv")
    assert server.requests == []
