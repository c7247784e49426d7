"""The operations of the command API: what `client.api.PlatformAPI` asks for, as commands and queries."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_polyteia.client.command_api.protocol import Call, check_mapping, make_call, request_flow
from airflow_provider_polyteia.client.operation import Creation, Flow, Idempotency, Operation, Result
from airflow_provider_polyteia.client.records import (
    DatasetRef,
    Record,
    Upload,
    is_unset,
    parse_timestamp,
    upload_by_field,
)
from airflow_provider_polyteia.client.sql_references import Query, resolve_references
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_polyteia.client.command_api.methods import Kind
    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.file_sink import Destination
    from airflow_provider_polyteia.client.multipart import UploadSource
    from airflow_provider_polyteia.client.records import Accepted, Ingest, UploadCheck
    from airflow_provider_polyteia.client.upload_condition import UploadCondition

MAX_PAGE_SIZE = 100
MAX_PAGES = 10_000

# An update sends all of these: what is omitted may be lost (docs/platform-api.md#updates).
_EDITABLE = ("name", "solution_id", "description", "source", "slug", "documentation")
# These lists may ignore the filter (docs/platform-api.md#list-filters), so their items are filtered again.
_FILTERS = {"list_workspaces": "organization_id", "list_solutions": "organization_id"}


class CommandAPI:
    """Implements `client.api.PlatformAPI` with commands and queries.

    :param credentials: of the connection that the operations are for.
    """

    name: ClassVar[str] = "command"
    upload_field: ClassVar[str | None] = None

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def call(
        self, kind: Kind, method: str, params: Mapping[str, Any] | None = None, *, idempotent: bool | None = None
    ) -> Operation[Any] | Creation:
        """Return any command or query; a `Creation` where a lookup can find what it creates.

        :raises PolyteiaConfigurationError: if name or params are unusable.
        """
        call = make_call(kind, method, params, idempotent=idempotent)
        if call.natural_key and call.idempotency is Idempotency.NONE:
            return creation(call, self._credentials)
        return self._data(call)

    def pages(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        *,
        page_size: int = MAX_PAGE_SIZE,
        max_pages: int = MAX_PAGES,
    ) -> Pages:
        """Return any paginated query (docs/platform-api.md#pagination).

        :raises PolyteiaConfigurationError: if an argument is unusable.
        """
        return Pages(self._credentials, method, params, page_size=page_size, max_pages=max_pages)

    def create_dataset(self, fields: Mapping[str, Any]) -> Creation:
        """Create a dataset."""
        return creation(make_call("command", "create_dataset", fields, required_field="id"), self._credentials)

    def get_dataset(self, dataset: DatasetRef) -> Operation[Record]:
        """Return a dataset's record."""
        return self._data(make_call("query", "get_dataset", dataset.identifiers, required_field="id"))

    def list_datasets(self, solution_id: str) -> Pages:
        """Return the records of a solution's datasets."""
        return self.pages("list_datasets", {"solution_id": solution_id})

    def update_dataset(
        self, record: Record, changes: Mapping[str, Any], source_timestamp: str | None = None
    ) -> Operation[Record | None]:
        """Replace a dataset's fields by its record with the changes, and return its record if the platform returns it.

        What it returns is undocumented (docs/platform-api.md#update-responses).
        """
        merged = {name: record[name] for name in _EDITABLE if record.get(name) is not None}
        update = make_call("command", "update_dataset", {"id": record["id"], **merged, **changes})
        if source_timestamp is None:
            return self._data(update)
        store = self._source_timestamp(record["id"], source_timestamp)
        return _operation(update, partial(_update_flow, update, store, self._credentials))

    def delete_dataset(self, dataset_id: str) -> Operation[None]:
        """Delete a dataset with its data."""
        return self._data(make_call("command", "delete_dataset", {"id": dataset_id}))

    def set_source_timestamp(self, dataset_id: str, source_timestamp: str) -> Operation[None]:
        """Store the as-of time of a dataset's data."""
        return self._data(self._source_timestamp(dataset_id, source_timestamp))

    def upload(
        self, dataset_id: str, source: UploadSource, content_type: str, idle_timeout: float | None
    ) -> Operation[Accepted]:
        """Replace a dataset's data with a file (docs/platform-api.md#uploads)."""
        from airflow_provider_polyteia.client.command_api import files  # noqa: PLC0415 - most tasks move no file

        return files.upload(self._credentials, dataset_id, source, content_type, idle_timeout)

    def check_upload(self, record: Record) -> Operation[UploadCheck]:
        """Find out whether the account may upload into a dataset."""
        from airflow_provider_polyteia.client.command_api import upload_check  # noqa: PLC0415 - most tasks do not check

        params = upload_check.editable_datasets(record)
        return upload_check.check_upload(partial(self.pages, "list_resources", params), record)

    def check_creation(self, solution_id: str) -> Operation[UploadCheck]:
        """Find out whether a solution is visible to the account."""
        from airflow_provider_polyteia.client.command_api import upload_check  # noqa: PLC0415 - most tasks do not check

        return upload_check.check_creation(self._credentials, solution_id)

    def ingest_status(self, dataset_id: str, ingest_id: str) -> Operation[Ingest]:
        """Raise PolyteiaConfigurationError: this API has no ingests."""
        raise PolyteiaConfigurationError(
            f"The command API (connection {self._credentials.config.conn_id!r}) does not show ingests, so the ingest "
            f"{ingest_id!r} of dataset {dataset_id!r} cannot be waited for. Use wait_for_upload instead."
        )

    def export(
        self,
        query: Query,
        destination: Destination,
        idle_timeout: float | None,
    ) -> Operation[int]:
        """Write the result of a query to a file, and return its size in bytes (docs/platform-api.md#exports)."""
        from airflow_provider_polyteia.client.command_api import files  # noqa: PLC0415 - most tasks move no file

        params = {
            "sql": query.statement,
            "datasets": query.dataset_ids,
            "args": query.args,
            "format": destination.content_type,
        }
        return files.export(self._credentials, params, destination, idle_timeout)

    def export_dataset(
        self,
        dataset_id: str,
        destination: Destination,
        idle_timeout: float | None,
    ) -> Operation[int]:
        """Write all data of a dataset to a file, and return its size in bytes (docs/platform-api.md#exports)."""
        sql = f"SELECT * FROM '{dataset_id}'"  # noqa: S608 - only accepted if it is an id
        statement, ids = resolve_references(sql, [dataset_id])
        return self.export(Query(statement, ids), destination, idle_timeout)

    def execute_sql(self, query: Query, *, idempotent: bool) -> Operation[Any]:
        """Run a statement, and return the platform's result as it is (docs/platform-api.md#sql)."""
        params = {
            "sql": query.statement,
            "datasets": query.dataset_ids,
            "args": query.args,
            "named_args": query.named_args,
        }
        return self._data(make_call("command", "execute_sql", params, idempotent=idempotent))

    def test_connection(self) -> Operation[str | None]:
        """Return the name of an organization that the key can access; None if there is none."""
        call = make_call("query", "list_organizations", {"page": 1, "size": 1})
        return _operation(call, partial(_organization_name, call, self._credentials))

    def check_condition(self, condition: UploadCondition) -> None:
        """Check that a wait asks for nothing that the platform does not show.

        :raises PolyteiaConfigurationError: if it does.
        """
        if condition.min_size is not None and condition.timestamp_field is not None:
            raise PolyteiaConfigurationError(
                "'min_size' and 'timestamp_field' cannot be combined, because only the upload itself has a size."
            )

    def last_upload(self, record: Record, condition: UploadCondition) -> Upload | None:
        """Return the last upload that a dataset's record shows; None without one (docs/platform-api.md#last-upload).

        :raises PolyteiaProtocolError: if the record contains something that cannot be one.
        """
        if condition.timestamp_field is not None:
            return upload_by_field(record, condition.timestamp_field, self._credentials.config.conn_id)
        metadata = record.get("metadata")
        info = metadata.get("asset_info") if isinstance(metadata, dict) else None
        if not isinstance(info, dict) or is_unset(info.get("uploaded_at")):
            return None
        timestamp = parse_timestamp(info["uploaded_at"])
        if timestamp is None:
            raise self._invalid_upload(record.get("id"), info["uploaded_at"])
        slug, size, kind = record.get("slug"), info.get("size"), info.get("content_type")
        return Upload(
            dataset_id=str(record.get("id")),
            slug=slug if isinstance(slug, str) else None,
            uploaded_at=info["uploaded_at"],
            timestamp=timestamp,
            size=size if isinstance(size, int) else None,
            content_type=kind if isinstance(kind, str) else None,
        )

    def _invalid_upload(self, dataset_id: Any, uploaded_at: Any) -> PolyteiaProtocolError:
        excerpt, conn_id = self._credentials.excerpt, self._credentials.config.conn_id
        return PolyteiaProtocolError(
            f"The record of dataset {excerpt(dataset_id)!r} (connection {conn_id!r}) has an invalid upload timestamp: "
            f"{excerpt(uploaded_at)!r}.",
            method="get_dataset",
            conn_id=conn_id,
        )

    def _source_timestamp(self, dataset_id: str, source_timestamp: str) -> Call:
        params = {"id": dataset_id, "source_info": {"source_timestamp": source_timestamp}}
        return make_call("command", "update_dataset_source_info", params)

    def _data(self, call: Call) -> Operation[Any]:
        return _operation(call, partial(_data_flow, call, self._credentials))


def creation(call: Call, credentials: Credentials) -> Creation:
    """Return a create whose call has a natural key."""
    natural_key = call.natural_key or {}

    def lookup() -> Operation[Result]:
        return result_operation(make_call("query", call.method.lookup, natural_key, required_field="id"), credentials)

    return Creation(
        result_operation(call, credentials),
        lookup,
        natural_key=natural_key,
        fields=call.params,
        is_unique=call.method.is_unique,
    )


def result_operation(call: Call, credentials: Credentials) -> Operation[Result]:
    """Return the operation of a call, with the platform's time as part of its result."""
    return _operation(call, partial(request_flow, call, credentials))


def _operation(call: Call, start: Callable[[], Flow[Any]]) -> Operation[Any]:
    return Operation(call.method.name, start, call.idempotency, call.identifiers)


def _data_flow(call: Call, credentials: Credentials) -> Flow[Any]:
    return (yield from request_flow(call, credentials)).data


def _update_flow(update: Call, store: Call, credentials: Credentials) -> Flow[None]:
    """Update the fields, then store the as-of time; the response to the former does not show the latter."""
    yield from request_flow(update, credentials)
    yield from request_flow(store, credentials)


def _organization_name(call: Call, credentials: Credentials) -> Flow[str | None]:
    page = (yield from request_flow(call, credentials)).data
    items = page.get("items") if isinstance(page, dict) else None
    first = items[0] if isinstance(items, list) and items else {}
    name = first.get("name") if isinstance(first, dict) else None
    return credentials.excerpt(name) or None


class Pages:
    """Reads a paginated query; implements `operation.Listing`. An item that shifts to another page is returned once.

    :param params: the query's params without ``page`` and ``size``.
    :raises PolyteiaConfigurationError: if an argument is unusable.
    """

    def __init__(
        self,
        credentials: Credentials,
        method: str,
        params: Mapping[str, Any] | None,
        *,
        page_size: int = MAX_PAGE_SIZE,
        max_pages: int = MAX_PAGES,
    ) -> None:
        self.is_complete = False
        self._credentials = credentials
        self._method = method
        self._params = _checked_params(method, params, page_size)
        self._size = page_size
        self._max_pages = max_pages
        self._page = 1
        self._received = 0
        self._seen: set[str] = set()

    def next_page(self) -> Operation[Any]:
        """Return the query for the next page."""
        call = make_call("query", self._method, {**self._params, "page": self._page, "size": self._size})
        return _operation(call, partial(_data_flow, call, self._credentials))

    def take(self, data: Any) -> list[Record | str]:
        """Return the items of the page just received that no earlier page contained.

        :raises PolyteiaProtocolError: if it is not a page, or the pages do not end.
        """
        items, total = _read_page(data, self._method)
        new = [item for item in items if self._is_new(item)]
        self._received += len(items)
        self.is_complete = not items or (
            total is not None and (self._received >= total or self._page * self._size >= total)
        )
        if not self.is_complete and self._page >= self._max_pages:
            raise PolyteiaProtocolError(
                f"{self._method!r} returned more than {self._max_pages} pages of {self._size} items. Increase "
                "max_pages or narrow the query.",
                method=self._method,
            )
        self._page += 1
        return new

    def _is_new(self, item: Record | str) -> bool:
        identifier = item if isinstance(item, str) else item.get("id")
        if not isinstance(identifier, str):  # without an id that can be compared
            return _belongs(item, self._method, self._params)
        if identifier in self._seen:
            return False
        self._seen.add(identifier)
        return _belongs(item, self._method, self._params)


def _checked_params(method: str, params: Mapping[str, Any] | None, page_size: int) -> dict[str, Any]:
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= MAX_PAGE_SIZE:
        raise PolyteiaConfigurationError(
            f"The page size of {method!r} is {page_size!r}; it must be an integer between 1 and {MAX_PAGE_SIZE}.",
            method=method,
        )
    check_mapping(method, params)
    given = dict(params or {})
    if "page" in given or "size" in given:
        raise PolyteiaConfigurationError(
            f"The parameters of {method!r} contain 'page' or 'size', but all pages are read. Remove them.",
            method=method,
        )
    return given


def _read_page(data: Any, method: str) -> tuple[list[Record | str], int | None]:
    """Return a page's items and the total, if the platform sends it."""
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict | str) for item in items):
        raise PolyteiaProtocolError(
            f"{method!r} did not return a page of items. Is it a paginated query?", method=method
        )
    total = data.get("total")
    return items, total if isinstance(total, int) and not isinstance(total, bool) else None


def _belongs(item: Record | str, method: str, params: Mapping[str, Any]) -> bool:
    name = _FILTERS.get(method, "")
    wanted, actual = params.get(name), item.get(name) if isinstance(item, dict) else None
    return wanted is None or actual is None or wanted == actual
