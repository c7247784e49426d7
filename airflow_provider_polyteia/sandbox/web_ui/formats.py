"""Formats of numbers, times and requests on the pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.web_ui.html import Markup, Quantity, badge

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.recorder import RecordedRequest

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_FACTOR = 1024
_SECOND = 1.0
_FIRST_ERROR_STATUS = 400


def format_count(number: int | None) -> Quantity | None:
    """Return a number with thousands separators, or None if it is unknown."""
    return None if number is None else Quantity(f"{number:,}")


def format_rows(number: int | None) -> str | None:
    """Return a number of rows with the unit, or None if it is unknown."""
    return None if number is None else f"{number:,} {'row' if number == 1 else 'rows'}"


def format_size(size: int | None) -> Quantity | None:
    """Return a number of bytes with a unit, such as `1.5 MiB`, or None if it is unknown."""
    if size is None:
        return None
    number, unit = float(size), 0
    while number >= _FACTOR and unit < len(_UNITS) - 1:
        number, unit = number / _FACTOR, unit + 1
    return Quantity(f"{number:,.1f} {_UNITS[unit]}" if unit else f"{size} {_UNITS[0]}")


def format_time(timestamp: Any) -> Any:
    """Return a timestamp of a record, without fractions of a second, as HTML. Other values are returned unchanged."""
    match = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z$", str(timestamp))
    return Markup(f"<time>{match[1]} {match[2]} UTC</time>") if match else timestamp


def format_duration(seconds: float | None) -> Quantity | None:
    """Return a duration in milliseconds or seconds, or None if it is unknown."""
    if seconds is None:
        return None
    return Quantity(f"{seconds:.1f} s" if seconds >= _SECOND else f"{seconds * 1000:.1f} ms")


def format_response(request: RecordedRequest) -> str:
    """Return the HTTP status and the error of the response to a request. Failures are highlighted."""
    if request.status is None:
        return "in progress" if request.seconds is None else badge("failure", "no response")
    if request.error:
        return badge("failure", f"{request.status}, error {request.error}")
    return badge("failure", request.status) if request.status >= _FIRST_ERROR_STATUS else str(request.status)
