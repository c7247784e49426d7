"""Uploads a file into a dataset, shows the state of its ingest, and exports a whole dataset into a file.

An upload is accepted first and ingested later (docs/platform-api.md#rpc-uploads). It may be retried: it replaces the
dataset's data. An export is fetched from a presigned URL, whose host is usually that of an object storage: the URL is
the credential, so neither the key nor the session is sent there.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.file_sink import Destination, FileSink
from airflow_provider_polyteia.client.file_transfers import (
    check_file,
    explain_too_large,
    idle_timeout,
    is_error,
    not_the_file,
)
from airflow_provider_polyteia.client.formats import BY_EXTENSION, JSON, media_type
from airflow_provider_polyteia.client.json_values import parse_json
from airflow_provider_polyteia.client.multipart import FileBody, UploadSource
from airflow_provider_polyteia.client.operation import Flow, Idempotency, Operation, Request, Response
from airflow_provider_polyteia.client.records import Accepted, Ingest
from airflow_provider_polyteia.client.rpc_api.protocol import (
    OTHER_API,
    Call,
    call_flow,
    make_call,
    raise_for_status,
    session_flow,
)
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaOutcomeUnknownError,
    PolyteiaProtocolError,
)

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.rpc_api.sessions import Session

log = logging.getLogger(__name__)

UPLOAD_PATH = "/api/upload/dataset"
_FORMATS = {BY_EXTENSION[f".{name}"]: name for name in ("csv", "json", "parquet", "xlsx")}
_REFUSED = HTTPStatus.FORBIDDEN
_RETRIED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def upload(
    credentials: Credentials, dataset_id: str, source: UploadSource, content_type: str, timeout: float | None
) -> Operation[Accepted]:
    """Return the operation that sends a file to be ingested."""
    seconds = idle_timeout(credentials, timeout)

    def request(_: Session) -> Request:
        body = FileBody(source, content_type)
        path = f"{UPLOAD_PATH}/{quote(dataset_id, safe='')}"
        return Request("POST", path, UPLOAD_PATH, {"Content-Type": body.content_type}, body=body, idle_timeout=seconds)

    start = partial(session_flow, credentials, request, partial(_check_upload, credentials, dataset_id, source))
    return Operation(UPLOAD_PATH, start, Idempotency.SAFE, {"id": dataset_id}, is_transfer=True)


def _check_upload(credentials: Credentials, dataset_id: str, source: UploadSource, response: Response) -> Accepted:
    """Return what was accepted; HTTP 2xx alone proves nothing."""
    try:
        raise_for_status(response, credentials, UPLOAD_PATH, lambda: {"id": dataset_id})
    except PolyteiaAPIError as error:
        raise explain_too_large(error, source.size) from error.__cause__
    body = parse_json(response.body) if response.is_json else None
    if not isinstance(body, dict):
        kind = "an HTML page" if response.is_html else "content that is not a JSON object"
        raise errors.unexpected_response(response, credentials, UPLOAD_PATH, kind, other_api=OTHER_API)
    ingest_id = body.get("ingestId")
    if not isinstance(ingest_id, str) or not ingest_id:
        raise _without_ingest(credentials, dataset_id)
    if body.get("size") == 0 and source.size:
        raise errors.incomplete_response(credentials, UPLOAD_PATH, f"the platform received 0 of {source.size} bytes")
    return Accepted(ingest_id)


def _without_ingest(credentials: Credentials, dataset_id: str) -> PolyteiaOutcomeUnknownError:
    """Return the exception for a platform that accepted a file and does not show what becomes of it."""
    conn_id = credentials.config.conn_id
    return PolyteiaOutcomeUnknownError(
        f"Polyteia request {UPLOAD_PATH!r} (connection {conn_id!r}) succeeded, but the response is missing the field "
        f"'ingestId', so it is unknown whether the file was ingested into dataset {dataset_id!r}. It is not sent "
        "again. Check in Polyteia whether the data is there.",
        identifiers={"id": dataset_id},
        method=UPLOAD_PATH,
        conn_id=conn_id,
    )


def ingest_status(credentials: Credentials, dataset_id: str, ingest_id: str) -> Operation[Ingest]:
    """Return the query for the state of an ingest."""
    call = make_call(
        "dataset/getDatasetIngestStatus", {"id": dataset_id, "ingestId": ingest_id}, required_field="status"
    )

    def start() -> Flow[Ingest]:
        fields = (yield from call_flow(call, credentials)).data
        return Ingest(credentials.excerpt(fields["status"]), credentials.excerpt(fields.get("errorMessage")))

    return Operation(call.procedure.name, start, call.idempotency, call.identifiers)


def export_dataset(
    credentials: Credentials,
    dataset_id: str,
    destination: Destination,
    timeout: float | None,
) -> Operation[int]:
    """Return the operation that writes all data of a dataset to a file, and returns its size in bytes.

    :raises PolyteiaConfigurationError: if the platform does not export this format.
    """
    short = _FORMATS.get(media_type(destination.content_type))
    if short is None:
        raise PolyteiaConfigurationError(
            f"The format of {destination.name!r} is {destination.content_type!r}, but the RPC API exports only "
            f"{', '.join(_FORMATS.values())}."
        )
    call = make_call("dataset/exportDatasetData", {"id": dataset_id, "format": short}, required_field="url")
    seconds = idle_timeout(credentials, timeout)

    def start() -> Flow[int]:
        with destination.open() as file:
            sink = FileSink(file, destination.content_type, destination.name, destination.new_check)
            return (yield from _export(credentials, call, sink, seconds))

    return Operation(call.procedure.name, start, Idempotency.SAFE, call.identifiers, is_transfer=True)


def _export(credentials: Credentials, call: Call, sink: FileSink, seconds: float) -> Flow[int]:
    """Ask for a URL and fetch it; if the storage rejects it, once more with a new one: it may have expired."""
    for is_last in (False, True):
        url = (yield from call_flow(call, credentials)).data["url"]
        request = _presigned(credentials, url, sink, seconds)
        response = yield request
        if is_last or response.status != _REFUSED:
            break
        log.warning("%s rejected the URL just issued (HTTP 403); trying once more with a new one.", request.origin)
    return _check_download(credentials, request, sink, response)


def _presigned(credentials: Credentials, url: str, sink: FileSink, seconds: float) -> Request:
    """Return the request for a presigned URL.

    :raises PolyteiaProtocolError: if it would be sent in plain text although the connection uses TLS.
    """
    allowed = ("https",) if credentials.config.base_url.startswith("https:") else ("https", "http")
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in allowed and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:  # its text would repeat the URL
        is_usable = False
    if not is_usable or " " in url:
        raise PolyteiaProtocolError(
            f"The platform issued a URL for the export that cannot be used (connection {credentials.config.conn_id!r}):"
            " it must begin with https:// and name a host.",
            method="dataset/exportDatasetData",
            conn_id=credentials.config.conn_id,
        )
    # If it was compressed for the transfer only, its length would not be the file's.
    headers = {"Accept-Encoding": "identity"}
    return Request("GET", "", f"export from {parts.hostname}", headers, url=url, sink=sink, idle_timeout=seconds)


def _check_download(credentials: Credentials, request: Request, sink: FileSink, response: Response) -> int:
    """Return the size of the file.

    :raises PolyteiaError: if the storage rejected it, or the file is not complete, or not of the right format.
    """
    if not sink.accepted:
        # What a storage responds may repeat the URL, so only its status is shown.
        if response.is_success:
            raise not_the_file(response, credentials, request.name)
        raise _refused(credentials, request, response)
    check_file(response, sink, credentials, request.name)
    if sink.content_type == JSON and is_error(sink.head):
        problem = "JSON that reports an error"
        raise errors.unexpected_response(replace(response, body=b""), credentials, request.name, problem)
    sink.release()
    return sink.size


def _refused(credentials: Credentials, request: Request, response: Response) -> PolyteiaError:
    """Return the exception for a storage that sent no file; a rejection that a retry would not change is final."""
    conn_id, status = credentials.config.conn_id, response.status
    kind = "a redirect, which is never followed" if response.is_redirect else "no file"
    text = (
        f"Polyteia request {request.name!r} (connection {conn_id!r}) returned HTTP {status} with {kind}. The platform "
        f"stores exports at {request.origin}: check whether a proxy or firewall allows it."
    )
    if status in _RETRIED or status < HTTPStatus.BAD_REQUEST or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return PolyteiaProtocolError(text, http_status=status, method=request.name, conn_id=conn_id)
    return PolyteiaAPIError(text, http_status=status, from_gateway=True, method=request.name, conn_id=conn_id)
