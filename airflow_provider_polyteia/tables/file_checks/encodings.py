"""In which encoding a text file is written, and where it stops being in that encoding."""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from airflow_provider_polyteia.tables.file_checks.plausibility import plausibility

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 256 * 1024  # bytes

# Of files that are not in Unicode, by decreasing frequency; cp850 is what programs of DOS wrote. Encodings that differ
# from these in few characters cannot be distinguished: `encoding` has to name them.
_USUAL, *_OTHERS = ("cp1252", "cp850", "mac_roman")
_SAMPLE = 256 * 1024  # bytes that are not ASCII, with their neighbors; enough to compare encodings
_NOT_ASCII = re.compile(rb"[\x80-\xff]+(?:[\x00-\x7f][\x80-\xff]+)*")
_LAST = re.compile(rb"[\x00-\x7f][\x80-\xff]{0,7}\Z")  # may go on in the next chunk
_NAMES = {
    "cp1252": "windows-1252",
    "cp850": "cp850 (DOS)",
    "mac_roman": "macintosh",
    "utf-8-sig": "UTF-8 with a byte order mark",
}

_TOLERATED = 0.1  # share of unusual and implausible characters below which the usual encoding is not doubted
_DAMAGED = 0.5  # share of them, and of bytes that are not UTF-8, up to which a text is in UTF-8


def display(encoding: str) -> str:
    """Return an encoding's name for logs and exceptions."""
    return _NAMES.get(encoding, encoding.upper() if encoding.startswith("utf") else encoding)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Read the rest of a file."""
    while chunk := file.read(CHUNK):
        yield chunk


def detect(file: IO[bytes], *, may_be_damaged: bool = False) -> str:
    """Return the most probable encoding of a file that is not in UTF-8 and has no byte order mark.

    :param may_be_damaged: Whether to return UTF-8 for a file in which only a few bytes are not UTF-8.
    """
    sample, size, zeros, rest = bytearray(), 0, [0, 0], b""
    for chunk in chunks(file):
        if size < _SAMPLE:
            zeros[size % 2] += chunk[::2].count(0)
            zeros[1 - size % 2] += chunk[1::2].count(0)
        size += len(chunk)
        if len(sample) < _SAMPLE:
            part = rest + chunk
            rest = last[0] if (last := _LAST.search(part[-8:])) else b""
            sample += _not_ascii(part.removesuffix(rest))
    # In UTF-16, one byte of each character of European languages is zero, always at the same place.
    if sum(zeros) > min(size, _SAMPLE) // 4:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    sample += _not_ascii(rest)
    if may_be_damaged and _is_damaged_utf8(bytes(sample)):
        return "utf-8"
    return _most_probable(bytes(sample))


def _not_ascii(part: bytes) -> bytes:
    """Return what is not ASCII, each with the characters beside it."""
    return b"".join(part[max(found.start() - 1, 0) : found.end() + 1] + b"\n" for found in _NOT_ASCII.finditer(part))


def _is_damaged_utf8(sample: bytes) -> bool:
    """Return whether a text that is not in UTF-8 is more likely damaged UTF-8 than in the usual encoding.

    There, its characters look like `Ã¼`; and a text in that encoding hardly has any that are valid in UTF-8.
    """
    damaged = plausibility(sample, "utf-8")
    return damaged.doubtful <= _DAMAGED or damaged.score > plausibility(sample, _USUAL).score


def _most_probable(sample: bytes) -> str:
    """Return the usual encoding, unless it is implausible and another one makes words of the text."""
    usual = plausibility(sample, _USUAL)
    if usual.doubtful < _TOLERATED:
        return _USUAL
    scores = {name: plausibility(sample, name).score for name in _OTHERS}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] > max(usual.score, 0) else _USUAL


def find_undecodable(file: IO[bytes], encoding: str) -> tuple[int, int]:
    """Return the line and the character, both from 1, where a file stops being in an encoding; its end if nowhere."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, column = 1, 1
    for chunk in chunks(file):
        before = decoder.getstate()
        try:
            line, column = _advance(line, column, decoder.decode(chunk))
        except UnicodeDecodeError as error:
            decoder.setstate(before)
            with suppress(UnicodeError):  # of UTF-16 without a byte order mark
                return _advance(line, column, decoder.decode(chunk[: max(error.start - len(before[0]), 0)]))
            break
        except UnicodeError:  # likewise
            break
    return line, column


def _advance(line: int, column: int, text: str) -> tuple[int, int]:
    """Return the place after a text. Lines end with LF or CRLF."""
    newlines = text.count("\n")
    after_last = len(text) - text.rfind("\n") - 1
    return (line + newlines, after_last + 1) if newlines else (line, column + len(text))
