"""The checks of transfers, from one run of a task to the next."""

from __future__ import annotations

import json
import sqlite3
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError, PolyteiaError
from airflow_provider_polyteia.hooks import files
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator


class Runs:
    """Runs one task night after night, with the XCom that the last successful run has left."""

    def __init__(self) -> None:
        self.xcom = None
        self.asked = []

    def run(self, task):
        def xcom_pull(**options):
            self.asked.append(options)
            return self.xcom

        context = {"ti": SimpleNamespace(map_index=-1, xcom_pull=xcom_pull, xcom_push=lambda **_: None)}
        self.xcom = json.loads(json.dumps(task.execute(context)))
        return self.xcom


@pytest.fixture
def from_file(dataset_id, tmp_path):
    """Makes a task that loads a Parquet file with some rows and columns."""

    def make(rows, columns=("id",), **checks):
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({name: list(range(rows)) for name in columns}), path)
        return FileToPolyteiaOperator(task_id="load", source=str(path), dataset_id=dataset_id, **checks)

    return make


@pytest.fixture
def from_query(dataset_id, tmp_path, monkeypatch):
    """Makes a task that loads a query with some rows and columns."""
    sqlite3.connect(tmp_path / "city.db").close()
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "city.db")}))

    def make(rows, columns=("id",), **checks):
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        sql = f"{numbers} SELECT {', '.join(f'i AS {name}' for name in columns)} FROM n"  # noqa: S608 - our own names
        return SqlToPolyteiaOperator(
            task_id="load", sql=sql, parameters=[rows], conn_id="city", dataset_id=dataset_id, **checks
        )

    return make


@pytest.fixture(params=["from_file", "from_query"])
def make(request):
    return request.getfixturevalue(request.param)


def test_four_nights(make, sandbox, dataset_id, caplog):
    """A good load, half of it, a new column: what is rejected leaves the dataset as it was, and the next night compares
    with the last load that succeeded.
    """
    runs = Runs()
    first = runs.run(make(100, max_shrink=0.5))
    assert (first["rows"], first["columns"]) == (100, {"id": "int64"})
    stored = sandbox.content(dataset_id)
    sandbox.recorder.clear()
    with pytest.raises(PolyteiaDataError, match="has 49 rows, 51% fewer than the 100 of the last load"):
        runs.run(make(49, max_shrink=0.5))
    with pytest.raises(PolyteiaDataError, match=r"added: 'plz' \(int64\)"):
        runs.run(make(60, ("id", "plz"), on_schema_change="fail"))
    with pytest.raises(PolyteiaDataError, match="has 60 rows; 'min_rows' is 61"):
        runs.run(make(60, min_rows=61))
    assert (sandbox.requests, sandbox.content(dataset_id)) == ([], stored)
    caplog.clear()
    runs.run(make(60, ("id", "plz"), max_shrink=0.5))
    assert "has other columns than the last load: added: 'plz' (int64)." in caplog.text
    assert runs.xcom["rows"] == 60
    assert {"task_ids": "load", "map_indexes": -1, "include_prior_dates": True} in runs.asked


def test_another_dataset(make, sandbox, dataset_id):
    """What was loaded into another dataset does not count."""
    runs = Runs()
    runs.xcom = {"dataset_id": "ds_other", "bytes": 10**9, "rows": 10**9, "columns": {"x": "string"}}
    assert runs.run(make(1, max_shrink=0.5, on_schema_change="fail"))["dataset_id"] == dataset_id


def test_rows_of_a_csv_file(dataset_id, csv_file, sandbox):
    """The bytes of a CSV file can shrink too much; its rows are not counted."""
    runs = Runs()
    options = {"task_id": "load", "source": str(csv_file), "dataset_id": dataset_id}
    runs.run(FileToPolyteiaOperator(**options))
    sandbox.recorder.clear()
    csv_file.write_bytes(b"id,name\n1,x\n")
    with pytest.raises(PolyteiaDataError, match=r"has 12 bytes, 100% fewer than"):
        runs.run(FileToPolyteiaOperator(**options, max_shrink=0.9))
    with pytest.raises(PolyteiaConfigurationError, match="'min_rows' cannot be checked"):
        runs.run(FileToPolyteiaOperator(**options, min_rows=1))
    assert sandbox.requests == []


def test_verify(make, sandbox, dataset_id):
    """The rows are counted on the platform after the upload."""
    assert make(7, verify=True).execute({})["rows"] == 7
    assert sandbox.count("/download") == 1


def test_verify_counts_unknown_rows(dataset_id, csv_file, sandbox):
    """Of a CSV file, the number of rows is known afterwards."""
    task = FileToPolyteiaOperator(task_id="load", source=str(csv_file), dataset_id=dataset_id, verify=True)
    assert task.execute({})["rows"] == 150_000


def test_rows_that_are_missing(hook, dataset_id):
    """Rows that do not appear within a minute fail the task; those that appear later do not."""
    client, api = hook.get_conn(), hook.api
    with pytest.raises(PolyteiaError, match=rf"'{dataset_id}' has 1 rows on the platform .*although 2 were uploaded"):
        files.verify_rows(client, api, dataset_id, 2)
    assert files.VERIFY_TIME / 2 < client._sleep.__self__.slept <= files.VERIFY_TIME


def test_rows_that_appear_later(hook, platform, dataset_id, monkeypatch):
    """A platform may need some time until queries see an upload."""
    client, api = hook.get_conn(), hook.api
    counted = files._count_rows

    def count_and_upload(*arguments):
        before = counted(*arguments)
        platform.upload(dataset_id, b"id,name\n1,After\n2,After\n")
        return before

    monkeypatch.setattr(files, "_count_rows", count_and_upload)
    assert files.verify_rows(client, api, dataset_id, 2) == 2


def test_unusable_checks():
    """They fail while the DAG is parsed."""
    with pytest.raises(PolyteiaConfigurationError, match="max_shrink is 2"):
        FileToPolyteiaOperator(task_id="load", source="x.csv", dataset_id="ds_1", max_shrink=2)
