"""Numbers in JSON that DuckDB would round.

DuckDB reads numbers with decimal places as floating-point numbers, and so it does with integers of more than 64 bits. A
number that these do not hold is replaced by a string with a marker, in a copy of the file, because DuckDB keeps the
digits of strings. Integers of up to 64 bits are rounded only if their column also has numbers with decimal places.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING

from airflow_provider_polyteia.tables.conversion.table import TEXT
from airflow_provider_polyteia.tables.sql_parts import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# A number with an exponent, or with more digits than a floating-point number holds for certain.
_SHORT = 15  # characters of a number without exponent that one holds
_LONG = re.compile(rb"(?<![0-9.])-?[0-9](?:[0-9.]{15,}(?:[eE][-+]?[0-9]+)?|[0-9.]*[eE][-+]?[0-9]+)")
_IN_VALUES = b"-+." + string.digits.encode() + string.ascii_letters.encode()
_NOT_LETTERS = b"0123456789+-.,:[]{} \t\r\n"
_WORDS = (b"true", b"false", b"null")
_NULL_ITEMS = (b"[null", b",null", b"}null")  # not after a colon
_SPACES = bytes.maketrans(b"[]{},:", b"      ")
_MAX_EXACT = 2**53  # integers up to here are the same as floating-point numbers
_MAX_INTEGER_DIGITS = 19  # of one of 64 bits
_MAX_DIGITS = 38  # of a decimal
_MAX_PART = 64 * 1024 * 1024


class NumberCheck:
    """Finds numbers that could be rounded, in what is outside of the strings of a JSON file.

    :ivar has_rounded: whether there are numbers to be marked.
    :ivar has_large_integers: whether there are other integers that a floating-point number may not hold.
    :ivar has_other_words: whether there are words that JSON does not have, such as NaN.
    :ivar has_null_items: whether a null is an item of a list, or a line.
    """

    def __init__(self) -> None:
        self.has_rounded = self.has_large_integers = self.has_other_words = self.has_null_items = False
        self._rest = b""

    def feed(self, outside: bytes) -> None:
        """Take the next part."""
        part = self._rest + outside
        end = len(part.rstrip(_IN_VALUES))  # the rest may go on
        self._rest = part[end:]
        self._check(part[:end])

    def end(self) -> None:
        """Take the end."""
        self._check(self._rest)

    def _check(self, part: bytes) -> None:
        words = part.translate(None, _NOT_LETTERS)
        for word in _WORDS:
            words = words.replace(word, b"")
        self.has_other_words |= bool(words.translate(None, b"eE"))
        if not self.has_null_items and b"null" in part:
            closed_up = part.translate(None, b" \t\r\n")
            self.has_null_items = closed_up.startswith(b"null") or any(item in closed_up for item in _NULL_ITEMS)
        values = set(part.translate(_SPACES).split()).difference(_WORDS)
        long = b" ".join(value for value in values if len(value) > _SHORT or b"e" in value or b"E" in value)
        try:
            self._check_numbers([text for text in long.decode().split() if repr(float(text)) != text])
        except ValueError:  # one of them is not a number
            self.has_other_words = True

    def _check_numbers(self, numbers: Iterable[str]) -> None:
        for number in numbers:
            if not self.has_rounded and is_rounded(number):
                self.has_rounded = True
            elif number.lstrip("-").isdigit():
                self.has_large_integers |= len(number) > _MAX_DIGITS or abs(int(number)) > _MAX_EXACT


def is_rounded(number: str) -> bool:
    """Return True if DuckDB would change a number, whatever else is in its column.

    A number with 17 digits is not changed if these are the digits with which programs write a floating-point number.
    """
    digits = number.lstrip("-")
    if digits.isdigit():
        return len(digits) > _MAX_INTEGER_DIGITS or not -(2**63) <= int(number) < 2**63
    value = float(number)
    if repr(value) == number:
        return False
    if value in (0, float("inf"), float("-inf")):
        return value != 0 or bool(re.search("[1-9]", re.split("[eE]", number)[0]))
    exact = Decimal(number)
    return exact not in (Decimal(repr(value)), Decimal(f"{value:.17g}"))


def mark(chunks: Iterable[bytes], marker: str) -> Iterator[bytes]:
    """Replace the numbers that DuckDB would round by strings.

    :param chunks: a JSON file.
    :param marker: what the strings begin with.
    """
    part, in_string = b"", False
    for chunk in chain(chunks, (b"",)):
        part += chunk
        # Neither a number nor an escape sequence continues after a comma.
        end = part.rfind(b",") + 1 if chunk and len(part) < _MAX_PART else len(part)
        marked, in_string = _mark(part[:end], marker.encode(), in_string=in_string)
        part = part[end:]
        yield marked


def _mark(part: bytes, marker: bytes, *, in_string: bool) -> tuple[bytes, bool]:
    masked = part.replace(rb"\\", b"__").replace(rb"\"", b"__")
    marked: list[bytes] = []
    copied = counted = 0
    for found in _LONG.finditer(masked):
        in_string ^= masked.count(b'"', counted, found.start()) % 2 == 1
        counted = found.start()
        if not in_string and (is_rounded(found[0].decode()) or _is_long(found[0])):
            marked += part[copied : found.start()], b'"', marker, found[0], b'"'
            copied = found.end()
    in_string ^= masked.count(b'"', counted) % 2 == 1
    return b"".join([*marked, part[copied:]]), in_string


def _is_long(number: bytes) -> bool:
    """Return True for a number of which DuckDB does not keep all digits in the text of a value."""
    digits = re.split(b"[eE]", number)[0].translate(None, b"-.")
    return len(digits.lstrip(b"0")) > _SHORT


@dataclass(frozen=True)
class MarkedNumbers:
    """SQL for numbers that may be marked.

    :param marker: what the strings begin with that were numbers; empty if there are none.
    """

    marker: str

    def number(self, value: str) -> str:
        """Return the SQL of the text of a number.

        :param value: SQL of the JSON of a number, also of a marked one.
        """
        text = f"CAST({value} AS {TEXT})"
        if not self.marker:
            return text
        start = literal(f'"{self.marker}')
        number = f"substr({text}, {len(self.marker) + 2}, length({text}) - {len(self.marker) + 2})"
        return f"CASE WHEN starts_with({text}, {start}) THEN {number} ELSE {text} END"

    def text(self, value: str) -> str:
        """Return the SQL of a text without markers.

        :param value: SQL of the text, which is JSON if its value is a list or an object.
        """
        if not self.marker:
            return value
        pattern = literal(f'"?{self.marker}([-+.0-9eE]+)"?')
        return (
            f"CASE WHEN contains({value}, {literal(self.marker)}) "
            f"THEN regexp_replace({value}, {pattern}, '\\1', 'g') ELSE {value} END"
        )

    def exact_types(
        self, rows_of: Callable[[str], list[tuple[int, ...]]], relation: str, values: Sequence[str]
    ) -> list[str | None]:
        """Return the type that each column needs lest a number is rounded, or None if it may stay as it is.

        :param rows_of: runs a query, and returns its rows.
        :param relation: SQL of the table, for its FROM clause.
        :param values: SQL of the JSON of each column's values.
        """
        # As one long column, because each regular expression takes megabytes.
        listed = ", ".join(f"CAST({value} AS {TEXT})" for value in values)
        long = f"(SELECT unnest(range({len(values)})) AS number, unnest([{listed}]) AS value FROM {relation})"
        numbers = f"(SELECT number, value, {self.number('value')} AS text FROM {long} WHERE value IS NOT NULL)"
        is_integer = "regexp_full_match(text, '-?[0-9]{16,}')"
        is_large = f"CASE WHEN {is_integer} THEN abs(TRY_CAST(text AS HUGEINT)) > {_MAX_EXACT} ELSE false END"
        value = "TRY_CAST(text AS DOUBLE)"
        is_held = f"(CAST({value} AS {TEXT}) = lower(text) OR format('{{:.17g}}', {value}) = lower(text))"
        found = rows_of(
            f"SELECT number, count(*) FILTER (WHERE (text <> value AND NOT coalesce({is_held}, false)) OR {is_large}), "
            f"count(*) FILTER (WHERE text <> value), count(*) FILTER (WHERE {value} IS NULL), "
            "count(*) FILTER (WHERE NOT regexp_full_match(text, '-?[0-9]+([.][0-9]+)?')), "
            "max(CASE WHEN contains(text, '.') THEN length(text) - instr(text, '.') ELSE 0 END), "
            "max(length(ltrim(split_part(text, '.', 1), '-'))) "
            f"FROM {numbers} GROUP BY number"
        )
        types: list[str | None] = [None] * len(values)
        for number, rounded, marked, texts, others, scale, digits in found:
            if rounded:
                fits = not others and scale + digits <= _MAX_DIGITS
                types[number] = f"DECIMAL({_MAX_DIGITS},{scale})" if fits else TEXT
            elif marked:
                types[number] = TEXT if texts else "DOUBLE"
        return types
