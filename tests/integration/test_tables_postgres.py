"""Tables of a real PostgreSQL: which are listed, and that their names are quoted, whatever they contain."""

from __future__ import annotations

import json

import pytest
from postgres import postgres  # noqa: F401 - a fixture
from postgres_drivers import DRIVERS, choose_driver  # noqa: F401 - a fixture

from airflow_provider_polyteia.operators.sql import SqlTablesOperator
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.transfers.sql_table_to_polyteia import SqlTableToPolyteiaOperator

pytestmark = pytest.mark.integration

ODD = 'Bäume "v.1" %s; --'
QUOTED = '"' + ODD.replace('"', '""') + '"'
SCHEMA = f"""
CREATE SCHEMA register;
CREATE TABLE register.{QUOTED} ("Größe %" int, "a""b" text, id serial);
INSERT INTO register.{QUOTED} VALUES (7, 'x');
COMMENT ON TABLE register.{QUOTED} IS ' Trees of the city ';
CREATE TABLE register.parts (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE register.parts_2026 PARTITION OF register.parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW register.visible AS SELECT 1 AS id;
CREATE MATERIALIZED VIEW register.stored AS SELECT 1 AS id;
CREATE TABLE register.secret (id int);
CREATE TABLE public_table (id int);
CREATE ROLE reader LOGIN PASSWORD 'reader';
GRANT USAGE ON SCHEMA register TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA register TO reader;
REVOKE SELECT ON register.secret FROM reader;
"""  # noqa: S608 - constants


@pytest.fixture(scope="module")
def database(postgres):  # noqa: F811 - the imported fixture
    """A schema with tables of all kinds."""
    postgres.run(SCHEMA)
    yield postgres
    postgres.run("DROP SCHEMA register CASCADE", "DROP TABLE public_table", "DROP OWNED BY reader", "DROP ROLE reader")


@pytest.fixture
def register(database, monkeypatch):
    """The Airflow connection `register`, whose account may read most of the tables."""
    connection = {**database.connection, "login": "reader", "password": "reader"}
    monkeypatch.setenv("AIRFLOW_CONN_REGISTER", json.dumps(connection))


def test_list(register):
    """All kinds of tables that may be read, without the parts of partitioned ones; comments are descriptions."""
    found = SqlTablesOperator(task_id="tables", conn_id="register", schema="register").execute({})
    assert [(entry["table"], entry["slug"], entry["description"]) for entry in found] == [
        ('register."Bäume ""v.1"" %s; --"', "baeume_v_1_s", "Trees of the city"),
        ("register.parts", "parts", ""),
        ("register.stored", "stored", ""),
        ("register.visible", "visible", ""),
    ]


def test_list_of_the_default_schema(database, monkeypatch):
    """Without a schema, the tables are those of the connection's own, and have no schema in their names."""
    monkeypatch.setenv("AIRFLOW_CONN_REGISTER", json.dumps(database.connection))
    found = SqlTablesOperator(task_id="tables", conn_id="register", include=["public_*"]).execute({})
    assert [entry["table"] for entry in found] == ["public_table"]


@pytest.mark.parametrize("name", DRIVERS)
def test_load(register, connect, use, name):
    """A table with the oddest name and column names is loaded, with every driver, also with parameters."""
    driver = use(name)
    with Sandbox() as platform:
        connect(host=platform.base_url, password=platform.pak)
        (entry, *_) = SqlTablesOperator(task_id="tables", conn_id="register", schema="register").execute({})
        common = {"task_id": "load", "conn_id": "register", "solution_id": SANDBOX_SOLUTION_ID, "driver": driver}
        result = SqlTableToPolyteiaOperator(**common, **entry).execute({})
        assert (result["rows"], list(result["columns"])) == (1, ["Größe %", 'a"b', "id"])
        (record,) = [each for each in platform.datasets if each["id"] == result["dataset_id"]]
        assert (record["name"], record["description"]) == (ODD, "Trees of the city")
        columns = {"columns": ["Größe %"], "where": '"Größe %%" = %(size)s', "parameters": {"size": 7}}
        assert SqlTableToPolyteiaOperator(**common, **entry, **columns).execute({})["rows"] == 1
        some = SqlTableToPolyteiaOperator(
            **common, table="register.parts", columns=["id"], where="day > %(day)s", parameters={"day": "2026-01-01"}
        ).execute({})
        assert (some["rows"], some["columns"]) == (0, {"id": "int32"})
