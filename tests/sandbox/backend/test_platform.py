"""Stored data of the platform: ingest, replacement, and snapshots."""

from __future__ import annotations

import time

CSV = b"day,amount,note\n2026-01-01,1234.50,K\xc3\xa4mmerei\n2026-01-02,99.10,\n"


def test_an_upload_replaces_all_data(api, sandbox, dataset):
    """A second upload replaces rows, columns and the file of the first."""
    api.upload(api.upload_token(dataset), CSV)
    api.upload(api.upload_token(dataset), b"x\n1\n")
    assert sandbox.content(dataset) == b"x\n1\n"
    assert list(sandbox.datasets[0]["metadata"]["schema"]["columns"]) == ["x"]
    assert len(list((sandbox.platform.files.root / "files").iterdir())) == 1


def test_the_ingest_can_be_delayed(start, connect):
    """With an ingest delay `/upload` returns before the data is visible."""
    sandbox = start(ingest_delay=0.3)
    api = connect(sandbox)
    dataset = api.new_dataset()
    api.upload(api.upload_token(dataset), CSV)
    assert "metadata" not in api.data("query", "get_dataset", id=dataset)
    deadline = time.monotonic() + 5
    while "metadata" not in api.data("query", "get_dataset", id=dataset):
        assert time.monotonic() < deadline
    assert sandbox.content(dataset) == CSV


def test_a_file_in_use_stays_readable(api, dataset, sandbox):
    """A file in use stays readable while an upload replaces it."""
    api.upload(api.upload_token(dataset), CSV)
    asset = sandbox.platform.store.get("asset", dataset)
    with sandbox.platform.readable([asset]) as files:
        api.upload(api.upload_token(dataset), b"x\n1\n")
        path, content_type = files[dataset]
        assert path.read_bytes() == CSV
        assert content_type == "text/csv"
