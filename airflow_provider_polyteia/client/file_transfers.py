"""What all APIs have in common where files are moved: time limits, and whether a file is complete. Performs no I/O."""

from __future__ import annotations

import json
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.formats import BY_EXTENSION
from airflow_provider_polyteia.client.progress import format_size

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.file_sink import FileSink
    from airflow_provider_polyteia.client.operation import Response
    from airflow_provider_polyteia.exceptions import PolyteiaAPIError, PolyteiaError

# Unless the connection's timeout is longer. The platform may need time for a large file before it responds.
DEFAULT_IDLE_TIMEOUT = 300.0
_TOO_LARGE = 413
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")


def idle_timeout(credentials: Credentials, given: float | None) -> float:
    """Return the maximum time in seconds without a byte while a file is moved."""
    return max(DEFAULT_IDLE_TIMEOUT, credentials.config.timeout[1]) if given is None else given


def not_the_file(response: Response, credentials: Credentials, name: str) -> PolyteiaError:
    """Return the exception for a response that reports no error, but was not accepted as the file.

    Its body is not shown: it may be a part of the data.
    """
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        kind = "a part of the data, although all of it was requested"
    elif response.status != HTTPStatus.OK:
        kind = "no data"
    elif response.is_json:
        kind = "JSON"
    elif response.is_html:
        kind = "a web page"
    else:
        problem = (
            "it does not show where the file ends, so an interrupted transfer could not be noticed. Check the proxy "
            "that removes Content-Length, or export Parquet, whose end can be recognized"
        )
        return errors.incomplete_response(credentials, name, problem)
    return errors.unexpected_response(replace(response, body=b""), credentials, name, kind)


def check_file(response: Response, sink: FileSink, credentials: Credentials, name: str) -> None:
    """Check that an accepted response is the file, and that all of it arrived.

    It is complete if the announced length or the last chunk has arrived and its format does not contradict, or if the
    format itself shows the end.

    :raises PolyteiaTransportError: if it is not complete.
    :raises PolyteiaProtocolError: if it is something else, or was not complete when it was sent.
    """
    length = response.content_length
    if length is not None and length != sink.received:
        problem = f"{sink.received} of the announced {length} bytes arrived"
        raise errors.incomplete_response(credentials, name, problem)
    problem = _other_content(sink) or sink.check.problem(is_delimited=response.is_delimited)
    if problem and response.is_delimited:
        raise errors.unexpected_response(replace(response, body=b""), credentials, name, problem)
    if problem:
        raise errors.incomplete_response(credentials, name, f"the connection ended after {problem}")


def _other_content(sink: FileSink) -> str:
    """Return what was received instead of a file of the requested format; empty if it may be one."""
    if not sink.size:
        return "an empty file"
    if sink.content_type in BY_EXTENSION.values() and sink.head.lstrip()[:16].lower().startswith(_WEB_PAGE):
        return "a web page"
    is_workbook = sink.content_type == BY_EXTENSION[".xlsx"]
    return "a file that is not an Excel workbook" if is_workbook and not sink.head.startswith(b"PK") else ""


def is_error(head: bytes) -> bool:
    """Return True for a small JSON object that reports an error, False for exported rows."""
    try:
        value = json.loads(head)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and ("error" in value or {"code", "message"} <= value.keys())


def explain_too_large(error: PolyteiaAPIError, size: int) -> PolyteiaAPIError:
    """Return the exception for a rejected upload, with the reason if it is HTTP 413.

    :param size: size of the file in bytes.
    """
    if error.http_status != _TOO_LARGE:
        return error
    return error.extended(
        f"The file ({format_size(size)}) exceeds the size limit of the platform or of a gateway in front of it."
    )
