"""The operations of the RPC API: what `client.api.PlatformAPI` asks for, as calls of procedures.

Records of datasets get the field names of the command API, so that a DAG works on either API.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_polyteia.client.operation import Creation, Flow, Operation, Request, Result
from airflow_provider_polyteia.client.records import DatasetRef, Record, Upload, is_unset, upload_by_field
from airflow_provider_polyteia.client.rpc_api.procedures import EXCHANGE
from airflow_provider_polyteia.client.rpc_api.protocol import (
    Call,
    begin_session,
    call_flow,
    decode,
    encode,
    make_call,
    session_flow,
)
from airflow_provider_polyteia.exceptions import (
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.file_sink import Destination
    from airflow_provider_polyteia.client.multipart import UploadSource
    from airflow_provider_polyteia.client.records import Accepted, Ingest, UploadCheck
    from airflow_provider_polyteia.client.rpc_api.sessions import Session
    from airflow_provider_polyteia.client.sql_references import Query
    from airflow_provider_polyteia.client.upload_condition import UploadCondition

log = logging.getLogger(__name__)

_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_EDITABLE = ("name", "slug", "description", "source", "documentation")
_ALWAYS_SHOWN = ("name", "slug", "source")
_EMPTY = {"description": "", "source": "", "documentation": {}}


class RpcAPI:
    """Implements `client.api.PlatformAPI` with procedures (docs/platform-api.md#rpc-api).

    :param credentials: of the connection that the operations are for.
    """

    name: ClassVar[str] = "rpc"
    upload_field: ClassVar[str | None] = "data_as_of"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def call(
        self, procedure: str, given: Mapping[str, Any] | None = None, *, idempotent: bool | None = None
    ) -> Operation[Any]:
        """Return the call of any procedure.

        :raises PolyteiaConfigurationError: if name or input are unusable.
        """
        return self._operation(make_call(procedure, given, idempotent=idempotent), lambda data: data)

    def create_dataset(self, fields: Mapping[str, Any]) -> Creation:
        """Create a dataset in the organization of the session (docs/platform-api.md#rpc-datasets)."""
        given = {
            "solutionId": fields["solution_id"],
            **_EMPTY,
            **{name: fields[name] for name in _EDITABLE if name in fields},
        }
        call = make_call("dataset/createDataset", given, required_field="id")
        natural_key = {"solution_id": fields["solution_id"], "slug": fields["slug"]}
        return Creation(
            Operation(
                call.procedure.name,
                partial(_create_flow, self._credentials, call, given),
                call.idempotency,
                call.identifiers,
            ),
            lambda: self._result(_lookup(DatasetRef(None, **natural_key))),
            natural_key=natural_key,
            fields=fields,
            is_unique=True,
        )

    def get_dataset(self, dataset: DatasetRef) -> Operation[Record]:
        """Return a dataset's record."""
        return self._operation(_lookup(dataset), to_record)

    def list_datasets(self, solution_id: str) -> DatasetList:
        """Return the records of a solution's datasets, which may be incomplete (docs/platform-api.md#rpc-lists)."""
        return DatasetList(self._credentials, solution_id)

    def update_dataset(
        self, record: Record, changes: Mapping[str, Any], source_timestamp: str | None = None
    ) -> Operation[Record | None]:
        """Replace a dataset's fields by its record with the changes, and return its new record.

        :raises PolyteiaConfigurationError: if the record does not show the as-of time, which would be lost.
        """
        given = _replacement(record, changes, source_timestamp)
        call = make_call("dataset/updateDataset", given)
        start = partial(_update_flow, self._credentials, given)
        return Operation(call.procedure.name, start, call.idempotency, call.identifiers)

    def delete_dataset(self, dataset_id: str) -> Operation[None]:
        """Delete a dataset with its data."""
        return self._operation(make_call("dataset/deleteDataset", {"id": dataset_id}), lambda _: None)

    def set_source_timestamp(self, dataset_id: str, source_timestamp: str) -> Operation[None]:
        """Store the as-of time of a dataset's data: reads the record, and replaces it."""
        lookup = _lookup(DatasetRef(dataset_id))

        def start() -> Flow[None]:
            record = to_record((yield from call_flow(lookup, self._credentials)).data)
            yield from _update_flow(self._credentials, _replacement(record, {}, source_timestamp))

        return Operation("dataset/updateDataset", start, lookup.idempotency, lookup.identifiers)

    def upload(
        self, dataset_id: str, source: UploadSource, content_type: str, idle_timeout: float | None
    ) -> Operation[Accepted]:
        """Send a file that replaces a dataset's data once it is ingested (docs/platform-api.md#rpc-uploads)."""
        from airflow_provider_polyteia.client.rpc_api import files  # noqa: PLC0415 - most tasks move no file

        return files.upload(self._credentials, dataset_id, source, content_type, idle_timeout)

    def check_upload(self, record: Record) -> Operation[UploadCheck]:
        """Find out whether the account may upload into a dataset, and has acknowledged the terms of its solution."""
        from airflow_provider_polyteia.client.rpc_api import upload_check  # noqa: PLC0415 - most tasks do not check

        return upload_check.check_upload(self._credentials, record)

    def check_creation(self, solution_id: str) -> Operation[UploadCheck]:
        """Find out whether the account may create a dataset in a solution, and has acknowledged its terms."""
        from airflow_provider_polyteia.client.rpc_api import upload_check  # noqa: PLC0415 - most tasks do not check

        return upload_check.check_creation(self._credentials, solution_id)

    def ingest_status(self, dataset_id: str, ingest_id: str) -> Operation[Ingest]:
        """Return the state of an ingest."""
        from airflow_provider_polyteia.client.rpc_api import files  # noqa: PLC0415 - most tasks move no file

        return files.ingest_status(self._credentials, dataset_id, ingest_id)

    def export(
        self,
        query: Query,
        destination: Destination,
        idle_timeout: float | None,
    ) -> Operation[int]:
        """Write the result of a query to a file, and return its size in bytes (docs/platform-api.md#rpc-sql)."""
        from airflow_provider_polyteia.client.rpc_api import sql  # noqa: PLC0415 - most tasks run no SQL

        return sql.export(self._credentials, query, destination, idle_timeout)

    def export_dataset(
        self,
        dataset_id: str,
        destination: Destination,
        idle_timeout: float | None,
    ) -> Operation[int]:
        """Write all data of a dataset to a file, and return its size in bytes (docs/platform-api.md#rpc-exports)."""
        from airflow_provider_polyteia.client.rpc_api import files  # noqa: PLC0415 - most tasks move no file

        return files.export_dataset(self._credentials, dataset_id, destination, idle_timeout)

    def execute_sql(self, query: Query, *, idempotent: bool) -> Operation[Any]:
        """Run a statement, and return columns and rows (docs/platform-api.md#rpc-sql)."""
        from airflow_provider_polyteia.client.rpc_api import sql  # noqa: PLC0415 - most tasks run no SQL

        return sql.execute(self._credentials, query, idempotent=idempotent)

    def test_connection(self) -> Operation[str | None]:
        """Return the name of the organization; its id if the platform does not show its record."""
        start = partial(_organization_flow, self._credentials)
        return Operation(EXCHANGE.name, start, EXCHANGE.idempotency, {})

    def check_condition(self, condition: UploadCondition) -> None:
        """Check that a wait asks for nothing that the platform does not show (docs/platform-api.md#rpc-last-upload).

        :raises PolyteiaConfigurationError: if it does.
        """
        if condition.min_size is not None:
            raise PolyteiaConfigurationError(
                f"'min_size' is {condition.min_size!r}, but the RPC API (connection "
                f"{self._credentials.config.conn_id!r}) does not show the size of an upload. Remove it; to check what "
                "was uploaded, count the rows with PolyteiaSqlOperator."
            )

    def last_upload(self, record: Record, condition: UploadCondition) -> Upload | None:
        """Return the upload that the condition's date field shows; None while it is empty.

        :raises PolyteiaConfigurationError: if the record has no such field; the text lists its date fields.
        """
        field = _field_name(condition.timestamp_field or self.upload_field or "")
        return upload_by_field(record, field, self._credentials.config.conn_id)

    def _operation(self, call: Call, convert: Callable[[Any], Any]) -> Operation[Any]:
        def start() -> Flow[Any]:
            return convert((yield from call_flow(call, self._credentials)).data)

        return Operation(call.procedure.name, start, call.idempotency, call.identifiers)

    def _result(self, call: Call) -> Operation[Result]:
        start = partial(_record_flow, self._credentials, call)
        return Operation(call.procedure.name, start, call.idempotency, call.identifiers)


class DatasetList:
    """Reads the list of a solution's datasets, which has a single page; implements `operation.Listing`."""

    def __init__(self, credentials: Credentials, solution_id: str) -> None:
        self.is_complete = False
        self._credentials = credentials
        self._call = make_call("dataset/listDatasets", {"solutionId": solution_id})

    def next_page(self) -> Operation[Any]:
        """Return the query for the list."""
        call = self._call

        def start() -> Flow[Any]:
            return (yield from call_flow(call, self._credentials)).data

        return Operation(call.procedure.name, start, call.idempotency, call.identifiers)

    def take(self, data: Any) -> list[Record]:
        """Return the records.

        :raises PolyteiaProtocolError: if it is not a list of records.
        """
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            raise PolyteiaProtocolError(
                f"{self._call.procedure.name!r} did not return a list of records.", method=self._call.procedure.name
            )
        self.is_complete = True
        return [to_record(item) for item in data]


def to_record(value: Mapping[str, Any]) -> Record:
    """Return a record with the field names of the command API; unknown fields are kept."""
    return {_field_name(key): item for key, item in value.items()}


@lru_cache(maxsize=1000)
def _field_name(name: str) -> str:
    """Return the command API's spelling of a name, e.g. ``data_as_of`` for ``dataAsOf``."""
    return _CAPITAL.sub(r"_\1", name).lower()


def _lookup(dataset: DatasetRef) -> Call:
    if dataset.dataset_id:
        return make_call("dataset/getDatasetById", {"id": dataset.dataset_id}, required_field="id")
    given = {"solutionId": dataset.solution_id, "slug": dataset.slug}
    return make_call("dataset/getDatasetBySolutionSlug", given, required_field="id")


def _record_flow(credentials: Credentials, call: Call) -> Flow[Result]:
    result = yield from call_flow(call, credentials)
    return result._replace(data=to_record(result.data))


def _create_flow(credentials: Credentials, call: Call, given: Mapping[str, Any]) -> Flow[Result]:
    def request(session: Session) -> Request:
        if session.organization_id is None:
            raise _unknown_organization_id(credentials)
        complete = make_call(call.procedure.name, {"organizationId": session.organization_id, **given})
        return encode(complete, session.dialect)

    result = yield from session_flow(credentials, request, lambda response: decode(call, response, credentials))
    return result._replace(data=to_record(result.data))


def _unknown_organization_id(credentials: Credentials) -> PolyteiaConfigurationError:
    config = credentials.config
    return PolyteiaConfigurationError(
        f"The platform does not show the id of organization {config.organization_slug!r}, which a new dataset needs. "
        f"Set the extra 'organization_id' of connection {config.conn_id!r} instead of 'organization_slug'.",
        method="dataset/createDataset",
        conn_id=config.conn_id,
        not_applied=True,
    )


def _replacement(record: Record, changes: Mapping[str, Any], source_timestamp: str | None) -> dict[str, Any]:
    """Return the input that replaces a record (docs/platform-api.md#rpc-updates)."""
    if source_timestamp is None and "data_as_of" not in record:
        raise PolyteiaConfigurationError(
            f"The record of dataset {record['id']!r} lacks its source timestamp (dataAsOf), which would be lost. "
            "Set 'source_timestamp' as well.",
            method="dataset/updateDataset",
        )
    lost = [name for name in _ALWAYS_SHOWN if name not in record and name not in changes]
    if lost:
        raise PolyteiaConfigurationError(
            f"The record of dataset {record['id']!r} lacks its {lost[0]!r}, which would be lost. Set it as well.",
            method="dataset/updateDataset",
        )
    fields = {name: changes.get(name, record.get(name)) for name in _EDITABLE}
    as_of = record.get("data_as_of")
    timestamp = (None if is_unset(as_of) else as_of) if source_timestamp is None else source_timestamp
    return {"id": record["id"], **fields, "dataAsOf": timestamp}


def _update_flow(credentials: Credentials, given: Mapping[str, Any]) -> Flow[Record | None]:
    """Send the fields as they are; if the platform rejects nulls, send empty values instead."""
    try:
        data = (yield from call_flow(make_call("dataset/updateDataset", given), credentials)).data
    except PolyteiaBadRequestError as error:
        filled = {name: _EMPTY[name] for name in _EMPTY if given[name] is None}
        if error.from_gateway or not filled:
            raise
        log.info("The platform rejects null; dataset %r gets an empty %s instead.", given["id"], ", ".join(filled))
        call = make_call("dataset/updateDataset", {**given, **filled})
        data = (yield from call_flow(call, credentials)).data
    return to_record(data) if isinstance(data, dict) else None


def _organization_flow(credentials: Credentials) -> Flow[str | None]:
    """Begin a new session, which proves that the key is valid now, and ask for the organization's name."""
    organization_id = (yield from begin_session(credentials)).organization_id
    if organization_id is None:
        return credentials.config.organization_slug
    try:
        call = make_call("organization/getOrganizationById", {"id": organization_id})
        data = (yield from call_flow(call, credentials)).data
    except (PolyteiaPermissionError, PolyteiaNotFoundError):  # an account need not be allowed to see the record
        data = None
    name = data.get("name") if isinstance(data, dict) else None
    return credentials.excerpt(name or organization_id)
