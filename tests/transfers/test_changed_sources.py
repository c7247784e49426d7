"""Uploads of files that are overwritten or replaced, with the same size, while they are read."""

from __future__ import annotations

import io
import os
from contextlib import nullcontext

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_polyteia.client import progress
from airflow_provider_polyteia.exceptions import PolyteiaDataError, PolyteiaError, PolyteiaTransportError
from airflow_provider_polyteia.tables.conversion import convert as conversion
from airflow_provider_polyteia.tables.conversion import parquet_files

pytestmark = pytest.mark.slow  # many conversions

OLD = b"id\n" + b"1\n" * 400_000
NEW = b"id\n" + b"2\n" * 400_000
BEFORE = b"id,name\n1,Before\n"
CHANGED = "was changed or replaced while it was read"


def overwrite(path):
    """Write in place, as programs do that do not rename."""
    with path.open("r+b") as file:
        file.write(NEW)


def overwrite_later(path):
    """Write after the upload has read its last byte, but a part of it before was already sent."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"2\n")


def replace(path):
    """Write beside it, and rename."""
    beside = path.with_name("beside")
    beside.write_bytes(NEW)
    beside.replace(path)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "bookings.csv"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def in_the_middle(monkeypatch):
    """Call a function once, after the first part of an upload was read."""

    def arrange(change):
        advance = progress.Progress.advance
        changes = [change]

        def advanced(self, count):
            if changes:
                changes.pop()()
            advance(self, count)

        monkeypatch.setattr(progress.Progress, "advance", advanced)

    return arrange


KINDS = {
    "path": lambda path: path,
    "URL": lambda path: f"file://{path}",
    "file object": lambda path: path.open("rb"),
    "unbuffered": lambda path: path.open("rb", buffering=0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [overwrite, overwrite_later])
def test_overwritten_while_it_is_sent(hook, sandbox, dataset_id, path, in_the_middle, kind, change):
    """The upload is aborted, although the size is the same; half of each file is never stored."""
    in_the_middle(lambda: change(path))
    source = KINDS[kind](path)
    with source if hasattr(source, "read") else nullcontext(), pytest.raises(PolyteiaError, match=CHANGED) as caught:
        hook.upload_dataset(dataset_id, source, content_type="text/csv")
    assert not isinstance(caught.value, PolyteiaTransportError)
    assert sandbox.content(dataset_id) == BEFORE
    assert sandbox.count("generate_dataset_upload_token") == 1


def test_replaced_while_it_is_sent(hook, sandbox, dataset_id, path, in_the_middle):
    """A file that is replaced by renaming stays readable, so all of the old one is stored."""
    in_the_middle(lambda: replace(path))
    hook.upload_dataset(dataset_id, path)
    assert sandbox.content(dataset_id) == OLD


@pytest.mark.parametrize("change", [overwrite, replace])
def test_changed_between_two_attempts(hook, sandbox, dataset_id, path, in_the_middle, change):
    """Another file than the one that was checked is not sent, even if an attempt failed before."""
    sandbox.faults.add("/upload:drop-at:1:1")
    in_the_middle(lambda: change(path))
    with pytest.raises(PolyteiaError, match=CHANGED):
        hook.upload_dataset(dataset_id, path)
    assert sandbox.content(dataset_id) == BEFORE


@pytest.mark.parametrize("change", [overwrite, replace])
def test_changed_between_check_and_upload(hook, sandbox, dataset_id, path, monkeypatch, change):
    """Another file than the one that was checked is not sent."""
    client = hook.get_conn()
    run = client.run

    def changing(operation, **options):
        if operation.name == "/upload":
            change(path)
        return run(operation, **options)

    monkeypatch.setattr(client, "run", changing)
    with pytest.raises(PolyteiaError, match=CHANGED):
        hook.upload_dataset(dataset_id, path)
    assert sandbox.content(dataset_id) == BEFORE


def test_object_in_storage(hook, sandbox, dataset_id, object_storage, in_the_middle):
    """An object that is replaced aborts the upload."""
    stored = ObjectStoragePath(f"{object_storage}/bookings.csv")

    def write(content):
        with stored.open("wb") as file:
            file.write(content)

    write(OLD)
    in_the_middle(lambda: write(NEW))
    with pytest.raises(PolyteiaError, match=CHANGED):
        hook.upload_dataset(dataset_id, stored)
    assert sandbox.content(dataset_id) == BEFORE
    hook.upload_dataset(dataset_id, stored)
    assert sandbox.content(dataset_id) == NEW


def test_file_object_in_storage(hook, sandbox, dataset_id, object_storage, in_the_middle):
    """So does an object that was opened before, if its file object names it."""
    stored = ObjectStoragePath(f"{object_storage}/bookings.csv")
    stored.write_bytes(OLD)

    class Opened(io.BytesIO):
        fs, path = stored.fs, stored.path

    in_the_middle(lambda: stored.write_bytes(NEW))
    with pytest.raises(PolyteiaError, match=CHANGED):
        hook.upload_dataset(dataset_id, Opened(OLD), content_type="text/csv")
    assert sandbox.content(dataset_id) == BEFORE


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_overwritten_while_it_is_converted(hook, sandbox, dataset_id, path, monkeypatch):
    """A file that is read where it is, several times, is not converted half old and half new."""
    write = conversion._WRITERS["csv"]

    def writing(*args):
        table = write(*args)
        overwrite(path)
        return table

    monkeypatch.setitem(conversion._WRITERS, "csv", writing)
    with pytest.raises(PolyteiaError, match=CHANGED):
        hook.upload_dataset(dataset_id, path, convert=True)
    assert sandbox.content(dataset_id) == BEFORE


@pytest.fixture
def folder(tmp_path):
    """A folder of Parquet files."""
    folder = tmp_path / "day"
    folder.mkdir()
    for number in range(2):
        pq.write_table(pa.table({"id": [number] * 1_000}), folder / f"{number}.parquet")
    return folder


def overwrite_member(path):
    pq.write_table(pa.table({"id": [7] * 1_000}), path)


def cut_member(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("change", [overwrite_member, cut_member])
@pytest.mark.parametrize("source", ["", "*.parquet"])
def test_file_of_a_folder(hook, sandbox, dataset_id, folder, monkeypatch, change, source):
    """A folder or a pattern of files is not converted while one of the files is written."""
    check = parquet_files._check_member

    def checking(member):
        layout = check(member)
        change(folder / "0.parquet")
        return layout

    monkeypatch.setattr(parquet_files, "_check_member", checking)
    with pytest.raises(PolyteiaError, match=rf"'0.parquet' of .* {CHANGED}"):
        hook.upload_dataset(dataset_id, folder / source, convert=True)
    assert sandbox.content(dataset_id) == BEFORE


def test_removed_file_of_a_folder(hook, sandbox, dataset_id, folder, monkeypatch):
    """A file that is removed while the folder is read is named."""
    check = parquet_files._check_member

    def checking(member):
        layout = check(member)
        (folder / "0.parquet").unlink(missing_ok=True)
        return layout

    monkeypatch.setattr(parquet_files, "_check_member", checking)
    with pytest.raises(PolyteiaError, match="No such file") as caught:
        hook.upload_dataset(dataset_id, folder, convert=True)
    assert not isinstance(caught.value, PolyteiaDataError)
    assert sandbox.content(dataset_id) == BEFORE


def test_read_and_renamed(hook, sandbox, dataset_id, path, in_the_middle):
    """Another name, other permissions or a read do not change the content, so the load succeeds."""

    def touch():
        path.chmod(0o600)
        path.read_bytes()
        path.rename(path.with_name("done.csv"))

    in_the_middle(touch)
    hook.upload_dataset(dataset_id, path)
    assert sandbox.content(dataset_id) == OLD
