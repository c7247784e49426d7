"""Tables of a SQLite database, each into a dataset of its own."""

from __future__ import annotations

import io
import json
import sqlite3

import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaDataError,
    PolyteiaError,
    PolyteiaPermissionError,
)
from airflow_provider_polyteia.operators.sql import SqlTablesOperator
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.transfers.sql_table_to_polyteia import SqlTableToPolyteiaOperator

NAME = "Bäume ; DROP TABLE parks"


class Task:
    """What operators use of a task instance; remembers the last result."""

    task_id, map_index = "load", 0

    def __init__(self, last=None):
        self.last = last

    def xcom_pull(self, **_):
        return self.last

    def xcom_push(self, **_):
        pass


@pytest.fixture
def database(tmp_path, monkeypatch):
    """The database of the connection `register`, with two tables and two views, one of them broken."""
    path = tmp_path / "register.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f'CREATE TABLE "{NAME}" (id INTEGER PRIMARY KEY AUTOINCREMENT, "Größe in m" REAL)')
        connection.executemany(f'INSERT INTO "{NAME}" VALUES (?, ?)', [(i, i / 4) for i in range(100)])  # noqa: S608 - a constant
        connection.execute("CREATE TABLE parks (name TEXT)")
        connection.execute("CREATE VIEW big AS SELECT 1 AS id")
        connection.execute("CREATE VIEW broken AS SELECT * FROM missing")
    monkeypatch.setenv("AIRFLOW_CONN_REGISTER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def load(table, task_id="load", **arguments):
    return SqlTableToPolyteiaOperator(
        task_id=task_id, conn_id="register", table=table, solution_id=SANDBOX_SOLUTION_ID, **arguments
    )


def tables(context=None, **arguments):
    return SqlTablesOperator(task_id="tables", conn_id="register", **arguments).execute(context or {})


def test_list(database):
    """All tables and views but those of SQLite itself, with slugs and names."""
    assert tables() == [
        {"table": NAME, "slug": "baeume_drop_table_parks", "name": NAME, "description": ""},
        {"table": "big", "slug": "big", "name": "big", "description": ""},
        {"table": "broken", "slug": "broken", "name": "broken", "description": ""},
        {"table": "parks", "slug": "parks", "name": "parks", "description": ""},
    ]
    assert [entry["table"] for entry in tables(include=["b*"], exclude=["broken"], schema="main")] == ["main.big"]


def test_nothing_listed(database):
    """An empty list is an error: it would silently load nothing."""
    with pytest.raises(PolyteiaConfigurationError, match="has no table that matches 'include' and 'exclude'"):
        tables(include=["x*"])


@pytest.mark.parametrize("argument", ["include", "exclude"])
def test_patterns_are_a_list(database, argument):
    """A string is rejected: as a list of characters, it would match any table."""
    with pytest.raises(
        PolyteiaConfigurationError, match=f"'{argument}' of task 'tables' .* must be a list of patterns"
    ):
        tables(**{argument: "res_*"})


def test_changes(database, caplog):
    """The log says which tables are new, and which are gone."""
    caplog.set_level("INFO")
    last = tables(exclude=["parks"])
    with sqlite3.connect(database) as connection:
        connection.execute("DROP VIEW big")
    tables({"ti": Task(last)})
    assert "New since the last run: parks" in caplog.text
    assert "Removed from the database since the last run (their datasets keep their data): big" in caplog.text


def test_load(sandbox, database):
    """The dataset is created once, and holds the rows of the table; a second run replaces them."""
    (entry,) = tables(include=["B*"])
    result = SqlTableToPolyteiaOperator.partial(
        task_id="load", conn_id="register", solution_id=SANDBOX_SOLUTION_ID
    ).expand_kwargs([entry])
    assert result.task_id == "load"
    first = load(**entry).execute({})
    assert (first["rows"], first["slug"], first["table"]) == (100, "baeume_drop_table_parks", NAME)
    assert first["columns"] == {"id": "int64", "Größe in m": "double"}
    with sqlite3.connect(database) as connection:
        connection.execute(f'DELETE FROM "{NAME}" WHERE id > 9')  # noqa: S608 - a constant
    second = load(**entry).execute({})
    assert (second["dataset_id"], second["rows"]) == (first["dataset_id"], 10)
    (record,) = [each for each in sandbox.datasets if each["id"] == first["dataset_id"]]
    assert (record["name"], record["slug"]) == (NAME, "baeume_drop_table_parks")
    rows = pq.read_table(io.BytesIO(sandbox.content(first["dataset_id"]))).to_pylist()
    assert rows == [{"id": i, "Größe in m": i / 4} for i in range(10)]


def test_parts_of_a_table(sandbox, database):
    """Columns and rows can be chosen, and values given for placeholders."""
    task = load(NAME, slug="few_trees", name="Few", columns=["Größe in m"], where="id < ?", parameters=[3])
    result = task.execute({})
    assert (result["rows"], list(result["columns"]), result["slug"]) == (3, ["Größe in m"], "few_trees")


@pytest.mark.parametrize("columns", ["id", [], [1], "['id']"])
def test_columns_are_names(sandbox, database, columns):
    """Anything but a list of names is rejected before anything is read."""
    with pytest.raises(PolyteiaConfigurationError, match=r"'columns' of task 'load' .* must be a list of names"):
        load("parks", columns=columns).execute({})


def test_nothing_is_created_for_a_broken_table(sandbox, database):
    """If the rows cannot be read, nothing is sent: no dataset is created."""
    with pytest.raises(PolyteiaError, match=r"no such table: .*missing"):
        load("broken").execute({})
    assert sandbox.requests == []


def test_statements_are_not_accepted_as_a_condition(sandbox, database):
    """The condition cannot end the query and begin another one."""
    with pytest.raises(PolyteiaConfigurationError, match="contains 2 statements"):
        load("parks", where="1 = 1; DROP TABLE parks").execute({})


def test_created_once(sandbox, database):
    """If the response to the creation is lost, the dataset is found, and loaded."""
    sandbox.faults.add("create_dataset:drop-after:1")
    result = load("big", slug="created_once").execute({})
    assert [each["slug"] for each in sandbox.datasets].count("created_once") == 1
    assert result["rows"] == 1


def test_checks(sandbox, database):
    """The checks of all loads apply: half of the rows may be missing, and a column must not."""
    first = load(NAME, slug="checked").execute({"ti": Task()})
    with sqlite3.connect(database) as connection:
        connection.execute(f'DELETE FROM "{NAME}" WHERE id > 9')  # noqa: S608 - a constant
    with pytest.raises(PolyteiaDataError, match="max_shrink"):
        load(NAME, slug="checked", max_shrink=0.5).execute({"ti": Task(first)})
    with pytest.raises(PolyteiaDataError, match="Größe in m"):
        load(NAME, slug="checked", columns=["id"], on_schema_change="fail").execute({"ti": Task(first)})
    assert pq.read_metadata(io.BytesIO(sandbox.content(first["dataset_id"]))).num_rows == 100


def test_no_permission(sandbox, database):
    """A missing permission fails the task immediately."""
    sandbox.faults.add("create_dataset:status:403:1")
    with pytest.raises(PolyteiaPermissionError):
        load("big", slug="forbidden").execute({})
