"""Builds HTML pages. All values are escaped unless they are `Markup`."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """A string that is HTML and must not be escaped."""

    __slots__ = ()


class Count(int):
    """An integer that is shown with a thousands separator."""

    def __str__(self) -> str:
        return f"{int(self):,}".replace(",", "\u202f")


def to_html(value: Any) -> Markup:
    """Return a value as HTML."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup('<span class="quiet">-</span>')
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return Markup(escape(str(value)))


def link(path: str, label: Any) -> Markup:
    """Return a link to a page of the sandbox."""
    return Markup(f'<a href="{escape(path)}">{to_html(label)}</a>')


def code(value: Any) -> Markup:
    """Return an id or other code as HTML."""
    return Markup(f"<code>{to_html(value)}</code>")


def table(headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> Markup:
    """Return a table. Columns with numbers are aligned to the right."""
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
    return f"<{tag}{kind}>{to_html(value)}</{tag}>"


def page(title: str, *parts: str, status: int = 200) -> Response:
    """Return a complete page as a response."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{to_html(title)} - Polyteia sandbox'
        f"</title><style>{_STYLE}</style></head><body><header><a href='/'><strong>Polyteia sandbox</strong></a>"
        f"<small>a local emulator of the Polyteia API; no data leaves this machine</small></header>"
        f"<main><h1>{to_html(title)}</h1>{''.join(parts)}</main></body></html>",
        status_code=status,
    )
