"""How numbers are written in text files, and how DuckDB converts them.

Numbers have a decimal mark, and optionally thousands separators between groups of three digits: ``1.234,56`` has the
mark ``,`` and ``1,234.56`` the mark ``.``. Where types are inferred, numbers with leading zeros or a plus sign are
text: they are postal codes, official keys or telephone numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_polyteia.tables.conversion.value_notations import Notation

POINT, COMMA = ".", ","
MAX_INTEGER_DIGITS = 18  # of which every number fits into 64 bits
MAX_DIGITS = 38  # of a decimal

_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
MAX_FLOAT_DIGITS = 15  # of which every number is the same after it was a floating-point number
_FLOAT_SCALE = 12  # decimal places from which exact numbers are taken for floating-point numbers, if these hold them
_INTEGER_DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}  # of the largest number
_OTHER = {POINT: COMMA, COMMA: POINT}


@dataclass(frozen=True)
class NumberStyle:
    """SQL for texts that are numbers with one decimal mark.

    :param mark: ``"."`` or ``","``; empty for numbers without decimal places and thousands separators, which could be
        written with either.
    :param is_declared: whether the column is declared to hold numbers, so that leading zeros and plus signs are
        allowed. Default: False.
    """

    mark: str
    is_declared: bool = False

    def pattern(self, max_scale: int | None = None) -> str:
        """Return the regular expression of exact numbers. SAP writes the sign after the decimal places.

        :param max_scale: the maximum number of decimal places. Default: any.
        """
        plain = "[0-9]+" if self.is_declared else "0|[1-9][0-9]*"
        sign = "[+-]?" if self.is_declared else "-?"
        if not self.mark:
            return rf"{sign}(?:{plain})"
        integer = rf"(?:{plain}|[1-9][0-9]{{0,2}}(?:[{_OTHER[self.mark]}][0-9]{{3}})+)"
        if max_scale == 0:
            return rf"{sign}{integer}"
        digits = f"{{1,{max_scale}}}" if max_scale else "+"
        fraction = rf"[{self.mark}][0-9]{digits}"
        return rf"{sign}{integer}|{sign}{integer}?{fraction}|{integer}?{fraction}-"

    def float_pattern(self) -> str:
        """Return the regular expression of numbers, also with an exponent, which needs decimal places or a sign."""
        sign = "?" if self.is_declared else ""  # 1E5 may be the number of a house
        plain = rf"{self.pattern()}|-?[0-9]+[eE][+-]{sign}[0-9]{{1,3}}"
        return rf"{plain}|-?[0-9]+[{self.mark}][0-9]+[eE][+-]?[0-9]{{1,3}}" if self.mark else plain

    def scale(self, text: str) -> str:
        """Return the number of decimal places."""
        return (
            f"CASE WHEN contains({text}, '{self.mark}') "
            f"THEN length(rtrim({text}, '-')) - instr({text}, '{self.mark}') ELSE 0 END"
        )

    def integer_digits(self, text: str) -> str:
        """Return the number of digits before the decimal mark."""
        integer = f"split_part({text}, '{self.mark}', 1)"
        digits = f"regexp_replace({integer}, '[^0-9]', '', 'g')"
        return f"length(ltrim({digits}, '0'))" if self.is_declared else f"length({digits})"

    def is_rounded(self, text: str) -> str:
        """Return the SQL that is true for a number that a floating-point number does not hold.

        A number without an exponent is exact, unless its column is declared to hold floating-point numbers.
        """
        value = f"TRY_CAST({self._as_duckdb_writes_it(text)} AS DOUBLE)"
        out_of_range = f"NOT isfinite({value}) OR ({value} = 0 AND regexp_matches({text}, '[1-9].*[eE]'))"
        digits = f"length(ltrim(regexp_replace({text}, '[^0-9]', '', 'g'), '0'))"
        plain = self._as_duckdb_writes_it(text)
        is_same = f"coalesce({plain} IN (CAST({value} AS VARCHAR), format('{{:.17g}}', {value})), false)"
        too_long = (
            "false"
            if self.is_declared
            else f"length({text}) > {MAX_FLOAT_DIGITS} AND {digits} > {MAX_FLOAT_DIGITS} AND NOT {is_same}"
        )
        return f"CASE WHEN regexp_matches({text}, '[eE]') THEN {out_of_range} ELSE {too_long} END"

    def notation(self, sql_type: str) -> Notation:
        """Return the notation of numbers of a type."""
        pattern = self.float_pattern() if is_float(sql_type) else self.pattern(scale_of(sql_type))
        value = f"TRY_CAST({self._as_duckdb_writes_it('{text}')} AS {sql_type})"
        expression = f"CASE WHEN regexp_full_match({{text}}, '{pattern}') THEN {value} END"
        if is_float(sql_type):
            return Notation(sql_type, f"CASE WHEN NOT ({self.is_rounded('{text}')}) THEN {expression} END")
        if not self.mark:
            return Notation(sql_type, expression, canonical="{text}", condition=f"NOT contains({{text}}, '{POINT}')")
        if self.mark == POINT:
            return Notation(sql_type, expression, canonical="{text}")
        return Notation(
            sql_type,
            expression,
            canonical=f"replace({{text}}, '{COMMA}', '{POINT}')",
            condition=f"NOT contains({{text}}, '{POINT}')",
        )

    def _as_duckdb_writes_it(self, text: str) -> str:
        if not self.mark:
            return text
        plain = f"replace({text}, '{_OTHER[self.mark]}', '')"
        if self.mark == COMMA:
            plain = f"replace({plain}, '{COMMA}', '{POINT}')"
        return f"CASE WHEN ends_with({text}, '-') THEN '-' || rtrim({plain}, '-') ELSE {plain} END"


def exact_type(scale: int, integer_digits: int, *, fits_float: bool = False) -> str | None:
    """Return the type of exact numbers with a number of decimal places and of digits before them, or None.

    :param fits_float: whether floating-point numbers hold them. With many decimal places, they are some: the results of
        calculations, whose number of decimal places is another one each night. Default: False.
    """
    if fits_float and scale >= _FLOAT_SCALE:
        return "DOUBLE"
    if scale == 0 and integer_digits <= MAX_INTEGER_DIGITS:
        return "BIGINT"
    if scale + integer_digits <= MAX_INTEGER_DIGITS:
        return f"DECIMAL({MAX_INTEGER_DIGITS},{scale})"
    return f"DECIMAL({MAX_DIGITS},{scale})" if scale + integer_digits <= MAX_DIGITS else None


def is_float(sql_type: str) -> bool:
    """Return True if a type holds approximate numbers."""
    return sql_type in ("DOUBLE", "FLOAT")


def is_number(sql_type: str) -> bool:
    """Return True if a type holds numbers."""
    return is_float(sql_type) or sql_type.startswith("DECIMAL") or sql_type.endswith(("INT", "INTEGER"))


def scale_of(sql_type: str) -> int:
    """Return the decimal places of a type of exact numbers."""
    decimal = _DECIMAL.fullmatch(sql_type)
    return int(decimal[2]) if decimal else 0


def max_integer_digits(sql_type: str, *, always: bool = False) -> int:
    """Return how many digits before the decimal mark a type of exact numbers has at most.

    :param always: whether it must hold all numbers of as many digits. Default: False, only some of them.
    """
    decimal = _DECIMAL.fullmatch(sql_type)
    if decimal:
        return int(decimal[1]) - int(decimal[2])
    return _INTEGER_DIGITS[sql_type.removeprefix("U")] - always
