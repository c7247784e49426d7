"""Checks of text files that are sent as they are: encoding, and what looks wrong in a CSV file."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from functools import partial
from typing import IO, TYPE_CHECKING

from airflow_provider_polyteia.tables.file_checks import encodings
from airflow_provider_polyteia.tables.file_checks.csv_sample import (
    DELIMITERS,
    find_beginning,
    find_delimiter,
    numbered_rows,
)
from airflow_provider_polyteia.tables.file_checks.errors import CONVERT, Reject
from airflow_provider_polyteia.tables.file_checks.signatures import GZIP, JSON, ZIP, recognize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    Open = Callable[[], AbstractContextManager[IO[bytes]]]

SAMPLE = 64 * 1024  # bytes in which a CSV file is looked at more closely
_ADVICE = {
    JSON: "Set the argument 'content_type' to its format.",
    GZIP: "Set the argument 'convert' to True to unpack and convert it.",
    ZIP: "If it contains one file, set the argument 'convert' to True to unpack and convert it.",
}


def check_csv(open_file: Open, head: bytes, charset: str) -> Iterator[str]:
    """Check a CSV file, and yield what is suspicious about it.

    :param head: the first bytes.
    :param charset: the encoding that its content type names; empty without one.
    :raises Reject: if it is not text in UTF-8 or that encoding, or is something else.
    """
    found = recognize(head).found
    if found:
        raise Reject(found, _ADVICE.get(found, ""))
    tail = check_encoding(open_file, head, charset, "CSV")
    with open_file() as file:
        sample = file.read(SAMPLE)
    lines, delimiter = _beginning(sample, charset)
    if ends_in_a_row(sample, tail, charset):
        raise Reject("CSV that ends in the middle of a row", "Run the task after the file is complete.")
    yield from _suspicions(lines, delimiter)


def _beginning(sample: bytes, charset: str) -> tuple[list[str], str]:
    """Return the first lines, and the delimiter.

    :param sample: the first bytes, up to `SAMPLE`.
    """
    lines = _lines(sample, charset)
    if len(sample) == SAMPLE:
        lines.pop()
    return lines, find_delimiter(partial(_rows, lines[:50]))


def check_encoding(open_file: Open, head: bytes, charset: str, what: str) -> bytes:
    """Check that a text file is not blank, and is in UTF-8 or the encoding that was named; return its last bytes.

    :param what: what the file is, such as "CSV".
    :raises Reject: if it is not.
    """
    marked = recognize(head).encoding
    if marked.startswith(("utf-16", "utf-32")) and not charset:
        raise Reject(f"{what} in {encodings.display(marked)}", CONVERT)
    decoder = codecs.getincrementaldecoder(charset or "utf-8")()
    is_blank, before, last = True, b"", b""
    with open_file() as file:
        for chunk in encodings.chunks(file):
            try:
                text = decoder.decode(chunk)
            except UnicodeError:
                raise _wrong_encoding(open_file, charset, what) from None
            if "\0" in text:
                raise _with_zeros(open_file, what)
            is_blank = is_blank and not text.strip("\ufeff \t\r\n")
            before, last = last, chunk
    if decoder.getstate()[0]:
        raise Reject(f"{what} that ends in the middle of a character", "Run the task after the file is complete.")
    if is_blank:
        raise Reject("blank")
    return (before + last)[-SAMPLE:]


def _wrong_encoding(open_file: Open, charset: str, what: str) -> Reject:
    with open_file() as file:
        line, column = encodings.find_undecodable(file, charset or "utf-8")
    where = f" (line {line}, character {column})"
    if charset:
        return Reject(f"not in the encoding {charset}{where}", "Correct the charset in the argument 'content_type'.")
    with open_file() as file:
        encoding = encodings.detect(file, may_be_damaged=True)
    if encoding == "utf-8":
        return Reject(f"{what} in UTF-8 with bytes that are not UTF-8{where}")
    return Reject(f"{what} in {encodings.display(encoding)}, not in UTF-8{where}", CONVERT)


def _with_zeros(open_file: Open, what: str) -> Reject:
    with open_file() as file:
        encoding = encodings.detect(file)
    if encoding.startswith("utf-16"):
        return Reject(f"{what} in {encodings.display(encoding)}", CONVERT)
    return Reject("binary data", "")


def _lines(part: bytes, charset: str) -> list[str]:
    return list(io.StringIO(part.decode(charset or "utf-8-sig", "ignore"), newline=""))


def ends_in_a_row(sample: bytes, tail: bytes, charset: str = "") -> bool:
    """Return True if the last row of a CSV file has no line end and fewer columns than all others.

    :param sample: the first bytes, up to `SAMPLE`.
    :param tail: the last bytes, up to `SAMPLE`.
    :param charset: the encoding. Default: UTF-8.
    """
    ending = _lines(tail, charset)
    if len(tail) == SAMPLE:
        del ending[0]
    if not ending or ending[-1].endswith(("\n", "\r")):
        return False
    _, delimiter = _beginning(sample, charset)
    *others, last = [len(row) for _, row in _rows(ending, delimiter)] or [0]
    return len(set(others)) == 1 and last < others[0]


def ends_in_a_character(tail: bytes) -> bool:
    """Return True if a text in UTF-8 ends in the middle of a character.

    :param tail: the last bytes.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(tail)
    return bool(decoder.getstate()[0])


def _suspicions(lines: Sequence[str], delimiter: str) -> Iterator[str]:
    if delimiter != ",":
        yield (
            f"its columns seem to be separated by {DELIMITERS[delimiter]}, not commas, so the platform may "
            "read them as one. Set the argument 'convert' to True to upload a table with types"
        )
    rows = _rows(lines, delimiter)
    if not rows:
        return
    if len(rows) == 1:
        yield "it has only one line"
        return
    width, _ = Counter(len(row) for _, row in rows).most_common(1)[0]
    begins = find_beginning(rows)
    if begins is not None:
        yield f"its table seems to begin in line {begins}; 'convert' has the option 'skip' for the lines before it"
        return
    ragged = next((number for number, row in rows if len(row) != width), None)
    if ragged is not None:
        yield f"line {ragged} does not have {width} columns like most others"
    repeated = next((number for number, row in rows[1:] if row == rows[0][1]), None)
    if repeated is not None and len(set(rows[0][1])) > 1:
        yield f"line {repeated} repeats the header"


def _rows(lines: Sequence[str], delimiter: str) -> list[tuple[int, list[str]]]:
    return numbered_rows(csv.reader(lines, delimiter=delimiter))
