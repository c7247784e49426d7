"""The interface of the operations that every API of the platform offers, and the choice of the API for a connection.

Everything above this module works with these operations only: it knows no path, no envelope and no header. A second API
stands beside the first by implementing `PlatformAPI` and being chosen in `select_api`.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Protocol

from airflow_provider_polyteia.client.command_api.operations import CommandAPI

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.multipart import UploadSource
    from airflow_provider_polyteia.client.operation import Creation, Listing, Operation
    from airflow_provider_polyteia.client.records import DatasetRef, Record, Upload
    from airflow_provider_polyteia.client.sql_references import Query


class PlatformAPI(Protocol):
    """The operations of one API, for one connection. Each method checks its arguments and sends nothing.

    Records have the field names of the command API on every API: ``id``, ``organization_id``, ``solution_id``,
    ``name``, ``slug``, ``description``, ``source``, ``documentation``, ``created_at``, ``updated_at``.
    """

    def create_dataset(self, fields: Mapping[str, Any]) -> Creation:
        """Create a dataset.

        :param fields: ``name``, ``solution_id`` and ``slug``; optionally ``description``, ``source``,
            ``documentation``.
        """

    def get_dataset(self, dataset: DatasetRef) -> Operation[Record]:
        """Return a dataset's record."""

    def list_datasets(self, solution_id: str) -> Listing:
        """Return the records of a solution's datasets, page by page."""

    def update_dataset(self, dataset_id: str, fields: Mapping[str, Any]) -> Operation[Record | None]:
        """Replace a dataset's fields, and return its record if the platform returns it."""

    def delete_dataset(self, dataset_id: str) -> Operation[None]:
        """Delete a dataset with its data."""

    def set_source_timestamp(self, dataset_id: str, source_timestamp: str) -> Operation[None]:
        """Store the as-of time of a dataset's data.

        :param source_timestamp: RFC 3339 in UTC.
        """

    def upload(
        self, dataset_id: str, source: UploadSource, content_type: str, idle_timeout: float | None
    ) -> Operation[None]:
        """Replace a dataset's data with a file.

        :param content_type: MIME type of the data.
        :param idle_timeout: maximum time in seconds without a byte in either direction. None: 300, or the connection's
            timeout if that is longer.
        """

    def export(
        self,
        query: Query,
        content_type: str,
        destination: Callable[[], AbstractContextManager[IO[bytes]]],
        name: str,
        idle_timeout: float | None,
    ) -> Operation[int]:
        """Write the result of a query to a file, and return its size in bytes.

        :param content_type: MIME type of the file.
        :param destination: opens a new temporary file for an attempt, keeps it if the attempt succeeds, else removes
            it.
        :param name: the name of the file in the log.
        :param idle_timeout: as for `upload`.
        """

    def execute_sql(self, query: Query, *, idempotent: bool) -> Operation[Any]:
        """Run a statement, and return the platform's result as it is."""

    def test_connection(self) -> Operation[str | None]:
        """Return the name of an organization that the key can access; None if there is none."""

    def last_upload(self, record: Record) -> Upload | None:
        """Return the last upload that a dataset's record shows; None without one.

        :raises PolyteiaProtocolError: if the record contains something that cannot be one.
        """


def select_api(credentials: Credentials) -> PlatformAPI:
    """Return the API that a connection uses."""
    return CommandAPI(credentials)
