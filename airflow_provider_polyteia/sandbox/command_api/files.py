"""Uploads and downloads of files: `POST /upload` and `GET /download`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from airflow_provider_polyteia.sandbox.api import bearer_credential
from airflow_provider_polyteia.sandbox.backend import tabular
from airflow_provider_polyteia.sandbox.backend.errors import BusinessError, Unauthorized, not_found
from airflow_provider_polyteia.sandbox.backend.handlers.content import find_assets
from airflow_provider_polyteia.sandbox.backend.platform import Export, Platform, Session, UploadTarget
from airflow_provider_polyteia.sandbox.file_response import OpenFileResponse
from airflow_provider_polyteia.sandbox.multipart import reading_everything, receive_file

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_LENGTH_REQUIRED = 411


async def upload(platform: Platform, request: Request) -> Response:
    """Replace the data of a dataset after the body has been received completely (docs/platform-api.md#uploads).

    :raises Unauthorized: if the upload token, or a key sent with it, is not valid.
    :raises BusinessError: 400, if the body is not exactly one multipart part; 404, if the dataset or report does not
        exist; 411, without a length.
    """
    async with reading_everything(request):
        target = _find_target(platform, request)
        with platform.files.receiving() as path:
            received = await receive_file(request.headers.get("content-type", ""), request.stream(), path)
            await platform.ingest(target, path, received.size)
    return JSONResponse({"data": {"size": received.size}})


def _find_target(platform: Platform, request: Request) -> UploadTarget:
    """Return what the upload replaces, and invalidate its token."""
    if "authorization" in request.headers:  # optional, see docs/platform-api.md#headers
        platform.access.caller(bearer_credential(request))
    if "content-length" not in request.headers:
        raise BusinessError(_LENGTH_REQUIRED, "Content-Length is required")
    target = platform.uploads.consume(request.headers.get("x-upload-token", ""))
    if not isinstance(target, UploadTarget):
        raise Unauthorized
    return target


async def download(platform: Platform, request: Request) -> Response:
    """Return the rows of an exported query as a file, and invalidate the token (docs/platform-api.md#exports).

    :raises Unauthorized: if the key or access token is not valid.
    :raises BusinessError: 404, if the export token is unknown or was used; 400, if DuckDB rejects the query.
    """
    session = Session(platform, platform.access.caller(bearer_credential(request)))
    export = platform.exports.consume(request.query_params.get("token", ""))
    if not isinstance(export, Export):
        raise not_found("export not found")
    with platform.readable(find_assets(session, list(export.datasets))) as sources, platform.files.receiving() as path:
        await asyncio.to_thread(tabular.export, export.sql, export.args, sources, path, export.content_type)
        # The open file can be read completely even though its name is removed at the end of this block.
        return OpenFileResponse(path.open("rb", buffering=0), export.content_type)
