"""Whether a file that arrives part by part is complete, as far as its format shows that. Performs no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_polyteia.client.formats import BY_EXTENSION, JSON, PARQUET, PARQUET_MAGIC, charset, media_type
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.json_text import Structure
from airflow_provider_polyteia.tables.file_checks.text import SAMPLE, ends_in_a_character, ends_in_a_row

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.file_sink import EndCheck

_END_RECORD = b"PK\x05\x06"
_END_RECORD_SIZE = 22  # bytes, without the comment
_MAX_COMMENT = 65_535  # bytes


def new_end_check(content_type: str) -> EndCheck:
    """Return the check of a file of a format, which follows its content."""
    kind = media_type(content_type)
    if kind == BY_EXTENSION[".csv"] and not charset(content_type):
        return _CsvEnd()
    return _CHECKS.get(kind, _UnknownEnd)()


class _UnknownEnd:
    """A format that does not show where a file ends."""

    shows_end = False

    def feed(self, chunk: bytes) -> None:
        """Ignore the content."""

    def problem(self, *, is_delimited: bool) -> str:
        """Return that its end is unknown, unless the response showed it."""
        return "" if is_delimited else "a file that does not show where it ends"


class _ParquetEnd:
    """A Parquet file: its footer stands at its end."""

    shows_end = True

    def __init__(self) -> None:
        self._head = self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the file."""
        size = len(PARQUET_MAGIC)
        self._head = (self._head + chunk[:size])[:size]
        self._tail = (self._tail + chunk[-size:])[-size:]

    def problem(self, *, is_delimited: bool) -> str:  # noqa: ARG002 - the footer decides in any case
        """Return what the file is instead of a complete one; empty if it is complete."""
        return "" if self._head == self._tail == PARQUET_MAGIC else "an incomplete Parquet file"


class _WorkbookEnd:
    """An Excel workbook: a ZIP archive, whose last record shows its own length."""

    shows_end = True

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the file."""
        self._tail = (self._tail + chunk)[-(_END_RECORD_SIZE + _MAX_COMMENT) :]

    def problem(self, *, is_delimited: bool) -> str:  # noqa: ARG002 - the last record decides in any case
        """Return what the file is instead of a complete one; empty if it is complete."""
        _, record, rest = self._tail.rpartition(_END_RECORD)
        fields = _END_RECORD_SIZE - len(_END_RECORD)
        comment = int.from_bytes(rest[fields - 2 : fields], "little")
        is_complete = bool(record) and len(rest) == fields + comment
        return "" if is_complete else "an Excel workbook that is incomplete or damaged"


class _JsonEnd:
    """JSON: each string and each bracket is closed. An array is complete when it is closed; of several documents, or a
    number, more may be missing.
    """

    shows_end = True

    def __init__(self) -> None:
        self._structure = Structure()
        self._first = b""
        self._problem = ""

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the file."""
        self._first = self._first or chunk.lstrip()[:1]
        if not self._problem:
            try:
                self._structure.feed(chunk)
            except Reject as rejected:
                self._problem = rejected.found

    def problem(self, *, is_delimited: bool) -> str:
        """Return what the file is instead of a complete one; empty if it is complete."""
        if not self._first:
            return "a blank file"
        if not self._problem:
            try:
                self._structure.end()
            except Reject as rejected:
                self._problem = rejected.found
        is_proven = is_delimited or self._first == b"["
        return self._problem or ("" if is_proven else "JSON that is not an array, so that more of it may be missing")


class _CsvEnd:
    """CSV in UTF-8: it may end after any row, but not within one."""

    shows_end = False

    def __init__(self) -> None:
        self._head = self._tail = b""
        self._quotes = 0
        self._is_blank = True

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the file."""
        if len(self._head) < SAMPLE:
            self._head = (self._head + chunk)[:SAMPLE]
        self._tail = (self._tail + chunk[-SAMPLE:])[-SAMPLE:]
        self._quotes += chunk.count(b'"')
        self._is_blank = self._is_blank and not chunk.strip()

    def problem(self, *, is_delimited: bool) -> str:
        """Return what the file is instead of a complete one; empty if it is complete."""
        if self._is_blank:
            return "a blank file"
        if ends_in_a_character(self._tail):
            return "CSV that ends in the middle of a character"
        is_within_quotes = self._quotes % 2 and not self._tail.endswith((b"\n", b"\r"))
        if is_within_quotes or ends_in_a_row(self._head, self._tail):
            return "CSV that ends in the middle of a row"
        return "" if is_delimited else "CSV, which does not show where it ends"


_CHECKS: dict[str, type[EndCheck]] = {
    PARQUET: _ParquetEnd,
    JSON: _JsonEnd,
    BY_EXTENSION[".xlsx"]: _WorkbookEnd,
}
