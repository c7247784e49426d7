"""CSV files.

DuckDB reads them in parallel and strictly. Files with line ends of several kinds, and those that it does not accept,
are read by Python's csv module, which is slower, and says in which line a row is too short or too long.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb

from airflow_provider_polyteia.tables.conversion.dialect import Dialect, find_dialect
from airflow_provider_polyteia.tables.conversion.options import TSV, Options
from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile, copy_range, to_utf8
from airflow_provider_polyteia.tables.conversion.table import TEXT, Table
from airflow_provider_polyteia.tables.conversion.writer import Writer
from airflow_provider_polyteia.tables.file_checks import encodings
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.signatures import recognize
from airflow_provider_polyteia.tables.sql_parts import literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

log = logging.getLogger(__name__)

_END_MARK = b"\x1a"
_MAX_ROW_SIZE = 2 * 1024 * 1024  # bytes; each thread has several buffers of twice the size
_MAX_FIELD_SIZE = 64 * 1024 * 1024  # characters of a value in a file that is read row by row
_TOO_LONG = "A value may contain the separator without quotes. Correct what writes the file."
_TOO_SHORT = "If that is right, set 'null_padding' in the argument 'convert' to True."
_READER_OPTIONS = ("allow_quoted_nulls", "null_padding", "nullstr")


def write_csv(engine: Engine, file: StagedFile, options: Options, previous: Mapping[str, str]) -> StagedTable:
    """Return a CSV file as Parquet.

    :raises Reject: if it is not CSV, cannot be decoded, or a row is too short or too long.
    :raises PolyteiaDataError: if a value does not fit the declared type of its column.
    """
    found = recognize(file.head()).found
    if found:
        raise Reject(found)
    to_utf8(file, options.reader.get("encoding", ""))
    _remove_end_mark(file)
    tabs = "\t" if options.format == TSV else None
    dialect = find_dialect(file, options.reader, options.reader.get("delim", tabs))
    place = partial(_place, file, dialect)

    def write(path: str, plain: Dialect, line_end: str, given: Mapping[str, Any], row_size: int) -> StagedTable:
        table = _table(path, plain, line_end, given, row_size)
        return Writer(engine, table, options, file.name, previous, place).write()

    line_end = _find_line_end(file)
    # What DuckDB skips differs from version to version, so it gets files without comments and lines before the header.
    if line_end and not dialect.comment and not (dialect.skip and line_end == "\r"):
        with StagedFile(file.name, file.path, file.temp_dir) as rest:
            if dialect.skip:
                rest.replace(_without_first_lines(file, dialect.skip))
            try:
                return write(rest.path, replace(dialect, skip=0), line_end, options.reader, _MAX_ROW_SIZE)
            except (duckdb.InterruptException, duckdb.OutOfMemoryException):
                raise
            except duckdb.Error:
                log.info("Reading %r row by row, because it does not follow the rules of CSV", file.name)
    if options.reader.get("allow_quoted_nulls") is False:
        raise Reject(
            "not standard CSV, so it is unknown which of its values are quoted",
            "Remove 'allow_quoted_nulls' from the argument 'convert'.",
        )
    rows = _PlainRows(file, dialect, is_padded=options.reader.get("null_padding", False))
    with StagedFile(file.name, "", file.temp_dir) as plain:
        plain.replace(rows.chunks())
        given = {name: value for name, value in options.reader.items() if name == "nullstr"}  # others are applied
        staged = write(plain.path, rows.dialect, "\n", given, max(_MAX_ROW_SIZE, rows.max_size))
    if staged.rows != rows.count:
        staged.file.close()
        raise Reject(f"a file of {rows.count:,} rows, of which only {staged.rows:,} can be read")
    return staged


def _remove_end_mark(file: StagedFile) -> None:
    """Remove Ctrl+Z, with which programs of DOS end a file."""
    with file.open() as opened:
        end = opened.seek(0, os.SEEK_END)
        opened.seek(max(end - 1, 0))
        if opened.read() == _END_MARK:
            file.replace(copy_range(opened, 0, end - 1))


def _without_first_lines(file: StagedFile, count: int) -> Iterator[bytes]:
    with file.open() as opened:
        for _ in range(count):
            opened.readline()
        yield from encodings.chunks(opened)


def _find_line_end(file: StagedFile) -> str:
    """Return how all lines end, also those within quotes; empty if not all end in the same way.

    DuckDB finds no rows, and says nothing, in some files whose lines end in several ways.
    """
    crlf, lf, cr, last = 0, 0, 0, b""
    with file.open() as opened:
        for chunk in encodings.chunks(opened):
            lf += chunk.count(b"\n")
            if b"\r" in chunk or last == b"\r":
                cr += chunk.count(b"\r")
                crlf += chunk.count(b"\r\n") + (last == b"\r" and chunk[:1] == b"\n")
            last = chunk[-1:]
    if not cr:
        return "\n"
    if lf == cr == crlf:
        return "\r\n"
    return "" if lf else "\r"


def _table(path: str, dialect: Dialect, line_end: str, options: Mapping[str, Any], row_size: int) -> Table:
    columns = ", ".join(f"{literal(name)}: '{TEXT}'" for name in dialect.names)
    settings = {
        "delim": literal(dialect.delim),
        "quote": literal(dialect.quote),
        "escape": literal(dialect.escape),
        "header": str(dialect.header).lower(),
        "new_line": literal(line_end.replace("\r", "\\r").replace("\n", "\\n")),
        "max_line_size": str(row_size),
        "buffer_size": str(2 * row_size),
        "parallel": str(row_size <= _MAX_ROW_SIZE).lower(),  # a row that fills a buffer cannot be read in parallel
        "auto_detect": "false",
        "columns": f"{{{columns}}}",
    }
    settings |= {name: _sql(options[name]) for name in _READER_OPTIONS if name in options}
    arguments = ", ".join(f"{name} = {value}" for name, value in settings.items())
    return Table(
        f"read_csv({literal(path)}, {arguments})",
        dict.fromkeys(dialect.names, TEXT),
        texts=dialect.names,
        unnamed=dialect.unnamed,
    )


def _sql(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return literal(value) if isinstance(value, str) else f"[{', '.join(map(literal, value))}]"


class _PlainRows:
    """Reads a file row by row, and writes it again in the plainest dialect.

    :ivar dialect: in which it is written.
    :ivar count: number of rows that were written, without the header.
    :ivar max_size: bytes of the longest row.
    """

    def __init__(self, file: StagedFile, dialect: Dialect, *, is_padded: bool) -> None:
        self.dialect = replace(dialect, delim=",", quote='"', escape='"', comment="", skip=0)
        self.count = -dialect.header
        self.max_size = 0
        self._rows = _numbered(file, dialect)
        self._width = len(dialect.names)
        self._named = max(
            (place for place, name in enumerate(dialect.names, 1) if name not in dialect.unnamed), default=0
        )
        self._is_padded = is_padded

    def chunks(self) -> Iterator[bytes]:
        """Write the rows.

        :raises Reject: if a row is too short or too long, or cannot be read.
        """
        lines: list[bytes] = []
        size = 0
        for number, cells in self._rows:
            row = self._fitted(number, cells)
            padded = row + [""] * (self._width - len(row))
            lines.append(f"{','.join(map(_plain, padded))}\n".encode())
            size += len(lines[-1])
            self.count += 1
            self.max_size = max(self.max_size, len(lines[-1]))
            if size > encodings.CHUNK:
                yield b"".join(lines)
                lines, size = [], 0
        yield b"".join(lines)

    def _fitted(self, number: int, row: list[str]) -> list[str]:
        """Return a row without empty cells after the last column. A last column without a name may be missing."""
        while len(row) > self._width and not row[-1].strip():
            row = row[:-1]
        if len(row) > self._width or (len(row) < self._named and not self._is_padded):
            found = f"a file whose line {number} has {_columns(len(row))}, not {self._width}"
            raise Reject(found, _TOO_LONG if len(row) > self._width else _TOO_SHORT)
        return row


def _plain(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if value else ""


def _columns(number: int) -> str:
    return "1 column" if number == 1 else f"{number} columns"


def _numbered(file: StagedFile, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Return the number of the first line of each row with the row; the header included, blank lines not.

    :raises Reject: if a row cannot be read.
    """
    csv.field_size_limit(_MAX_FIELD_SIZE)
    count, first, begins_row = 0, 0, True

    def lines(text: io.TextIOWrapper) -> Iterator[str]:
        nonlocal count, first, begins_row
        for line in text:
            count += 1
            is_comment = begins_row and dialect.comment and line.startswith(dialect.comment)
            if count > dialect.skip and not is_comment:
                first = count if begins_row else first
                begins_row = False  # until the reader has a row: a line within quotes is not a comment
                yield line

    with io.TextIOWrapper(file.open(), encoding="utf-8", newline="") as opened:
        reader = dialect.reader(lines(opened))
        try:
            for row in reader:
                if len(dialect.names) == 1 or any(map(str.strip, row)) or len(row) > 1:
                    yield first, row or [""]  # a blank line is a value of the only column
                begins_row = True
        except csv.Error as error:
            raise Reject(
                f"a file whose line {first} cannot be read: {error}", "Check its quotes, and the option 'quote'."
            ) from None


def _place(file: StagedFile, dialect: Dialect, row: int) -> str:
    wanted = row + 1 if dialect.header else row
    number = next((number for count, (number, _) in enumerate(_numbered(file, dialect), 1) if count == wanted), None)
    return f"row {row}" if number is None else f"line {number}"
