"""Builds elements of HTML pages. All values are escaped unless they are `Markup`."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Markup(str):
    """A string that is HTML and must not be escaped."""

    __slots__ = ()


class Quantity(str):
    """A formatted number. It is aligned to the right, like other numbers."""

    __slots__ = ()


def to_html(value: Any) -> Markup:
    """Return a value as HTML."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup('<span class="quiet">-</span>')
    if isinstance(value, dict | list | bool):
        value = json.dumps(value, ensure_ascii=False)
    return Markup(escape(str(value)))


def link(path: str, label: Any) -> Markup:
    """Return a link to a page of the sandbox."""
    return Markup(f'<a href="{escape(path)}">{to_html(label)}</a>')


def code(value: Any) -> Markup:
    """Return an id or other code as HTML."""
    return Markup(f"<code>{to_html(value)}</code>")


def small(value: Any) -> Markup:
    """Return additional information in a smaller font."""
    return Markup(f"<small>{to_html(value)}</small>")


def badge(kind: str, value: Any) -> Markup:
    """Return a value that the style sheet highlights.

    :param kind: Class of the element: "fault" or "failure".
    """
    return Markup(f'<span class="{kind}">{to_html(value)}</span>')


def copyable(value: str) -> Markup:
    """Return a value with a button that copies it."""
    return Markup(f'<span class="copyable">{code(value)}{_copy_button(value)}</span>')


def copyable_id(value: str) -> Markup:
    """Return an id, which is not broken into lines, with a button that copies it."""
    return Markup(f'<span class="copyable id">{code(value)}{_copy_button(value)}</span>')


def copyable_block(value: str) -> Markup:
    """Return a command as a block of code with a button that copies it."""
    return Markup(f'<div class="block"><pre><code>{to_html(value)}</code></pre>{_copy_button(value)}</div>')


def _copy_button(value: str) -> str:
    return f'<button type="button" data-copy="{escape(value)}">Copy</button>'


def heading(*values: Any, anchor: str = "") -> Markup:
    """Return the heading of a section.

    :param anchor: Id of the element, for links to the section. Default: none.
    """
    attribute = f' id="{escape(anchor)}"' if anchor else ""
    return Markup(f"<h2{attribute}>{' '.join(map(to_html, values))}</h2>")


def paragraph(*values: Any) -> Markup:
    """Return a paragraph."""
    return Markup(f"<p>{' '.join(map(to_html, values))}</p>")


def table(headings: Iterable[Any], rows: Iterable[Iterable[Any]]) -> Markup:
    """Return a table of data, which scrolls if it is wider than the window. Numbers are aligned to the right."""
    return Markup(f'<div class="scroll">{_table("data", list(headings), rows)}</div>')


def record_table(headings: Iterable[str], rows: Iterable[Iterable[Any]], *, compact: bool = False) -> Markup:
    """Return a table in which each row becomes a card on narrow windows.

    :param compact: Whether the values of a card share lines and do not have labels. Default: each has its own line.
    """
    return _table("cards compact" if compact else "cards", list(headings), rows)


def fields_table(rows: Iterable[tuple[str, Any]]) -> Markup:
    """Return a table of names and values."""
    lines = "".join(f'<tr><th scope="row">{to_html(name)}</th><td>{to_html(value)}</td></tr>' for name, value in rows)
    return Markup(f'<table class="fields"><tbody>{lines}</tbody></table>')


def inline_fields(fields: Iterable[tuple[str, Any]]) -> Markup:
    """Return names and values next to each other."""
    items = "".join(f"<div><dt>{to_html(name)}</dt><dd>{to_html(value)}</dd></div>" for name, value in fields)
    return Markup(f"<dl>{items}</dl>")


def _table(kind: str, headings: list[Any], rows: Iterable[Iterable[Any]]) -> Markup:
    cells = [list(row) for row in rows]
    numeric = {index for row in cells for index, value in enumerate(row) if _is_number(value)}
    columns = [(name, index in numeric) for index, name in enumerate(headings)]
    head = "".join(f"<th{_class_of(number=number)}>{to_html(name)}</th>" for name, number in columns)
    labels = [("" if kind == "data" else str(name), number) for name, number in columns]
    body = "".join(f"<tr>{''.join(map(_cell, row, labels))}</tr>" for row in cells)
    thead = "<thead>" if kind == "data" else '<thead class="names">'
    return Markup(f'<table class="{kind}">{thead}<tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def _cell(value: Any, column: tuple[str, bool]) -> str:
    label, number = column
    shown_label = f' data-label="{escape(label)}"' if label else ""
    attributes = _class_of(number=number and (value is None or _is_number(value)), empty=value is None)
    return f"<td{attributes}{shown_label}><div>{to_html(value)}</div></td>"


def _class_of(*, number: bool, empty: bool = False) -> str:
    names = " ".join(name for name, applies in (("number", number), ("empty", empty)) if applies)
    return f' class="{names}"' if names else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Quantity) and not isinstance(value, bool)
