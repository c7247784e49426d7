"""The drivers of MySQL and MariaDB, each with the connection that Airflow's hook would open."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.tables.readers.base import Query
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader
from airflow_provider_polyteia.tables.sql_types import parse_columns

# Name -> module, and names of the arguments that differ. The connector uses its C extension where that runs.
_DRIVERS = {
    "mysqlclient": ("MySQLdb", "passwd", "db"),
    "pymysql": ("pymysql", "password", "database"),
    "connector": ("mysql.connector", "password", "database"),
}
DRIVERS = tuple(_DRIVERS)


class Hook:
    """Opens connections to a server with a driver, as one of Airflow's hooks."""

    conn_type = "mysql"

    def __init__(self, server, name):
        module, password, database = _DRIVERS[name]
        self._connect = pytest.importorskip(module, reason=f"{module} is optional").connect
        self._options = {
            "host": "127.0.0.1",
            "port": server.port,
            "user": server.user,
            password: server.password,
            database: server.database,
        }

    def get_conn(self):
        return self._connect(**self._options)


def read(server, name, sql, parameters=None, columns=None, last=None):
    """The rows of a query."""
    reader = DbApiReader(Hook(server, name), Query(sql, parameters, parse_columns(columns or {}), last or {}))
    with reader.stage(None) as table:
        return pq.ParquetFile(table.file).read()
