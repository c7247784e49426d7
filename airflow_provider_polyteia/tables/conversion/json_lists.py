"""Finds the lists in a JSON document, in constant memory, by following strings and brackets."""

from __future__ import annotations

import json
import re
from typing import IO, TYPE_CHECKING, NamedTuple

from airflow_provider_polyteia.tables.file_checks.encodings import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

_STRING = rb'"(?:[^"\\]|\\.)*+("?)'
_TOKEN = re.compile(_STRING + rb"|[\[\]{}:]", re.DOTALL)
_ITEM_TOKEN = re.compile(_STRING + rb"|[\[\]{},]", re.DOTALL)


class JsonList(NamedTuple):
    """A list that is not within another one.

    :ivar path: the keys that lead to it, joined by points; empty if it is the document.
    :ivar start: position of its first byte.
    :ivar end: position after its last byte.
    :ivar is_empty: whether it contains no object and no list.
    """

    path: str
    start: int
    end: int
    is_empty: bool


def find_lists(file: IO[bytes]) -> Iterator[JsonList]:
    """Return the lists of a valid document in UTF-8, in their order.

    :param file: at the beginning of the document.
    """
    keys: list[str] = []  # of the objects around the present place
    text, key = b"", ""
    depth, start = 0, 0  # of lists around the present place, and where the first of them begins
    is_empty = True
    for token, position in _tokens(file, _TOKEN):
        if token == b"[":
            start, is_empty = (start, False) if depth else (position, True)
            depth += 1
        elif token == b"]":
            depth -= 1
            if not depth:
                yield JsonList(".".join([*keys, key][1:]), start, position + 1, is_empty)
        elif depth:
            is_empty = is_empty and token != b"{"
        elif token == b"{":
            keys.append(key)
        elif token == b"}":
            key = keys.pop()
        elif token == b":":
            key = json.loads(text)
        else:
            text = token


def list_items(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Return where each item of a list begins and ends, whether or not it is valid.

    :param file: at the beginning of the list.
    """
    depth = start = 0
    for token, position in _tokens(file, _ITEM_TOKEN):
        is_end = depth == 1 and token in (b",", b"]")
        if is_end:
            yield start, position
        if token in (b"[", b"{"):
            depth += 1
        elif token in (b"]", b"}"):
            depth -= 1
            if not depth:
                return
        if is_end or (depth == 1 and token == b"[" and not start):
            start = position + 1


def _tokens(file: IO[bytes], pattern: re.Pattern[bytes]) -> Iterator[tuple[bytes, int]]:
    """Return strings, and other tokens that a pattern matches, with their positions."""
    part, offset = b"", 0
    while chunk := file.read(CHUNK):
        part += chunk
        end = len(part)
        for match in pattern.finditer(part):
            if match[1] == b"":
                end = match.start()  # of a string that ends in the next chunk
                break
            yield match[0], offset + match.start()
        offset += end
        part = part[end:]
