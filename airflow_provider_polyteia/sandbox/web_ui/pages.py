"""Web pages that show the content of the sandbox. They do not need or show a key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from airflow_provider_polyteia.sandbox.backend import summaries, tabular
from airflow_provider_polyteia.sandbox.options import API_TITLES
from airflow_provider_polyteia.sandbox.web_ui.html import Count, code, link, page, table, to_html

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_polyteia.sandbox.backend.platform import Platform
    from airflow_provider_polyteia.sandbox.backend.store import Record

MAX_DATASETS = 200
MAX_ROWS = 20
_NOT_FOUND = 404


def _missing(kind: str) -> Response:
    return page("Not found", f"<p>This {kind} does not exist or was deleted.</p>", status=_NOT_FOUND)


async def start(request: Request) -> Response:
    """Return the page of organizations, workspaces, solutions and the newest datasets."""
    platform: Platform = request.app.state.platform
    store = platform.store
    parts = [f"<p>It serves the {to_html(API_TITLES[platform.options.api])}.</p>"]
    for organization in store.all("organization"):
        parts.append(f"<h2>{to_html(organization['name'])} {code(organization['id'])}</h2>")
        rows: list[list[Any]] = []
        for workspace in _inside("organization", organization, store.all("workspace")):
            solutions = _inside("workspace", workspace, store.all("solution"))
            rows += [_solution_row(workspace, solution) for solution in solutions or [None]]
        parts.append(table(("Workspace", "Solution", "Id", "Description"), rows))
    parts.append("<h2>Datasets</h2>")
    parts.append(await _datasets(platform, store.all("dataset")))
    return page("Content of this sandbox", *parts)


def _solution_row(workspace: Record, solution: Record | None) -> list[Any]:
    place = link(f"/ui/workspaces/{workspace['id']}", workspace["name"])
    if solution is None:
        return [place, None, None, None]
    solution_link = link(f"/ui/solutions/{solution['id']}", solution["name"])
    return [place, solution_link, code(solution["id"]), solution["description"]]


async def _datasets(platform: Platform, records: list[Record]) -> str:
    """Return a table of the newest datasets."""
    if not records:
        return "<p>None yet.</p>"
    shown = await summaries.summarize_datasets(platform, records[: -MAX_DATASETS - 1 : -1])
    rows = []
    for dataset in shown:
        data = _with_counts(dataset["data"] or {})
        name = link(f"/ui/datasets/{dataset['id']}", dataset["name"] or dataset["id"])
        statistics = (data.get("size"), data.get("rows"), data.get("uploaded_at"))
        rows.append([name, dataset["slug"], code(dataset["id"]), *statistics])
    more = len(records) - len(shown)
    rest = f"<p>and {more} older datasets</p>" if more else ""
    return table(("Name", "Slug", "Id", "Bytes", "Rows", "Last upload"), rows) + rest


def _with_counts(data: Record) -> dict[str, Any]:
    return {name: Count(value) if isinstance(value, int) else value for name, value in data.items()}


async def dataset_page(request: Request) -> Response:
    """Return the page of one dataset: its record, columns and first rows."""
    platform: Platform = request.app.state.platform
    record = platform.store.get("dataset", request.path_params["id"])
    if record is None:
        return _missing("dataset")
    (dataset,) = await summaries.summarize_datasets(platform, [record])
    solution = platform.store.get("solution", record["solution_id"])
    data = _with_counts(dataset["data"] or {})
    place = link(f"/ui/solutions/{record['solution_id']}", solution["name"] if solution else record["solution_id"])
    about = [("Id", code(record["id"])), ("Solution", place)]
    about += [(name.capitalize(), record[name]) for name in ("slug", "description", "source", "created_at")]
    about += [(name.capitalize(), value) for name, value in data.items()]
    columns = record.get("metadata", {}).get("schema", {}).get("columns", {})
    rows = [(name.replace("_", " "), to_html(value)) for name, value in about]
    parts: list[str] = [table((), rows), "<h2>Columns</h2>", _columns(columns)]
    parts += ["<h2>First rows</h2>", await _first_rows(platform, record)]
    return page(record["name"] or record["id"], *parts)


def _columns(columns: dict[str, Any]) -> str:
    if not columns:
        return "<p>Unknown.</p>"
    described = [value if isinstance(value, dict) else {"canonical_type": value} for value in columns.values()]
    kinds = [(item.get("canonical_type"), item.get("type")) for item in described]
    rows = [(name, *kind) for name, kind in zip(columns, kinds, strict=True)]
    return table(("Column", "Canonical type", "Stored as"), rows)


async def _first_rows(platform: Platform, record: Record) -> str:
    asset = platform.store.get("asset", record["id"])
    if asset is None:
        return "<p>No data was uploaded yet.</p>"
    with platform.readable([asset]) as files:
        path, content_type = files[record["id"]]
        try:
            columns, rows = await asyncio.to_thread(tabular.first_rows, path, content_type, MAX_ROWS)
        except tabular.UnreadableError as error:
            return f"<p>No rows to show: {to_html(str(error))}.</p>"
    return table(columns, rows)


async def solution_page(request: Request) -> Response:
    """Return the page of one solution and its datasets."""
    platform: Platform = request.app.state.platform
    solution = platform.store.get("solution", request.path_params["id"])
    if solution is None:
        return _missing("solution")
    inside = _inside("solution", solution, platform.store.all("dataset"))
    about = f"<p>{to_html(solution['description'])}</p><p>{code(solution['id'])}</p><h2>Datasets</h2>"
    return page(solution["name"], about, await _datasets(platform, inside))


async def workspace_page(request: Request) -> Response:
    """Return the page of one workspace and its solutions."""
    store = request.app.state.platform.store
    workspace = store.get("workspace", request.path_params["id"])
    if workspace is None:
        return _missing("workspace")
    inside = _inside("workspace", workspace, store.all("solution"))
    about = f"<p>{to_html(workspace['description'])}</p><p>{code(workspace['id'])}</p><h2>Solutions</h2>"
    rows = [
        (link(f"/ui/solutions/{item['id']}", item["name"]), code(item["id"]), item["description"]) for item in inside
    ]
    return page(workspace["name"], about, table(("Name", "Id", "Description"), rows))


def _inside(kind: str, outer: Record, records: Iterable[Record]) -> list[Any]:
    return [record for record in records if record.get(f"{kind}_id") == outer["id"]]


ROUTES = [
    Route("/", start, methods=["GET"]),
    Route("/ui/datasets/{id}", dataset_page, methods=["GET"]),
    Route("/ui/solutions/{id}", solution_page, methods=["GET"]),
    Route("/ui/workspaces/{id}", workspace_page, methods=["GET"]),
]
