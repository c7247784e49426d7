"""A common interface for psycopg2 and psycopg 3, the two drivers that Airflow's PostgreSQL hook may use.

Which driver the hook uses depends on what is installed with Airflow, so each driver is only imported once a connection
of the hook has shown that it is in use.
"""

from __future__ import annotations

import importlib
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_polyteia.tables.readers.base import Parameters


_ISO_DATES = "SET datestyle TO 'ISO'"


def wrap_connection(connection: Any) -> Psycopg2Session | Psycopg3Session:
    """Return the session for a connection created by the hook."""
    is_psycopg2 = type(connection).__module__.startswith("psycopg2")
    return Psycopg2Session(connection) if is_psycopg2 else Psycopg3Session(connection)


class Psycopg2Session:
    """A psycopg2 connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._extensions = importlib.import_module("psycopg2.extensions")

    def prepare(self) -> None:
        """Make the next transaction read-only and set UTF-8 and ISO dates, regardless of the database's defaults."""
        self._connection.rollback()
        self._connection.set_client_encoding("UTF8")
        self._connection.set_session(readonly=True)
        with self.cursor() as cursor:
            cursor.execute(_ISO_DATES)

    def cursor(self, **options: Any) -> Any:
        """Return a cursor whose rows are tuples, regardless of the connection's extra."""
        return self._connection.cursor(cursor_factory=self._extensions.cursor, **options)

    def server_cursor(self) -> Any:
        """Return a server-side cursor, which fetches rows from the database on demand."""
        return self.cursor(name=_generate_cursor_name())

    def literal(self, sql: str, parameters: Parameters) -> str:
        """Return a query with its parameters inserted as literals."""
        with self.cursor() as cursor:
            text: bytes = cursor.mogrify(sql, parameters)
        return text.decode(self._extensions.encodings[self._connection.encoding])

    def settings(self) -> dict[str, Any]:
        """Return the parameters of libpq for an equal connection, with the password."""
        return {**self._extensions.parse_dsn(self._connection.dsn), "password": self._connection.info.password}

    def server_encoding(self) -> str:
        """Return the encoding of the database."""
        encoding: str = self._connection.info.parameter_status("server_encoding")
        return encoding


class Psycopg3Session:
    """A psycopg 3 connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._psycopg = importlib.import_module("psycopg")

    def prepare(self) -> None:
        """Make the next transaction read-only and set UTF-8 and ISO dates, regardless of the database's defaults."""
        self._connection.rollback()
        self._connection.read_only = True
        with self.cursor() as cursor:
            cursor.execute("SET client_encoding TO 'UTF8'")
            cursor.execute(_ISO_DATES)

    def cursor(self, **options: Any) -> Any:
        """Return a cursor whose rows are tuples, regardless of the connection's extra."""
        return self._connection.cursor(row_factory=self._psycopg.rows.tuple_row, **options)

    def server_cursor(self) -> Any:
        """Return a server-side cursor, which fetches rows from the database on demand."""
        return self.cursor(name=_generate_cursor_name())

    def literal(self, sql: str, parameters: Parameters) -> str:
        """Return a query with its parameters inserted as literals."""
        text: str = self._psycopg.ClientCursor(self._connection).mogrify(sql, parameters)
        return text

    def settings(self) -> dict[str, Any]:
        """Return the parameters of libpq for an equal connection, with the password."""
        settings = self._psycopg.conninfo.conninfo_to_dict(self._connection.info.dsn)
        return {**settings, "password": self._connection.info.password}

    def server_encoding(self) -> str:
        """Return the encoding of the database."""
        encoding: str = self._connection.info.parameter_status("server_encoding")
        return encoding


def _generate_cursor_name() -> str:
    return f"polyteia_{secrets.token_hex(4)}"
