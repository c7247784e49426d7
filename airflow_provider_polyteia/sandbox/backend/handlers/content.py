"""Handlers of what lies in a solution: datasets and their data, SQL, insights, reports."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend import tabular
from airflow_provider_polyteia.sandbox.backend.errors import bad_request
from airflow_provider_polyteia.sandbox.backend.handlers import records
from airflow_provider_polyteia.sandbox.backend.platform import Export, Session, UploadTarget
from airflow_provider_polyteia.sandbox.backend.store import Record, timestamp

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.handlers.records import Params

_LISTABLE = ("dataset", "insight", "report")


def update_dataset_metadata(session: Session, params: Params) -> None:
    """Replace what is said of the columns."""
    dataset = session.find("dataset", params["id"])
    metadata = {**dataset.get("metadata", {}), "schema": {"columns": params["columns"]}}
    session.store.change("dataset", dataset, {"metadata": metadata})


def update_dataset_source_info(session: Session, params: Params) -> None:
    """Note as of when the data is; kept in `metadata.source_info` (where the platform shows it is unknown)."""
    dataset = session.find("dataset", params["id"])
    if not isinstance(params["source_info"].get("source_timestamp"), str):
        raise bad_request("params.source_info.source_timestamp is required")
    metadata = {**dataset.get("metadata", {}), "source_info": params["source_info"]}
    session.store.change("dataset", dataset, {"metadata": metadata})


def list_resources(session: Session, params: Params) -> dict[str, Any]:
    """A page of ids, not records (API reference 4.4)."""
    if params["resource_type"] not in _LISTABLE:
        raise bad_request(f"params.resource_type must be one of {', '.join(_LISTABLE)}")
    containers = {item.get("container_id") for item in params["filters"] if isinstance(item, dict)} - {None}
    found = records.matching(session.visible(params["resource_type"]), params)
    if containers:
        found = [record for record in found if record["solution_id"] in containers]
    if params.get("tags"):
        found = [record for record in found if set(params["tags"]) <= _tags(session, record)]
    page = records.page_of([record["id"] for record in found], params)
    del page["size"]
    return page


def _tags(session: Session, record: Record) -> set[str]:
    tagging = session.store.get("tagging", record["id"])
    return set(tagging["tags"]) if tagging else set()


def generate_dataset_upload_token(session: Session, params: Params) -> dict[str, str]:
    """A token for one upload (API reference 7.1)."""
    dataset = session.find("dataset", params["id"])
    target = UploadTarget("dataset", dataset["id"], params["content_type"])
    return {"token": session.platform.uploads.issue(target)}


def generate_report_image_upload_token(session: Session, params: Params) -> dict[str, str]:
    """A token for one image of a report, and the name it will have (API reference 7.5)."""
    report = session.find("report", params["id"])
    extension = params["content_type"].rpartition("/")[2]
    filename = f"{report['id']}-{timestamp().replace(':', '')}.{extension}"
    target = UploadTarget("image", filename, params["content_type"])
    return {"token": session.platform.uploads.issue(target), "filename": filename}


def generate_query_export_token(session: Session, params: Params) -> dict[str, str]:
    """A token for one download of the query's rows (API reference 8); the query runs at the download."""
    if not tabular.can_write(params["format"]):
        raise bad_request(f"params.format: the sandbox exports Parquet, CSV and JSON, not {params['format']}")
    assets(session, params["datasets"])  # refuses what may not be read
    export = Export(params["sql"], tuple(params["datasets"]), tuple(params["args"]), params["format"])
    return {"token": session.platform.exports.issue(export)}


async def execute_sql(session: Session, params: Params) -> dict[str, Any]:
    """The rows of a query over the listed datasets (API reference 9; the shape of the answer is ours)."""
    positional, named = params.get("args") or [], params.get("named_args") or {}
    if positional and named:
        raise bad_request("give args or named_args, not both")
    with session.platform.readable(assets(session, params["datasets"])) as sources:
        return await asyncio.to_thread(tabular.execute, params["sql"], positional or named, sources)


def assets(session: Session, dataset_ids: list[str]) -> list[Record]:
    """The stored data of datasets that the caller may read.

    :raises ApiError: 403 or 404 as for the dataset; 400 it has no data yet.
    """
    found = []
    for dataset_id in dataset_ids:
        dataset = session.find("dataset", str(dataset_id))
        asset = session.store.get("asset", dataset["id"])
        if asset is None:
            raise bad_request(f"{dataset['id']} has no data yet")
        found.append(asset)
    return found


def create_report(session: Session, params: Params) -> Record:
    """Make a report; a create says `content` where an update says `structure` (API reference 4.7)."""
    make = records.create("report", "solution")
    report: Record = make(session, {**params, "structure": params.get("content")})
    return report


def link_to_report(kind: str, *, linked: bool) -> records.Handler:
    """Add an insight or dataset to a report's `metadata`, or take it out."""

    def handler(session: Session, params: Params) -> None:
        report = session.find("report", params["report_id"])
        record_id = session.find(kind, params[f"{kind}_id"])["id"]
        others = [item for item in report["metadata"].get(f"{kind}s", []) if item != record_id]
        links = [*others, record_id] if linked else others
        session.store.change("report", report, {"metadata": {**report["metadata"], f"{kind}s": links}})

    return handler


def create_report_view(session: Session, params: Params) -> Record:
    """Make a view of a report: a snapshot of its structure (API reference 4.7)."""
    view: Record = records.create("report_view", "report")(session, params)
    return _snapshot(session, view)


def sync_report_view(session: Session, params: Params) -> Record:
    """Take the report's present structure over into the view."""
    return _snapshot(session, session.find("report_view", params["id"]))


def _snapshot(session: Session, view: Record) -> Record:
    report = session.find("report", view["report_id"])
    return session.store.change("report_view", view, {"structure": report["structure"]})
