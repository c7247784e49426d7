"""The interface of the operations that both APIs of the platform offer, and the choice of the API for a connection.

Everything above this module works with these operations only: it knows no path, no envelope and no header. An API
stands beside another by implementing `PlatformAPI` and being chosen in `select_api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_provider_polyteia.client.operation import Idempotency, Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.file_sink import Destination
    from airflow_provider_polyteia.client.multipart import UploadSource
    from airflow_provider_polyteia.client.operation import Creation, Flow, Listing
    from airflow_provider_polyteia.client.records import Accepted, DatasetRef, Ingest, Record, Upload, UploadCheck
    from airflow_provider_polyteia.client.sql_references import Query
    from airflow_provider_polyteia.client.upload_condition import UploadCondition


class PlatformAPI(Protocol):
    """The operations of one API, for one connection. Each method checks its arguments and sends nothing.

    Records have the field names of the command API on every API: ``id``, ``organization_id``, ``solution_id``,
    ``name``, ``slug``, ``description``, ``source``, ``documentation``, ``created_at``, ``updated_at``.

    :cvar name: as the connection's extra ``api`` names it.
    :cvar upload_field: date field of a dataset's record that stands for an upload; None where the record shows the
        upload itself, regardless of who made it.
    """

    name: ClassVar[str]
    upload_field: ClassVar[str | None]

    def create_dataset(self, fields: Mapping[str, Any]) -> Creation:
        """Create a dataset.

        :param fields: ``name``, ``solution_id`` and ``slug``; optionally ``description``, ``source``,
            ``documentation``.
        """

    def get_dataset(self, dataset: DatasetRef) -> Operation[Record]:
        """Return a dataset's record."""

    def list_datasets(self, solution_id: str) -> Listing:
        """Return the records of a solution's datasets, page by page."""

    def update_dataset(
        self, record: Record, changes: Mapping[str, Any], source_timestamp: str | None = None
    ) -> Operation[Record | None]:
        """Replace a dataset's fields by its record with the changes, and return its record if the platform returns it.

        :param record: as just read.
        :param changes: the fields that get another value.
        :param source_timestamp: as-of time of the data, RFC 3339 in UTC. Default: None, unchanged.
        """

    def delete_dataset(self, dataset_id: str) -> Operation[None]:
        """Delete a dataset with its data."""

    def set_source_timestamp(self, dataset_id: str, source_timestamp: str) -> Operation[None]:
        """Store the as-of time of a dataset's data.

        :param source_timestamp: RFC 3339 in UTC.
        """

    def upload(
        self, dataset_id: str, source: UploadSource, content_type: str, idle_timeout: float | None
    ) -> Operation[Accepted]:
        """Replace a dataset's data with a file; where the platform ingests it later, return the id of the ingest.

        :param content_type: MIME type of the data.
        :param idle_timeout: maximum time in seconds without a byte in either direction. None: 300, or the connection's
            timeout if that is longer.
        """

    def check_upload(self, record: Record) -> Operation[UploadCheck]:
        """Find out, by requests that only read, whether an upload would be accepted.

        :param record: of the dataset, as just read.
        :raises PolyteiaError: if it would not.
        """

    def check_creation(self, solution_id: str) -> Operation[UploadCheck]:
        """Find out, by requests that only read, whether a dataset could be created in a solution, and filled.

        :raises PolyteiaError: if not.
        """

    def ingest_status(self, dataset_id: str, ingest_id: str) -> Operation[Ingest]:
        """Return the state of an ingest.

        :raises PolyteiaConfigurationError: if the API has no ingests.
        """

    def export(
        self,
        query: Query,
        destination: Destination,
        idle_timeout: float | None,
    ) -> Operation[int]:
        """Write the result of a query to a file, and return its size in bytes.

        :param idle_timeout: as for `upload`.
        """

    def export_dataset(
        self,
        dataset_id: str,
        destination: Destination,
        idle_timeout: float | None,
    ) -> Operation[int]:
        """Write all data of a dataset to a file, and return its size in bytes; parameters as for `export`."""

    def execute_sql(self, query: Query, *, idempotent: bool) -> Operation[Any]:
        """Run a statement, and return the platform's result as it is."""

    def test_connection(self) -> Operation[str | None]:
        """Return the name of an organization that the key can access; None if there is none."""

    def check_condition(self, condition: UploadCondition) -> None:
        """Check, before anything is sent, that a wait asks for nothing that the platform does not show.

        :raises PolyteiaConfigurationError: if it does.
        """

    def last_upload(self, record: Record, condition: UploadCondition) -> Upload | None:
        """Return the last upload that a dataset's record shows; None without one.

        :param condition: names the field that shows it.
        :raises PolyteiaProtocolError: if the record contains something that cannot be one.
        :raises PolyteiaConfigurationError: if the record has no such field.
        """


def select_api(credentials: Credentials) -> Operation[PlatformAPI]:
    """Return the operation that chooses the API of a connection.

    It sends nothing where the connection says which API to use; otherwise the host is asked.

    :raises PolyteiaConfigurationError: if the connection lacks what the API needs.
    """

    def start() -> Flow[PlatformAPI]:
        name = credentials.config.api
        if name == "auto":
            from airflow_provider_polyteia.client.rpc_api import probe  # noqa: PLC0415 - for hosts that are not known

            name = "rpc" if (yield from probe.serves_rpc_api(credentials)) else "command"
            credentials.config.check_organization(name)
        return create_api(name, credentials)

    return Operation("select_api", start, Idempotency.SAFE, {})


def create_api(name: str, credentials: Credentials) -> PlatformAPI:
    """Return the operations of an API, by its name; only this API is imported."""
    if name == "rpc":
        from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI  # noqa: PLC0415 - see above

        return RpcAPI(credentials)
    from airflow_provider_polyteia.client.command_api.operations import CommandAPI  # noqa: PLC0415 - see above

    return CommandAPI(credentials)
