"""Sections of the pages: the connection, solutions, datasets, first rows, requests and faults."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_polyteia.sandbox.backend import summaries, tabular
from airflow_provider_polyteia.sandbox.connection import airflow_connection
from airflow_provider_polyteia.sandbox.constants import SANDBOX_ORGANIZATION_ID, SANDBOX_PAK
from airflow_provider_polyteia.sandbox.web_ui import formats
from airflow_provider_polyteia.sandbox.web_ui.html import (
    Markup,
    Quantity,
    badge,
    code,
    copyable,
    copyable_block,
    copyable_id,
    heading,
    inline_fields,
    link,
    paragraph,
    record_table,
    small,
    table,
    to_html,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_polyteia.sandbox.backend.platform import Platform
    from airflow_provider_polyteia.sandbox.backend.store import Record
    from airflow_provider_polyteia.sandbox.faults import Faults
    from airflow_provider_polyteia.sandbox.recorder import RecordedRequest, Recorder

MAX_DATASETS = 200
MAX_REQUESTS = 50
RECENT = timedelta(minutes=10)


def records_inside(kind: str, outer: Record, records: Iterable[Record]) -> list[Record]:
    """Return the records that belong to an outer record of this kind."""
    return [record for record in records if record.get(f"{kind}_id") == outer["id"]]


def connection(platform: Platform, base_url: str) -> str:
    """Return the Airflow connection, as a command and as the fields of Airflow's form.

    Only the well-known key is shown.

    :param base_url: URL at which the browser reaches the sandbox.
    """
    options = platform.options
    is_well_known = SANDBOX_PAK in options.paks
    text = airflow_connection(options.api, base_url, SANDBOX_PAK if is_well_known else "<your key>")
    key = copyable(SANDBOX_PAK) if is_well_known else "the key with which the sandbox was started"
    port = urlsplit(base_url).port
    fields: list[tuple[str, str]] = [("Host", copyable(base_url.removesuffix(f":{port}")))]
    if port:
        fields.append(("Port", copyable(str(port))))
    fields.append(("Personal access key", key))
    if options.api == "rpc":
        fields.append(("Organization ID", copyable_id(SANDBOX_ORGANIZATION_ID)))
    fields.append(("UI URL pattern", copyable(f"{base_url}/ui/datasets/{{dataset_id}}")))
    return "".join(
        (
            heading("Connection", anchor="connection"),
            paragraph("Paste this line into each terminal before you start Airflow there:"),
            copyable_block(f"export AIRFLOW_CONN_POLYTEIA_DEFAULT={shlex.quote(text)}"),
            paragraph("Or enter these values into Airflow's connection form:"),
            inline_fields(fields),
        )
    )


def solutions(platform: Platform) -> str:
    """Return a section for each organization with its workspaces and solutions."""
    store = platform.store
    counts = Counter(dataset["solution_id"] for dataset in store.all("dataset"))
    parts: list[str] = []
    for organization in store.all("organization"):
        rows: list[list[Any]] = []
        for workspace in records_inside("organization", organization, store.all("workspace")):
            found: list[Record | None] = [*records_inside("workspace", workspace, store.all("solution"))]
            rows += [_solution_row(workspace, solution, counts) for solution in found or [None]]
        parts.append(heading(organization["name"], copyable_id(organization["id"])))
        parts.append(record_table(("Workspace", "Solution", "Id", "Datasets", "Description"), rows))
    return "".join(parts)


def _solution_row(workspace: Record, solution: Record | None, counts: Counter[str]) -> list[Any]:
    place = link(f"/ui/workspaces/{workspace['id']}", workspace["name"])
    if solution is None:
        return [place, None, None, None, None]
    name = link(f"/ui/solutions/{solution['id']}", solution["name"])
    return [place, name, copyable_id(solution["id"]), counts[solution["id"]], solution["description"]]


async def datasets(platform: Platform, records: list[Record]) -> str:
    """Return a section with the newest datasets."""
    title = heading("Datasets", anchor="datasets")
    if not records:
        return title + paragraph("None yet.")
    shown = await summaries.summarize_datasets(platform, records[: -MAX_DATASETS - 1 : -1])
    older = len(records) - len(shown)
    rest = paragraph(f"and {older} older datasets") if older else ""
    headings = ("Name", "Slug", "Id", "Size", "Rows", "Last upload")
    return title + record_table(headings, [_dataset_row(dataset) for dataset in shown]) + rest


def _dataset_row(dataset: dict[str, Any]) -> list[Any]:
    data = dataset["data"] or {}
    size, rows = formats.format_size(data.get("size")), formats.format_count(data.get("rows"))
    uploaded_at = formats.format_time(data.get("uploaded_at"))
    return [dataset_link(dataset), code(dataset["slug"]), copyable_id(dataset["id"]), size, rows, uploaded_at]


def dataset_link(dataset: Record) -> Markup:
    """Return a link to the page of a dataset."""
    return link(f"/ui/datasets/{dataset['id']}", dataset["name"] or dataset["id"])


async def last_upload(platform: Platform) -> str:
    """Return a section with the dataset that received data last, its column types and first rows."""
    assets = [asset for asset in platform.store.all("asset") if platform.store.get("dataset", asset["id"])]
    title = heading("Last upload", anchor="last-upload")
    if not assets:
        return title + paragraph("None yet.")
    latest = max(assets, key=lambda asset: str(asset["uploaded_at"]))
    record = platform.store.get("dataset", latest["id"]) or {}
    (dataset,) = await summaries.summarize_datasets(platform, [record])
    data = dataset["data"]
    size, rows = formats.format_size(data["size"]), formats.format_rows(data["rows"])
    facts = [size, rows, data["content_type"], formats.format_time(data["uploaded_at"])]
    about = paragraph(dataset_link(record), Markup(", ".join(to_html(fact) for fact in facts if fact)))
    return title + about + await first_rows(platform, record, limit=5, types=True)


async def first_rows(platform: Platform, record: Record, limit: int, *, types: bool = False) -> str:
    """Return a table with the first rows of a dataset.

    :param limit: Maximum number of rows.
    :param types: Whether to show the type of each column below its name. Default: False.
    """
    asset = platform.store.get("asset", record["id"])
    if asset is None:
        return paragraph("No data was uploaded yet.")
    with platform.readable([asset]) as files:
        path, content_type = files[record["id"]]
        try:
            names, rows = await asyncio.to_thread(tabular.first_rows, path, content_type, limit)
        except tabular.UnreadableError as error:
            return paragraph(f"No rows to show: {error}.")
    described = described_columns(record)
    kinds = [described.get(name, {}).get("canonical_type") for name in names]
    headings = [
        Markup(to_html(name) + (small(kind) if types and kind else "")) for name, kind in zip(names, kinds, strict=True)
    ]
    return table(headings, [map(_shown_value, row, kinds) for row in rows])


def _shown_value(value: Any, kind: str | None) -> Any:
    # Decimals are strings, which keep all digits.
    return Quantity(value) if kind == "number" and isinstance(value, str) else value


def described_columns(record: Record) -> dict[str, dict[str, Any]]:
    """Return name -> description of the columns of a dataset."""
    columns = record.get("metadata", {}).get("schema", {}).get("columns", {})
    return {name: value if isinstance(value, dict) else {"canonical_type": value} for name, value in columns.items()}


def recent_requests(recorder: Recorder, known: frozenset[str]) -> str:
    """Return a section with the requests of the last minutes, newest first.

    :param known: Names of all calls. Other names are not shown because they could contain secrets.
    """
    title = heading(f"Requests of the last {RECENT.seconds // 60} minutes", anchor="requests")
    recent = recorder.latest(RECENT)
    if not recent:
        return title + paragraph("None.")
    shown = recent[:MAX_REQUESTS]
    rest = paragraph(f"and {len(recent) - len(shown)} earlier requests") if len(recent) > len(shown) else ""
    headings = ("Time (UTC)", "Call", "Response", "Fault", "Duration")
    rows = [_request_row(request, known) for request in shown]
    return title + record_table(headings, rows, compact=True) + rest


def _request_row(request: RecordedRequest, known: frozenset[str]) -> list[Any]:
    fault = badge("fault", request.fault) if request.fault else None
    duration = formats.format_duration(request.seconds)
    time = f"{request.received_at:%H:%M:%S}"
    return [time, code(request.label(known)), formats.format_response(request), fault, duration]


def active_faults(faults: Faults) -> str:
    """Return a section with the active faults, or nothing if there are none."""
    if not faults.active:
        return ""
    rows = [(badge("fault", fault.spec), fault.calls, fault.hits) for fault in faults.active]
    return heading("Active faults") + record_table(("Fault", "Calls", "Applied"), rows)
