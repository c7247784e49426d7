"""A response that sends an open file."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from io import FileIO

    from starlette.types import Receive, Scope, Send

_CHUNK = 1024 * 1024


class OpenFileResponse(Response):
    """Sends an open file in large pieces and closes it."""

    def __init__(self, file: FileIO, content_type: str) -> None:
        super().__init__(media_type=content_type)
        self._file = file
        self.headers["content-length"] = str(os.fstat(file.fileno()).st_size)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the file (ASGI)."""
        with self._file:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while part := await asyncio.to_thread(self._file.read, _CHUNK):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
