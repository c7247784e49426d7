"""Files whose names are not UTF-8, as the operating system may return them for a share with Latin-1 names."""

from __future__ import annotations

import io
import os
import re

import pytest
from conftest import KEY
from encodable import HIGH_SURROGATE, assert_encodable, assert_log_encodable
from servers import data, status

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator

NAME = b"Stra\xdfe.csv"
SHOWN = "Stra\ufffde.csv"


@pytest.fixture
def path(tmp_path):
    """A path whose name is not UTF-8; skips the test if the file system rejects such names."""
    name = os.path.join(os.fsencode(tmp_path), NAME)  # noqa: PTH118 - pathlib has no paths of bytes
    try:
        with open(name, "wb"):  # noqa: PTH123 - pathlib has no paths of bytes
            pass
        os.remove(name)  # noqa: PTH107 - pathlib has no paths of bytes
    except OSError as error:
        pytest.skip(f"the file system rejects names that are not UTF-8: {error}")
    return tmp_path / os.fsdecode(NAME)


def names_in(directory):
    """Return the real names of the files in a directory, as bytes."""
    return os.listdir(os.fsencode(directory))  # noqa: PTH208 - pathlib has no names of bytes


def filename_sent(request):
    """Return the file name in the only part of an upload, decoded strictly as UTF-8."""
    return re.search(rb'filename="([^"]*)"', request.body)[1].decode("utf-8")


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["string", "path"])
def test_upload(make_hook, server, path, caplog, kind):
    """The upload succeeds; file name on the wire, result and log lines are valid UTF-8."""
    caplog.set_level("INFO")
    path.write_bytes(b"a\n1\n")
    server.respond(data({"token": "t"}), data(None))
    uploaded = make_hook(host=server.url, password=KEY).upload_dataset("ds_1", kind(path))
    assert filename_sent(server.requests[1]) == uploaded["filename"] == SHOWN
    assert (uploaded["bytes"], uploaded["content_type"]) == (4, "text/csv")
    assert_encodable(uploaded)
    assert f"Uploaded {SHOWN!r} to dataset 'ds_1'" in caplog.text
    assert_log_encodable(caplog)


def test_upload_with_a_file_name(make_hook, server, path):
    """A file name for the platform that is not UTF-8 is sent as valid UTF-8."""
    server.respond(data({"token": "t"}), data(None))
    hook = make_hook(host=server.url, password=KEY)
    source = io.BytesIO(b"a\n")
    uploaded = hook.upload_dataset("ds_1", source, content_type="text/csv", filename=path.name)
    assert filename_sent(server.requests[1]) == uploaded["filename"] == SHOWN


def test_upload_of_an_open_file(make_hook, server, path):
    """The own name of a file object is sent as valid UTF-8."""
    path.write_bytes(b"a\n")
    server.respond(data({"token": "t"}), data(None))
    with path.open("rb") as file:
        uploaded = make_hook(host=server.url, password=KEY).upload_dataset("ds_1", file)
    assert filename_sent(server.requests[1]) == uploaded["filename"] == SHOWN


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["string", "path"])
def test_export(make_hook, server, path, caplog, kind):
    """The file has its real name; the path in the result and the log lines are valid UTF-8."""
    caplog.set_level("INFO")
    server.respond(data({"token": "t"}), status(200, b"a\n1\n", content_type="text/csv"))
    exported = make_hook(host=server.url, password=KEY).export("FROM 'ds_1'", ["ds_1"], kind(path))
    assert names_in(path.parent) == [NAME]
    assert path.read_bytes() == b"a\n1\n"
    assert exported["path"] == f"{path.parent}/{SHOWN}"
    assert_encodable(exported)
    assert f"Exported 4 B from 'ds_1' to {exported['path']!r}" in caplog.text
    assert_log_encodable(caplog)


def test_operators(connected, path):
    """The XComs of the operators are encodable, and name the file that they read or wrote."""
    shown = f"{path.parent}/{SHOWN}"
    connected.respond(data({"token": "t"}), status(200, b"a\n1\n", content_type="text/csv"))
    save = PolyteiaToFileOperator(task_id="save", sql="FROM 'ds_1'", datasets=["ds_1"], destination=str(path))
    exported = save.execute({})
    assert exported["path"] == shown
    assert_encodable(exported)
    connected.respond(data({"token": "t"}), data(None))
    loaded = FileToPolyteiaOperator(task_id="load", source=str(path), dataset_id="ds_1").execute({})
    assert (loaded["filename"], loaded["source"]) == (SHOWN, shown)
    assert_encodable(loaded)


def test_sql_operator(connected, path):
    """The XCom of SQL with a large result is encodable, and names the file that it wrote."""
    connected.respond(data([1]))
    task = PolyteiaSqlOperator(task_id="t", sql="FROM 'ds_1'", datasets="ds_1", max_xcom_bytes=1, destination=str(path))
    result = task.execute({})
    assert result["path"] == f"{path.parent}/{SHOWN}"
    assert names_in(path.parent) == [NAME]
    assert_encodable(result)


def test_errors(make_hook, server, path):
    """Errors that name such a file are encodable."""
    hook = make_hook(host=server.url, password=KEY)
    for action in (
        lambda: hook.upload_dataset("ds_1", path),
        lambda: hook.upload_dataset("ds_1", path.with_suffix(".dat")),
        lambda: hook.export("FROM 'ds_1'", ["ds_1"], path / "rows.csv"),
        lambda: hook.export("FROM 'ds_1'", ["ds_1"], path.with_suffix(".dat")),
    ):
        with pytest.raises(PolyteiaError) as caught:
            action()
        str(caught.value).encode()
    assert server.requests == []


def test_names_that_no_file_can_have(make_hook, server, tmp_path):
    """A name that cannot be encoded at all is a configuration error; nothing is sent."""
    hook = make_hook(host=server.url, password=KEY)
    name = str(tmp_path / f"{HIGH_SURROGATE}.csv")
    for action in (
        lambda: hook.upload_dataset("ds_1", name),
        lambda: hook.export("FROM 'ds_1'", ["ds_1"], name),
    ):
        with pytest.raises(PolyteiaConfigurationError, match=r"cannot be (uploaded|written)"):
            action()
    assert server.requests == []


def test_failed_write(make_hook, server, path, monkeypatch):
    """The error of a file that cannot be written completely is encodable, and no file is left."""
    server.respond(data({"token": "t"}), status(200, b"a\n", content_type="text/csv"))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(PolyteiaError, match="could not be written: No space left on device") as caught:
        make_hook(host=server.url, password=KEY).export("FROM 'ds_1'", ["ds_1"], path)
    str(caught.value).encode()
    assert names_in(path.parent) == []


def test_hook_of_a_connection(connected, path):
    """With `PolyteiaHook` and an Airflow connection, an upload of such a file succeeds as well."""
    path.write_bytes(b"a\n")
    connected.respond(data({"token": "t"}), data(None))
    with PolyteiaHook() as hook:
        assert hook.upload_dataset("ds_1", path)["filename"] == SHOWN
