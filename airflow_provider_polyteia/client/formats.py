"""File formats: their MIME types and extensions."""

from __future__ import annotations

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

PARQUET = "application/vnd.apache.parquet"
JSON = "application/json"

# docs/platform-api.md#content-types
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

    :param argument: the argument that the exception recommends for naming the format.
    :raises PolyteiaConfigurationError: if the extension is not known.
    """
    _, dot, extension = name.rpartition(".")
    known = BY_EXTENSION.get(dot + extension.lower())
    if known is None:
        raise PolyteiaConfigurationError(
            f"The extension of {name!r} does not identify a format. Known extensions: {', '.join(BY_EXTENSION)}. Set "
            f"the argument {argument!r} to the MIME type."
        )
    return known


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def charset(content_type: str) -> str:
    """Return the encoding that a content type names, in lower case; empty for UTF-8 and if it names none."""
    parameters = (part.partition("=") for part in content_type.split(";")[1:])
    named = {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in parameters}
    found = named.get("charset", "")
    return "" if found in ("utf-8", "utf8", "us-ascii") else found
