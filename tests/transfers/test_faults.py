"""Every fault of the sandbox during uploads and exports, with the data compared by checksum afterwards."""

from __future__ import annotations

import hashlib

import pytest
from conftest import KEY

from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
    PolyteiaServerError,
    PolyteiaTransportError,
)

pytestmark = pytest.mark.slow  # waits for real timeouts

BEFORE = b"id,name\n1,Before\n"

# Fault -> the exception if every attempt fails with it.
LOST = {
    **dict.fromkeys(["drop-at:1", "drop-at:50", "drop-at:99"], PolyteiaTransportError),
    **dict.fromkeys(["drop-before", "close-before", "hang:9"], PolyteiaTransportError),
    **dict.fromkeys(["garbage", "html"], PolyteiaProtocolError),
    "huge:3": PolyteiaServerError,
    **dict.fromkeys(["status:500", "status:502", "status:503", "unavailable:1", "body-error:500"], PolyteiaServerError),
    "retry-after:1": PolyteiaAPIError,
}
UPLOAD_ONLY = {
    "drop-at:100": PolyteiaTransportError,
    **dict.fromkeys(["drop-after", "close-after", "hang-after:9"], PolyteiaTransportError),
    **dict.fromkeys(["garbage-after", "html-after"], PolyteiaProtocolError),
    **dict.fromkeys(["status-after:502", "body-error-after:500"], PolyteiaServerError),
}
EXPORT_ONLY = {
    "short": PolyteiaTransportError,
    "wrong-length": PolyteiaProtocolError,
    "partial": PolyteiaProtocolError,
    "no-bytes": PolyteiaProtocolError,
    "unframed": PolyteiaTransportError,
    "gzip-short": PolyteiaTransportError,
    "unknown-coding": PolyteiaTransportError,
}
# A rejected token is replaced once, regardless of the reason.
REPLACED = {
    **dict.fromkeys(["status:401", "body-error:401"], PolyteiaAuthenticationError),
    **dict.fromkeys(["status:404", "body-error:404"], PolyteiaNotFoundError),
}
REJECTED = {
    **dict.fromkeys(["status:400", "body-error:400"], PolyteiaBadRequestError),
    **dict.fromkeys(["status:403", "body-error:403"], PolyteiaPermissionError),
    "status:413": PolyteiaAPIError,
    "redirect": PolyteiaProtocolError,
}
PARTS = ["drop-at:50", "drop-at:99", "close-before", "short", "wrong-length", "partial", "unframed", "gzip-short"]
UNAFFECTED = ["slow:20000000"]
EXPORT_UNAFFECTED = [*UNAFFECTED, "drop-at:100"]  # everything arrives before the connection is reset

UPLOAD, EXPORT = LOST | UPLOAD_ONLY | REPLACED | REJECTED, LOST | EXPORT_ONLY | REPLACED | REJECTED


def idle_timeout(fault):
    return 1.0 if fault.startswith("hang") else None


