"""Receives the only part of a multipart upload, in constant memory."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_polyteia.sandbox.backend.errors import BusinessError, Unauthorized, bad_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

_BOUNDARY = re.compile(r'multipart/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'content-disposition:\s*form-data\s*;[^\r\n]*?\bname="?([^";\r\n]*)"?', re.IGNORECASE)
_TYPE = re.compile(rb"^content-type:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_HEAD_LIMIT = 64 * 1024
_WRITE_SIZE = 1024 * 1024


@dataclass(frozen=True)
class ReceivedFile:
    """A file that was received completely.

    :param size: Size in bytes.
    :param content_type: Content type of the part, or an empty string.
    """

    size: int
    content_type: str


@asynccontextmanager
async def reading_everything(request: Request) -> AsyncIterator[None]:
    """Receive the rest of the body before an error is sent. Some clients read the response only after sending it."""
    try:
        yield
    except (BusinessError, Unauthorized):
        with suppress(RuntimeError):  # the body was received completely
            async for _ in request.stream():
                pass
        raise


async def receive_file(content_type: str, body: AsyncIterator[bytes], destination: Path) -> ReceivedFile:
    """Write the content of the part `file` to a path and return its size and content type.

    :raises BusinessError: 400, if the body is not multipart or not exactly one part with this name.
    """
    match = _BOUNDARY.match(content_type)
    if not match:
        raise bad_request("the upload must be multipart/form-data with a boundary")
    parser = _OnePart((match[1] or match[2]).encode())
    size = unwritten = 0
    pieces: list[bytes] = []
    with destination.open("wb") as file:
        async for chunk in body:
            pieces.append(parser.feed(chunk))
            size += len(pieces[-1])
            unwritten += len(pieces[-1])
            if unwritten >= _WRITE_SIZE:
                await asyncio.to_thread(file.writelines, pieces)
                unwritten, pieces = 0, []
        await asyncio.to_thread(file.writelines, pieces)
    parser.finish()
    return ReceivedFile(size, parser.content_type)


class _OnePart:
    """Incremental parser that returns the content of the only part of a multipart body.

    :ivar content_type: Content type of the part. Empty until the part begins, or if it is missing.
    """

    def __init__(self, boundary: bytes) -> None:
        self._opening = b"--" + boundary + b"\r\n"
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b""
        self._state = self._head
        self.content_type = ""

    def feed(self, chunk: bytes) -> bytes:
        """Parse the next chunk and return the content of the part that is complete so far."""
        self._buffer += chunk
        return self._state()

    def finish(self) -> None:
        """Raise an error unless the body ends with its only part."""
        if self._state != self._tail or self._buffer.rstrip(b"\r\n") != b"--":
            raise bad_request("the multipart body must be exactly one complete part")

    def _head(self) -> bytes:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end and len(head) <= _HEAD_LIMIT:
            return b""
        name = _NAME.search(head)
        if not head.startswith(self._opening) or not name or name[1] != b"file":
            raise _malformed()
        content_type = _TYPE.search(head)
        self.content_type = content_type[1].decode("latin-1").strip() if content_type else ""
        self._buffer, self._state = rest, self._content
        return self._state()

    def _content(self) -> bytes:
        content, delimiter, rest = self._buffer.partition(self._delimiter)
        if delimiter:
            self._buffer, self._state = rest, self._tail
            return content
        held_back = len(self._delimiter) - 1
        content, self._buffer = self._buffer[:-held_back], self._buffer[-held_back:]
        return content

    def _tail(self) -> bytes:
        if len(self._buffer) > _HEAD_LIMIT:
            raise _malformed()
        return b""


def _malformed() -> BusinessError:
    return bad_request('the multipart body must start with a part that has name="file"')
