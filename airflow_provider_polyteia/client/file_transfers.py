"""What all APIs have in common where files are moved: time limits, and whether a file is complete. Performs no I/O."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.formats import PARQUET, PARQUET_MAGIC
from airflow_provider_polyteia.client.progress import format_size

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.file_sink import FileSink
    from airflow_provider_polyteia.client.operation import Response
    from airflow_provider_polyteia.exceptions import PolyteiaAPIError

# Unless the connection's timeout is longer. The platform may need time for a large file before it responds.
DEFAULT_IDLE_TIMEOUT = 300.0
_TOO_LARGE = 413


def idle_timeout(credentials: Credentials, given: float | None) -> float:
    """Return the maximum time in seconds without a byte while a file is moved."""
    return max(DEFAULT_IDLE_TIMEOUT, credentials.config.timeout[1]) if given is None else given


def check_length(response: Response, sink: FileSink, credentials: Credentials, name: str) -> None:
    """Check that all announced bytes arrived.

    :raises PolyteiaTransportError: if some are missing.
    """
    length = response.content_length
    if length is not None and length != sink.received:
        problem = f"{sink.received} of the announced {length} bytes arrived"
        raise errors.incomplete_response(credentials, name, problem)


def is_delimited(response: Response) -> bool:
    """Return True if a response shows where it ends; otherwise a lost connection looks like its end."""
    return response.content_length is not None or "chunked" in response.headers.get("transfer-encoding", "").lower()


def is_error(head: bytes) -> bool:
    """Return True for a small JSON object that reports an error, False for exported rows."""
    try:
        value = json.loads(head)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and ("error" in value or {"code", "message"} <= value.keys())


def check_format(response: Response, sink: FileSink, credentials: Credentials, name: str) -> None:
    """Check both ends of a Parquet file.

    :raises PolyteiaProtocolError: if it is not one, or not complete.
    """
    if sink.content_type == PARQUET and not (sink.head[:4] == sink.tail == PARQUET_MAGIC):
        raise errors.unexpected_response(replace(response, body=b""), credentials, name, "an incomplete Parquet file")


def explain_too_large(error: PolyteiaAPIError, size: int) -> PolyteiaAPIError:
    """Return the exception for a rejected upload, with the reason if it is HTTP 413.

    :param size: size of the file in bytes.
    """
    if error.http_status != _TOO_LARGE:
        return error
    return error.extended(
        f"The file ({format_size(size)}) exceeds the size limit of the platform or of a gateway in front of it."
    )
