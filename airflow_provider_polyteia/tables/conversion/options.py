"""The argument `convert`: which format a file has, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

CSV, TSV, JSON, NDJSON, GEOJSON, PARQUET, WORKBOOK = "csv", "tsv", "json", "ndjson", "geojson", "parquet", "xlsx"

BY_EXTENSION = {
    "csv": CSV,
    "txt": CSV,
    "tsv": TSV,
    "tab": TSV,
    "json": JSON,
    "ndjson": NDJSON,
    "jsonl": NDJSON,
    "geojson": GEOJSON,
    "parquet": PARQUET,
    "xlsx": WORKBOOK,
    "xlsm": WORKBOOK,
    "xls": WORKBOOK,
    "xlsb": WORKBOOK,
    "ods": WORKBOOK,
}
FORMATS = ", ".join(dict.fromkeys(BY_EXTENSION.values()))

_COMPRESSED = ("gz", "gzip", "zip")
_TEXT = {"columns", "dateformat", "timestampformat", "decimal_separator"}
_CSV = _TEXT | {
    "allow_quoted_nulls",
    "comment",
    "delim",
    "encoding",
    "escape",
    "header",
    "null_padding",
    "nullstr",
    "quote",
    "skip",
}
_OPTIONS = {
    CSV: _CSV,
    TSV: _CSV,
    JSON: {"columns", "encoding", "records"},
    NDJSON: {"columns", "encoding"},
    GEOJSON: {"columns", "encoding"},
    PARQUET: {"columns"},
    WORKBOOK: _TEXT | {"header", "nullstr", "sheet", "skip"},
}


@dataclass(frozen=True)
class Formats:
    """How values are written; see `Options`."""

    decimal_separator: str = ""
    dateformat: str = ""
    timestampformat: str = ""


@dataclass(frozen=True)
class Options:
    """The argument `convert`, checked.

    :ivar format: one of ``csv``, ``tsv``, ``json``, ``ndjson``, ``geojson``, ``parquet`` and ``xlsx`` (any workbook).
    :ivar columns: name -> type of DuckDB that the DAG declares.
    :ivar formats: how numbers and dates are written.
    :ivar reader: the other options, which the reader of the format knows.
    """

    format: str
    columns: Mapping[str, str] = field(default_factory=dict)
    formats: Formats = field(default_factory=Formats)
    reader: Mapping[str, Any] = field(default_factory=dict)


def parse(convert: bool | Mapping[str, Any], filename: str) -> Options:
    """Return the options for a file.

    :param convert: True, or a mapping with ``format`` and options of its reader.
    :param filename: decides about the format if `convert` does not.
    :raises PolyteiaConfigurationError: if the format is not known, or an option is not known or unusable.
    """
    check_names(convert)
    given = dict(convert) if isinstance(convert, Mapping) else {}
    for name, value in given.items():
        _check_value(name, value)
    file_format = BY_EXTENSION[given.pop("format")] if "format" in given else by_extension(filename)
    _check_belongs(given, file_format)
    columns = given.pop("columns", {})
    formats = Formats(**{name: given.pop(name) for name in Formats.__dataclass_fields__ if name in given})
    return Options(file_format, columns, formats, given)


def check_names(convert: Any) -> None:
    """Check the names of the options; their values may be templates.

    :raises PolyteiaConfigurationError: if an option is not known.
    """
    if not isinstance(convert, bool | Mapping):
        raise PolyteiaConfigurationError(f"The argument 'convert' is {convert!r}; it must be a bool or a mapping.")
    unknown = [name for name in convert if name not in _RULES] if isinstance(convert, Mapping) else []
    if unknown:
        raise PolyteiaConfigurationError(
            f"The argument 'convert' has an unknown option {unknown[0]!r}. Supported options: "
            f"{', '.join(sorted(_RULES))}."
        )


def by_extension(filename: str) -> str:
    """Return the format of a file by its extension, also of a compressed file.

    :raises PolyteiaConfigurationError: if it is not known.
    """
    *_, extension = without_compression(filename).lower().rpartition(".")
    if extension not in BY_EXTENSION:
        raise PolyteiaConfigurationError(
            f"The extension of {filename!r} does not identify a format that can be converted. Set 'format' in the "
            f"argument 'convert' to one of {FORMATS}."
        )
    return BY_EXTENSION[extension]


def without_compression(filename: str) -> str:
    """Return a file name without the extension of its compression."""
    stem, _, extension = filename.rpartition(".")
    return stem if extension.lower() in _COMPRESSED else filename


def _check_belongs(given: Mapping[str, Any], file_format: str) -> None:
    for name in given:
        if name not in _OPTIONS[file_format]:
            known = ", ".join(sorted(_OPTIONS[file_format]))
            raise _unusable(name, given[name], f"is not an option of the format {file_format}, which has {known}")


def _check_value(name: str, value: Any) -> None:
    is_usable, requirement = _RULES[name]
    if not is_usable(value):
        raise _unusable(name, value, requirement)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_character(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 1


def _is_encoding(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        "".encode(value)  # unlike `codecs.lookup`, rejects codecs that are not for text, such as rot13 and base64
    except (LookupError, ValueError):
        return False
    return True


# Option -> whether a value is usable, and what it must be.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "allow_quoted_nulls": (_is_bool, "must be True or False"),
    "columns": (
        lambda value: isinstance(value, Mapping) and all(map(_is_text, (*value, *value.values()))),
        "must map names of columns to types",
    ),
    "comment": (_is_character, "must be one character"),
    "dateformat": (_is_text, "must be a format such as %d.%m.%Y"),
    "decimal_separator": (lambda value: value in (".", ","), "must be '.' or ','"),
    "delim": (_is_character, "must be one character"),
    "encoding": (_is_encoding, "must be an encoding that Python knows, such as cp1252"),
    "escape": (_is_character, "must be one character"),
    "format": (lambda value: value in BY_EXTENSION, f"must be one of {FORMATS}"),
    "header": (_is_bool, "must be True or False"),
    "null_padding": (_is_bool, "must be True or False"),
    "nullstr": (
        lambda value: _is_text(value) or (isinstance(value, list) and all(map(_is_text, value))),
        "must be a string or a list of strings",
    ),
    "quote": (lambda value: value == "" or _is_character(value), "must be one character, or empty"),
    "records": (_is_text, "must be the key under which the document holds its records"),
    "sheet": (lambda value: _is_text(value) or _is_number(value), "must be the name of a sheet or its number, from 0"),
    "skip": (_is_number, "must be a number of lines"),
    "timestampformat": (_is_text, "must be a format such as %d.%m.%Y %H:%M"),
}


def _unusable(name: str, value: Any, why: str) -> PolyteiaConfigurationError:
    return PolyteiaConfigurationError(f"The option {name!r} of the argument 'convert' is {value!r}; it {why}.")
