"""Uploads with an ingest, and downloads by presigned URL."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from airflow_provider_polyteia.sandbox.api import bearer_credential, ingest_fault
from airflow_provider_polyteia.sandbox.backend.errors import BusinessError, bad_request, forbidden
from airflow_provider_polyteia.sandbox.backend.ingests import start_ingest
from airflow_provider_polyteia.sandbox.backend.platform import Platform, Session, UploadTarget
from airflow_provider_polyteia.sandbox.file_response import OpenFileResponse
from airflow_provider_polyteia.sandbox.multipart import reading_everything, receive_file
from airflow_provider_polyteia.sandbox.rpc_api.errors import LENGTH_REQUIRED, terms_not_acknowledged
from airflow_provider_polyteia.sandbox.rpc_api.handlers.datasets import find_unlocked
from airflow_provider_polyteia.sandbox.rpc_api.presigned import SIGNATURE, StoredExport

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_DEFAULT_TYPE = "application/octet-stream"


async def upload(platform: Platform, request: Request) -> Response:
    """Receive a file and start its ingest (docs/platform-api.md#rpc-uploads).

    :raises Unauthorized: if the session token is not valid.
    :raises BusinessError: 400, if the body is not exactly one multipart part; 403 or 404, if the caller cannot change
        the dataset; 411, without a length; 412, if the terms of the solution are not acknowledged.
    """
    async with reading_everything(request):
        dataset_id = _check_upload(platform, request)
        with platform.files.receiving() as path:
            received = await receive_file(request.headers.get("content-type", ""), request.stream(), path)
            content_type = received.content_type or _DEFAULT_TYPE
            target = UploadTarget("dataset", dataset_id, content_type)
            ingest = await start_ingest(platform, target, path, received.size, fault=ingest_fault(request))
    return JSONResponse(
        {"ok": True, "ingestId": ingest["id"], "size": received.size, "contentType": content_type},
    )


def _check_upload(platform: Platform, request: Request) -> str:
    """Return the id of the dataset to which the caller may upload a file."""
    session = Session(platform, platform.access.session(bearer_credential(request)))
    if session.caller.organization_id is None or session.caller.read_only:
        raise forbidden()
    if "content-length" not in request.headers:
        raise BusinessError(LENGTH_REQUIRED, "Content-Length is required")
    dataset = find_unlocked(session, request.path_params["dataset_id"])
    if dataset["solution_id"] in platform.unacknowledged_solutions:
        raise terms_not_acknowledged()
    return str(dataset["id"])


async def download(platform: Platform, request: Request) -> Response:
    """Return the file of a presigned URL. The URL is the credential; another one is rejected.

    :raises BusinessError: 400, if the request has an Authorization header; 403, if the URL is unknown or expired.
    """
    if "authorization" in request.headers:
        raise bad_request("Only one auth mechanism allowed")
    export = platform.exports.peek(request.path_params["token"])
    signature = request.query_params.get(SIGNATURE, "")
    if not isinstance(export, StoredExport) or not hmac.compare_digest(export.signature.encode(), signature.encode()):
        raise forbidden("Access denied")
    return OpenFileResponse(platform.files.path(export.file).open("rb", buffering=0), export.content_type)
