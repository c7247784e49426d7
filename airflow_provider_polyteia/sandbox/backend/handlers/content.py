"""Operations on the content of solutions: datasets and their data, SQL, and reports."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend import columns, tabular
from airflow_provider_polyteia.sandbox.backend.errors import bad_request
from airflow_provider_polyteia.sandbox.backend.handlers import records
from airflow_provider_polyteia.sandbox.backend.platform import Export, Session, UploadTarget
from airflow_provider_polyteia.sandbox.backend.store import Record, timestamp

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.handlers.records import Params

_LISTABLE = ("dataset", "insight", "report")


def update_dataset_metadata(session: Session, params: Params) -> None:
    """Replace the descriptions of a dataset's columns. Other columns of the data are kept."""
    dataset = session.find("dataset", params["id"])
    columns.describe(session.store, dataset, columns.by_name(params["columns"]))


def update_dataset_source_info(session: Session, params: Params) -> None:
    """Set the as-of time of a dataset's data.

    It is stored in `metadata.source_info`; the field in which the platform shows it is unknown
    (docs/platform-api.md#source-timestamp).
    """
    dataset = session.find("dataset", params["id"])
    if not isinstance(params["source_info"].get("source_timestamp"), str):
        raise bad_request("params.source_info.source_timestamp is required")
    metadata = {**dataset.get("metadata", {}), "source_info": params["source_info"]}
    session.store.change("dataset", dataset, {"metadata": metadata})


def list_resources(session: Session, params: Params) -> dict[str, Any]:
    """Return a page of ids, not records (docs/platform-api.md#resource-lists)."""
    if params["resource_type"] not in _LISTABLE:
        raise bad_request(f"params.resource_type must be one of {', '.join(_LISTABLE)}")
    filters = _read_filters(params["filters"])
    may_list = session.caller.may(params["permission"])
    found = records.search(session.visible(params["resource_type"]), params) if may_list else []
    if filters:
        found = [record for record in found if _matches_any(session, record, filters)]
    if params.get("tags"):
        found = [record for record in found if set(params["tags"]) <= _tags(session, record)]
    page = records.paginate([record["id"] for record in found], params)
    del page["size"]
    return page


def _read_filters(filters: list[Any]) -> list[dict[str, Any]]:
    """Return valid filters. The only known key is `container_id`, so others are rejected instead of ignored.

    :raises BusinessError: 400, if a filter is not such an object.
    """
    for item in filters:
        if not isinstance(item, dict) or item.keys() != {"container_id"}:
            raise bad_request('params.filters: the sandbox expects objects such as {"container_id": "sol_..."}')
    return filters


def _matches_any(session: Session, record: Record, filters: list[dict[str, Any]]) -> bool:
    """Return True if one of the containers contains the record: its solution, workspace or organization."""
    solution = session.store.get("solution", record["solution_id"]) or {}
    containers = (record["solution_id"], solution.get("workspace_id"), record.get("organization_id"))
    return any(item["container_id"] in containers for item in filters)


def _tags(session: Session, record: Record) -> set[str]:
    tagging = session.store.get("tagging", record["id"])
    return set(tagging["tags"]) if tagging else set()


def generate_dataset_upload_token(session: Session, params: Params) -> dict[str, str]:
    """Return a token for one upload (docs/platform-api.md#uploads)."""
    dataset = session.find("dataset", params["id"])
    target = UploadTarget("dataset", dataset["id"], params["content_type"])
    return {"token": session.platform.uploads.issue(target)}


def generate_report_image_upload_token(session: Session, params: Params) -> dict[str, str]:
    """Return a token for one image of a report, and the name of the image (docs/platform-api.md#report-images)."""
    report = session.find("report", params["id"])
    extension = params["content_type"].rpartition("/")[2]
    filename = f"{report['id']}-{timestamp().replace(':', '')}.{extension}"
    target = UploadTarget("image", filename, params["content_type"], report["id"])
    return {"token": session.platform.uploads.issue(target), "filename": filename}


def generate_query_export_token(session: Session, params: Params) -> dict[str, str]:
    """Return a token for one download of a query's rows (docs/platform-api.md#exports).

    The query runs when the file is downloaded.
    """
    if not tabular.can_write(params["format"]):
        raise bad_request(f"params.format: the sandbox exports Parquet, CSV and JSON, not {params['format']}")
    find_assets(session, params["datasets"])  # raises an error for datasets that cannot be read
    export = Export(params["sql"], tuple(params["datasets"]), tuple(params["args"]), params["format"])
    return {"token": session.platform.exports.issue(export)}


async def execute_sql(session: Session, params: Params) -> dict[str, Any]:
    """Return the rows of a query on the listed datasets.

    The form of the result is unknown, so it is our own (docs/platform-api.md#sql-results).
    """
    positional, named = params.get("args") or [], params.get("named_args") or {}
    if positional and named:
        raise bad_request("specify args or named_args, not both")
    with session.platform.readable(find_assets(session, params["datasets"])) as sources:
        return await asyncio.to_thread(tabular.execute, params["sql"], positional or named, sources)


def find_assets(session: Session, dataset_ids: list[str]) -> list[Record]:
    """Return the stored data of datasets that the caller can access.

    :raises BusinessError: 403 or 404, as for the dataset; 400, if it does not have data yet.
    """
    found = []
    for dataset_id in dataset_ids:
        dataset = session.find("dataset", str(dataset_id))
        asset = session.store.get("asset", dataset["id"])
        if asset is None:
            raise bad_request(f"{dataset['id']} does not have data yet")
        found.append(asset)
    return found


def create_report(session: Session, params: Params) -> Record:
    """Create a report. Its parameter `content` becomes the field `structure` (docs/platform-api.md#reports)."""
    create_record = records.create("report", "solution")
    report: Record = create_record(session, {**params, "structure": params.get("content")})
    return report


def link_to_report(kind: str, *, linked: bool) -> records.Handler:
    """Return the operation that adds an insight or dataset to a report's `metadata`, or removes it."""

    def handler(session: Session, params: Params) -> None:
        report = session.find("report", params["report_id"])
        record_id = session.find(kind, params[f"{kind}_id"])["id"]
        others = [item for item in (report["metadata"].get(f"{kind}s") or []) if item != record_id]
        links = [*others, record_id] if linked else others
        session.store.change("report", report, {"metadata": {**report["metadata"], f"{kind}s": links}})

    return handler


def create_report_view(session: Session, params: Params) -> Record:
    """Create a view of a report: a snapshot of its structure (docs/platform-api.md#reports)."""
    view: Record = records.create("report_view", "report")(session, params)
    return _snapshot(session, view)


def sync_report_view(session: Session, params: Params) -> Record:
    """Replace the structure of a view by the current structure of its report."""
    return _snapshot(session, session.find("report_view", params["id"]))


def _snapshot(session: Session, view: Record) -> Record:
    report = session.find("report", view["report_id"])
    return session.store.change("report_view", view, {"structure": report["structure"]})
