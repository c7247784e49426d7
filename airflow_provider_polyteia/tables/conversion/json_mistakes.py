"""Finds what is wrong with JSON that DuckDB rejects, whose exceptions may contain values.

The records are read one after another, in constant memory.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, NoReturn

from airflow_provider_polyteia.tables.conversion.json_lists import list_items
from airflow_provider_polyteia.tables.file_checks.errors import Reject

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES, LIST = "newline_delimited", "array"
MAX_RECORD = 64 * 1024 * 1024  # bytes
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_KINDS = {str: "a string", bool: "a boolean", type(None): "null", list: "a list"}


class _Object(list[tuple[str, Any]]):
    """The keys and values of an object, also those that are repeated."""


class _Mistakes:
    """Checks records.

    :param within: the key of the object that contains the columns. Default: the record itself.
    """

    def __init__(self, within: str = "") -> None:
        self._within = within
        self._keys: dict[tuple[str, bytes], str] = {}  # path and key in lower case -> key
        self.has_keys = False

    def check(self, record: bytes) -> str:
        """Return what is wrong with a record, as the end of the sentence "record 1 ...", or an empty text."""
        try:
            parsed = json.loads(
                record.decode(),
                object_pairs_hook=_Object,
                parse_int=_Number,
                parse_float=_Number,
                parse_constant=_refuse,
            )
            return self._check(parsed) or _surrogate(record, parsed)
        except _NotJsonError as error:
            return f"contains {error}, which is not valid JSON"
        except RecursionError:
            return "is nested too deeply"
        except json.JSONDecodeError as error:
            return f"is not valid JSON (character {error.pos + 1}: {error.msg})"
        except UnicodeDecodeError:
            return "is not valid JSON"

    def _check(self, record: Any) -> str:
        if not isinstance(record, _Object):
            return f"is not an object, but {_kind(record)}"
        self.has_keys |= bool(record)
        for name, columns in self._columns(record):
            if columns is not None and not isinstance(columns, _Object):
                return f"has {name!r} that are not an object, but {_kind(columns)}"
            keys = [key for key, _ in columns or ()]
            if "" in keys:
                return "has an empty key" + (f" in its {name!r}" if name else "")
            if len(set(keys)) < len(keys):
                return f"has the key {Counter(keys).most_common(1)[0][0]!r} twice"
        return self._similar_keys(record, "")

    def _columns(self, record: _Object) -> Iterator[tuple[str, Any]]:
        yield "", record
        for key, value in record:
            if self._within and key == self._within:
                yield key, value

    def _similar_keys(self, value: Any, path: str) -> str:
        items = value if isinstance(value, _Object) else [("", item) for item in value]
        for key, inner in items:
            if isinstance(value, _Object) and (path or not self._within):
                lower = key.encode("utf-8", "surrogatepass").lower()  # like DuckDB, only A to Z
                first = self._keys.setdefault((path, lower), key)
                if first != key:
                    return f"has keys that differ in upper and lower case only: {path + first!r} and {path + key!r}"
            similar = self._similar_keys(inner, f"{path}{key}.") if isinstance(inner, list) else ""
            if similar:
                return similar
        return ""


class _NotJsonError(Exception):
    """A word that JSON does not have."""


class _Number(str):
    """A number, which may have any number of digits."""

    __slots__ = ()


def _refuse(constant: str) -> NoReturn:
    raise _NotJsonError(constant)


def _kind(value: Any) -> str:
    return "an object" if isinstance(value, _Object) else _KINDS.get(type(value), "a number")


def _surrogate(record: bytes, parsed: Any) -> str:
    if _SURROGATE.search(record):
        try:
            json.dumps(parsed, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "contains half of a surrogate pair (an escape such as \\ud800), which is not valid text"
    return ""


def find_mistake(file: IO[bytes], form: str, within: str = "") -> Reject | None:
    """Return the exception for the first mistake in a file of records, or None if none is found.

    :param form: how the records are separated.
    :param within: the key of the object that contains the columns. Default: the record itself.
    """
    mistakes = _Mistakes(within)
    end = 0
    for number, (start, end) in enumerate(_lines(file) if form == LINES else list_items(file), 1):
        if end - start > MAX_RECORD:
            return Reject(f"JSON whose record {number:,} is larger than {MAX_RECORD // 1024**2} MiB")
        position = file.tell()
        file.seek(start)
        wrong = mistakes.check(file.read(end - start))
        file.seek(position)
        if wrong:
            return Reject(f"JSON whose record {number:,} {wrong}")
    file.seek(end)
    if form == LIST and not re.fullmatch(rb"\s*\]\s*", file.read(MAX_RECORD)):
        return Reject("not valid JSON after the list of its records")
    return None if mistakes.has_keys else Reject("JSON whose records have no keys")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Return where each line begins and ends that is not blank."""
    end = 0
    while line := file.readline(MAX_RECORD + 1):
        start, end = end, end + len(line)
        if line.strip():
            yield start, end
