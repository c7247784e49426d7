"""Checks that a JSON file is complete, in constant memory.

A file of up to `PARSED` bytes is parsed. Of a larger one, only strings and brackets are followed, at the speed of a
disk: this finds a file that is cut off.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.tables.file_checks import encodings
from airflow_provider_polyteia.tables.file_checks.errors import CONVERT, Reject
from airflow_provider_polyteia.tables.file_checks.signatures import JSON, recognize
from airflow_provider_polyteia.tables.file_checks.text import check_encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_polyteia.tables.file_checks.text import Open

PARSED = 1024 * 1024  # bytes
_BRACKETS = b"[]{}"
_NOT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_CLOSED_BY = {ord("["): ord("]"), ord("{"): ord("}")}
_INCOMPLETE = "Run the task after the file is complete."


def check_json(
    open_file: Open, head: bytes, size: int, observe: Callable[[bytes], None] = lambda _: None
) -> Iterator[str]:
    """Check a JSON file, and yield what is suspicious about it.

    :param head: the first bytes.
    :param size: of the file, in bytes.
    :param observe: called with the parts of the file that are outside of its strings.
    :raises Reject: if it is not one complete JSON document, or several, one per line.
    """
    signature = recognize(head)
    if signature.encoding == "utf-8-sig":
        raise Reject(
            "JSON with a byte order mark, which the standard forbids",
            CONVERT,
        )
    if signature.found not in ("", JSON):
        raise Reject(signature.found)
    check_encoding(open_file, head, "", "JSON")
    if not head.lstrip()[:1] or head.lstrip()[0] not in b'{["-0123456789tfn':
        raise Reject("not JSON")
    structure = Structure(observe)
    with open_file() as file:
        for chunk in encodings.chunks(file):
            structure.feed(chunk)
    structure.end()
    if size > PARSED:
        return
    with open_file() as file:
        yield from _parsed(file.read().decode())


def _parsed(text: str) -> Iterator[str]:
    constants: list[str] = []
    try:
        document = _load(text, constants.append)
    except RecursionError:
        raise Reject("JSON that is nested too deeply") from None
    except json.JSONDecodeError as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if not all(map(_is_json, lines)):
            raise Reject(f"not valid JSON (line {error.lineno}, character {error.colno}: {error.msg})") from None
        yield f"it holds {len(lines):,} JSON documents, one per line, not one document"
        return
    if constants:
        yield f"it contains {constants[0]}, which is not JSON"
    if isinstance(document, dict) and not any(isinstance(value, list) for value in document.values()):
        yield "it is a single JSON object, not a list of records. Check that it is not an error message"
    elif not isinstance(document, dict | list):
        yield "it is a single JSON value, not a list of records"


def _load(text: str, note_constant: Callable[[str], None] = lambda _: None) -> Any:
    """Parse JSON without converting numbers, which may have any number of digits.

    :param note_constant: called with each NaN or Infinity.
    """
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=note_constant)


def _is_json(line: str) -> bool:
    try:
        _load(line)
    except json.JSONDecodeError:
        return False
    return True


class Structure:
    """Follows strings and brackets through the parts of a JSON file.

    :param observe: called with what is outside of the strings. Default: nothing is.
    """

    def __init__(self, observe: Callable[[bytes], None] = lambda _: None) -> None:
        self._observe = observe
        self._in_string = False
        self._rest = b""  # a backslash whose next character is in the next part
        self._open = bytearray()  # the brackets that are not closed yet, in order

    def feed(self, chunk: bytes) -> None:
        """Take the next part.

        :raises Reject: if a closing bracket does not match.
        """
        chunk = self._rest + chunk
        escapes = len(chunk) - len(chunk.rstrip(b"\\"))
        self._rest = b"\\" if escapes % 2 else b""
        chunk = chunk[: len(chunk) - escapes]  # pairs at the end have no effect
        parts = chunk.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[self._in_string :: 2])
        self._in_string ^= len(parts) % 2 == 0
        self._observe(outside)
        brackets = outside.translate(None, _NOT_BRACKETS)
        for _ in range(2):  # most of them are closed immediately
            brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
        for bracket in brackets:
            self._take(bracket)

    def end(self) -> None:
        """Check that everything is closed.

        :raises Reject: if it is not.
        """
        if self._in_string or self._open:
            raise Reject("JSON that ends in the middle of a value", _INCOMPLETE)

    def _take(self, bracket: int) -> None:
        if bracket in _CLOSED_BY:
            self._open.append(bracket)
        elif not self._open or _CLOSED_BY[self._open.pop()] != bracket:
            raise Reject("JSON with brackets that do not match")
