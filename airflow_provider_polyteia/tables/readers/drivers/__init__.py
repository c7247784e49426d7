"""Drivers of databases: each knows the types of a query's columns, and reads its rows without changing a value.

Airflow's hooks open connections of different drivers. `driver_of` chooses by the module of the connection, which is
imported at that time already, so that a driver is imported here only if it is in use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.tables.readers.drivers.base import Driver

if TYPE_CHECKING:
    from collections.abc import Callable

# Package of a connection's class -> module here, and its class.
_DRIVERS = {
    "MySQLdb": ("mysql", "MySQLdbDriver"),
    "_duckdb": ("duckdb_driver", "DuckDBDriver"),
    "duckdb": ("duckdb_driver", "DuckDBDriver"),
    "mysql": ("mysql_connector", "ConnectorDriver"),
    "oracledb": ("oracle", "OracleDriver"),
    "psycopg": ("postgres", "PostgresDriver"),
    "psycopg2": ("postgres", "PostgresDriver"),
    "pymssql": ("sql_server", "PymssqlDriver"),
    "pymysql": ("mysql", "PyMySQLDriver"),
    "pyodbc": ("odbc", "choose_driver"),
    "sqlite3": ("sqlite", "SQLiteDriver"),
    "trino": ("trino", "TrinoDriver"),
}


def driver_of(connection: Any, open_connection: Callable[[], Any]) -> Driver:
    """Return the driver for a connection that a hook has opened.

    :param open_connection: opens a second one.
    """
    for base in type(connection).__mro__:
        found = _DRIVERS.get(base.__module__.partition(".")[0])
        if found is not None:
            module = importlib.import_module(f"{__name__}.{found[0]}")
            make: Callable[[Any, Callable[[], Any]], Driver] = getattr(module, found[1])
            return make(connection, open_connection)
    return Driver(connection, open_connection)
