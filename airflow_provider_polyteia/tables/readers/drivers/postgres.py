"""psycopg2 and psycopg: PostgreSQL reports the types of a query before it runs."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_polyteia.tables.readers import postgres
from airflow_provider_polyteia.tables.readers.drivers.base import Driver, execute, fetch_batches
from airflow_provider_polyteia.tables.readers.postgres_sessions import wrap_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from airflow_provider_polyteia.tables.readers.base import Query


class PostgresDriver(Driver):
    """A connection to PostgreSQL."""

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query with a server-side cursor, in a read-only transaction."""
        session = wrap_connection(self.connection)
        described = postgres.describe(session, query, postgres.AS_NUMBERS)
        with closing(session.server_cursor()) as cursor:
            execute(cursor, described.sql, query.parameters)
            yield from fetch_batches(cursor, partial(postgres.to_batch, described.fields), query.batch_bytes)
