"""Writes a response body to a file as it arrives, in constant memory, and keeps what is needed to judge it."""

from __future__ import annotations

from http import HTTPStatus
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from airflow_provider_polyteia.client.formats import JSON, media_type
from airflow_provider_polyteia.client.progress import Progress
from airflow_provider_polyteia.exceptions import PolyteiaError, log_cause

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from airflow_provider_polyteia.client.operation import Response

MAX_HEAD = 64 * 1024


class EndCheck(Protocol):
    """Follows the content of a file as it arrives, to judge whether it is complete. Performs no I/O.

    :ivar shows_end: whether a file of its format can show that it is complete.
    """

    shows_end: bool

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the file."""

    def problem(self, *, is_delimited: bool) -> str:
        """Return what the file is instead of a complete one, e.g. ``JSON that ends in the middle of a value``.

        :param is_delimited: whether the response has shown that all of it arrived; otherwise the file must show it.
        :return: empty if it is complete.
        """


class Destination(NamedTuple):
    """Where an export is written.

    :param open: opens a new temporary file for an attempt, keeps it if the attempt succeeds, else removes it.
    :param content_type: MIME type of the file.
    :param name: the name of the file in the log.
    :param new_check: returns a new check of a file of this type.
    """

    open: Callable[[], AbstractContextManager[IO[bytes]]]
    content_type: str
    name: str
    new_check: Callable[[], EndCheck]


class FileSink:
    """Receives the body of a download.

    The beginning of JSON is held back until it certainly is not an error: another attempt writes into the same file.

    :param content_type: the format that was requested.
    :param name: the name of the file in the log.
    :param new_check: returns a new check of a file of this format.

    :ivar accepted: whether the last response was received here, and not read as an error.
    :ivar head: the first bytes of the body, up to 64 KiB.
    :ivar check: has followed the last response that was received here.
    :ivar received: number of bytes that came over the wire.
    """

    def __init__(self, file: IO[bytes], content_type: str, name: str, new_check: Callable[[], EndCheck]) -> None:
        self.accepted = False
        self.head = b""
        self.check = new_check()
        self.received = 0
        self._file = file
        self.content_type = media_type(content_type)
        self._name = name
        self._new_check = new_check
        self._held = b""
        self._is_held = False
        self._progress = Progress("", None)

    @property
    def size(self) -> int:
        """Number of bytes in the file."""
        return self._progress.done

    def wants(self, head: Response) -> bool:
        """Accept what may be the whole file; leave errors, web pages, parts, and files whose end could not be seen."""
        self.head = self._held = b""
        self.check = self._new_check()
        self._is_held = head.is_json
        may_be_file = head.status == HTTPStatus.OK and not head.is_html
        is_expected = not head.is_json or self.content_type == JSON
        self.accepted = may_be_file and is_expected and (head.is_delimited or self.check.shows_end)
        self._progress = Progress(f"Exporting to {self._name!r}", head.content_length)
        return self.accepted

    def write(self, chunk: bytes) -> None:
        """Write the next part of the body.

        :raises PolyteiaError: if it cannot be written, e.g. because the disk is full.
        """
        if len(self.head) < MAX_HEAD:
            self.head = (self.head + chunk)[:MAX_HEAD]
        self.check.feed(chunk)
        self._progress.advance(len(chunk))
        self._held += chunk
        if not self._is_held or len(self._held) > MAX_HEAD:
            self._is_held = False
            self.release()

    def close(self, received: int) -> None:
        """Record the number of bytes that came over the wire."""
        self.received = received

    def release(self) -> None:
        """Write what is held back.

        :raises PolyteiaError: if it cannot be written.
        """
        held, self._held = self._held, b""
        # An error of the storage must not be mistaken for a failure of the connection to the platform.
        try:
            self._file.write(held)
        except Exception as error:  # noqa: BLE001 - a storage layer may raise anything
            log_cause(error)
            raise write_failed(self._name, error) from None


def write_failed(name: str, error: Exception) -> PolyteiaError:
    """Return the exception for a file that cannot be written, e.g. because the disk is full."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return PolyteiaError(f"{name!r} could not be written: {reason}. The partial file was removed.")
