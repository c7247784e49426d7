"""Web pages that show the content of the sandbox. They do not need a key, and show only the well-known one."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from airflow_provider_polyteia.sandbox.backend import summaries
from airflow_provider_polyteia.sandbox.options import API_TITLES
from airflow_provider_polyteia.sandbox.web_ui import formats, sections
from airflow_provider_polyteia.sandbox.web_ui.html import (
    Markup,
    code,
    copyable,
    copyable_id,
    fields_table,
    heading,
    link,
    paragraph,
    record_table,
    table,
)
from airflow_provider_polyteia.sandbox.web_ui.layout import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_polyteia.sandbox.backend.platform import Platform
    from airflow_provider_polyteia.sandbox.backend.store import Record

MAX_ROWS = 20
_NAVIGATION = Markup(
    '<nav><a href="#connection">Connection</a><a href="#datasets">Datasets</a><a href="#last-upload">Last upload</a>'
    '<a href="#requests">Requests</a></nav>'
)


def _missing(kind: str) -> Response:
    return page("Not found", paragraph(f"This {kind} does not exist or was deleted."), status=HTTPStatus.NOT_FOUND)


async def start(request: Request) -> Response:
    """Return the start page: connection, solutions, newest datasets, last upload, requests and faults."""
    state = request.app.state
    platform: Platform = state.platform
    return page(
        "Content of this sandbox",
        paragraph(f"It serves the {API_TITLES[platform.options.api]}."),
        _NAVIGATION,
        sections.connection(platform, str(request.base_url).rstrip("/")),
        sections.solutions(platform),
        await sections.datasets(platform, platform.store.all("dataset")),
        await sections.last_upload(platform),
        sections.active_faults(state.faults),
        sections.recent_requests(state.recorder, state.calls.known),
    )


async def dataset_page(request: Request) -> Response:
    """Return the page of one dataset: its record, columns and first rows."""
    platform: Platform = request.app.state.platform
    record = platform.store.get("dataset", request.path_params["id"])
    if record is None:
        return _missing("dataset")
    (dataset,) = await summaries.summarize_datasets(platform, [record])
    return page(
        record["name"] or record["id"],
        fields_table([*_record_fields(platform, record), *_data_fields(dataset["data"] or {})]),
        heading("First rows"),
        await sections.first_rows(platform, record, MAX_ROWS),
        heading("Columns"),
        _columns(record),
    )


def _record_fields(platform: Platform, record: Record) -> list[tuple[str, Any]]:
    solution = platform.store.get("solution", record["solution_id"])
    name = solution["name"] if solution else record["solution_id"]
    place = link(f"/ui/solutions/{record['solution_id']}", name)
    return [
        ("Id", copyable_id(record["id"])),
        ("Slug", copyable(record["slug"])),
        ("Solution", Markup(f"{place} {copyable_id(record['solution_id'])}")),
        ("Description", record["description"]),
        ("Source", record["source"]),
        ("Created", formats.format_time(record["created_at"])),
        ("As-of time", formats.format_time(_as_of(record))),
    ]


def _as_of(record: Record) -> Any:
    return record.get("metadata", {}).get("source_info", {}).get("source_timestamp")


def _data_fields(data: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("Last upload", formats.format_time(data.get("uploaded_at"))),
        ("Rows", formats.format_count(data.get("rows"))),
        ("Size", formats.format_size(data.get("size"))),
        ("Content type", data.get("content_type")),
    ]


def _columns(record: Record) -> str:
    columns = sections.described_columns(record)
    if not columns:
        return paragraph("Unknown.")
    rows = [(code(name), column.get("canonical_type"), column.get("type")) for name, column in columns.items()]
    return table(("Column", "Canonical type", "Stored as"), rows)


async def solution_page(request: Request) -> Response:
    """Return the page of one solution and its datasets."""
    platform: Platform = request.app.state.platform
    solution = platform.store.get("solution", request.path_params["id"])
    if solution is None:
        return _missing("solution")
    inside = sections.records_inside("solution", solution, platform.store.all("dataset"))
    return page(solution["name"], _about(solution), await sections.datasets(platform, inside))


async def workspace_page(request: Request) -> Response:
    """Return the page of one workspace and its solutions."""
    store = request.app.state.platform.store
    workspace = store.get("workspace", request.path_params["id"])
    if workspace is None:
        return _missing("workspace")
    inside = sections.records_inside("workspace", workspace, store.all("solution"))
    rows = [
        (link(f"/ui/solutions/{item['id']}", item["name"]), copyable_id(item["id"]), item["description"])
        for item in inside
    ]
    content = record_table(("Name", "Id", "Description"), rows)
    return page(workspace["name"], _about(workspace), heading("Solutions"), content)


def _about(record: Record) -> Markup:
    return fields_table([("Id", copyable_id(record["id"])), ("Description", record["description"])])


ROUTES = [
    Route("/", start, methods=["GET"]),
    Route("/ui/datasets/{id}", dataset_page, methods=["GET"]),
    Route("/ui/solutions/{id}", solution_page, methods=["GET"]),
    Route("/ui/workspaces/{id}", workspace_page, methods=["GET"]),
]
