"""In which encoding a text file is written, and where it stops being in that encoding."""

from __future__ import annotations

import codecs
import re
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 256 * 1024  # bytes

# Of files that are not in Unicode, by decreasing frequency; cp850 is what programs of DOS wrote. Encodings that differ
# from these in few characters cannot be told apart: `encoding` has to name them.
_LEGACY = ("cp1252", "cp850", "mac_roman")
_SAMPLE = 256 * 1024  # bytes of lines that are not ASCII, enough to compare encodings
_NOT_ASCII = re.compile(rb"[^\n]{0,200}[\x80-\xff][^\n]{0,200}")
_NAMES = {
    "cp1252": "windows-1252",
    "cp850": "cp850 (DOS)",
    "mac_roman": "macintosh",
    "utf-8-sig": "UTF-8 with a byte order mark",
}


def display(encoding: str) -> str:
    """Return an encoding's name for logs and exceptions."""
    return _NAMES.get(encoding, encoding.upper() if encoding.startswith("utf") else encoding)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Read the rest of a file."""
    while chunk := file.read(CHUNK):
        yield chunk


def detect(file: IO[bytes]) -> str:
    """Return the most probable encoding of a file that is not in UTF-8 and has no byte order mark."""
    sample, size, zeros = bytearray(), 0, [0, 0]
    for chunk in chunks(file):
        if size < _SAMPLE:
            zeros[size % 2] += chunk[::2].count(0)
            zeros[1 - size % 2] += chunk[1::2].count(0)
        size += len(chunk)
        if len(sample) < _SAMPLE:
            sample += b"\n".join(_NOT_ASCII.findall(chunk))[:_SAMPLE]
    # In UTF-16, one byte of each character of European languages is zero, always at the same place.
    if sum(zeros) > min(size, _SAMPLE) // 4:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    return _most_probable(bytes(sample))


def _most_probable(sample: bytes) -> str:
    from charset_normalizer import from_bytes  # noqa: PLC0415 - only for files that are not in Unicode

    matches = list(from_bytes(sample, cp_isolation=list(_LEGACY)))
    least = min((match.chaos for match in matches), default=0.0)
    best = {name for match in matches if match.chaos == least for name in match.could_be_from_charset}
    return next((name for name in _LEGACY if name in best), _LEGACY[0])


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
            return _advance(line, column, decoder.decode(chunk[: max(error.start - len(before[0]), 0)]))
        except UnicodeError:  # of UTF-16 without a byte order mark
            break
    return line, column


def _advance(line: int, column: int, text: str) -> tuple[int, int]:
    """Return the place after a text. Lines end with LF or CRLF."""
    newlines = text.count("\n")
    after_last = len(text) - text.rfind("\n") - 1
    return (line + newlines, after_last + 1) if newlines else (line, column + len(text))
