"""Operations on datasets and their data."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend import columns, tabular
from airflow_provider_polyteia.sandbox.backend.errors import BusinessError, bad_request, forbidden, not_found
from airflow_provider_polyteia.sandbox.backend.handlers import records
from airflow_provider_polyteia.sandbox.backend.handlers.content import find_assets
from airflow_provider_polyteia.sandbox.backend.platform import UploadTarget
from airflow_provider_polyteia.sandbox.rpc_api.envelope import BigInt, format_date
from airflow_provider_polyteia.sandbox.rpc_api.errors import invalid_input, issue
from airflow_provider_polyteia.sandbox.rpc_api.presigned import StoredExport, issue_url
from airflow_provider_polyteia.sandbox.rpc_api.records import present_dataset, read_column

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.handlers.records import Params
    from airflow_provider_polyteia.sandbox.backend.platform import Session
    from airflow_provider_polyteia.sandbox.backend.store import Record

_FORMATS = {"csv": tabular.CSV, "json": tabular.JSON, "parquet": tabular.PARQUET}
_NULLABLE = ("description", "documentation")


def get_dataset(session: Session, params: Params) -> dict[str, Any]:
    """Return a dataset by its id."""
    return present_dataset(session.find("dataset", params["id"]))


def get_dataset_by_slug(session: Session, params: Params) -> dict[str, Any]:
    """Return a dataset by its solution and slug."""
    return present_dataset(session.find_by_slug("dataset", params["solution_id"], params["slug"]))


def list_datasets(session: Session, params: Params) -> list[dict[str, Any]]:
    """Return all datasets of a solution."""
    solution = session.find("solution", params["solution_id"])
    return [present_dataset(record) for record in records.inside(session, "solution", solution, "dataset")]


def create_dataset(session: Session, params: Params) -> dict[str, Any]:
    """Create a dataset. Without a slug, it gets one that is derived from its name and unique."""
    solution = session.find("solution", params["solution_id"])
    if solution["organization_id"] != params["organization_id"]:
        raise invalid_input([issue("organizationId", "must be the organization of the solution")])
    slug = params.get("slug") or f"{_slugify(params['name'])}-{secrets.token_hex(3)}"
    dataset: Record = records.create_in_solution("dataset")(session, {**params, "slug": slug})
    return present_dataset(session.store.put("dataset", {**dataset, **_nulls(params)}))


def _slugify(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "dataset"


def _nulls(params: Params) -> Params:
    """Return the fields that are explicitly null, for which the backend has other defaults."""
    return {name: None for name in _NULLABLE if params.get(name, "") is None}


def update_dataset(session: Session, params: Params) -> dict[str, Any]:
    """Replace all fields of a dataset, including its as-of time (docs/platform-api.md#rpc-updates)."""
    dataset = find_unlocked(session, params["id"])
    records.check_slug_free(session, "dataset", dataset, params["slug"])
    metadata = dict(dataset.get("metadata", {}))
    metadata.pop("source_info", None)
    if params["data_as_of"] is not None:
        metadata["source_info"] = {"source_timestamp": format_date(params["data_as_of"])}
    changes = {**records.fields("dataset", params), **_nulls(params), "metadata": metadata}
    return present_dataset(session.store.change("dataset", dataset, changes))


def update_columns(session: Session, params: Params) -> dict[str, Any]:
    """Replace the descriptions of a dataset's columns. Other columns of the data are kept."""
    dataset = find_unlocked(session, params["id"])
    try:
        described = columns.by_name(params["columns"])
    except BusinessError as error:
        raise invalid_input([issue("columns", "the sandbox expects objects with a unique name")]) from error
    renamed = {name: read_column(column) for name, column in described.items()}
    return present_dataset(columns.describe(session.store, dataset, renamed))


def _change_metadata(session: Session, dataset: Record, **changes: Any) -> dict[str, Any]:
    """Change `metadata` and return the dataset. A value None removes its key."""
    merged = {**dataset.get("metadata", {}), **changes}
    metadata = {name: value for name, value in merged.items() if value is not None}
    return present_dataset(session.store.change("dataset", dataset, {"metadata": metadata}))


def delete_dataset(session: Session, params: Params) -> None:
    """Delete a dataset and its data."""
    records.remove(session, "dataset", find_unlocked(session, params["id"]))


def delete_data(session: Session, params: Params) -> None:
    """Delete the data of a dataset. The dataset remains."""
    dataset = find_unlocked(session, params["dataset_id"])
    session.platform.remove_asset(dataset["id"])
    emptied = {**dataset, "metadata": columns.with_columns(session.store, dataset)}
    _change_metadata(session, emptied, asset_info=None)


def find_unlocked(session: Session, dataset_id: str) -> Record:
    """Return a dataset that the caller can change.

    :raises BusinessError: 404 or 403, as in `Session.find`; 403, if the dataset is locked.
    """
    dataset = session.find("dataset", dataset_id)
    if dataset.get("metadata", {}).get("locked"):
        raise forbidden("the dataset is locked")
    return dataset


def set_lock(session: Session, params: Params) -> None:
    """Lock or unlock a dataset. The sandbox rejects changes of a locked dataset; what the platform does is unknown."""
    dataset = session.find("dataset", params["id"])
    _change_metadata(session, dataset, locked=params["locked"] or None)


def set_prune_schedule(session: Session, params: Params) -> dict[str, Any]:
    """Store when the data is to be emptied, or that it is not. The sandbox does not empty it."""
    dataset = session.find("dataset", params["id"])
    return _change_metadata(session, dataset, prune_schedule=params.get("schedule"))


async def get_stats(session: Session, params: Params) -> dict[str, Any]:
    """Return the number of rows and the physical types of the columns.

    The names of the keys are unknown, so they are ours (docs/platform-api.md#rpc-datasets).
    """
    dataset = session.find("dataset", params["id"])
    asset = session.store.get("asset", dataset["id"])
    if asset is None:
        return {"rowCount": BigInt(0), "columns": []}
    with session.platform.readable([asset]) as files:
        path, content_type = files[dataset["id"]]
        try:
            rows = await asyncio.to_thread(tabular.count_rows, path, content_type)
            described = await asyncio.to_thread(tabular.describe, path, content_type)
        except tabular.UnreadableError as error:
            raise bad_request(str(error)) from error
    types = [{"name": name, "type": column["type"]} for name, column in described.items()]
    return {"rowCount": BigInt(rows), "columns": types}


def get_ingest_status(session: Session, params: Params) -> dict[str, Any]:
    """Return the status of an ingest of a dataset (docs/platform-api.md#rpc-ingests)."""
    dataset = session.find("dataset", params["id"])
    ingest = session.store.get("ingest", params["ingest_id"])
    if ingest is None or ingest["dataset_id"] != dataset["id"]:
        raise not_found("ingest not found")
    message = {"errorMessage": ingest["error_message"]} if ingest["error_message"] else {}
    return {"status": ingest["status"], **message}


async def export_data(session: Session, params: Params) -> dict[str, str]:
    """Write the data of a dataset to a file, and return a presigned URL of it (docs/platform-api.md#rpc-exports)."""
    (asset,) = find_assets(session, [params["id"]])
    content_type = _FORMATS.get(params["format"])
    if content_type is None:
        raise bad_request(f"the sandbox cannot export {params['format']}")
    platform = session.platform
    with platform.readable([asset]) as sources, platform.files.receiving() as path:
        await asyncio.to_thread(tabular.export, f'FROM "{asset["id"]}"', (), sources, path, content_type)
        export = StoredExport(platform.files.store(path), content_type, secrets.token_hex(16))
    return {"url": issue_url(platform, export)}


async def duplicate_dataset(session: Session, params: Params) -> dict[str, Any]:
    """Create a dataset with another name and a copy of the data."""
    original = session.find("dataset", params["id"])
    copied = {name: original[name] for name in ("solution_id", "organization_id", "description", "source")}
    copied |= {"documentation": original["documentation"], "name": params["name"]}
    created = create_dataset(session, copied)
    columns.copy_descriptions(session.store, original, session.find("dataset", created["id"]))
    asset = session.store.get("asset", original["id"])
    if asset is None:
        return present_dataset(session.find("dataset", created["id"]))
    target = UploadTarget("dataset", created["id"], asset["content_type"])
    with session.platform.files.receiving() as path:
        await asyncio.to_thread(_copy, session.platform.files.path(asset["file"]), path)
        file = session.platform.files.store(path)
        session.platform.replace_data(target, file, asset["size"], asset.get("columns", {}))
    return present_dataset(session.find("dataset", created["id"]))


def _copy(source: Any, destination: Any) -> None:
    destination.write_bytes(source.read_bytes())
