"""The body of an upload: one file as ``multipart/form-data``, in constant memory and with a known length.

Theory of operation
-------------------
requests asks a body for its length once, and iterates over it each time that the request is sent. `FileBody` opens
its source anew for each iteration, so a request that is sent again sends the whole file again; there is no consumed
stream that could be stored as an empty file.

The length is promised before the first byte is read. If the source turns out to be shorter or longer, the iteration
raises before the closing boundary is sent: the platform never sees a complete body, and keeps the data it has.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from airflow_provider_polyteia.client.progress import Progress
from airflow_provider_polyteia.exceptions import PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

# Large enough that the cost of a read and a send does not count; small enough not to show in memory.
CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Something to be uploaded that can be read more than once.

    :param name: its file name, for the platform and the log.
    :param size: its length in bytes.
    :param open: opens it at its beginning, for each attempt anew.
    """

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]] = field(repr=False)


class FileBody:
    """A multipart body with the single part ``file`` (API reference 7.1)."""

    def __init__(self, source: Source) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._source = source
        self._head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{_escape(source.name)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self._head) + self._source.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body from its beginning.

        :raises PolyteiaError: if the source cannot be read, or is not as long as it was.
        """
        yield self._head
        yield from self._content()
        yield self._tail

    def _content(self) -> Iterator[bytes]:
        source, progress = self._source, Progress(f"Uploading {self._source.name!r}", self._source.size)
        for chunk in self._read(progress):
            progress.advance(len(chunk))
            if progress.done > source.size:
                raise self._changed("longer")
            yield chunk
        if progress.done < source.size:
            raise self._changed("shorter")

    def _read(self, progress: Progress) -> Iterator[bytes]:
        try:
            with self._source.open() as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        # Whatever a storage layer raises: it must not be taken for a failure of the connection to the platform.
        except Exception as error:
            raise PolyteiaError(
                f"{self._source.name!r} could not be read to its end ({type(error).__name__}; {progress}); the dataset "
                "was left as it was."
            ) from error

    def _changed(self, how: str) -> PolyteiaError:
        return PolyteiaError(
            f"{self._source.name!r} became {how} than the {self._source.size} bytes it had when the upload began, so "
            "the upload was broken off; the dataset was left as it was. Let the task begin when the file is complete."
        )


def _escape(name: str) -> str:
    """Return a file name as it goes into a quoted header parameter, as browsers write it."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
