"""How a CSV file is written: its delimiter, the names of its columns, and the lines before them."""

from __future__ import annotations

import csv
import io
import logging
import re
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.tables.file_checks.csv_sample import find_beginning, find_delimiter, numbered_rows
from airflow_provider_polyteia.tables.file_checks.errors import Reject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile

log = logging.getLogger(__name__)

_SAMPLE_LINES = 500
_SAMPLE_CHARACTERS = 1024 * 1024
_NO_NAME = re.compile(r"\s*([-+]?[0-9.,]+|[0-9]{4}-[0-9]{2}-[0-9]{2}.*)?\s*")  # a number, a date, or nothing
_YEAR = re.compile(r"\s*(19|20)[0-9]{2}\s*")  # of a table of statistics
_DELIMITER_HINT = re.compile(r"sep=(.)\s*$", re.IGNORECASE)  # for Excel, as the first line


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    :ivar skip: number of lines before the header, or before the first row without one.
    :ivar names: one for each column, unique even if letters differ in case only.
    :ivar unnamed: those of `names` that are not in the file, as in rows that begin and end with a delimiter.
    """

    delim: str
    quote: str
    escape: str
    comment: str
    header: bool
    skip: int
    names: tuple[str, ...]
    unnamed: frozenset[str]

    def reader(self, lines: Iterable[str]) -> Any:
        """Return a strict reader of Python's csv module."""
        return csv.reader(lines, strict=True, **_settings(self.delim, self.quote, self.escape))


def find_dialect(file: StagedFile, options: Mapping[str, Any], delim: str | None) -> Dialect:
    """Return the dialect of a file in UTF-8.

    :param options: those that the DAG sets.
    :param delim: delimiter; None to find it.
    :raises Reject: if it has no lines, or the table seems to begin later.
    """
    quote, skip = options.get("quote", '"'), options.get("skip", 0)
    escape, comment = options.get("escape", quote), options.get("comment", "")
    with io.TextIOWrapper(file.open(), encoding="utf-8", newline="") as text:
        sample = text.read(_SAMPLE_CHARACTERS)
    lines = list(islice(io.StringIO(sample, newline=""), skip, skip + _SAMPLE_LINES))
    hint = _DELIMITER_HINT.match(lines[0]) if lines and not skip else None
    if hint:
        delim = delim or hint[1]
    before = 1 if hint else 0
    before += sum(1 for _ in takewhile(partial(_is_blank, comment), lines[before:]))
    skip, lines = skip + before, lines[before:]
    if comment:
        lines = [line for line in lines if not line.startswith(comment)]
    delim = delim or find_delimiter(lambda mark: numbered_rows(csv.reader(lines, **_settings(mark, quote, escape))))
    rows = numbered_rows(csv.reader(lines, **_settings(delim, quote, escape)))
    if not rows:
        raise Reject(f"empty after the {options['skip']} lines of 'skip'" if options.get("skip") else "blank")
    begins = find_beginning(rows)
    if begins is not None and "skip" not in options:
        number = skip + begins
        raise Reject(
            f"a file whose table seems to begin in line {number}",
            f"Set 'skip' in the argument 'convert' to {number - 1}, or to 0 if it begins in line 1, "
            "or 'delim' if it has one column.",
        )
    first = rows[0][1]
    named = [cell for cell in first if not _NO_NAME.fullmatch(cell) or _YEAR.fullmatch(cell)]
    if "header" not in options and not named:
        raise Reject(
            "a file whose first line looks like values, not like names of columns",
            "Set 'header' in the argument 'convert' to False, or to True if these are the names.",
        )
    header = options.get("header", True)
    names, unnamed = unique_names(first if header else [""] * len(first))
    return Dialect(delim, quote, escape, comment, header, skip, names, unnamed if header else frozenset())


def _is_blank(comment: str, line: str) -> bool:
    return not line.strip() or (bool(comment) and line.startswith(comment))


def _settings(delim: str, quote: str, escape: str) -> dict[str, Any]:
    """Return the arguments of Python's csv module."""
    quoting: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    if quote and escape != quote:
        quoting |= {"escapechar": escape, "doublequote": False}
    return {"delimiter": delim, **quoting}


def unique_names(header: Sequence[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return unique names, and those of columns without a name."""
    names: list[str] = []
    unnamed: set[str] = set()
    taken = {name.replace("\ufeff", "").strip().casefold() for name in header}
    seen: set[str] = set()
    for number, field in enumerate(header, 1):
        name = field.replace("\ufeff", "").strip()
        if not name or name.casefold() in seen:
            new = _free(name or f"column_{number}", taken, has_number=not name)
            if name:
                log.warning("Column %s repeats the name %r and is renamed to %r.", number, name, new)
            else:
                unnamed.add(new)
            name = new
        seen.add(name.casefold())
        taken.add(name.casefold())
        names.append(name)
    return tuple(names), frozenset(unnamed)


def _free(name: str, taken: set[str], *, has_number: bool) -> str:
    number = 1 if has_number else 2
    new = name if has_number else f"{name}_{number}"
    while new.casefold() in taken:
        number += 1
        new = f"{name}_{number}"
    return new
