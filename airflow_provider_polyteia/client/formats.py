"""File formats: their MIME types, extensions, and how a complete file of that format looks."""

from __future__ import annotations

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

PARQUET = "application/vnd.apache.parquet"
JSON = "application/json"

# API reference 7.2.
BY_EXTENSION = {
    ".parquet": PARQUET,
    ".csv": "text/csv",
    ".json": JSON,
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xls": "application/vnd.ms-excel",
}
PARQUET_MAGIC = b"PAR1"


def by_extension(name: str, argument: str) -> str:
    """Return the MIME type that belongs to a file's extension.

    :param argument: the argument that the error names as the way to say it.
    :raises PolyteiaConfigurationError: if the extension tells nothing.
    """
    _, dot, extension = name.rpartition(".")
    known = BY_EXTENSION.get(dot + extension.lower())
    if known is None:
        raise PolyteiaConfigurationError(
            f"The extension of {name!r} does not tell the format of the data; known are {', '.join(BY_EXTENSION)}. "
            f"Name the MIME type with the argument {argument!r}."
        )
    return known


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()
