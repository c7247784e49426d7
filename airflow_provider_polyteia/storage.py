"""Local files and object storage: open them again for each attempt, and write them atomically."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_polyteia.client.file_sink import write_failed
from airflow_provider_polyteia.client.json_values import to_encodable
from airflow_provider_polyteia.client.multipart import UploadSource
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import ObjectStoragePath

    AnyPath = str | os.PathLike[str] | ObjectStoragePath

log = logging.getLogger(__name__)

_MAX_NAME = 50  # characters of a file's name that its temporary name keeps


def is_local(path: Any) -> bool:
    """Return True for a path of this machine, False for one in object storage, which is a `Path` too on Airflow 2."""
    return isinstance(path, Path) and not hasattr(type(path), "fs")  # of the class: on the path it loads the storage


def to_path(path: AnyPath) -> Any:
    """Return a `Path`, or an `ObjectStoragePath` for URLs.

    :raises PolyteiaConfigurationError: if the storage is not known or not installed.
    """
    if isinstance(path, str) and "://" in path:
        from airflow.providers.common.compat.sdk import ObjectStoragePath  # noqa: PLC0415 - imports fsspec

        try:
            return ObjectStoragePath(path)
        except (ValueError, ImportError) as error:
            raise PolyteiaConfigurationError(f"{path!r} is not a supported storage URL: {reason(error)}.") from error
    return Path(path) if isinstance(path, str) else path


def display_name(path: Any) -> str:
    """Return a path or file name as valid text, for the platform, logs and XCom.

    The operating system may hand over names that are not UTF-8, e.g. from a share with Latin-1 names. Each byte that
    cannot be decoded becomes U+FFFD.
    """
    name: str = to_encodable(str(path))
    return name


def open_source(source: AnyPath | IO[bytes], filename: str | None = None) -> UploadSource:
    """Return what is to be uploaded.

    :param source: a path; a URL such as ``s3://conn_id@bucket/key``; an `ObjectStoragePath`; or a seekable binary file
        object, which is read from its current position.
    :param filename: file name for the platform. Default: its own name.
    :raises PolyteiaConfigurationError: if the storage is not supported, or the source cannot be read more than once.
    :raises PolyteiaError: if the source does not exist or is not reachable; that may change, so the task may be
        retried.
    """
    if hasattr(source, "read"):
        return _open_file_object(source, filename)
    path = to_path(source)
    try:
        size = path.stat().st_size
        is_file = path.is_file()
    except OSError as error:
        raise PolyteiaError(f"{str(path)!r} cannot be uploaded: {reason(error)}.", not_applied=True) from error
    except (ValueError, ImportError) as error:  # the storage is not known or not installed
        raise PolyteiaConfigurationError(f"{str(path)!r} cannot be uploaded: {reason(error)}.") from error
    if not is_file:
        raise PolyteiaConfigurationError(f"{str(path)!r} cannot be uploaded: it is not a file.")
    return UploadSource(display_name(filename or path.name), size, lambda: path.open("rb"))


def _open_file_object(file: Any, filename: str | None) -> UploadSource:
    if not (hasattr(file, "seekable") and file.seekable()):
        raise PolyteiaConfigurationError(
            "The file object is not seekable, so it could not be resent after a connection error. Save it to a file "
            "first."
        )
    start = file.tell()
    if not isinstance(file.read(0), bytes):
        raise PolyteiaConfigurationError("The file object is opened in text mode; open it in binary mode ('rb').")
    size = file.seek(0, os.SEEK_END) - start

    @contextmanager
    def rewound() -> Iterator[IO[bytes]]:
        file.seek(start)
        yield file

    own_name = getattr(file, "name", None)
    name = filename or (Path(own_name).name if isinstance(own_name, str) else "data")
    return UploadSource(display_name(name), size, rewound)


@contextmanager
def atomic_write(path: Any) -> Iterator[IO[bytes]]:
    """Open a file under a temporary name beside `path`; rename it to `path` at the end, or remove it after an error.

    :raises PolyteiaConfigurationError: if the storage is not known or not installed.
    :raises PolyteiaError: if the file cannot be written completely; that may change, so the task may be retried.
    """
    try:
        storage = _LocalFile(path) if is_local(path) else _StoredObject(path)
        file = storage.open()
    except (ValueError, ImportError) as error:  # the storage is not known or not installed
        raise PolyteiaConfigurationError(f"{str(path)!r} cannot be written: {reason(error)}.") from error
    except Exception as error:  # whatever a storage layer raises
        is_directory_missing = isinstance(error, FileNotFoundError) and is_local(path)
        why = "its directory does not exist on this worker" if is_directory_missing else reason(error)
        raise PolyteiaError(f"{str(path)!r} cannot be written: {why}.", not_applied=True) from error
    is_committed = False
    try:
        with file:
            yield file
        storage.commit()
        is_committed = True
    except PolyteiaError:
        raise
    except Exception as error:  # whatever a storage layer raises
        raise write_failed(str(path), error) from error
    finally:
        if not is_committed:
            _discard(storage, path)


def _discard(storage: _LocalFile | _StoredObject, path: Any) -> None:
    """Remove the partial file; a failure to do so must not hide the error that made it necessary."""
    try:
        storage.discard()
    except Exception:
        log.warning("A temporary file may be left beside %r.", str(path), exc_info=True)


class _LocalFile:
    """A temporary file beside a path of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # a link stays a link
        self._temp_path = self._path.with_name(_temp_name(path.name))

    def open(self) -> IO[bytes]:
        return self._temp_path.open("xb")

    def commit(self) -> None:
        if self._path.exists():
            shutil.copymode(self._path, self._temp_path)
        self._temp_path.replace(self._path)

    def discard(self) -> None:
        self._temp_path.unlink(missing_ok=True)


class _StoredObject:
    """A temporary object beside one in a storage that Airflow reaches through fsspec."""

    def __init__(self, path: ObjectStoragePath) -> None:
        self._fs = path.fs
        self._path: str = path.path
        parent, slash, name = self._path.rpartition("/")
        self._temp_path = f"{parent}{slash}{_temp_name(name)}"

    def open(self) -> Any:
        return self._fs.open(self._temp_path, "wb")

    def commit(self) -> None:
        self._fs.mv(self._temp_path, self._path)

    def discard(self) -> None:
        if self._fs.exists(self._temp_path):
            self._fs.rm_file(self._temp_path)


def _temp_name(name: str) -> str:
    return f".{name[:_MAX_NAME]}.{secrets.token_hex(4)}.part"


def reason(error: Exception) -> str:
    """Return why a storage failed, in few words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