def checksum(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("fault", [*(fault for fault in UPLOAD if fault not in REJECTED), *UNAFFECTED])
def test_upload_after_a_fault(hook, sandbox, dataset_id, csv_file, fault):
    """An upload that fails once is retried completely, with a new token; the platform stores the same bytes."""
    sandbox.faults.add(f"/upload:{fault}:1")
    hook.upload_dataset(dataset_id, csv_file, timeout=idle_timeout(fault))
    assert checksum(sandbox.content(dataset_id)) == checksum(csv_file.read_bytes())
    attempts = 1 if fault in UNAFFECTED else 2
    assert sandbox.count("generate_dataset_upload_token") == attempts
    tokens = [request.headers["x-upload-token"] for request in sandbox.requests if request.path == "/upload"]
    assert len(set(tokens)) == len(tokens)


@pytest.mark.parametrize("fault", UPLOAD)
def test_upload_that_never_succeeds(make_hook, sandbox, dataset_id, csv_file, fault):
    """An upload that always fails raises the matching exception; the data is unchanged, or complete."""
    sandbox.faults.add(f"/upload:{fault}")
    with pytest.raises(UPLOAD[fault]):
        make_hook(max_attempts=3).upload_dataset(dataset_id, csv_file, timeout=idle_timeout(fault))
    expected = csv_file.read_bytes() if fault in UPLOAD_ONLY and fault != "drop-at:100" else BEFORE
    assert checksum(sandbox.content(dataset_id)) == checksum(expected)
    attempts = 1 if fault in REJECTED else 2 if fault in REPLACED else 3
    assert sandbox.count("generate_dataset_upload_token") == attempts


@pytest.mark.parametrize("fault", [*(fault for fault in EXPORT if fault not in REJECTED), *EXPORT_UNAFFECTED])
def test_export_after_a_fault(hook, sandbox, dataset_id, tmp_path, fault):
    """A download that fails once is retried with a new token; the file is complete, and no other file is left."""
    sandbox.upload(dataset_id, b"id,name\n" + b"".join(b"%d,M\xc3\xbcller %d\n" % (i, i * i) for i in range(5_000)))
    sandbox.faults.add(f"/download:{fault}:1")
    path = tmp_path / "rows.parquet"
    exported = hook.export("FROM {bookings}", {"bookings": dataset_id}, path, timeout=idle_timeout(fault))
    assert exported["bytes"] == path.stat().st_size
    assert exported["rows"] == 5_000
    assert list(tmp_path.iterdir()) == [path]
    assert sandbox.count("generate_query_export_token") == (1 if fault in EXPORT_UNAFFECTED else 2)


@pytest.mark.parametrize(
    ("fault", "extension"),
    [
        (fault, extension)
        for fault in EXPORT
        # Only a part of a file can be taken for a file, and each format shows its end in another way.
        for extension in (("parquet", "csv", "json") if fault in PARTS else ("parquet",))
        if (fault, extension) != ("wrong-length", "csv")  # may end within the last column, which nothing shows
    ],
)
def test_export_that_never_succeeds(make_hook, sandbox, dataset_id, tmp_path, fault, extension):
    """A download that always fails raises the matching exception; the existing file is unchanged."""
    path = tmp_path / f"rows.{extension}"
    path.write_bytes(b"yesterday's")
    sandbox.faults.add(f"/download:{fault}")
    with pytest.raises(EXPORT[fault]):
        make_hook(max_attempts=3).export(f"FROM '{dataset_id}'", [dataset_id], path, timeout=idle_timeout(fault))
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], b"yesterday's")
    attempts = 1 if fault in REJECTED else 2 if fault in REPLACED else 3
    assert sandbox.count("generate_query_export_token") == attempts


def test_no_token_for_an_upload(make_hook, sandbox, dataset_id, csv_file):
    """Without a token, nothing is uploaded; the request for the token is retried within the same limits."""
    sandbox.faults.add("generate_dataset_upload_token:status:502")
    with pytest.raises(PolyteiaServerError, match="Giving up after 3 attempt"):
        make_hook(max_attempts=3).upload_dataset(dataset_id, csv_file)
    assert (sandbox.count("generate_dataset_upload_token"), sandbox.count("/upload")) == (3, 0)


def test_no_token_for_an_export(make_hook, sandbox, dataset_id, tmp_path):
    """Without a token, nothing is downloaded, and no file is left."""
    sandbox.faults.add("generate_query_export_token:status:502")
    with pytest.raises(PolyteiaServerError, match="Giving up after 3 attempt"):
        make_hook(max_attempts=3).export(f"FROM '{dataset_id}'", [dataset_id], tmp_path / "x.parquet")
    assert (sandbox.count("generate_query_export_token"), sandbox.count("/download")) == (3, 0)
    assert list(tmp_path.iterdir()) == []


def test_revoked_key(make_hook, sandbox, dataset_id, csv_file):
    """An invalid key fails at the request for the token, once, before a byte of the file is sent."""
    with pytest.raises(PolyteiaAuthenticationError, match="Personal Access Keys"):
        make_hook(password=KEY).upload_dataset(dataset_id, csv_file)
    assert (sandbox.count("generate_dataset_upload_token"), sandbox.count("/upload")) == (1, 0)


def test_many_dropped_connections(make_hook, sandbox, dataset_id, csv_file):
    """With a third of all requests dropped, each upload is stored completely or not at all."""
    sandbox.faults.add("/upload:drop-at:50:p=0.3", "generate_dataset_upload_token:drop-after:p=0.3")
    hook = make_hook(max_attempts=4)
    outcomes = set()
    for number in range(12):
        content = b"id\n%d\n" % number * 50_000
        before = sandbox.content(dataset_id)
        csv_file.write_bytes(content)
        try:
            hook.upload_dataset(dataset_id, csv_file)
        except PolyteiaError:
            assert sandbox.content(dataset_id) == before
            outcomes.add("failed")
        else:
            assert sandbox.content(dataset_id) == content
            outcomes.add("done")
    assert "done" in outcomes
