"""`PolyteiaHook`: operations on Polyteia with the key of an Airflow connection."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from airflow_provider_polyteia import provider_info
from airflow_provider_polyteia.client import datasets as dataset_operations
from airflow_provider_polyteia.client.records import DatasetRef, format_source_timestamp, parse_user_timestamp
from airflow_provider_polyteia.client.upload_condition import UploadCondition
from airflow_provider_polyteia.hooks import lineage
from airflow_provider_polyteia.hooks.raw_access import RawAccessHook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime

    from airflow_provider_polyteia.client.datasets import IfExists
    from airflow_provider_polyteia.client.sql_references import Datasets
    from airflow_provider_polyteia.hooks.files import Exported, Uploaded
    from airflow_provider_polyteia.storage import AnyPath


class PolyteiaHook(RawAccessHook):
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
            it differs; ``"update"`` updates name, description, source and documentation; ``"fail"`` raises
            PolyteiaConflictError.
        :raises PolyteiaOutcomeUnknownError: if it is unknown whether it was created.
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

    def upload_dataset(
        self,
        dataset_id: str,
        source: AnyPath | IO[bytes],
        *,
        content_type: str | None = None,
        filename: str | None = None,
        check: bool = True,
        timeout: float | None = None,
        wait_for_ingest: bool = True,
        ingest_timeout: float = dataset_operations.INGEST_TIMEOUT,
    ) -> Uploaded:
        """Replace the data of a dataset with a file, in constant memory (docs/platform-api.md#uploads).

        An interrupted upload leaves the dataset unchanged, and is retried as a whole. The RPC API accepts a file first
        and ingests it later (docs/platform-api.md#rpc-uploads); this method waits for that.

        :param source: a path; a URL such as ``s3://conn_id@bucket/key``; an `ObjectStoragePath`; or a seekable binary
            file object, which is read from its current position.
        :param content_type: MIME type of the data. Default: by the extension ``.parquet``, ``.csv``, ``.json``,
            ``.xlsx`` or ``.xls``.
        :param filename: file name for the platform. Default: its own name.
        :param check: whether to check the file before (docs/transfers.md#checks-of-files). Default: True.
        :param timeout: maximum time in seconds without a byte in either direction. Default: 300, or the connection's
            timeout if that is longer.
        :param wait_for_ingest: whether to return only after the data was ingested, on the RPC API. If False, pass
            ``ingest_id`` of the result to `wait_for_ingest`. Default: True.
        :param ingest_timeout: maximum time in seconds to wait for that. Default: 1800.
        :return: ``dataset_id``, ``bytes``, ``rows`` and ``columns`` (of a Parquet file, if pyarrow is installed;
            otherwise None and empty), ``content_type``, ``filename`` and ``ingest_id`` (None on the command API).
        :raises PolyteiaConfigurationError: if the source can never be uploaded, or its format is not known.
        :raises PolyteiaDataError: if the file failed a check; nothing was sent.
        :raises PolyteiaPreconditionError: if data-processing terms must be acknowledged first.
        :raises PolyteiaIngestError: if the platform could not ingest the file.
        :raises PolyteiaOutcomeUnknownError: if the file was accepted and it is unknown whether it was ingested.
        :raises PolyteiaError: if the source does not exist or is incomplete, or the data was not replaced.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - most tasks move no file
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - most tasks move no file

        client = self.get_conn()
        file = files.check(source, content_type, filename, is_checked=check)
        uploaded = files.upload(client, self.api, dataset_id, file, timeout=timeout)
        if wait_for_ingest and uploaded["ingest_id"]:
            self.wait_for_ingest(dataset_id, uploaded["ingest_id"], timeout=ingest_timeout)
        if not hasattr(source, "read"):
            lineage.read_file(self, to_path(source))
        lineage.wrote_dataset(self, client.config.base_url, dataset_id, {"bytes": uploaded["bytes"]})
        return uploaded

    def wait_for_ingest(
        self,
        dataset_id: str,
        ingest_id: str,
        *,
        timeout: float = dataset_operations.INGEST_TIMEOUT,
        poll_interval: float = dataset_operations.INGEST_POLL_INTERVAL,
    ) -> None:
        """Wait until an uploaded file was ingested (RPC API only; docs/platform-api.md#rpc-ingests).

        :param ingest_id: as in the result of `upload_dataset`.
        :param timeout: time in seconds after which to give up. Default: 1800.
        :param poll_interval: maximum time in seconds between two polls; the first ones are faster. Default: 5.
        :raises PolyteiaConfigurationError: if the connection uses the command API, which has no ingests.
        :raises PolyteiaIngestError: if the platform could not ingest the file.
        :raises PolyteiaOutcomeUnknownError: if it does not finish in time, or the platform no longer knows it.
        """
        dataset_operations.wait_for_ingest(
            self.get_conn(), self.api, dataset_id, ingest_id, timeout=timeout, poll_interval=poll_interval
        )

    def export(
        self,
        sql: str,
        datasets: Datasets,
        destination: AnyPath,
        *,
        args: Sequence[Any] | None = None,
        format: str | None = None,  # noqa: A002 - the platform's own name for it
        timeout: float | None = None,
    ) -> Exported:
        """Write the result of a query to a file, in constant memory (docs/platform-api.md#exports).

        The file appears under its name only when it is complete.

        :param sql: a query in DuckDB's dialect. It refers to a dataset as ``{name}`` if `datasets` is a mapping, or by
            its id in quotes (``'ds_...'``) if it is a list.
        :param datasets: the datasets in use: ``{name: id}``, or their ids; on the RPC API, at least one.
        :param destination: a path; a URL such as ``s3://conn_id@bucket/key``; or an `ObjectStoragePath`.
        :param args: values for placeholders by position. Default: none.
        :param format: MIME type of the file. Default: by the extension of `destination`. On the command API, only
            Parquet is known to work (docs/platform-api.md#export-formats). On the RPC API, the result can be written as
            Parquet, CSV or JSON, which needs pyarrow and room for the result in the system's temporary directory.
        :param timeout: maximum time in seconds without a byte. Default: 300, or the connection's timeout if that is
            longer.
        :return: ``path``, ``bytes``, ``rows`` (of a Parquet file, with pyarrow; otherwise None), ``content_type`` and
            ``datasets`` (ids).
        :raises PolyteiaConfigurationError: if the arguments are unusable, or pyarrow is required and not installed.
        :raises PolyteiaError: if it failed; no file is left then.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - most tasks move no file
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - most tasks move no file

        client = self.get_conn()
        exported = files.export(
            client, self.api, sql, datasets, destination, args=args, content_type=format, timeout=timeout
        )
        lineage.read_datasets(self, client.config.base_url, exported["datasets"])
        lineage.wrote_file(self, to_path(destination))
        return exported

    def export_dataset(
        self,
        dataset_id: str,
        destination: AnyPath,
        *,
        format: str | None = None,  # noqa: A002 - the platform's own name for it
        timeout: float | None = None,
    ) -> Exported:
        """Write all data of a dataset to a file, in constant memory.

        :param dataset_id: id of the dataset, ``ds_...``.
        :param destination: as for `export`.
        :param format: MIME type of the file. Default: by the extension of `destination`. On the command API, as for
            `export`; on the RPC API, Parquet, CSV, JSON or Excel (xlsx), without pyarrow.
        :param timeout: as for `export`.
        :return: as for `export`.
        :raises PolyteiaConfigurationError: if the arguments are unusable.
        :raises PolyteiaError: if it failed; no file is left then.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - most tasks move no file
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - most tasks move no file

        client = self.get_conn()
        exported = files.export_dataset(client, self.api, dataset_id, destination, content_type=format, timeout=timeout)
        lineage.read_datasets(self, client.config.base_url, exported["datasets"])
        lineage.wrote_file(self, to_path(destination))
        return exported

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
