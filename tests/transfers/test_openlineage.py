"""What transfers report to OpenLineage, extracted by its provider and serialized by its client."""

from __future__ import annotations

import json
import sqlite3

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from servers import Reply, data

from airflow_provider_polyteia.transfers import openlineage
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

pytest.importorskip("airflow.providers.openlineage", reason="the OpenLineage provider is optional")

from airflow.providers.openlineage.extractors.base import DefaultExtractor
from openlineage.client.serde import Serde


def extract(operator):
    """Run the operator; return what OpenLineage extracts from it."""
    operator.execute({})
    lineage = DefaultExtractor(operator).extract_on_complete(None)
    return {
        "inputs": [Serde.to_dict(dataset) for dataset in lineage.inputs],
        "outputs": [Serde.to_dict(dataset) for dataset in lineage.outputs],
        "job": {name: Serde.to_dict(facet) for name, facet in lineage.job_facets.items()},
    }


def without_producer(facet):
    return {key: value for key, value in facet.items() if not key.startswith("_") and value is not None}


def name_of(dataset):
    return dataset["namespace"], dataset["name"]


@pytest.fixture
def platform(connected):
    """The namespace of a platform that accepts any upload."""
    connected.respond(lambda request: data(None) if request.path == "/upload" else data({"token": "t"}))
    return f"polyteia://{connected.url.removeprefix('http://')}"


def test_sql_to_polyteia(platform, tmp_path, monkeypatch):
    """The query, and the dataset with its columns, rows and bytes, are reported."""
    pytest.importorskip("airflow.providers.sqlite")
    with sqlite3.connect(tmp_path / "city.db") as database:
        database.execute("CREATE TABLE trees (species TEXT, height REAL)")
        database.execute("INSERT INTO trees VALUES ('Linde', 12.5), ('Eiche', 20.0)")
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "city.db")}))
    sql = "SELECT species, height FROM trees"
    found = extract(SqlToPolyteiaOperator(task_id="t", sql=sql, conn_id="city", dataset_id="ds_1"))
    assert found["job"]["sql"]["query"] == sql
    (output,) = found["outputs"]
    assert name_of(output) == (platform, "ds_1")
    columns = {field["name"]: field["type"] for field in output["facets"]["schema"]["fields"]}
    assert columns == {"species": "string", "height": "double"}
    statistics = without_producer(output["outputFacets"]["outputStatistics"])
    assert statistics["rowCount"] == 2
    assert statistics["size"] > 0


@pytest.mark.integration
def test_tables_of_a_query(monkeypatch):
    """Tables have the names that OpenLineage parses from the query, with the database's default schema."""
    pytest.importorskip("airflow.providers.postgres")
    from postgres import Postgres  # noqa: PLC0415 - needs the server's programs

    with Postgres() as database:
        monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps(database.connection))
        found = openlineage.tables("SELECT * FROM trees JOIN geo.districts USING (id)", "city", None)
    (namespace,) = {dataset.namespace for dataset in found}
    assert namespace.startswith("postgres://127.0.0.1:")
    assert sorted(dataset.name.partition(".")[2] for dataset in found) == ["geo.districts", "public.trees"]


def test_query_that_cannot_be_parsed(monkeypatch):
    """If the query cannot be parsed, only the input tables are omitted."""
    monkeypatch.setenv("AIRFLOW_CONN_CITY", "sqlite:////nowhere.db")
    assert openlineage.tables("SELEKT", "city", None) == []


def test_parquet_file(platform, tmp_path):
    """Rows and columns of a Parquet file are read from the file itself."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "trees.parquet"
    pq.write_table(pa.table({"species": ["Linde", "Eiche", None]}), file)
    found = extract(FileToPolyteiaOperator(task_id="t", source=str(file), dataset_id="ds_1"))
    assert [name_of(item) for item in found["inputs"]] == [("file", str(file))]
    (output,) = found["outputs"]
    assert [field["name"] for field in output["facets"]["schema"]["fields"]] == ["species"]
    assert without_producer(output["outputFacets"]["outputStatistics"]) == {
        "rowCount": 3,
        "size": file.stat().st_size,
    }


def test_other_file(platform, tmp_path):
    """Only the size of other files is known."""
    file = tmp_path / "trees.csv"
    file.write_bytes(b"a\n1\n")
    source = ObjectStoragePath(f"file://{file}")
    found = extract(FileToPolyteiaOperator(task_id="t", source=source, dataset_id="ds_1"))
    assert [name_of(item) for item in found["inputs"]] == [("file", str(file))]
    assert "schema" not in found["outputs"][0].get("facets", {})
    assert without_producer(found["outputs"][0]["outputFacets"]["outputStatistics"]) == {"size": 4}


def test_polyteia_to_file(connected, platform, tmp_path):
    """The datasets that were read, the query, and the file that was written are reported."""
    rows = Reply(body=b"PAR1 rows PAR1", content_type="application/octet-stream")
    connected.respond(lambda request: rows if request.path.startswith("/download") else data({"token": "t"}))
    destination = tmp_path / "out.parquet"
    sql = "SELECT * FROM {trees}"
    operator = PolyteiaToFileOperator(task_id="t", sql=sql, datasets={"trees": "ds_1"}, destination=str(destination))
    found = extract(operator)
    assert [name_of(item) for item in found["inputs"]] == [(platform, "ds_1")]
    assert [name_of(item) for item in found["outputs"]] == [("file", str(destination))]
    assert found["job"]["sql"]["query"] == sql


def test_failed_task(tmp_path):
    """A task that did not complete reports nothing."""
    operator = FileToPolyteiaOperator(task_id="t", source=str(tmp_path / "none.csv"), dataset_id="ds_1")
    assert operator.get_openlineage_facets_on_complete(None) is None
