"""Reads the body of a response into memory: decoded, checked to its end, and never beyond a limit."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import TYPE_CHECKING

from airflow_provider_polyteia.client.operation import MAX_ERROR_BODY
from airflow_provider_polyteia.client.transports.failures import Failure, FailureKind, UnusableResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_polyteia.client.operation import Response

ACCEPT_ENCODING = "gzip, deflate"
_NOT_SUPPORTED = ("br", "compress", "zstd")  # named in exceptions; any other name may be anything
_STEP = 256 * 1024  # bytes that are decompressed at once
_GZIP = 16 + zlib.MAX_WBITS
_PREFIX = 2  # bytes that show whether deflate has a zlib header, as the standard says, or none, as some servers send it


class BodyReader:
    """Decodes a body as it arrives, and keeps it.

    Of an error, the beginning suffices: what exceeds 64 KiB or cannot be decoded is left out, because the status
    decides what it means.

    :param max_size: maximum size of the decoded body in bytes, and of what arrives.
    :param is_error: whether the body is read as that of an error, regardless of the status.
    :raises UnusableResponseError: if it cannot be read.
    """

    def __init__(self, head: Response, max_size: int, *, is_error: bool) -> None:
        self._head = head
        self._is_error = is_error
        self._max_size = MAX_ERROR_BODY if is_error else max_size
        self._received = 0
        self._body = BytesIO()
        self._decoder: _Identity | _Inflater | None = None
        if not is_error:
            _check_transfer_coding(head)
            if (head.content_length or 0) > max_size:
                raise UnusableResponseError(Failure(FailureKind.RESPONSE_TOO_LARGE))

    def feed(self, chunk: bytes) -> bool:
        """Take the next part of the body, and return whether more of it is wanted.

        :raises UnusableResponseError: if the body is too large, or cannot be decoded.
        """
        try:
            self._add(chunk)
        except UnusableResponseError:
            if not self._is_error:
                raise
            return False
        return True

    def finish(self) -> bytes:
        """Return the body.

        :raises UnusableResponseError: if it ends within compressed data.
        """
        if self._decoder is not None and not self._decoder.is_complete and not self._is_error:
            raise _unreadable("its compressed data ends too early")
        return self._body.getvalue()

    def _add(self, chunk: bytes) -> None:
        if self._decoder is None:  # an empty body is complete, whatever its coding
            self._decoder = _decoder(self._head)
        self._received += len(chunk)
        for data in self._decoder.decode(chunk):
            room = self._max_size - self._body.tell()
            self._body.write(data[:room])
            if len(data) > room:
                raise UnusableResponseError(Failure(FailureKind.RESPONSE_TOO_LARGE))
        if self._received > self._max_size:  # compressed data can expand to nothing
            raise UnusableResponseError(Failure(FailureKind.RESPONSE_TOO_LARGE))


def check_identity(head: Response) -> None:
    """Check that a file is sent as it is.

    :raises UnusableResponseError: if it is encoded for the transfer, which was not requested.
    """
    _check_transfer_coding(head)
    if coding := _content_coding(head):
        raise _not_requested(coding)


class _Identity:
    """Data that is not compressed; the HTTP library checks that it is complete."""

    is_complete = True

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Inflater:
    """Decompresses gzip, which may consist of several members, or deflate."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._prefix = b""
        self._member: zlib._Decompress | None = None

    @property
    def is_complete(self) -> bool:
        """True at the end of a member."""
        return self._member is None and not self._prefix

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed data, in pieces of limited size.

        :raises UnusableResponseError: if it is damaged.
        """
        piece = b""
        while data or len(piece) == _STEP:
            if self._member is None:
                data = self._prefix + data
                if len(data) < _PREFIX:
                    self._prefix = data
                    return
                self._prefix = b""
                self._member = zlib.decompressobj(_GZIP if self._is_gzip else _deflate_bits(data))
            try:
                piece = self._member.decompress(data, _STEP)
            except zlib.error:
                raise _unreadable("its compressed data is damaged") from None
            data = self._member.unconsumed_tail
            if self._member.eof:
                data, self._member = self._member.unused_data, None
            yield piece


def _deflate_bits(data: bytes) -> int:
    has_header = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:_PREFIX], "big") % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


def _decoder(head: Response) -> _Identity | _Inflater:
    _check_transfer_coding(head)
    coding = _content_coding(head)
    if coding in ("gzip", "deflate"):
        return _Inflater(is_gzip=coding == "gzip")
    if coding:
        raise _not_requested(coding)
    return _Identity()


def _content_coding(head: Response) -> str:
    """Return the content coding: a name that can be shown, or empty if there is none."""
    names = [name.strip().lower() for name in head.headers.get("content-encoding", "").split(",")]
    codings = [name.removeprefix("x-") for name in names if name not in ("", "identity")]
    if len(codings) > 1:
        return "of several steps"
    known = ("gzip", "deflate", *_NOT_SUPPORTED, "")
    coding = "".join(codings)
    return coding if coding in known else "unknown"


def _check_transfer_coding(head: Response) -> None:
    if head.headers.get("transfer-encoding", "").strip().lower() not in ("", "chunked", "identity"):
        raise _unreadable("it has a transfer coding other than 'chunked', which was not requested")


def _not_requested(coding: str) -> UnusableResponseError:
    return _unreadable(f"its content coding, {coding}, was not requested; check the proxy or gateway")


def _unreadable(detail: str) -> UnusableResponseError:
    return UnusableResponseError(Failure(FailureKind.RESPONSE_UNREADABLE, detail))
