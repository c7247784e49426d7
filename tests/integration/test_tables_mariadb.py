"""Tables of a real MariaDB: which are listed, and that their names are quoted, whatever they contain."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("airflow.providers.mysql", reason="the MySQL provider is optional")

from mariadb_server import mariadb  # noqa: F401 - a fixture

from airflow_provider_polyteia.operators.sql import SqlTablesOperator
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.transfers.sql_table_to_polyteia import SqlTableToPolyteiaOperator

pytestmark = pytest.mark.integration

ODD = "Bäume.%s `x`; --"
SCHEMA = """
CREATE TABLE `Bäume.%s ``x``; --` (`Größe %` int, `a``b` text) COMMENT 'Trees of the city';
INSERT INTO `Bäume.%s ``x``; --` VALUES (7, 'x');
CREATE TABLE parks (id int);
CREATE VIEW visible AS SELECT 1 AS id;
"""


@pytest.fixture(scope="module")
def database(mariadb):  # noqa: F811 - the imported fixture
    """The database `city` with two tables and a view."""
    mariadb.run(SCHEMA)
    return mariadb


@pytest.fixture
def register(database, monkeypatch):
    """The Airflow connection `register`."""
    monkeypatch.setenv("AIRFLOW_CONN_REGISTER", json.dumps(database.connection))


@pytest.mark.parametrize(("schema", "prefix"), [(None, ""), ("city", "city.")])
def test_list(register, schema, prefix):
    """Tables and views are listed; the comment of a table is its description."""
    found = SqlTablesOperator(task_id="tables", conn_id="register", schema=schema).execute({})
    assert [(entry["table"], entry["slug"], entry["description"]) for entry in found] == [
        (f'{prefix}"{ODD}"', "baeume_s_x", "Trees of the city"),
        (f"{prefix}parks", "parks", ""),
        (f"{prefix}visible", "visible", ""),
    ]


def test_load(register, connect):
    """A table with the oddest name and column names is loaded, also with parameters."""
    with Sandbox() as platform:
        connect(host=platform.base_url, password=platform.pak)
        (entry, *_) = SqlTablesOperator(task_id="tables", conn_id="register").execute({})
        common = {"task_id": "load", "conn_id": "register", "solution_id": SANDBOX_SOLUTION_ID, **entry}
        result = SqlTableToPolyteiaOperator(**common).execute({})
        assert (result["rows"], list(result["columns"])) == (1, ["Größe %", "a`b"])
        some = {"columns": ["Größe %"], "where": "`Größe %%` = %(size)s", "parameters": {"size": 7}}
        assert SqlTableToPolyteiaOperator(**common, **some).execute({})["rows"] == 1
