"""The body of an upload: one file as ``multipart/form-data``, in constant memory and with a known length.

Theory of operation
-------------------
requests asks a body for its length once, and iterates over it each time that the request is sent. `FileBody` opens its
source again for each iteration, so a request that is sent again sends the whole file; there is no consumed stream that
could be stored as an empty file.

The length is announced before the first byte is read. If the source turns out to be shorter or longer, or to have been
changed while it was read, the iteration raises before the closing boundary is sent: the platform never receives a
complete body, and keeps its data.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from airflow_provider_polyteia.client.progress import Progress
from airflow_provider_polyteia.exceptions import PolyteiaError, log_cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

# Large enough that the cost per read and send is negligible; small enough not to matter in memory.
CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class UploadSource:
    """Data to upload, which can be opened more than once.

    :param name: file name for the platform and the log.
    :param size: length in bytes.
    :param open: opens the data at its beginning; called for each attempt. Raises PolyteiaError, when it is opened or
        after it was read, if it is no longer the same data.
    """

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]] = field(repr=False)


class FileBody:
    """A multipart body with the single part ``file`` (docs/platform-api.md#uploads).

    :param part_type: content type of the part. Default: ``application/octet-stream``.
    """

    def __init__(self, source: UploadSource, part_type: str = "application/octet-stream") -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._source = source
        self._head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{_escape(source.name)}"\r\n'
            f"Content-Type: {part_type}\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self._head) + self._source.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body from its beginning.

        :raises PolyteiaError: if the source cannot be read, or has changed.
        """
        yield self._head
        yield from self._content()
        yield self._tail

    def _content(self) -> Iterator[bytes]:
        source, progress = self._source, Progress(f"Uploading {self._source.name!r}", self._source.size)
        for chunk in self._read(progress):
            progress.advance(len(chunk))
            if progress.done > source.size:
                raise self._size_changed("grew beyond")
            yield chunk
        if progress.done < source.size:
            raise self._size_changed("shrank below")

    def _read(self, progress: Progress) -> Iterator[bytes]:
        try:
            with self._source.open() as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except PolyteiaError:
            raise
        # An error of the storage must not be mistaken for a failure of the connection to the platform.
        except Exception as error:  # noqa: BLE001 - a storage layer may raise anything
            log_cause(error)
            raise PolyteiaError(
                f"{self._source.name!r} could not be read completely ({type(error).__name__}; {progress}). The dataset "
                "is unchanged."
            ) from None

    def _size_changed(self, how: str) -> PolyteiaError:
        return PolyteiaError(
            f"{self._source.name!r} {how} its initial size of {self._source.size} bytes during the upload, so the "
            "upload was aborted. The dataset is unchanged. Run the task after the file is complete."
        )


def _escape(name: str) -> str:
    """Return a file name as a quoted header parameter, in the way of browsers."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
