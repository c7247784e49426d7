"""The types of a column in several Parquet files, and which type holds the values of all of them.

DuckDB unites any types. Here, only those are united of which no value changes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from airflow_provider_polyteia.tables.conversion.table import NULL
from airflow_provider_polyteia.tables.file_checks.errors import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class _Numbers(NamedTuple):
    """The integers that a type holds, and its number of decimal places."""

    low: int
    high: int
    places: int = 0


def _symmetric(high: int, places: int = 0) -> _Numbers:
    return _Numbers(-high, high, places)


_INTEGERS = {
    f"{prefix}{name}": _Numbers(0, 2**bits - 1) if prefix else _Numbers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for name, bits in {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}.items()
    for prefix in ("", "U")
}
_FLOATS = {"FLOAT": _symmetric(2**24), "DOUBLE": _symmetric(2**53)}
# Pairs of other types, the first of which holds all values of the second, or cannot be cast from it.
_HOLDS = {
    ("DOUBLE", "FLOAT"),
    ("TIMESTAMP_NS", "TIMESTAMP"),
    ("TIME", "TIME WITH TIME ZONE"),  # in Parquet always UTC; older versions of pyarrow write it for any time
    ("VARCHAR", "JSON"),
}
# Types whose values have the same meaning in one another. A number or a day is not a text, even if it can be cast back.
_COMPARABLE = re.compile(
    r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL|FLOAT|DOUBLE|DATE|TIMESTAMP(_NS)?|STRUCT|MAP|[^A-Z]|\"[^\"]*\")+"
)


def holds(wide: str, narrow: str) -> bool:
    """Return True if a value of one type, as DuckDB writes it, stays the same in another one."""
    if narrow in (wide, NULL) or (wide, narrow) in _HOLDS:
        return True
    target, source = _numbers(wide), _numbers(narrow)
    if target and source:
        fits = target.low <= source.low and source.high <= target.high and source.places <= target.places
        return fits and narrow not in _FLOATS
    return _is_nested(wide) and _is_nested(narrow) and _holds_parts(wide, narrow)


def _numbers(sql_type: str) -> _Numbers | None:
    decimal = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", sql_type)
    if decimal:
        digits, places = int(decimal[1]), int(decimal[2])
        return _symmetric(10 ** (digits - places) - 1, places)
    return _INTEGERS.get(sql_type) or _FLOATS.get(sql_type)


def _is_nested(sql_type: str) -> bool:
    return sql_type.endswith("]") or sql_type.startswith(("STRUCT(", "MAP("))


def _holds_parts(wide: str, narrow: str) -> bool:
    """Return True if nested types have the same form, and their parts hold. A structure may get additional parts."""
    target, source = duckdb.sqltype(wide), duckdb.sqltype(narrow)
    if target.id != source.id:
        return False
    parts = dict(target.children)
    return all(name in parts and _holds_part(parts[name], part) for name, part in source.children)


def _holds_part(wide: object, narrow: object) -> bool:
    return wide == narrow or holds(str(wide), str(narrow))  # the size of an array is a number


def check_same_types(
    files: Mapping[str, Mapping[str, str]], united: Mapping[str, str], stays_same: Callable[[str, str, str], bool]
) -> None:
    """Check that the types of each column in several files can be united.

    :param files: name of a file -> its columns -> their types.
    :param united: the columns of all files -> the types that DuckDB gives them; empty if it cannot.
    :param stays_same: returns whether all values of a column in files where it has a type stay the same in another one.
    :raises Reject: if a value could change.
    """
    targets = {_key(column): sql_type for column, sql_type in united.items()}
    different = [(column, types) for column, types in _by_column(files).items() if len(types) > 1]
    for column, types in different:
        target = targets.get(_key(column), "")
        for sql_type in types if target else ():
            is_comparable = _COMPARABLE.fullmatch(target) and _COMPARABLE.fullmatch(sql_type)
            if not holds(target, sql_type) and not (is_comparable and stays_same(column, sql_type, target)):
                raise _different(column, types, sql_type, target)
    if united or not different:
        return
    pairs = ((column, types, pair) for column, types in different for pair in _pairs(types))
    column, types, (one, other) = next(
        (found for found in pairs if not holds(*found[2]) and not holds(*reversed(found[2]))),
        (*different[0], next(_pairs(different[0][1]))),
    )
    raise _different(column, types, one, other)


def with_nulls(united: Mapping[str, str], files: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the columns of all files and their types, which DuckDB does not tell of a column without type."""
    found = (item for columns in files.values() for item in columns.items())
    typed = {_key(column) for column, sql_type in found if sql_type != NULL}
    nulls = {_key(column) for columns in files.values() for column in columns} - typed
    return {column: NULL if _key(column) in nulls else sql_type for column, sql_type in united.items()}


def _key(column: str) -> bytes:
    """Return the same for names that DuckDB does not distinguish; it ignores the case of ASCII."""
    return column.encode().lower()


def _by_column(files: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return each column -> its types -> the first file with this type."""
    names: dict[bytes, str] = {}
    found: dict[str, dict[str, str]] = {}
    for file, columns in files.items():
        for column, sql_type in columns.items():
            name = names.setdefault(_key(column), column)
            found.setdefault(name, {}).setdefault(sql_type, file)
    return found


def _pairs(types: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((one, other) for one in types for other in types if one != other)


def _different(column: str, types: Mapping[str, str], one: str, other: str) -> Reject:
    if other not in types:  # DuckDB would unite them to a third type
        other = next(sql_type for sql_type in types if sql_type != one)
    return Reject(
        f"a folder whose files have different types of the column {column!r}: {one} in {types[one]!r}, {other} in "
        f"{types[other]!r}",
        "No type holds the values of both. Write the column with the same type to all files.",
    )
