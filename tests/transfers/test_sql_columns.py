"""Types of columns that are declared with `columns`, and those of the last load."""

from __future__ import annotations

import json
import sqlite3

import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.transfers.sql_table_to_polyteia import SqlTableToPolyteiaOperator
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator


class TaskInstance:
    """The XCom of the last run of a task."""

    map_index = -1

    def __init__(self, last=None) -> None:
        self._last = last

    def xcom_pull(self, **_):
        return self._last

    def xcom_push(self, key, value):
        pass


@pytest.fixture
def city(tmp_path, monkeypatch, sandbox):
    """A SQLite database with a table, and the Airflow connection `city` to it."""
    path = tmp_path / "city.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE trees (id INTEGER, district INTEGER, height)")
        database.execute("INSERT INTO trees VALUES (1, 7, 2.5)")
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def test_declared_types_of_a_query(city, dataset_id):
    """A declared type replaces that of the database."""
    task = SqlToPolyteiaOperator(
        task_id="load",
        conn_id="city",
        dataset_id=dataset_id,
        sql="SELECT * FROM trees",
        columns={"district": "varchar", "height": "DECIMAL(5,2)"},
    )
    assert task.execute({})["columns"] == {"id": "int64", "district": "string", "height": "decimal128(5, 2)"}


def test_declared_types_of_a_table(city, dataset_id):
    """The columns of a table are chosen by a list, or by a mapping that also declares types."""
    common = {"task_id": "load", "conn_id": "city", "table": "trees", "solution_id": SANDBOX_SOLUTION_ID}
    result = SqlTableToPolyteiaOperator(**common, columns={"height": None, "district": "VARCHAR"}).execute({})
    assert result["columns"] == {"height": "double", "district": "string"}
    assert SqlTableToPolyteiaOperator(**common, columns=["id"]).execute({})["columns"] == {"id": "int64"}


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (["id"], "it must be a mapping of names to types"),
        ("id", "it must be a mapping of names to types"),
        ({"id": "INT8"}, "type of column 'id' in 'columns' is 'INT8'; it must be one of VARCHAR, BOOLEAN"),
        ({"id": "DECIMAL(39,2)"}, "with at most 38 digits"),
        ({"id": "DECIMAL(2,5)"}, "DECIMAL\\(digits, decimal places\\)"),
        ({"id": 7}, "in 'columns' is 7"),
        ({"plz": "VARCHAR"}, "'columns' contains 'plz'; the query returns 'id', 'district', 'height'"),
    ],
)
def test_unusable_columns(city, dataset_id, columns, problem):
    """An unknown type or column is an error before anything is sent."""
    task = SqlToPolyteiaOperator(
        task_id="load", conn_id="city", dataset_id=dataset_id, sql="SELECT * FROM trees", columns=columns
    )
    with pytest.raises(PolyteiaConfigurationError, match=problem):
        task.execute({})


def test_type_that_does_not_hold_the_values(city, dataset_id):
    """A declared type never changes a value."""
    task = SqlToPolyteiaOperator(
        task_id="load",
        conn_id="city",
        dataset_id=dataset_id,
        sql="SELECT height FROM trees",
        columns={"height": "DECIMAL(5,0)"},
    )
    with pytest.raises(PolyteiaError, match=r"column 'height' does not fit the type decimal128\(5, 0\)"):
        task.execute({})


@pytest.mark.parametrize("operator", ["query", "table"])
def test_types_of_the_last_load(city, dataset_id, operator):
    """Where only the values show the type, a column without values keeps that of the last load."""
    with sqlite3.connect(city) as database:
        database.execute("UPDATE trees SET height = NULL")
    last = {"bytes": 1, "rows": 1, "columns": {"height": "double"}, "dataset_id": dataset_id, "table": "trees"}
    common = {"task_id": "load", "conn_id": "city"}
    if operator == "query":
        task = SqlToPolyteiaOperator(**common, dataset_id=dataset_id, sql="SELECT height FROM trees")
    else:
        task = SqlTableToPolyteiaOperator(**common, table="trees", solution_id=SANDBOX_SOLUTION_ID, columns=["height"])
    assert task.execute({"ti": TaskInstance(last)})["columns"] == {"height": "double"}
    assert task.execute({"ti": TaskInstance()})["columns"] == {"height": "string"}
    other = {**last, "dataset_id": "ds_other", "table": "parks"}
    assert task.execute({"ti": TaskInstance(other)})["columns"] == {"height": "string"}
