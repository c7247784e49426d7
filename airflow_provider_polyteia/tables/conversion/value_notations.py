"""How booleans, dates and times are written in text files, and how DuckDB converts them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_provider_polyteia.tables.conversion.table import TEXT
from airflow_provider_polyteia.tables.sql_parts import quoted, trimmed

TIMESTAMPTZ = "TIMESTAMP WITH TIME ZONE"  # DuckDB's name of the type

_TRUE = ("true", "wahr", "ja", "yes")
_FALSE = ("false", "falsch", "nein", "no")
_TIME = r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"  # year 0 does not exist
_ISO_DATE = rf"{_YEAR}-[0-9]{{2}}-[0-9]{{2}}"
_GERMAN_DATE = rf"[0-9]{{1,2}}\.[0-9]{{1,2}}\.{_YEAR}"
_ISO_TIMESTAMP = rf"{_ISO_DATE}(?:[ T]{_TIME})?"
_GERMAN_TIMESTAMP = rf"{_GERMAN_DATE}(?: {_TIME})?"
_OFFSET = r" ?(?:Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)"
_WORDS = ("epoch", "infinity", "-infinity")  # that DuckDB reads as dates


@dataclass(frozen=True)
class Notation:
    """One way in which the values of a type are written.

    :param sql_type: the type.
    :param expression: SQL for the value of ``{text}``, which is NULL if it is not written in this way; empty for text.
    :param canonical: SQL for ``{text}`` as DuckDB writes the value, where ``condition`` is true. Most values are
        written so, and to compare them is faster than the expression. Default: none.
    :param condition: SQL for whether ``canonical`` applies. Default: always.
    """

    sql_type: str
    expression: str = ""
    canonical: str = ""
    condition: str = "true"

    def convert(self, text: str) -> str:
        """Return the SQL for the value of a trimmed text; NULL if it does not fit."""
        return self.expression.replace("{text}", text)

    def value(self, column: str) -> str:
        """Return the SQL for the values of a column, which fails at the first that does not fit."""
        name = quoted(column)
        if not self.expression:
            return name
        text = trimmed(name)
        if self is UNDECIDED:
            return f"CASE WHEN {text} <> '' THEN error('unfit') ELSE {name} END"
        checked = f"coalesce({self.convert(text)}, CASE WHEN {text} <> '' THEN error('unfit') END)"
        if not self.canonical:
            return checked
        canonical, condition = (sql.replace("{text}", name) for sql in (self.canonical, self.condition))
        cast = f"TRY_CAST({canonical} AS {self.sql_type})"
        return f"CASE WHEN {condition} AND {cast}::VARCHAR = {canonical} THEN {cast} ELSE {checked} END"

    def is_unfit(self, column: str) -> str:
        """Return the SQL that is true for the values of a column that do not fit."""
        text = trimmed(quoted(column))
        return f"{text} <> '' AND ({self.convert(text)}) IS NULL" if self.expression else "false"


AS_TEXT = Notation(TEXT)
# Of a column without values: if these were a sample, the others decide.
UNDECIDED = Notation(TEXT, f"CAST(NULL AS {TEXT})")


def without_values(sql_type: str) -> Notation:
    """Return the notation of a column without values that has a type all the same."""
    return Notation(sql_type, f"CAST(NULL AS {sql_type})")


def _matching(sql_type: str, pattern: str, value: str) -> Notation:
    return Notation(sql_type, f"CASE WHEN regexp_full_match({{text}}, '{pattern}') THEN {value} END")


def _canonical(sql_type: str, min_length: int, max_length: int, pattern: str) -> Notation:
    length = f"length({{text}}) BETWEEN {min_length} AND {max_length}"  # unlike infinity
    matching = _matching(sql_type, pattern, f"TRY_CAST({{text}} AS {sql_type})")
    return replace(matching, canonical="{text}", condition=length)


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def formatted(sql_type: str, format_: str) -> Notation:
    """Return the notation of dates or timestamps in a format of strptime."""
    escaped = format_.replace("'", "''")
    value = f"CAST(try_strptime({{text}}, '{escaped}') AS {sql_type})"
    return Notation(sql_type, f"CASE WHEN lower({{text}}) NOT IN ({_quoted(_WORDS)}) THEN {value} END")


BOOLEAN = Notation(
    "BOOLEAN",
    f"CASE WHEN lower({{text}}) IN ({_quoted(_TRUE)}) THEN true "
    f"WHEN lower({{text}}) IN ({_quoted(_FALSE)}) THEN false END",
)
ISO_DATE = _canonical("DATE", 10, 10, _ISO_DATE)
GERMAN_DATE = _matching("DATE", _GERMAN_DATE, "CAST(try_strptime({text}, '%d.%m.%Y') AS DATE)")
ISO_TIMESTAMP = _canonical("TIMESTAMP", 16, 26, _ISO_TIMESTAMP)
GERMAN_TIMESTAMP = _matching(
    "TIMESTAMP",
    _GERMAN_TIMESTAMP,
    "try_strptime({text}, ['%d.%m.%Y %H:%M:%S.%f', '%d.%m.%Y %H:%M:%S', '%d.%m.%Y %H:%M', '%d.%m.%Y'])",
)
# Before DuckDB 1.5, an offset needs seconds before it.
_WITH_SECONDS = r"regexp_replace({text}, '^(.{10}[ T][0-9]{2}:[0-9]{2})( ?[Z+-].*)$', '\1:00\2')"
TIMESTAMP_WITH_OFFSET = _matching(
    TIMESTAMPTZ, rf"{_ISO_DATE}[ T]{_TIME}{_OFFSET}", f"TRY_CAST({_WITH_SECONDS} AS {TIMESTAMPTZ})"
)
TIME = _matching("TIME", _TIME, "TRY_CAST({text} AS TIME)")
