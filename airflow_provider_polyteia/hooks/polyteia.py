"""`PolyteiaHook`: operations on Polyteia with the key of an Airflow connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia import provider_info
from airflow_provider_polyteia.client import datasets as dataset_operations
from airflow_provider_polyteia.client.records import DatasetRef, format_source_timestamp, parse_user_timestamp
from airflow_provider_polyteia.client.upload_condition import UploadCondition
from airflow_provider_polyteia.hooks import lineage
from airflow_provider_polyteia.hooks.transfers import TransferHook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime

    from airflow_provider_polyteia.client.datasets import IfExists
    from airflow_provider_polyteia.client.sql_references import Datasets


class PolyteiaHook(TransferHook):
    """Runs operations on Polyteia with the personal access key (PAK) of an Airflow connection.

    The methods work on both APIs of the platform (docs/two-apis.md), except `command`, `query` and `iterate` (command
    API), `call` and `wait_for_ingest` (RPC API).

    Each method raises an exception of `airflow_provider_polyteia.exceptions` if it fails. Permanent errors, such as an
    invalid key, fail the task immediately. Not thread-safe.

    :param polyteia_conn_id: id of the connection, type Polyteia. Default: ``polyteia_default``.
    :param max_attempts: maximum number of attempts per operation. Default: None, as in the connection.
    :param max_wait: maximum time in seconds between two attempts. Default: None, as in the connection.
    :param max_elapsed: time in seconds after which no further attempt begins. Default: None, as in the connection.
    :param max_server_errors: maximum number of attempts when the platform itself reports an internal error. Default:
        None, 3 attempts.
    """

    # Airflow 2 finds these two only in the hook's own class, not in a base class.
    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the standard fields of the connection form (Airflow before 3.2)."""
        return {name.replace("-", "_"): value for name, value in provider_info.FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Describe the additional fields of the connection form (Airflow before 3.2)."""
        from airflow_provider_polyteia.hooks.form import widgets  # noqa: PLC0415 - needs a web server's packages

        return widgets(provider_info.CONNECTION_FIELDS)

    def create_dataset(
        self,
        *,
        name: str,
        solution_id: str,
        slug: str,
        description: str | None = None,
        source: str | None = None,
        documentation: Mapping[str, Any] | None = None,
        if_exists: IfExists = "reuse",
    ) -> dict[str, Any]:
        """Create a dataset exactly once by its solution and slug, and return its record.

        If the response is lost, or the request is rejected because the slug may be taken, the dataset is looked up
        (docs/platform-api.md#taken-slugs).

        :param name: display name.
        :param solution_id: id of its solution, ``sol_...``.
        :param slug: slug, unique within the solution.
        :param description: free text. Default: none.
        :param source: free text about the origin of the data; nothing is fetched from there. Default: none.
        :param documentation: block document. Default: none.
        :param if_exists: what to do if the dataset already exists: ``"reuse"`` (default) returns it, with a warning if
            it differs; ``"update"`` updates name, description, source and documentation; ``"fail"``, which looks it up
            before the create, raises PolyteiaConflictError.
        :raises PolyteiaOutcomeUnknownError: if it is unknown whether it was created, or, with ``if_exists="fail"``, by
            whom: the response was lost, and a lookup found it afterwards.
        :raises PolyteiaError: if it was not created.
        """
        values = {
            "name": name,
            "solution_id": solution_id,
            "description": description,
            "source": source,
            "slug": slug,
            "documentation": documentation,
        }
        fields = {key: value for key, value in values.items() if value is not None}
        client = self.get_conn()
        record = dataset_operations.create_dataset(client, self.api, fields, if_exists)
        lineage.wrote_dataset(self, client.config.base_url, record["id"])
        return record

    def get_dataset(
        self, dataset_id: str | None = None, *, solution_id: str | None = None, slug: str | None = None
    ) -> dict[str, Any]:
        """Return the record of a dataset, identified by its id, or by solution and slug.

        On both APIs, its fields have the names of the command API (docs/platform-api.md#record-fields).

        :raises PolyteiaNotFoundError: if it does not exist, or is not visible to the key.
        """
        return self.get_conn().run(self.api.get_dataset(DatasetRef.of(dataset_id, solution_id, slug)))

    def list_datasets(self, solution_id: str) -> Iterator[dict[str, Any]]:
        """Yield the records of a solution's datasets, page by page as they are needed.

        A list may be incomplete (docs/platform-api.md#dataset-lists, docs/platform-api.md#rpc-lists).

        :param solution_id: id of the solution, ``sol_...``.
        """
        listing = self.api.list_datasets(solution_id)

        def records() -> Iterator[dict[str, Any]]:
            while not listing.is_complete:
                yield from listing.take(self.get_conn().run(listing.next_page()))

        return records()

    def update_dataset(
        self,
        dataset_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        source: str | None = None,
        slug: str | None = None,
        documentation: Mapping[str, Any] | None = None,
        source_timestamp: str | date | None = None,
    ) -> dict[str, Any]:
        """Change fields of a dataset's record, and return the record. None (default) leaves a field unchanged.

        The platform may replace the whole record (docs/platform-api.md#updates, docs/platform-api.md#rpc-updates), so
        it is read, merged and sent in full. A change that another client makes in between is lost.

        :param source_timestamp: as-of time of the data, as for `set_source_timestamp`. Required only if the RPC API
            does not show the present one, because an update would erase it.
        :raises PolyteiaConfigurationError: if `source_timestamp` is required.
        """
        timestamp = None if source_timestamp is None else format_source_timestamp(source_timestamp)
        changes = {
            "name": name,
            "description": description,
            "source": source,
            "slug": slug,
            "documentation": documentation,
        }
        client = self.get_conn()
        current = self.get_dataset(dataset_id)
        record = dataset_operations.update_dataset(client, self.api, current, changes, timestamp)
        lineage.wrote_dataset(self, client.config.base_url, dataset_id)
        return record

    def delete_dataset(
        self,
        dataset_id: str | None = None,
        *,
        solution_id: str | None = None,
        slug: str | None = None,
        ignore_missing: bool = False,
    ) -> bool:
        """Delete a dataset with its data, identified by its id, or by solution and slug. Requires the dataset's owner.

        :param ignore_missing: whether a missing dataset is not an error. Default: False.
        :return: True if it was deleted, False if it did not exist.
        :raises PolyteiaNotFoundError: if it does not exist, unless `ignore_missing` is set.
        """
        dataset = DatasetRef.of(dataset_id, solution_id, slug)
        return dataset_operations.delete_dataset(self.get_conn(), self.api, dataset, ignore_missing=ignore_missing)

    def execute_sql(
        self,
        sql: str,
        datasets: Datasets,
        args: Sequence[Any] | None = None,
        named_args: Mapping[str, Any] | None = None,
        *,
        idempotent: bool | None = None,
    ) -> Any:
        """Run a statement and return its result, which is held in memory.

        On the command API, this is the platform's result as it is (docs/platform-api.md#sql-results). On the RPC API,
        it is ``{"columns": [{"name": ..., "type": ...}], "rows": [[...]]}``, which needs pyarrow.

        :param sql: a statement; references to datasets as for `export`.
        :param datasets: as for `export`. On the command API, it may be empty.
        :param args: values for placeholders by position. Default: none.
        :param named_args: values for placeholders by name. Default: none.
        :param idempotent: whether the statement is safe to retry. Default: None, True if it begins with SELECT or FROM
            and contains no semicolon, otherwise False.
        """
        from airflow_provider_polyteia.client.sql_references import Query, reads_only, resolve_references  # noqa: PLC0415 - rare

        statement, ids = resolve_references(sql, datasets)
        client = self.get_conn()
        query = Query(statement, ids, list(args or ()), dict(named_args or {}))
        operation = self.api.execute_sql(query, idempotent=reads_only(statement) if idempotent is None else idempotent)
        data = client.run(operation)
        lineage.read_datasets(self, client.config.base_url, ids)
        return data

    def last_upload(self, dataset_id: str, *, timestamp_field: str | None = None) -> dict[str, Any] | None:
        """Return the last upload into a dataset as the platform shows it; None without one.

        :param timestamp_field: date field of the dataset's record that shows an upload. Default: the time of the upload
            itself; on the RPC API, which does not show it, ``data_as_of`` (docs/platform-api.md#rpc-last-upload).
        :return: ``id``, ``slug``, ``uploaded_at``, ``size`` (bytes), ``content_type``; of a field, only its value as
            ``uploaded_at``, and None for ``size`` and ``content_type``.
        :raises PolyteiaConfigurationError: if the record has no such field; the text lists its date fields.
        """
        dataset = DatasetRef.of(dataset_id, None, None)
        condition = UploadCondition(dataset, timestamp_field=timestamp_field)
        upload = self.api.last_upload(self.get_dataset(dataset_id), condition)
        return None if upload is None else upload.summary()

    def wait_for_upload(
        self,
        dataset_id: str,
        *,
        after: str | datetime | None = None,
        min_size: int | None = None,
        timestamp_field: str | None = None,
        timeout: float = 600.0,
        poll_interval: float = 5.0,
    ) -> dict[str, Any]:
        """Wait until the platform shows an upload into a dataset, and return it
        (docs/platform-api.md#upload-visibility).

        :param after: only match uploads after this time, e.g. the ``uploaded_at`` of `last_upload` (datetime or ISO
            8601 string, UTC if naive). Default: any upload.
        :param min_size: minimum size in bytes; not on the RPC API, and not with `timestamp_field`. Default: any size.
        :param timestamp_field: as for `last_upload`; `after` is compared with this field.
        :param timeout: time in seconds after which to give up. Default: 600.
        :param poll_interval: time in seconds between two polls. Default: 5.
        :return: as for `last_upload`.
        :raises PolyteiaConfigurationError: if `min_size` cannot be checked, or the record has no such field.
        :raises PolyteiaError: if it does not become visible in time, or a poll fails.
        """
        condition = UploadCondition(
            DatasetRef.of(dataset_id, None, None),
            uploaded_after=parse_user_timestamp(after, "The argument 'after'"),
            min_size=min_size,
            timestamp_field=timestamp_field,
        )
        upload = dataset_operations.wait_for_upload(
            self.get_conn(), self.api, condition, timeout=timeout, poll_interval=poll_interval
        )
        return upload.summary()

    def set_source_timestamp(self, dataset_id: str, source_timestamp: str | date) -> None:
        """Store the as-of time of a dataset's data (docs/platform-api.md#source-timestamp).

        On the RPC API, the whole record is read and replaced, as by `update_dataset`.

        :param source_timestamp: a date, a datetime or an ISO 8601 string, UTC if naive.
        :raises PolyteiaConfigurationError: if it is not a timestamp.
        """
        timestamp = format_source_timestamp(source_timestamp)
        self.get_conn().run(self.api.set_source_timestamp(dataset_id, timestamp))
