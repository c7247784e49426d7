"""The envelope of the RPC API: `{"json": ..., "meta": [...]}` (docs/platform-api.md#rpc-envelope)."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from airflow_provider_polyteia.sandbox.backend.errors import BusinessError

TYPES = ("bigint", "date", "nan", "undefined", "url", "regexp", "set", "map")
"""Types that `meta` names. Dialect 1 uses their position, dialect 2 their name (docs/platform-api.md#rpc-dialects)."""

INVALID_DATE = object()
"""A date whose text is not a date. No procedure accepts it."""

VOID = object()
"""The result of a procedure that returns nothing, as opposed to null."""

_MAX_SAFE_INTEGER = 2**53 - 1
_MALFORMED = (
    "Malformed request. Ensure the request body is properly formatted and the 'Content-Type' header is set correctly."
)
_BAD_REQUEST = 400

_DIGITS = re.compile(r"-?(0|[1-9][0-9]*)")
"""The only form of a bigint in an input of dialect 1."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
"""How a date in an input begins. Python also reads compact dates and week dates, the framework does not."""


class BigInt(int):
    """An integer that is always sent as a string with an entry in `meta`, like a 64-bit number."""


def malformed() -> BusinessError:
    """Return the error for a body that cannot be decoded."""
    return BusinessError(_BAD_REQUEST, _MALFORMED)


def decode(body: bytes, content_type: str, content_disposition: str | None, dialect: int) -> Any:
    """Return the input of a call with `meta` applied, or None if the body does not contain an input.

    :raises BusinessError: 400, if the body or `meta` is malformed.
    """
    if not body:
        return None
    mime_type = content_type.partition(";")[0].strip()
    if dialect == 1:
        is_json = content_disposition is None and (not content_type or content_type.startswith("application/json"))
    else:
        is_json = mime_type == "application/json"
    if not is_json:
        # The framework reads the body as form fields or as a file. Dialect 2 passes on a file as an input without keys.
        return {} if dialect != 1 and mime_type != "application/x-www-form-urlencoded" else None
    try:
        envelope = json.loads(body, parse_constant=_reject_constant)
    except ValueError:
        raise malformed() from None
    if envelope is None:
        raise malformed()
    if not isinstance(envelope, dict):
        return None
    return _apply_meta(envelope, dialect)


def _reject_constant(name: str) -> Any:
    """Reject NaN and Infinity, which Python accepts in JSON."""
    raise ValueError(name)


def _apply_meta(envelope: dict[str, Any], dialect: int) -> Any:
    entries = envelope.get("meta")
    if entries is None:
        entries = []
    if not isinstance(entries, list):
        raise malformed()
    for entry in entries:
        if not isinstance(entry, list) or not entry:
            raise malformed()
        code, *path = entry
        kind = _type(code, dialect)
        if not kind:
            continue
        container: Any = envelope
        key: Any = "json"
        for segment in path:
            container = _item(container, key)
            key = segment
        container[key] = _convert(kind, _item(container, key), dialect)
    return envelope.get("json")


def _item(container: Any, key: Any) -> Any:
    """Return an item of an object or array. A path in `meta` that does not exist is an error."""
    is_index = isinstance(container, list) and type(key) is int and 0 <= key < len(container)
    if is_index or (isinstance(container, dict) and isinstance(key, str) and key in container):
        return container[key]
    raise malformed()


def _type(code: Any, dialect: int) -> str:
    """Return the name of a type, or an empty string for an unknown code, which dialect 1 ignores.

    :raises BusinessError: 400, in dialect 2, if the code is unknown.
    """
    if dialect == 1 and type(code) is int and 0 <= code < len(TYPES):
        return TYPES[code]
    if dialect != 1 and isinstance(code, str) and code in TYPES:
        return code
    if dialect == 1:
        return ""
    raise malformed()


def _convert(kind: str, value: Any, dialect: int) -> Any:
    if kind == "date":
        return _to_date(value, dialect)
    if kind == "bigint":
        if dialect == 1 and not (isinstance(value, str) and _DIGITS.fullmatch(value)):
            raise malformed()
        try:
            return int(value)
        except (TypeError, ValueError):
            raise malformed() from None
    return {"nan": math.nan, "undefined": None}.get(kind, value)


def _to_date(value: Any, dialect: int) -> Any:
    """Return the time of a date in an input, or `INVALID_DATE`. Only dialect 2 accepts milliseconds since 1970.

    :raises BusinessError: 400, in dialect 1, if the value is neither a string nor null.
    """
    if dialect == 1 and not isinstance(value, str | None):
        raise malformed()
    if type(value) in {int, float}:
        return _from_milliseconds(value)
    if isinstance(value, str) and not _DATE.match(value):
        return INVALID_DATE
    return parse_date(value)


def _from_milliseconds(value: float) -> Any:
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return INVALID_DATE


def parse_date(value: Any) -> Any:
    """Return the time of an ISO 8601 string, or `INVALID_DATE`.

    The time is in UTC if the string does not have an offset.
    """
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return INVALID_DATE


def respond(value: Any, dialect: int, status: int = 200) -> Response:
    """Return the response with a value, or without one if it is `VOID`."""
    if value is VOID:
        # Dialect 2 sends an empty body without a content type.
        return JSONResponse({}, status_code=status) if dialect == 1 else Response(status_code=status)
    content, meta = encode(value, dialect)
    return JSONResponse({"json": content, "meta": meta} if meta else {"json": content}, status_code=status)


def encode(value: Any, dialect: int) -> tuple[Any, list[list[Any]]]:
    """Return a value as JSON, and the entries of `meta` for everything that JSON cannot represent."""
    meta: list[list[Any]] = []

    def to_json(item: Any, path: tuple[Any, ...]) -> Any:
        content, kind = _to_plain(item)
        if kind:
            meta.append([TYPES.index(kind) if dialect == 1 else kind, *path])
        if isinstance(content, dict):
            return {key: to_json(inner, (*path, key)) for key, inner in content.items()}
        if isinstance(content, list):
            return [to_json(inner, (*path, index)) for index, inner in enumerate(content)]
        return content

    return to_json(value, ()), meta


def _to_plain(value: Any) -> tuple[Any, str]:
    """Return a value as JSON and the type that `meta` names for it, or an empty string."""
    match value:
        case datetime():
            return format_date(value), "date"
        case BigInt():
            return str(int(value)), "bigint"
        case int() if abs(value) > _MAX_SAFE_INTEGER:
            return str(value), "bigint"
        case float() if math.isnan(value):
            return None, "nan"
        case _:
            return value, ""


def format_date(value: datetime) -> str:
    """Return a time as an ISO 8601 string in UTC, rounded down to milliseconds."""
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
