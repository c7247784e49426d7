"""Uploads a file into a dataset, and exports the result of a query into a file.

Both may be retried: an upload replaces the dataset's data (docs/platform-api.md#uploads), and an export changes
nothing. How long a token lives, and whether it can be used twice, is unknown: each attempt asks for its own.

An exported file counts as complete only if its content type and its length are right, or the end of its content.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from airflow_provider_polyteia.client.command_api.protocol import (
    Call,
    authenticated_flow,
    make_call,
    raise_for_error,
    request_flow,
)
from airflow_provider_polyteia.client.file_sink import Destination, FileSink
from airflow_provider_polyteia.client.file_transfers import (
    check_file,
    explain_too_large,
    idle_timeout,
    is_error,
    not_the_file,
)
from airflow_provider_polyteia.client.formats import JSON
from airflow_provider_polyteia.client.multipart import FileBody, UploadSource
from airflow_provider_polyteia.client.operation import Flow, Idempotency, Operation, Request
from airflow_provider_polyteia.client.records import Accepted
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.operation import Response

log = logging.getLogger(__name__)

UPLOAD_PATH = "/upload"
DOWNLOAD_PATH = "/download"

T = TypeVar("T")


def upload(
    credentials: Credentials, dataset_id: str, source: UploadSource, content_type: str, timeout: float | None
) -> Operation[Accepted]:
    """Return the operation that replaces a dataset's data with a file."""
    token_call = make_call(
        "command",
        "generate_dataset_upload_token",
        {"id": dataset_id, "content_type": content_type},
        required_field="token",
    )
    send = partial(_send, credentials, source, idle_timeout(credentials, timeout))
    start = partial(_flow_with_token, credentials, token_call, send)
    return Operation(UPLOAD_PATH, start, Idempotency.SAFE, {"id": dataset_id}, is_transfer=True)


def export(
    credentials: Credentials,
    params: Mapping[str, Any],
    destination: Destination,
    timeout: float | None,
) -> Operation[int]:
    """Return the operation that writes the result of a query to a file, and returns its size in bytes.

    :param params: params of ``generate_query_export_token``.
    """
    token_call = make_call("command", "generate_query_export_token", params, required_field="token")
    seconds = idle_timeout(credentials, timeout)

    def start() -> Flow[int]:
        with destination.open() as file:
            sink = FileSink(file, destination.content_type, destination.name, destination.new_check)
            return (yield from _flow_with_token(credentials, token_call, partial(_receive, credentials, sink, seconds)))

    return Operation(DOWNLOAD_PATH, start, Idempotency.SAFE, {"name": destination.name}, is_transfer=True)


def _flow_with_token(credentials: Credentials, token_call: Call, use: Callable[[str], Flow[T]]) -> Flow[T]:
    """Ask for a token and use it; if this token is rejected, once more with a new one."""
    token = (yield from request_flow(token_call, credentials)).data["token"]
    try:
        return (yield from use(token))
    except (PolyteiaAuthenticationError, PolyteiaNotFoundError) as error:
        # The key was just valid, when it got the token. If it no longer is, the request for the next token says so.
        log.warning("The token just issued was rejected, trying once more with a new one: %s", error)
    token = (yield from request_flow(token_call, credentials)).data["token"]
    return (yield from use(token))


def _send(credentials: Credentials, source: UploadSource, seconds: float, token: str) -> Flow[Accepted]:
    body = FileBody(source)
    headers = {"X-Upload-Token": token, "Content-Type": body.content_type}
    request = Request("POST", UPLOAD_PATH, UPLOAD_PATH, headers, body=body, idle_timeout=seconds)
    return (yield from authenticated_flow(credentials, request, partial(_check_upload, credentials, source)))


def _check_upload(credentials: Credentials, source: UploadSource, response: Response) -> Accepted:
    try:
        raise_for_error(UPLOAD_PATH, response, credentials)
    except PolyteiaAPIError as error:
        raise explain_too_large(error, source.size) from error.__cause__
    return Accepted()


def _receive(credentials: Credentials, sink: FileSink, seconds: float, token: str) -> Flow[int]:
    credentials.add_secret(quote(token, safe=""))  # as it stands in the URL
    # If it was compressed for the transfer only, its length would not be the file's.
    headers = {"Accept-Encoding": "identity"}
    request = Request(
        "GET", DOWNLOAD_PATH, DOWNLOAD_PATH, headers, query={"token": token}, sink=sink, idle_timeout=seconds
    )
    return (yield from authenticated_flow(credentials, request, partial(_check_download, credentials, sink)))


def _check_download(credentials: Credentials, sink: FileSink, response: Response) -> int:
    """Return the size of the file.

    :raises PolyteiaError: if the response is an error, or the file is not complete, or not of the right format.
    """
    if not sink.accepted:
        raise_for_error(DOWNLOAD_PATH, response, credentials)
        raise not_the_file(response, credentials, DOWNLOAD_PATH)
    if sink.content_type == JSON and is_error(sink.head):
        raise_for_error(DOWNLOAD_PATH, replace(response, body=sink.head), credentials)
    check_file(response, sink, credentials, DOWNLOAD_PATH)
    sink.release()
    return sink.size
