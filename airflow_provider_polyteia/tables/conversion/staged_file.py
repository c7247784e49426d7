"""Brings a file to where DuckDB can read it: on this machine, without compression and, if it is text, in UTF-8.

A local file that already is so is read where it is, by its file descriptor. Otherwise its content goes to a temporary
file without a name, which disappears with the process.
"""

from __future__ import annotations

import codecs
import gzip
import io
import logging
import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Self

from airflow_provider_polyteia.exceptions import log_cause
from airflow_provider_polyteia.tables.file_checks import encodings
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.signatures import GZIP, HEAD, ZIP, recognize
from airflow_provider_polyteia.tables.temporary import open_temporary, path_of, write_failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from airflow_provider_polyteia.client.multipart import UploadSource

log = logging.getLogger(__name__)

_INCOMPLETE = "Run the task after the file is complete."
_ADDED = {"__macosx", ".ds_store", "thumbs.db"}  # folders and files that macOS and Windows add to ZIP archives


@dataclass
class StagedFile:
    """A file that DuckDB can read; a context manager that deletes what is temporary.

    :ivar name: of the original, for messages.
    :ivar path: where DuckDB reads it.
    :param file: holds it open; when closed, it may raise PolyteiaError for an original that was changed while it was
        read.
    """

    name: str
    path: str
    temp_dir: str | None
    _file: IO[bytes] | ExitStack | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.__exit__(kind, error, traceback)

    def open(self) -> IO[bytes]:
        """Open it at its beginning."""
        return open(self.path, "rb")  # noqa: PTH123 - the caller closes it

    def head(self) -> bytes:
        """Return its first bytes."""
        with self.open() as file:
            return file.read(HEAD)

    def replace(self, chunks: Iterable[bytes]) -> None:
        """Continue with another content, which may be made of the present one."""
        file = open_temporary(self.temp_dir)
        try:
            for chunk in chunks:
                _write(file, chunk, self.temp_dir)
            file.flush()
        except BaseException:
            file.close()
            raise
        self.replace_with(file)

    def replace_with(self, file: IO[bytes]) -> None:
        """Continue with another file."""
        before, self._file = self._file, file
        self.path = path_of(file)
        if before is not None:
            before.close()


def _write(file: IO[bytes], chunk: bytes, temp_dir: str | None) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        log_cause(error)
        raise write_failed(temp_dir, error) from None


def stage(source: UploadSource, temp_dir: str | None, *, is_archive: bool) -> StagedFile:
    """Return a file on this machine, without compression.

    :param is_archive: whether a ZIP archive contains the file, rather than being the file, as a workbook is.
    :raises Reject: if it is empty, or compressed and damaged, or a ZIP archive with several files.
    """
    if not source.size:
        raise Reject("empty (0 bytes)")
    with ExitStack() as stack:
        file = stack.enter_context(source.open())
        start = file.tell()
        found = recognize(file.read(HEAD)).found
        file.seek(start)
        if found == GZIP:
            return _copied(source.name, _ungzipped(file), temp_dir)
        if found == ZIP and is_archive:
            return _copied(source.name, _unzipped(file), temp_dir)
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO) and not start:
            return StagedFile(source.name, path_of(file), temp_dir, stack.pop_all())
        return _copied(source.name, encodings.chunks(file), temp_dir)


def _copied(name: str, chunks: Iterable[bytes], temp_dir: str | None) -> StagedFile:
    staged = StagedFile(name, "", temp_dir)
    staged.replace(chunks)
    return staged


def _ungzipped(file: IO[bytes]) -> Iterator[bytes]:
    try:
        with gzip.open(file) as unpacked:
            yield from encodings.chunks(unpacked)  # type: ignore[arg-type]  # a binary file, but not declared as one
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Reject("a gzip file that is incomplete or damaged", _INCOMPLETE) from error


def _unzipped(file: IO[bytes]) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(file) as archive, archive.open(_only_member(archive)) as unpacked:
            yield from encodings.chunks(unpacked)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise Reject("a ZIP archive that is incomplete or damaged", _INCOMPLETE) from error
    except (RuntimeError, NotImplementedError) as error:  # how zipfile says that it cannot decrypt or decompress
        raise Reject("a ZIP archive with a password or a rare compression", "Unpack it first.") from error


def member_name(source: UploadSource) -> str:
    """Return the name of the only file in a ZIP archive.

    :raises Reject: if it is not a complete archive, or contains several files.
    """
    try:
        with source.open() as file, zipfile.ZipFile(file) as archive:
            return _only_member(archive).filename
    except zipfile.BadZipFile as error:
        raise Reject("not a complete ZIP archive", _INCOMPLETE) from error


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and _ADDED.isdisjoint(member.filename.lower().split("/"))
    ]
    if len(members) != 1:
        raise Reject(f"a ZIP archive with {len(members)} files", "Unpack it first, and load each file in its own task.")
    return members[0]


def to_utf8(file: StagedFile, encoding: str) -> None:
    """Continue with a text file in UTF-8.

    :param encoding: of the file. Default: by its byte order mark, otherwise UTF-8 if it is, otherwise detected.
    :raises Reject: if it cannot be decoded, or is binary.
    """
    marked = recognize(file.head()).encoding
    if not encoding and marked in ("", "utf-8-sig") and _is_utf8(file):
        if not marked:
            return
        encoding = marked
    if not encoding:
        encoding = marked or _detect(file)
        log.info("The encoding of %r seems to be %s", file.name, encodings.display(encoding))
    elif marked and codecs.lookup(encoding).name in ("utf-8", "utf-16", "utf-32"):
        encoding = marked  # without it, the mark would become part of the text
    file.replace(_decoded(file, encoding))


def _is_utf8(file: StagedFile) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open() as opened:
        try:
            has_zeros = any("\0" in decoder.decode(chunk) for chunk in encodings.chunks(opened))  # as in UTF-16
            decoder.decode(b"", final=not has_zeros)
        except UnicodeDecodeError:
            return False
    return not has_zeros


def _detect(file: StagedFile) -> str:
    with file.open() as opened:
        return encodings.detect(opened, may_be_damaged=True)


def _decoded(file: StagedFile, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    with file.open() as opened:
        try:
            for chunk in encodings.chunks(opened):
                text = decoder.decode(chunk)
                if "\0" in text:
                    raise Reject("binary data")
                yield text.encode()
            yield decoder.decode(b"", final=True).encode()
        except UnicodeError:
            raise _undecodable(file, encoding) from None


def _undecodable(file: StagedFile, encoding: str) -> Reject:
    with file.open() as opened:
        line, column = encodings.find_undecodable(opened, encoding)
    return Reject(
        f"not in the encoding {encodings.display(encoding)} (line {line}, character {column})",
        "Set 'encoding' in the argument 'convert' to the right one.",
    )


def copy_range(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Read a part of a file."""
    file.seek(start)
    left = end - start
    while left and (chunk := file.read(min(encodings.CHUNK, left))):
        left -= len(chunk)
        yield chunk
