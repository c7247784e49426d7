"""What the first lines of a CSV file say about it: its delimiter, and where its table begins."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rows = list[tuple[int, list[str]]]

# In the order in which they are preferred: texts and numbers often contain commas, but rarely any of the others.
DELIMITERS = {"\t": "tabs", "|": "vertical bars", ";": "semicolons", ",": "commas"}


def numbered_rows(reader: Any) -> Rows:
    """Return the number of the first line of each row that is not empty, and its fields, as far as they can be read.

    :param reader: of Python's csv module.
    """
    rows: Rows = []
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error:  # e.g. a field longer than 128 KiB
            return rows
        if row is None:
            return rows
        if row:
            rows.append((number, row))


def find_delimiter(read: Callable[[str], Rows]) -> str:
    """Return the delimiter with which most rows have the same number of columns, and more than one.

    :param read: returns the rows with a delimiter.
    """

    def score(delimiter: str) -> int:
        widths = Counter(len(row) for _, row in read(delimiter) if len(row) > 1)
        return max(widths.values(), default=0)

    scores = {delimiter: score(delimiter) for delimiter in DELIMITERS}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] else ","


def find_beginning(rows: Sequence[tuple[int, Sequence[Any]]]) -> int | None:
    """Return the line where the table seems to begin, if the first row looks like a title; otherwise None.

    :param rows: the number of the line and the fields of each row that is not empty; at least one.
    """
    widest = max(_filled(row) for _, row in rows)
    if widest <= 1 or _filled(rows[0][1]) > 1:
        return None
    return next(number for number, row in rows if _filled(row) == widest)


def _filled(row: Sequence[Any]) -> int:
    return sum(bool(str(field).strip()) for field in row)
