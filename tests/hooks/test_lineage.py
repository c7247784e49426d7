"""What the hook reports to hook lineage, checked with Airflow's own collector."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import HookLineageCollector, ObjectStoragePath
from servers import data, status

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.hooks import lineage
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

RECORD = {"id": "ds_1", "name": "D", "solution_id": "sol_1", "slug": "d"}


@pytest.fixture
def collector(monkeypatch):
    """An active collector; Airflow's default one collects only if a plugin reads lineage."""
    hook = pytest.importorskip("airflow.providers.common.compat.lineage.hook")
    collecting = HookLineageCollector()
    if not hasattr(collecting, "add_input_asset"):
        pytest.skip("the compat provider adapts the collector of Airflow 2 only where it returns it")
    monkeypatch.setattr(hook, "get_hook_lineage_collector", lambda: collecting)
    monkeypatch.setattr(lineage, "lineage_is_read", lambda: True)
    return collecting


@pytest.fixture
def hook(connected):
    with PolyteiaHook() as used:
        yield used


@pytest.fixture
def uri_of(connected):
    """Return the URI of a dataset on the platform."""
    return lambda dataset_id: f"polyteia://{connected.url.removeprefix('http://')}/{dataset_id}"


def collected(collector):
    found = collector.collected_assets
    return [item.asset.uri for item in found.inputs], [item.asset.uri for item in found.outputs]


def test_records(connected, hook, collector, uri_of):
    """Creating and updating a dataset counts as output; querying its record does not count as input."""
    connected.respond(data(RECORD))
    hook.create_dataset(name="D", solution_id="sol_1", slug="d")
    hook.get_dataset("ds_1")
    assert collected(collector) == ([], [uri_of("ds_1")])
    hook.update_dataset("ds_1", name="E")
    assert collected(collector) == ([], [uri_of("ds_1")])


def test_no_plugin_reads_lineage(connected, hook, collector, monkeypatch):
    """If no plugin reads lineage, the collector, which is slow to create, is not used."""
    monkeypatch.setattr(lineage, "lineage_is_read", lambda: False)
    connected.respond(data(RECORD))
    hook.create_dataset(name="D", solution_id="sol_1", slug="d")
    assert collected(collector) == ([], [])


def test_upload(connected, hook, collector, uri_of, tmp_path):
    """An upload reads a file and writes a dataset; its size is reported too."""
    file = tmp_path / "trees.csv"
    file.write_bytes(b"a\n1\n")
    connected.respond(data({"token": "t"}), data(None))
    hook.upload_dataset("ds_1", file)
    assert collected(collector) == ([file.as_uri()], [uri_of("ds_1")])
    assert collector.collected_assets.outputs[0].asset.extra == {"bytes": 4}


def test_upload_of_an_open_file(connected, hook, collector, uri_of, tmp_path):
    """The origin of a file object is not known, so only the dataset is reported."""
    file = tmp_path / "trees.csv"
    file.write_bytes(b"a\n1\n")
    connected.respond(data({"token": "t"}), data(None))
    with file.open("rb") as opened:
        hook.upload_dataset("ds_1", opened)
    assert collected(collector) == ([], [uri_of("ds_1")])


def test_sql(connected, hook, collector, uri_of):
    """A query reads its datasets."""
    connected.respond(data({"rows": []}))
    hook.execute_sql("SELECT * FROM {a}, {b}", {"a": "ds_1", "b": "ds_2"})
    assert collected(collector) == ([uri_of("ds_1"), uri_of("ds_2")], [])


def test_failures_are_not_reported(connected, hook, collector):
    """A query that failed is not reported."""
    connected.respond(status(403))
    with pytest.raises(PolyteiaError):
        hook.execute_sql("SELECT 1", ["ds_1"])
    assert collected(collector) == ([], [])


def test_id_that_no_asset_may_have(connected, hook, collector, caplog):
    """A write does not fail because its dataset cannot be reported to lineage; a warning is logged."""
    connected.respond(data(RECORD | {"id": "strange id"}))
    assert hook.create_dataset(name="D", solution_id="sol_1", slug="d")["id"] == "strange id"
    assert "Could not report this output to hook lineage" in caplog.text


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (Path("/data/grüne Bäume.csv"), "file:///data/gr%C3%BCne%20B%C3%A4ume.csv"),
        (Path(os.fsdecode(b"/data/Stra\xdfe.csv")), "file:///data/Stra%DFe.csv"),
        ("file:///data/trees.csv", "file:///data/trees.csv"),
        ("s3://conn@bucket/key.csv", "s3://bucket/key.csv"),
        ("s3://bucket/key.csv", "s3://bucket/key.csv"),
        ("s3://bucket/a?b.csv", "s3://bucket/a?b.csv"),
        ("https://host/a.csv?X-Amz-Signature=S3CRET", "https://host/a.csv"),
        ("https://conn@host/a.csv", "https://host/a.csv"),
    ],
)
def test_file_uri(path, uri):
    """The URI of a file contains neither the Airflow connection of its storage nor what else grants access."""
    assert lineage.file_uri(ObjectStoragePath(path) if isinstance(path, str) else path) == uri
