"""`PolyteiaHook`: from an Airflow connection to the platform."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Self

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from airflow_provider_polyteia import provider_info
from airflow_provider_polyteia.client import records
from airflow_provider_polyteia.client.calls import Call, make_call
from airflow_provider_polyteia.exceptions import (
    PolyteiaError,
    PolyteiaNotFoundError,
)
from airflow_provider_polyteia.hooks import datasets, lineage, paging
from airflow_provider_polyteia.hooks.connection import USER_AGENT, config_of, missing_connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime

    from airflow_provider_polyteia.client.config import ClientConfig
    from airflow_provider_polyteia.client.sql import Datasets
    from airflow_provider_polyteia.client.sync import PolyteiaClient
    from airflow_provider_polyteia.hooks.existing import IfExists
    from airflow_provider_polyteia.hooks.files import AnyPath, Exported, Uploaded


class PolyteiaHook(BaseHook):
    """Sends commands and queries to Polyteia with the personal access key of an Airflow connection.

    Each method raises an error of `airflow_provider_polyteia.exceptions` if it fails; those that no repetition can
    mend, such as a wrong key, fail an Airflow task at once. Not to be shared between threads.

    :param polyteia_conn_id: id of the connection, type Polyteia.
    :param max_attempts: how often a call is sent at the most; None (default): as in the connection.
    :param max_wait: longest single wait between two attempts, in seconds; None: as in the connection.
    :param max_elapsed: seconds after which no further attempt begins; None: as in the connection.
    :param max_reported: how often a call is sent at the most when the platform itself reports an internal error;
        None: 3 times.
    """

    conn_name_attr = "polyteia_conn_id"
    default_conn_name = provider_info.DEFAULT_CONNECTION
    conn_type = provider_info.CONNECTION_TYPE
    hook_name = provider_info.HOOK_NAME

    def __init__(
        self,
        polyteia_conn_id: str = default_conn_name,
        *,
        max_attempts: int | None = None,
        max_wait: float | None = None,
        max_elapsed: float | None = None,
        max_reported: int | None = None,
    ) -> None:
        super().__init__()
        self.polyteia_conn_id = polyteia_conn_id
        self._limits = {
            "max_attempts": max_attempts,
            "max_wait": max_wait,
            "max_elapsed": max_elapsed,
            "max_reported": max_reported,
        }
        self._client: PolyteiaClient | None = None
        self._is_cancelled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the standard fields of the connection form (Airflow before 3.2)."""
        return {name.replace("-", "_"): value for name, value in provider_info.FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Describe the further fields of the connection form (Airflow before 3.2)."""
        from airflow_provider_polyteia.hooks.form import widgets  # noqa: PLC0415 - needs a web server's packages

        return widgets(provider_info.CONNECTION_FIELDS)

    @property
    def config(self) -> ClientConfig:
        """The checked contents of the connection.

        :raises PolyteiaConfigurationError: if there is no such connection, or something in it is unusable.
        """
        try:
            connection = self.get_connection(self.polyteia_conn_id)
        except AirflowNotFoundException:
            raise missing_connection(self.polyteia_conn_id) from None
        extra = connection.extra_dejson if connection.extra else {}
        return config_of(self.polyteia_conn_id, connection, extra).with_limits(**self._limits)

    def get_conn(self) -> PolyteiaClient:
        """Return the client, made at the first use and kept until `close`.

        :raises PolyteiaConfigurationError: if the connection is missing or unusable.
        """
        if self._client is None:
            from airflow_provider_polyteia.client.sync import PolyteiaClient  # noqa: PLC0415 - imports requests

            config = self.config
            mask_secret(config.key)
            self._client = PolyteiaClient(config, user_agent=USER_AGENT, on_secret=mask_secret)
            if self._is_cancelled:
                self._client.cancel()
        return self._client

    def close(self) -> None:
        """Close the client's connections, and forget its access token."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def cancel(self) -> None:
        """Stop waiting and begin no further attempt; for `on_kill`."""
        self._is_cancelled = True
        if self._client is not None:
            self._client.cancel()

    def test_connection(self) -> tuple[bool, str]:
        """Ask who the key belongs to; for the button Test of the connection form."""
        try:
            # Once only: a person waits for the answer.
            with type(self)(self.polyteia_conn_id, max_attempts=1) as once:
                page = once.query("list_organizations", {"page": 1, "size": 1})
        except PolyteiaError as error:
            # The form tests under an id that it makes up, which would say nothing to the person at the form.
            made_up = f"onnection {self.polyteia_conn_id!r}"
            return False, str(error).replace(f"c{made_up}", "this connection").replace(f"C{made_up}", "This connection")
        items = page.get("items") if isinstance(page, dict) else None
        first = items[0] if isinstance(items, list) and items else {}
        name = first.get("name") if isinstance(first, dict) else None
        return True, f"Connected to organization {name!r}." if name else "Connected; the key sees no organization."

    def command(self, method: str, params: Mapping[str, Any] | None = None, *, idempotent: bool | None = None) -> Any:
        """Send a command and return the ``data`` of its answer.

        :param method: e.g. ``create_dataset``; one that this package does not know is sent to ``/api``.
        :param params: the command's params: JSON types only.
        :param idempotent: whether repeating the command is harmless; None (default): as known of the command, and no
            for one that is not known. If not, a command whose answer is lost raises PolyteiaOutcomeUnknownError,
            unless a look-up can tell what happened.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return self._data(make_call("command", method, params, idempotent=idempotent))

    def query(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Send a query and return the ``data`` of its answer.

        :param method: e.g. ``get_dataset``.
        :param params: the query's params: JSON types only.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return self._data(make_call("query", method, params))

    def _data(self, call: Call) -> Any:
        client = self.get_conn()
        if call.natural_key and not call.repeatable:
            created = client.create(call)
            datasets.check_new(created, call, self.polyteia_conn_id)
            return created.record
        return client.send(call).data

    def iterate(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        page_size: int = paging.MAX_SIZE,
        max_pages: int = paging.MAX_PAGES,
    ) -> Iterator[dict[str, Any] | str]:
        """Yield all items of a paginated query, page by page as they are needed (API reference 6).

        An item that shifts to another page while we read is given once.

        :param method: e.g. ``list_datasets``.
        :param params: the query's params without ``page`` and ``size``.
        :param page_size: items per request, 1 to 100.
        :param max_pages: give up with an error after so many.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return paging.iterate(self.query, method, params, page_size=page_size, max_pages=max_pages)

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

        A request whose answer is lost is looked up, not sent blindly again. So is one that is refused, because the
        platform reports a taken slug as an internal error.

        :param name: shown to people.
        :param solution_id: the solution it belongs to, ``sol_...``.
        :param slug: unique within the solution.
        :param description: free text.
        :param source: free text about where the data comes from; nothing is fetched from there.
        :param documentation: block document.
        :param if_exists: what to do with a dataset that was there before: ``"reuse"`` (default) returns it, with a
            warning if it differs; ``"update"`` brings name, description, source and documentation in line;
            ``"fail"`` raises PolyteiaConflictError.
        :raises PolyteiaOutcomeUnknownError: if nobody can tell whether it was created.
        :raises PolyteiaError: if it was not created.
        """
        wanted = {
            "name": name,
            "solution_id": solution_id,
            "description": description,
            "source": source,
            "slug": slug,
            "documentation": documentation,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        record = datasets.create(self, given, if_exists)
        lineage.wrote_dataset(self, record["id"])
        return record

    def get_dataset(
        self, dataset_id: str | None = None, *, solution_id: str | None = None, slug: str | None = None
    ) -> dict[str, Any]:
        """Return the record of a dataset, found by its id, or by solution and slug.

        :raises PolyteiaNotFoundError: if there is none, or the key may not see it.
        """
        reference = datasets.reference(dataset_id, solution_id, slug)
        record: dict[str, Any] = self._data(make_call("query", "get_dataset", reference, needs="id"))
        return record

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
        """Change fields of a dataset's record, and return the record; None (default) leaves a field as it is.

        The platform may replace the whole record (API reference 4.4), so it is read, merged and sent in full.

        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        changes = {
            "name": name,
            "description": description,
            "source": source,
            "slug": slug,
            "documentation": documentation,
        }
        record = datasets.update(self, self.get_dataset(dataset_id), changes)
        lineage.wrote_dataset(self, dataset_id)
        return record

    def delete_dataset(
        self,
        dataset_id: str | None = None,
        *,
        solution_id: str | None = None,
        slug: str | None = None,
        ignore_missing: bool = False,
    ) -> bool:
        """Delete a dataset with its data, found by its id, or by solution and slug. Only its owner may.

        :param ignore_missing: whether a dataset that is not there is fine (default: no).
        :return: True if it was deleted, False if it was not there.
        :raises PolyteiaNotFoundError: if it was not there, unless `ignore_missing`.
        """
        reference = datasets.reference(dataset_id, solution_id, slug)
        try:
            self.command("delete_dataset", {"id": reference.get("id") or self.get_dataset(**reference)["id"]})
        except PolyteiaNotFoundError as error:
            if error.is_foreign or not ignore_missing:  # a gateway's 404 says nothing about the dataset
                raise
            return False
        return True

    def upload_dataset(
        self,
        dataset_id: str,
        source: AnyPath | IO[bytes],
        *,
        content_type: str | None = None,
        filename: str | None = None,
        timeout: float | None = None,
    ) -> Uploaded:
        """Replace the data of a dataset with a file, in constant memory (API reference 7).

        A broken upload leaves the dataset as it was, and is repeated as a whole, with a fresh token.

        :param source: a path; a URL such as ``s3://conn_id@bucket/key``; an `ObjectStoragePath`; or a binary file
            object that can seek, which is read from where it stands.
        :param content_type: MIME type of the data; None (default): by the extension ``.parquet``, ``.csv``, ``.json``,
            ``.xlsx`` or ``.xls``.
        :param filename: the file's name for the platform; None: its own.
        :param timeout: seconds without a byte in either direction that end an attempt; None: 300, or the connection's
            timeout if that is longer.
        :raises PolyteiaConfigurationError: if the source can never be uploaded, or its format is not known.
        :raises PolyteiaError: if the source is not there or not complete, or the data was not replaced.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - most tasks move none

        uploaded = files.upload(
            self.get_conn(), dataset_id, source, content_type=content_type, filename=filename, timeout=timeout
        )
        if not hasattr(source, "read"):
            lineage.read_file(self, files.path_of(source))
        lineage.wrote_dataset(self, dataset_id, {"bytes": uploaded["bytes"]})
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
        """Write the result of a query into a file, in constant memory (API reference 8).

        The file appears under its name only when it is complete. A broken download is repeated with a fresh token.

        :param sql: a query, DuckDB's dialect. It refers to a dataset as ``{name}`` if `datasets` is a mapping, by its
            id in quotes (``'ds_...'``) if it is a list.
        :param datasets: the datasets in use: ``{name: id}``, or their ids.
        :param destination: a path; a URL such as ``s3://conn_id@bucket/key``; or an `ObjectStoragePath`.
        :param args: values for the placeholders in the query.
        :param format: MIME type of the file; None (default): by the extension of `destination`. Only Parquet has been
            seen to work (API reference 8).
        :param timeout: seconds without a byte that end an attempt; None: 300, or the connection's timeout if that is
            longer.
        :raises PolyteiaConfigurationError: if the arguments are unusable.
        :raises PolyteiaError: then no file is left.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - as above

        exported = files.export(
            self.get_conn(), sql, datasets, destination, args=args, content_type=format, timeout=timeout
        )
        lineage.read_datasets(self, exported["datasets"])
        lineage.wrote_file(self, files.path_of(destination))
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
        """Run a statement and return the platform's answer as it is (API reference 9): for small results.

        :param sql: as for `export`.
        :param datasets: as for `export`.
        :param args: values for placeholders by position.
        :param named_args: values for placeholders by name.
        :param idempotent: whether repeating the statement is harmless; None (default): yes for one that begins with
            SELECT or FROM and holds no semicolon, otherwise no.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        from airflow_provider_polyteia.client.sql import reads_only, refer  # noqa: PLC0415 - most tasks send none

        statement, ids = refer(sql, datasets)
        params = {"sql": statement, "datasets": ids, "args": list(args or ()), "named_args": dict(named_args or {})}
        harmless = reads_only(statement) if idempotent is None else idempotent
        data = self.command("execute_sql", params, idempotent=harmless)
        lineage.read_datasets(self, ids)
        return data

    def last_upload(self, dataset_id: str) -> dict[str, Any] | None:
        """Return what the platform says of the last upload into a dataset; None if there was none yet.

        :return: ``id``, ``slug``, ``uploaded_at``, ``size``, ``content_type``.
        """
        upload = records.last_upload(self.get_dataset(dataset_id))
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
        """Wait until the platform shows an upload into a dataset (API reference 7.4), and return it.

        :param after: the upload must be later than this, e.g. than the ``uploaded_at`` of `last_upload`; None
            (default): any upload.
        :param min_size: bytes it must have at least; None: any size.
        :param timeout: seconds after which to give up.
        :param poll_interval: seconds between two looks.
        :raises PolyteiaError: if it does not show in time, or the look-up fails.
        """
        moment = records.parse_moment(after, "The argument 'after'")
        condition = records.Condition({"id": dataset_id}, uploaded_after=moment, min_size=min_size)
        client = self.get_conn()
        deadline = client.clock() + timeout
        while (upload := condition.met_by(self.get_dataset(dataset_id))) is None:
            if client.clock() + poll_interval > deadline:
                raise PolyteiaError(
                    f"The platform has not shown the upload into dataset {dataset_id!r} (connection "
                    f"{self.polyteia_conn_id!r}) within {timeout:g} s. It may still be taking the data in.",
                    method="get_dataset",
                    conn_id=self.polyteia_conn_id,
                )
            client.pause(poll_interval)
        return upload.summary()

    def set_source_timestamp(self, dataset_id: str, moment: str | date) -> None:
        """Tell the platform as of when a dataset's data is (API reference 4.4).

        :param moment: a date, a datetime or the ISO 8601 text of one; without a time zone it means UTC.
        :raises PolyteiaConfigurationError: if it is none of these.
        """
        info = {"source_timestamp": records.source_timestamp(moment)}
        self.command("update_dataset_source_info", {"id": dataset_id, "source_info": info})
