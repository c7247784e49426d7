"""The two drivers that Airflow's PostgreSQL hook may use, psycopg2 and psycopg 3, under one interface.

Which one it is depends on what is installed with Airflow; so neither is imported before a connection shows it.
"""

from __future__ import annotations

import importlib
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_polyteia.tables.readers.base import Parameters


_ISO_DATES = "SET datestyle TO 'ISO'"


def session_of(connection: Any) -> Psycopg2Session | Psycopg3Session:
    """Return what can be done with a connection that the hook has made."""
    is_second = type(connection).__module__.startswith("psycopg2")
    return Psycopg2Session(connection) if is_second else Psycopg3Session(connection)


class Psycopg2Session:
    """A connection of psycopg2."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._extensions = importlib.import_module("psycopg2.extensions")

    def prepare(self) -> None:
        """Let the transaction to come be read-only, and speak UTF-8 and ISO dates, whatever the database is used to."""
        self._connection.rollback()
        self._connection.set_client_encoding("UTF8")
        self._connection.set_session(readonly=True)
        with self.cursor() as cursor:
            cursor.execute(_ISO_DATES)

    def cursor(self, **options: Any) -> Any:
        """Return a cursor whose rows are tuples, whatever the connection's extra says."""
        return self._connection.cursor(cursor_factory=self._extensions.cursor, **options)

    def server_cursor(self) -> Any:
        """Return a cursor on the server, which sends rows as they are asked for."""
        return self.cursor(name=_cursor_name())

    def literal(self, sql: str, parameters: Parameters) -> str:
        """Return a query with its parameters written into it."""
        with self.cursor() as cursor:
            text: bytes = cursor.mogrify(sql, parameters)
        return text.decode(self._extensions.encodings[self._connection.encoding])

    def connection_string(self) -> str:
        """Return how libpq reaches the same database in the same way; it holds the password."""
        given = self._extensions.parse_dsn(self._connection.dsn)
        return _conninfo({**given, "password": self._connection.info.password})


class Psycopg3Session:
    """A connection of psycopg 3."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._psycopg = importlib.import_module("psycopg")

    def prepare(self) -> None:
        """Let the transaction to come be read-only, and speak UTF-8 and ISO dates, whatever the database is used to."""
        self._connection.rollback()
        self._connection.read_only = True
        with self.cursor() as cursor:
            cursor.execute("SET client_encoding TO 'UTF8'")
            cursor.execute(_ISO_DATES)

    def cursor(self, **options: Any) -> Any:
        """Return a cursor whose rows are tuples, whatever the connection's extra says."""
        return self._connection.cursor(row_factory=self._psycopg.rows.tuple_row, **options)

    def server_cursor(self) -> Any:
        """Return a cursor on the server, which sends rows as they are asked for."""
        return self.cursor(name=_cursor_name())

    def literal(self, sql: str, parameters: Parameters) -> str:
        """Return a query with its parameters written into it."""
        text: str = self._psycopg.ClientCursor(self._connection).mogrify(sql, parameters)
        return text

    def connection_string(self) -> str:
        """Return how libpq reaches the same database in the same way; it holds the password."""
        given = self._psycopg.conninfo.conninfo_to_dict(self._connection.info.dsn)
        return _conninfo({**given, "password": self._connection.info.password})


def _cursor_name() -> str:
    return f"polyteia_{secrets.token_hex(4)}"


def _conninfo(values: dict[str, Any]) -> str:
    given = {**values, "client_encoding": "UTF8"}  # that of Arrow's texts
    return " ".join(f"{name}='{_escaped(str(value))}'" for name, value in given.items() if value not in (None, ""))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
