"""What the hook tells Airflow's hook lineage: Airflow's own collector is asked afterwards."""

from __future__ import annotations

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
    """A collector that collects: Airflow's own does so only if a plugin wants to know."""
    hook = pytest.importorskip("airflow.providers.common.compat.lineage.hook")
    collecting = HookLineageCollector()
    if not hasattr(collecting, "add_input_asset"):
        pytest.skip("Airflow 2's collector is adapted where Airflow hands it out")
    monkeypatch.setattr(hook, "get_hook_lineage_collector", lambda: collecting)
    monkeypatch.setattr(lineage, "lineage_is_read", lambda: True)
    return collecting


@pytest.fixture
def hook(connected):
    with PolyteiaHook() as used:
        yield used


@pytest.fixture
def name(connected):
    """The URI of a dataset on the platform."""
    return lambda dataset_id: f"polyteia://{connected.url.removeprefix('http://')}/{dataset_id}"


def collected(collector):
    found = collector.collected_assets
    return [item.asset.uri for item in found.inputs], [item.asset.uri for item in found.outputs]


def test_records(connected, hook, collector, name):
    """Creating and updating a dataset writes to it; asking for it is no reading of its data."""
    connected.answer(data(RECORD))
    hook.create_dataset(name="D", solution_id="sol_1", slug="d")
    hook.get_dataset("ds_1")
    assert collected(collector) == ([], [name("ds_1")])
    hook.update_dataset("ds_1", name="E")
    assert collected(collector) == ([], [name("ds_1")])


def test_nobody_reads(connected, hook, collector, monkeypatch):
    """If no plugin reads lineage, the collector, which is slow to make, is not asked for."""
    monkeypatch.setattr(lineage, "lineage_is_read", lambda: False)
    connected.answer(data(RECORD))
    hook.create_dataset(name="D", solution_id="sol_1", slug="d")
    assert collected(collector) == ([], [])


def test_upload(connected, hook, collector, name, tmp_path):
    """An upload reads a file and writes a dataset; the bytes go along."""
    file = tmp_path / "trees.csv"
    file.write_bytes(b"a\n1\n")
    connected.answer(data({"token": "t"}), data(None))
    hook.upload_dataset("ds_1", file)
    assert collected(collector) == ([file.as_uri()], [name("ds_1")])
    assert collector.collected_assets.outputs[0].asset.extra == {"bytes": 4}


def test_upload_of_an_open_file(connected, hook, collector, name, tmp_path):
    """Where an open file comes from is not known."""
    file = tmp_path / "trees.csv"
    file.write_bytes(b"a\n1\n")
    connected.answer(data({"token": "t"}), data(None))
    with file.open("rb") as opened:
        hook.upload_dataset("ds_1", opened)
    assert collected(collector) == ([], [name("ds_1")])


def test_sql(connected, hook, collector, name):
    """A query reads its datasets."""
    connected.answer(data({"rows": []}))
    hook.execute_sql("SELECT * FROM {a}, {b}", {"a": "ds_1", "b": "ds_2"})
    assert collected(collector) == ([name("ds_1"), name("ds_2")], [])


def test_what_fails_is_not_reported(connected, hook, collector):
    """Only what has happened is lineage."""
    connected.answer(status(403))
    with pytest.raises(PolyteiaError):
        hook.execute_sql("SELECT 1", ["ds_1"])
    assert collected(collector) == ([], [])


def test_name_that_no_asset_may_have(connected, hook, collector, caplog):
    """Work that was done does not fail because lineage cannot name it."""
    connected.answer(data(RECORD | {"id": "strange id"}))
    assert hook.create_dataset(name="D", solution_id="sol_1", slug="d")["id"] == "strange id"
    assert "Lineage does not show this output" in caplog.text


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (Path("/data/grüne Bäume.csv"), "file:///data/gr%C3%BCne%20B%C3%A4ume.csv"),
        ("file:///data/trees.csv", "file:///data/trees.csv"),
        ("s3://conn@bucket/key.csv", "s3://bucket/key.csv"),
        ("s3://bucket/key.csv", "s3://bucket/key.csv"),
    ],
)
def test_file_uri(path, uri):
    """A file's URI does not say through which Airflow connection it was reached."""
    assert lineage.file_uri(ObjectStoragePath(path) if isinstance(path, str) else path) == uri
