"""`PolyteiaHook`: operations on Polyteia with the key of an Airflow connection."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from airflow_provider_polyteia import provider_info
from airflow_provider_polyteia.client import datasets as dataset_operations
from airflow_provider_polyteia.client.records import DatasetRef, format_source_timestamp, parse_user_timestamp
from airflow_provider_polyteia.client.upload_condition import UploadCondition
from airflow_provider_polyteia.hooks import lineage
from airflow_provider_polyteia.hooks.base import PolyteiaBaseHook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime

    from airflow_provider_polyteia.client.command_api.methods import Kind
    from airflow_provider_polyteia.client.command_api.operations import CommandAPI
    from airflow_provider_polyteia.client.datasets import IfExists
    from airflow_provider_polyteia.client.sql_references import Datasets
    from airflow_provider_polyteia.hooks.files import Exported, Uploaded
    from airflow_provider_polyteia.storage import AnyPath


class PolyteiaHook(PolyteiaBaseHook):
    """Runs operations on Polyteia with the personal access key (PAK) of an Airflow connection.

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

    def command(self, method: str, params: Mapping[str, Any] | None = None, *, idempotent: bool | None = None) -> Any:
        """Run a command of the command API and return the ``data`` of its response.

        A create whose result can be looked up by its natural key (``create_dataset``, ``create_insight``) is applied
        exactly once; if the resource existed before, it raises PolyteiaConflictError.

        :param method: e.g. ``create_dataset``; an unknown one is posted to ``/api``.
        :param params: the command's params; JSON types only. Default: none.
        :param idempotent: whether the command is safe to retry. Default: None, as known of the command, and False for
            an unknown one. If False, a command whose response is lost raises PolyteiaOutcomeUnknownError, unless a
            lookup shows what happened.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return self._call("command", method, params, idempotent=idempotent)

    def query(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Run a query of the command API and return the ``data`` of its response.

        :param method: e.g. ``get_dataset``.
        :param params: the query's params; JSON types only. Default: none.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return self._call("query", method, params)

    def iterate(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        page_size: int = 100,
        max_pages: int = 10_000,
    ) -> Iterator[dict[str, Any] | str]:
        """Yield all items of a paginated query of the command API, page by page as they are needed.

        An item that moves to another page in the meantime is yielded once (docs/platform-api.md#pagination).

        :param method: e.g. ``list_datasets``.
        :param params: the query's params without ``page`` and ``size``. Default: none.
        :param page_size: items per request, 1 to 100. Default: 100.
        :param max_pages: maximum number of pages; more raise an exception. Default: 10000.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        pages = self._command_api.pages(method, params, page_size=page_size, max_pages=max_pages)

        def items() -> Iterator[dict[str, Any] | str]:
            while not pages.is_complete:
                yield from pages.take(self.get_conn().run(pages.next_page()))

        return items()

    @property
    def _command_api(self) -> CommandAPI:
        from airflow_provider_polyteia.client.command_api.operations import CommandAPI  # noqa: PLC0415 - imported when a task runs

        return CommandAPI(self.get_conn().credentials)

    def _call(
        self, kind: Kind, method: str, params: Mapping[str, Any] | None, *, idempotent: bool | None = None
    ) -> Any:
        from airflow_provider_polyteia.client import exactly_once  # noqa: PLC0415 - imported when a task runs
        from airflow_provider_polyteia.client.operation import Creation  # noqa: PLC0415 - imported when a task runs

        operation = self._command_api.call(kind, method, params, idempotent=idempotent)
        if isinstance(operation, Creation):
            return exactly_once.create_new(self.get_conn(), operation)
        return self.get_conn().run(operation)

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

        A request whose response is lost is looked up before it is retried. So is one that is rejected, because the
        platform reports a taken slug as an internal error (docs/platform-api.md#taken-slugs).

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

        :raises PolyteiaNotFoundError: if it does not exist, or is not visible to the key.
        """
        return self.get_conn().run(self.api.get_dataset(DatasetRef.of(dataset_id, solution_id, slug)))

    def update_dataset(
        self,
        dataset_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        source: str | None = None,
        slug: str | None = None,
        documentation: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Change fields of a dataset's record, and return the record. None (default) leaves a field unchanged.

        The platform may replace the whole record (docs/platform-api.md#updates), so it is read, merged and sent in
        full.

        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        changes = {
            "name": name,
            "description": description,
            "source": source,
            "slug": slug,
            "documentation": documentation,
        }
        client = self.get_conn()
        record = dataset_operations.update_dataset(client, self.api, self.get_dataset(dataset_id), changes)
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
        timeout: float | None = None,
    ) -> Uploaded:
        """Replace the data of a dataset with a file, in constant memory (docs/platform-api.md#uploads).

        An interrupted upload leaves the dataset unchanged, and is retried completely, with a new token.

        :param source: a path; a URL such as ``s3://conn_id@bucket/key``; an `ObjectStoragePath`; or a seekable binary
            file object, which is read from its current position.
        :param content_type: MIME type of the data. Default: by the extension ``.parquet``, ``.csv``, ``.json``,
            ``.xlsx`` or ``.xls``.
        :param filename: file name for the platform. Default: its own name.
        :param timeout: maximum time in seconds without a byte in either direction. Default: 300, or the connection's
            timeout if that is longer.
        :raises PolyteiaConfigurationError: if the source can never be uploaded, or its format is not known.
        :raises PolyteiaError: if the source does not exist or is incomplete, or the data was not replaced.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - most tasks move no file
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - most tasks move no file

        client = self.get_conn()
        uploaded = files.upload(
            client, self.api, dataset_id, source, content_type=content_type, filename=filename, timeout=timeout
        )
        if not hasattr(source, "read"):
            lineage.read_file(self, to_path(source))
        lineage.wrote_dataset(self, client.config.base_url, dataset_id, {"bytes": uploaded["bytes"]})
        return uploaded

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

        The file appears under its name only when it is complete. An interrupted download is retried with a new token.

        :param sql: a query in DuckDB's dialect. It refers to a dataset as ``{name}`` if `datasets` is a mapping, or by
            its id in quotes (``'ds_...'``) if it is a list.
        :param datasets: the datasets in use: ``{name: id}``, or their ids.
        :param destination: a path; a URL such as ``s3://conn_id@bucket/key``; or an `ObjectStoragePath`.
        :param args: values for the placeholders in the query. Default: none.
        :param format: MIME type of the file. Default: by the extension of `destination`. Only Parquet is known to work
            (docs/platform-api.md#export-formats).
        :param timeout: maximum time in seconds without a byte. Default: 300, or the connection's timeout if that is
            longer.
        :raises PolyteiaConfigurationError: if the arguments are unusable.
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

    def execute_sql(
        self,
        sql: str,
        datasets: Datasets,
        args: Sequence[Any] | None = None,
        named_args: Mapping[str, Any] | None = None,
        *,
        idempotent: bool | None = None,
    ) -> Any:
        """Run a statement and return the platform's result as it is: for small results (docs/platform-api.md#sql).

        :param sql: as for `export`.
        :param datasets: as for `export`.
        :param args: values for placeholders by position. Default: none.
        :param named_args: values for placeholders by name. Default: none.
        :param idempotent: whether the statement is safe to retry. Default: None, True if it begins with SELECT or FROM
            and contains no semicolon, otherwise False.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        from airflow_provider_polyteia.client.sql_references import Query, reads_only, resolve_references  # noqa: PLC0415 - rare

        statement, ids = resolve_references(sql, datasets)
        client = self.get_conn()
        query = Query(statement, ids, list(args or ()), dict(named_args or {}))
        operation = self.api.execute_sql(query, idempotent=reads_only(statement) if idempotent is None else idempotent)
        data = client.run(operation)
        lineage.read_datasets(self, client.config.base_url, ids)
        return data

    def last_upload(self, dataset_id: str) -> dict[str, Any] | None:
        """Return the last upload into a dataset as the platform shows it; None without one.

        :return: ``id``, ``slug``, ``uploaded_at``, ``size``, ``content_type``.
        """
        upload = self.api.last_upload(self.get_dataset(dataset_id))
        return None if upload is None else upload.summary()

    def wait_for_upload(
        self,
        dataset_id: str,
        *,
        after: str | datetime | None = None,
        min_size: int | None = None,
        timeout: float = 600.0,
        poll_interval: float = 5.0,
    ) -> dict[str, Any]:
        """Wait until the platform shows an upload into a dataset, and return it
        (docs/platform-api.md#upload-visibility).

        :param after: only match uploads after this time, e.g. the ``uploaded_at`` of `last_upload` (datetime or ISO
            8601 string, UTC if naive). Default: any upload.
        :param min_size: minimum size in bytes. Default: any size.
        :param timeout: time in seconds after which to give up. Default: 600.
        :param poll_interval: time in seconds between two polls. Default: 5.
        :raises PolyteiaError: if it does not become visible in time, or a poll fails.
        """
        condition = UploadCondition(
            DatasetRef.of(dataset_id, None, None),
            uploaded_after=parse_user_timestamp(after, "The argument 'after'"),
            min_size=min_size,
        )
        upload = dataset_operations.wait_for_upload(
            self.get_conn(), self.api, condition, timeout=timeout, poll_interval=poll_interval
        )
        return upload.summary()

    def set_source_timestamp(self, dataset_id: str, source_timestamp: str | date) -> None:
        """Store the as-of time of a dataset's data (docs/platform-api.md#source-timestamp).

        :param source_timestamp: a date, a datetime or an ISO 8601 string, UTC if naive.
        :raises PolyteiaConfigurationError: if it is not a timestamp.
        """
        timestamp = format_source_timestamp(source_timestamp)
        self.get_conn().run(self.api.set_source_timestamp(dataset_id, timestamp))
