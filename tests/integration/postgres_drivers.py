"""The ways in which PostgreSQL can be read: through DuckDB or the driver of Airflow's hook, of which there are two."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

pytest.importorskip("airflow.providers.postgres", reason="the PostgreSQL provider is optional")

import airflow.providers.postgres.hooks.postgres as postgres_hook

from airflow_provider_polyteia.tables.from_database import stage_query

DRIVERS = ("duckdb", "psycopg2", "psycopg3", "duckdb by psycopg3")


@pytest.fixture(name="use")
def choose_driver(monkeypatch):
    """Choose how to access the database; returns the operator's `driver`."""

    def choose(name):
        if not hasattr(postgres_hook, "USE_PSYCOPG3") and "psycopg3" in name:
            pytest.skip("this version of the PostgreSQL provider supports psycopg2 only")
        monkeypatch.setattr(postgres_hook, "USE_PSYCOPG3", "psycopg3" in name, raising=False)
        return "duckdb" if "duckdb" in name else "dbapi"

    return choose


def read(sql, driver, parameters=None, **options):
    """The rows of a query on the connection `city`."""
    with stage_query("city", sql, parameters, driver=driver, **options) as table:
        return pq.read_table(table.file)
