"""File content in and out: `POST /upload` and `GET /download`."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from airflow_provider_polyteia.sandbox.backend import tabular
from airflow_provider_polyteia.sandbox.backend.errors import Unauthorized, not_found
from airflow_provider_polyteia.sandbox.backend.handlers.content import assets
from airflow_provider_polyteia.sandbox.backend.platform import Export, Platform, Session, UploadTarget
from airflow_provider_polyteia.sandbox.command_api.multipart import receive_file

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_CHUNK = 1024 * 1024
_LENGTH_REQUIRED = 411


async def upload(platform: Platform, request: Request) -> Response:
    """Replace a dataset's data, once the body has arrived completely (API reference 7).

    :raises Unauthorized: the upload token, or a key that came with it, is not valid.
    :raises ApiError: 400, the body is not one multipart part; 404, the dataset is gone.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:  # the vendor's connector sends none (API reference 1.2)
        platform.access.caller(authorization)
    if "content-length" not in request.headers:
        error = {"code": _LENGTH_REQUIRED, "message": "Content-Length is required", "details": []}
        return JSONResponse({"error": error}, status_code=_LENGTH_REQUIRED)
    target = platform.uploads.take(request.headers.get("x-upload-token", ""))
    if target is None:
        raise Unauthorized
    with platform.files.arriving() as path:
        size = await receive_file(request.headers.get("content-type", ""), request.stream(), path)
        await take_in(platform, target, path, size)
    return JSONResponse({"data": {"size": size}})


async def take_in(platform: Platform, target: UploadTarget, path: Path, size: int) -> None:
    """Let a file that has arrived be the target's data: now, or after the ingest delay.

    :raises ApiError: 404, the dataset is gone.
    """
    schema = await asyncio.to_thread(_schema, target, path)
    if target.kind == "dataset" and platform.store.get("dataset", target.record_id) is None:
        raise not_found("dataset not found")
    file = platform.files.keep(path)
    delay = platform.options.ingest_delay
    if delay:
        asyncio.get_running_loop().call_later(delay, platform.replace_data, target, file, size, schema)
    else:
        platform.replace_data(target, file, size, schema)


def _schema(target: UploadTarget, path: Path) -> dict[str, dict[str, str]]:
    """What can be read of the columns; a file that cannot be read is stored all the same."""
    try:
        return tabular.describe(path, target.content_type) if target.kind == "dataset" else {}
    except tabular.UnreadableError:
        return {}


async def download(platform: Platform, request: Request) -> Response:
    """Send the rows of an exported query (API reference 8). The token is used up.

    :raises Unauthorized: the key or access token is not valid.
    :raises ApiError: 404, the export token is unknown or used; 400, DuckDB refuses the query.
    """
    session = Session(platform, platform.access.caller(request.headers.get("authorization")))
    export = platform.exports.take(request.query_params.get("token", ""))
    if not isinstance(export, Export):
        raise not_found("export not found")
    with platform.readable(assets(session, list(export.datasets))) as sources, platform.files.arriving() as path:
        await asyncio.to_thread(tabular.export, export.sql, export.args, sources, path, export.content_type)
        # Open, it can be read to the end although its name is gone.
        return _OpenFile(path.open("rb", buffering=0), export.content_type)


class _OpenFile(Response):
    """Sends an open file in large pieces, and closes it."""

    def __init__(self, file: FileIO, content_type: str) -> None:
        super().__init__(media_type=content_type)
        self._file = file
        self.headers["content-length"] = str(os.fstat(file.fileno()).st_size)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it (ASGI)."""
        with self._file:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while part := await asyncio.to_thread(self._file.read, _CHUNK):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
