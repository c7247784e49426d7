"""The sandbox's web pages: what a person sees of what a DAG did. No key needed, none shown."""

from __future__ import annotations

import asyncio
import json
from html import escape
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from airflow_provider_polyteia.sandbox.backend import summaries, tabular

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from airflow_provider_polyteia.sandbox.backend.platform import Platform
    from airflow_provider_polyteia.sandbox.backend.store import Record

SHOWN_DATASETS = 200
SHOWN_ROWS = 20
_NOT_FOUND = 404

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2433; background: #f5f6f9; margin: 0 }
header { background: #1d2b53; color: #fff; padding: .8rem 2rem } header a { color: #fff; text-decoration: none }
header small { color: #b9c3e0; margin-left: 1rem }
main { max-width: 72rem; margin: 1.5rem auto; padding: 0 2rem }
h1 { font-size: 1.4rem; margin: 0 0 .3rem } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem }
.scroll { overflow-x: auto } a { color: #1f4fbf } code { font-size: .9em } p { margin: .3rem 0 }
table { border-collapse: collapse; width: 100%; background: #fff; box-shadow: 0 1px 2px #0002 }
th, td { text-align: left; padding: .4rem .7rem; border-bottom: 1px solid #e4e7ee; vertical-align: top }
th { background: #eef0f6; font-weight: 600 } .number { text-align: right } .quiet { color: #667 }
"""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


class Count(int):
    """A number of things, shown in groups of three digits."""

    def __str__(self) -> str:
        return f"{int(self):,}".replace(",", "\u202f")


def text(value: Any) -> Markup:
    """A value as HTML."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup('<span class="quiet">-</span>')
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return Markup(escape(str(value)))


def link(path: str, label: Any) -> Markup:
    """A link within the sandbox."""
    return Markup(f'<a href="{escape(path)}">{text(label)}</a>')


def code(value: Any) -> Markup:
    """An id or another piece of code."""
    return Markup(f"<code>{text(value)}</code>")


def table(headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> Markup:
    """A table; columns with numbers stand to the right."""
    cells = [list(row) for row in rows]
    numeric = {index for row in cells for index, value in enumerate(row) if _is_number(value)}
    head = "".join(_cell("th", heading, number=index in numeric) for index, heading in enumerate(headings))
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    lines = ("".join(_cell("td", value, number=_is_number(value)) for value in row) for row in cells)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return Markup(f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(tag: str, value: Any, *, number: bool) -> str:
    kind = ' class="number"' if number else ""
    return f"<{tag}{kind}>{text(value)}</{tag}>"


def page(title: str, *parts: str, status: int = 200) -> Response:
    """A whole page."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)} - Polyteia sandbox'
        f"</title><style>{_STYLE}</style></head><body><header><a href='/'><strong>Polyteia sandbox</strong></a>"
        f"<small>a local stand-in; nothing here leaves this machine</small></header>"
        f"<main><h1>{text(title)}</h1>{''.join(parts)}</main></body></html>",
        status_code=status,
    )


def _missing(kind: str) -> Response:
    return page("Not found", f"<p>There is no such {kind} (any more).</p>", status=_NOT_FOUND)


async def start(request: Request) -> Response:
    """Organizations, workspaces, solutions, and the datasets made last."""
    platform: Platform = request.app.state.platform
    store = platform.store
    parts = []
    for organization in store.all("organization"):
        parts.append(f"<h2>{text(organization['name'])} {code(organization['id'])}</h2>")
        rows: list[list[Any]] = []
        for workspace in _inside("organization", organization, store.all("workspace")):
            solutions = _inside("workspace", workspace, store.all("solution"))
            rows += [_solution_row(workspace, solution) for solution in solutions or [None]]
        parts.append(table(("Workspace", "Solution", "Id", "Description"), rows))
    parts.append("<h2>Datasets</h2>")
    parts.append(await _datasets(platform, store.all("dataset")))
    return page("What this platform holds", *parts)


def _solution_row(workspace: Record, solution: Record | None) -> list[Any]:
    place = link(f"/ui/workspaces/{workspace['id']}", workspace["name"])
    if solution is None:
        return [place, None, None, None]
    solution_link = link(f"/ui/solutions/{solution['id']}", solution["name"])
    return [place, solution_link, code(solution["id"]), solution["description"]]


async def _datasets(platform: Platform, records: list[Record]) -> str:
    """The newest datasets as a table."""
    if not records:
        return "<p>None yet.</p>"
    shown = await summaries.datasets(platform, records[: -SHOWN_DATASETS - 1 : -1])
    rows = []
    for dataset in shown:
        facts = _counted(dataset["data"] or {})
        name = link(f"/ui/datasets/{dataset['id']}", dataset["name"] or dataset["id"])
        shown_facts = (facts.get("size"), facts.get("rows"), facts.get("uploaded_at"))
        rows.append([name, dataset["slug"], code(dataset["id"]), *shown_facts])
    more = len(records) - len(shown)
    rest = f"<p>and {more} older ones</p>" if more else ""
    return table(("Name", "Slug", "Id", "Bytes", "Rows", "Last upload"), rows) + rest


def _counted(facts: Record) -> dict[str, Any]:
    return {name: Count(value) if isinstance(value, int) else value for name, value in facts.items()}


async def dataset_page(request: Request) -> Response:
    """One dataset: what is known of it, and its first rows."""
    platform: Platform = request.app.state.platform
    record = platform.store.get("dataset", request.path_params["id"])
    if record is None:
        return _missing("dataset")
    (dataset,) = await summaries.datasets(platform, [record])
    solution = platform.store.get("solution", record["solution_id"])
    facts = _counted(dataset["data"] or {})
    place = link(f"/ui/solutions/{record['solution_id']}", solution["name"] if solution else record["solution_id"])
    about = [("Id", code(record["id"])), ("Solution", place)]
    about += [(name.capitalize(), record[name]) for name in ("slug", "description", "source", "created_at")]
    about += [(name.capitalize(), value) for name, value in facts.items()]
    columns = record.get("metadata", {}).get("schema", {}).get("columns", {})
    rows = [(name.replace("_", " "), text(value)) for name, value in about]
    parts: list[str] = [table((), rows), "<h2>Columns</h2>", _columns(columns)]
    parts += ["<h2>First rows</h2>", await _first_rows(platform, record)]
    return page(record["name"] or record["id"], *parts)


def _columns(columns: dict[str, Any]) -> str:
    if not columns:
        return "<p>Not known.</p>"
    described = [value if isinstance(value, dict) else {"canonical_type": value} for value in columns.values()]
    kinds = [(item.get("canonical_type"), item.get("type")) for item in described]
    rows = [(name, *kind) for name, kind in zip(columns, kinds, strict=True)]
    return table(("Column", "Canonical type", "Stored as"), rows)


async def _first_rows(platform: Platform, record: Record) -> str:
    asset = platform.store.get("asset", record["id"])
    if asset is None:
        return "<p>Nothing was uploaded yet.</p>"
    with platform.readable([asset]) as files:
        path, content_type = files[record["id"]]
        try:
            columns, rows = await asyncio.to_thread(tabular.first_rows, path, content_type, SHOWN_ROWS)
        except tabular.UnreadableError as error:
            return f"<p>No rows to show: {text(str(error))}.</p>"
    return table(columns, rows)


async def solution_page(request: Request) -> Response:
    """One solution and its datasets."""
    platform: Platform = request.app.state.platform
    solution = platform.store.get("solution", request.path_params["id"])
    if solution is None:
        return _missing("solution")
    inside = _inside("solution", solution, platform.store.all("dataset"))
    about = f"<p>{text(solution['description'])}</p><p>{code(solution['id'])}</p><h2>Datasets</h2>"
    return page(solution["name"], about, await _datasets(platform, inside))


async def workspace_page(request: Request) -> Response:
    """One workspace and its solutions."""
    store = request.app.state.platform.store
    workspace = store.get("workspace", request.path_params["id"])
    if workspace is None:
        return _missing("workspace")
    inside = _inside("workspace", workspace, store.all("solution"))
    about = f"<p>{text(workspace['description'])}</p><p>{code(workspace['id'])}</p><h2>Solutions</h2>"
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
