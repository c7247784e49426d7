"""Encodes and decodes the envelope of the RPC API: ``{"json": value, "meta": [...]}``. Performs no I/O.

``meta`` names the type of each value that JSON has no type for, and where it stands (docs/platform-api.md#rpc-meta)::

    {"json": {"dataAsOf": "2026-01-31T00:00:00.000Z"}, "meta": [[1, "dataAsOf"]]}

There are two dialects of it: types are numbers in one, words in the other. Responses are read in either; a request must
be written in the one that the platform speaks, which the exchange of the key shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

from airflow_provider_polyteia.client.json_values import MAX_BITS, MAX_DEPTH, NotJSONError, check_json
from airflow_provider_polyteia.client.records import parse_timestamp

MAX_SAFE_INTEGER = 2**53 - 1
MAX_DIGITS = 400
_TYPES = ("bigint", "date", "nan", "undefined", "url", "regexp", "set", "map")  # by their number

Path = tuple[str | int, ...]


class Dialect(Enum):
    """How ``meta`` writes a type."""

    NUMBERS = "numbers"
    WORDS = "words"

    def code(self, kind: str) -> int | str:
        """Return how a type is written."""
        return _TYPES.index(kind) if self is Dialect.NUMBERS else kind


@dataclass(frozen=True, slots=True)
class Input:
    """The input of a procedure: plain JSON, and the values in it that ``meta`` must name."""

    json: Mapping[str, Any] = field(repr=False)
    types: tuple[tuple[str, Path], ...] = ()

    def envelope(self, dialect: Dialect) -> dict[str, Any]:
        """Return the body of a request."""
        if not self.types:
            return {"json": self.json}
        return {"json": self.json, "meta": [[dialect.code(kind), *path] for kind, path in self.types]}


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a procedure.

    :param dates: paths of the dates in it.
    :param dialect: the dialect of the response's ``meta``; None if it contains nothing that shows it.
    """

    value: Any = field(repr=False)
    dates: tuple[Path, ...] = ()
    dialect: Dialect | None = None


def encode_input(given: Mapping[str, Any], date_fields: Sequence[str] = ()) -> Input:
    """Return the input of a procedure.

    Dates and datetimes (UTC if naive) are sent as dates, and so are timestamps in `date_fields`; integers beyond 53
    bits are sent as text of the type bigint, because JavaScript would round them.

    :raises NotJSONError: if a value cannot be sent; the text names its path.
    """
    types: list[tuple[str, Path]] = []
    values = {
        name: _to_date(value, name) if name in date_fields and value is not None else value
        for name, value in given.items()
    }
    encoded = check_json(_replace_special(values, (), types), "parameters")
    return Input(encoded, tuple(types))


def _to_date(value: Any, name: str) -> datetime:
    timestamp = value if isinstance(value, datetime) else parse_timestamp(str(value))
    if timestamp is None:
        raise NotJSONError(f"parameters[{name!r}] is {value!r}, which is not an ISO 8601 timestamp")
    return timestamp


def _replace_special(value: Any, path: Path, types: list[tuple[str, Path]]) -> Any:
    """Return a value with its dates and large integers as text, and record where they are."""
    if isinstance(value, date):
        types.append(("date", path))
        try:
            return format_date(value)
        except OverflowError:
            raise NotJSONError(f"{value.isoformat()} lies outside of the years 1 to 9999 in UTC") from None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_SAFE_INTEGER:
        if value.bit_length() > MAX_BITS:
            return value  # `check_json` rejects it, and names its path
        types.append(("bigint", path))
        return str(value)
    if len(path) > MAX_DEPTH + 1:
        # Not left to `check_json`: a list that contains itself twice would be copied 2**100 times before.
        raise NotJSONError("parameters are nested too deeply or are recursive")
    if isinstance(value, Mapping):
        return {key: _replace_special(item, (*path, key), types) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [_replace_special(item, (*path, index), types) for index, item in enumerate(value)]
    return value


def format_date(value: date) -> str:
    """Return a date or datetime as the platform takes it: UTC, with milliseconds (docs/platform-api.md#rpc-dates)."""
    timestamp = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
    in_utc = (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).astimezone(UTC)
    return in_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decode_output(body: Mapping[str, Any]) -> Output:
    """Return the output in a response's body, with the types applied that ``meta`` names.

    An entry of an unknown type, or with a path that does not exist, is ignored.
    """
    root: list[Any] = [body.get("json")]
    dates: list[Path] = []
    dialect: Dialect | None = None
    entries = body.get("meta")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, list) or not entry:
            continue
        code, path = entry[0], tuple(entry[1:])
        kind = _kind(code)
        if kind is None:
            continue
        dialect = Dialect.WORDS if isinstance(code, str) else Dialect.NUMBERS
        if kind == "date":
            dates.append(path)
        _apply(root, (0, *path), _CONVERSIONS[kind])
    return Output(root[0], tuple(dates), dialect)


def _kind(code: Any) -> str | None:
    if isinstance(code, bool):
        return None
    if isinstance(code, int):
        return _TYPES[code] if 0 <= code < len(_TYPES) else None
    return code if isinstance(code, str) and code in _TYPES else None


def _apply(container: Any, path: Path, convert: Callable[[Any], Any]) -> None:
    """Convert the value at a path, if there is one."""
    *parents, last = path
    for segment in parents:
        if not _has(container, segment):
            return
        container = container[segment]
    if _has(container, last):
        container[last] = convert(container[last])


def _has(container: Any, segment: Any) -> bool:
    if isinstance(container, dict):
        return isinstance(segment, str) and segment in container
    is_index = isinstance(segment, int) and not isinstance(segment, bool)
    return isinstance(container, list) and is_index and 0 <= segment < len(container)


def _to_integer(value: Any) -> Any:
    is_integer = isinstance(value, str) and len(value) <= MAX_DIGITS and re.fullmatch(r"-?[0-9]+", value)
    return int(value) if is_integer else value


def _to_mapping(value: Any) -> Any:
    """Return the pairs of a map as a dict, if all keys are text."""
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):  # noqa: PLR2004 - key and value
        return value
    return dict(value) if all(isinstance(key, str) for key, _ in value) else value


def _unchanged(value: Any) -> Any:
    return value


def _to_none(_: Any) -> None:
    return None


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "bigint": _to_integer,
    "date": _unchanged,
    "nan": _to_none,
    "undefined": _to_none,
    "url": _unchanged,
    "regexp": _unchanged,
    "set": _unchanged,
    "map": _to_mapping,
}
