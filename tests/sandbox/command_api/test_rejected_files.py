"""The provider's client reports what `/upload` and `/download` reject, as tasks of the command API see it."""

from __future__ import annotations

import io

import pytest

from airflow_provider_polyteia.exceptions import (
    PolyteiaBadRequestError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaServerError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

pytestmark = pytest.mark.slow  # waits for real timeouts, processes and signals

CSV = b"id,name\n1,a\n"
QUERY = "FROM '{{%s}}'"


class DeletingFile(io.BytesIO):
    """A file that deletes its dataset when its content is read, which is after the upload token was issued."""

    def __init__(self, delete):
        super().__init__(CSV)
        self._delete = delete

    def read(self, size=-1):
        self._delete()
        return super().read(size)


@pytest.fixture
def hook(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", sandbox.airflow_connection())
    return PolyteiaHook()


def test_a_dataset_that_is_deleted_meanwhile(hook, sandbox, dataset):
    """An upload into a dataset that is deleted after the token was issued fails."""

    def delete():
        if sandbox.count("generate_dataset_upload_token") and sandbox.records("dataset"):
            sandbox.call("delete_dataset", {"id": dataset})

    with pytest.raises(PolyteiaNotFoundError):
        hook.upload_dataset(dataset, DeletingFile(delete), content_type="text/csv")
    assert sandbox.count("/upload") == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, PolyteiaBadRequestError),
        (403, PolyteiaPermissionError),
        (404, PolyteiaNotFoundError),
        (500, PolyteiaServerError),
    ],
)
@pytest.mark.parametrize("path", ["/upload", "/download"])
def test_refusals(path, code, error, hook, sandbox, dataset, tmp_path):
    """Every code that the platform may report is raised as the exception for it, with the platform's message."""
    sandbox.upload(dataset, CSV)
    sandbox.faults.add(f"{path}:body-error:{code}")
    transfers = {
        "/upload": lambda: hook.upload_dataset(dataset, io.BytesIO(CSV), content_type="text/csv"),
        "/download": lambda: hook.export(QUERY % dataset, [dataset], tmp_path / "a.csv"),
    }
    with pytest.raises(error, match="injected by the sandbox") as caught:
        transfers[path]()
    assert not caught.value.from_gateway
    assert sandbox.content(dataset) == CSV


def test_an_export_that_duckdb_rejects(hook, sandbox, dataset, tmp_path):
    """The message of DuckDB reaches the user, and no file is written."""
    sandbox.upload(dataset, CSV)
    with pytest.raises(PolyteiaBadRequestError, match="no_such_column"):
        hook.export(f"SELECT no_such_column {QUERY % dataset}", [dataset], tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []
