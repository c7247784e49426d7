"""Local files and object storage: open them again for each attempt, and write them atomically.

`versions` notices a source that is changed while it is read; `local_file` replaces a local file.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from airflow_provider_polyteia.client.file_sink import write_failed
from airflow_provider_polyteia.client.json_values import to_encodable
from airflow_provider_polyteia.client.multipart import UploadSource
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError, log_cause
from airflow_provider_polyteia.storage import versions
from airflow_provider_polyteia.storage.local_file import LocalFile, temp_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_polyteia.storage.versions import Version

    AnyPath = str | os.PathLike[str] | ObjectStoragePath

log = logging.getLogger(__name__)

# What grants access to a URL by itself.
_PASSWORD = re.compile(r"(://[^/@:\s]*:)([^/\s]+)(?=@)")  # which may contain an @
_QUERY = re.compile(r"(https?://[^?\s'\"]*\?)([^\s'\"]+)")


def is_local(path: Any) -> bool:
    """Return True for a path of this machine, False for one in object storage, which is a `Path` too on Airflow 2."""
    return isinstance(path, Path) and not hasattr(type(path), "fs")  # of the class: on the path it loads the storage


def to_path(path: AnyPath) -> Any:
    """Return a `Path`, or an `ObjectStoragePath` for URLs, and mask in the task log what grants access to a URL.

    :raises PolyteiaConfigurationError: if the storage is not known or not installed.
    """
    if not is_local(path) and "://" in str(path):
        _mask_secrets(str(path))
    if isinstance(path, str) and "://" in path:
        from airflow.providers.common.compat.sdk import ObjectStoragePath  # noqa: PLC0415 - imports fsspec

        try:
            return ObjectStoragePath(path)
        except (ValueError, ImportError) as error:
            log_cause(error)
            raise PolyteiaConfigurationError(
                f"{public_name(path)!r} is not a supported storage URL: {reason(error)}."
            ) from None
    return Path(path) if isinstance(path, str) else path


def _local_path(path: Any) -> Path | None:
    """Return a path of this machine, also if it was given as a URL; None for one in object storage."""
    if is_local(path):
        return Path(path)
    return Path(path.path) if path.protocol in ("file", "local") else None


def display_name(path: Any) -> str:
    """Return a path or file name as valid text, for the platform, logs and XCom.

    The operating system may hand over names that are not UTF-8, e.g. from a share with Latin-1 names. Each byte that
    cannot be decoded becomes U+FFFD.
    """
    name: str = to_encodable(str(path))
    return name


def public_name(path: Any) -> str:
    """Return `display_name` without the password and the query of a URL, such as a presigned one: they grant access."""
    return _without_secrets(display_name(path))


def _without_secrets(text: str) -> str:
    return _QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***", text))


def _mask_secrets(url: str) -> None:
    """Mask them for the storage libraries, which repeat the URL in what they log and raise."""
    from airflow.providers.common.compat.sdk import mask_secret  # noqa: PLC0415 - few paths are URLs

    for found in (_PASSWORD.search(url), _QUERY.search(url)):
        if found:
            for secret in {found[2], unquote(found[2])}:
                mask_secret(secret)


def file_name(path: Any) -> str:
    """Return the name of a file without the query of its URL, which may be presigned."""
    name: str = path.name
    # In object storage, a question mark belongs to the name.
    return name.partition("?")[0] if getattr(path, "protocol", "") in ("http", "https") else name


def open_source(source: AnyPath | IO[bytes], filename: str | None = None) -> UploadSource:
    """Return what is to be uploaded.

    :param source: a path; a URL such as ``s3://conn_id@bucket/key``; an `ObjectStoragePath`; or a seekable binary file
        object, which is read from its current position.
    :param filename: file name for the platform. Default: its own name.
    :return: the source, which raises PolyteiaError when it is read if it has been changed or replaced since now.
    :raises PolyteiaConfigurationError: if the storage is not supported, or the source cannot be read more than once.
    :raises PolyteiaError: if the source does not exist or is not reachable; that may change, so the task may be
        retried.
    """
    if hasattr(source, "read"):
        return _open_file_object(source, filename)
    path = to_path(source)
    try:
        local = _local_path(path)
        version = versions.of_object(path.fs, path.path) if local is None else versions.of_status(local.stat())
        size = path.stat().st_size
        is_file = path.is_file()
    except OSError as error:
        log_cause(error)
        raise PolyteiaError(f"{public_name(path)!r} cannot be uploaded: {reason(error)}.", not_applied=True) from None
    except (ValueError, ImportError) as error:  # the storage is not known or not installed
        log_cause(error)
        raise PolyteiaConfigurationError(f"{public_name(path)!r} cannot be uploaded: {reason(error)}.") from None
    if not is_file:
        raise PolyteiaConfigurationError(f"{public_name(path)!r} cannot be uploaded: it is not a file.")
    name = display_name(filename or file_name(path))
    if local is None:
        opened = _unchanged(name, lambda: path.open("rb"), version, lambda _: versions.of_object(path.fs, path.path))
    else:
        opened = _unchanged(name, lambda: local.open("rb"), version, versions.of_open_file)
    return UploadSource(name, size, opened)


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
    name = display_name(filename or (Path(own_name).name if isinstance(own_name, str) else "data"))
    opened = _unchanged(name, rewound, versions.of_file_object(file), versions.of_file_object)
    return UploadSource(name, size, opened)


def _unchanged(
    name: str,
    open_source: Callable[[], AbstractContextManager[IO[bytes]]],
    version: Version,
    read_version: Callable[[IO[bytes]], Version],
) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    """Return `open_source` with a check, before and after reading, that the version is still the same."""

    def check(file: IO[bytes]) -> None:
        if read_version(file) != version:
            raise PolyteiaError(
                f"{name!r} was changed or replaced while it was read, so it was not uploaded. The dataset is "
                "unchanged. Run the task after the file is complete."
            )

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with open_source() as file:
            check(file)
            yield file
            check(file)

    return opened


@contextmanager
def atomic_write(path: Any) -> Iterator[IO[bytes]]:
    """Open a file that replaces `path` as a whole at the end, and is removed after an error.

    A link to a local file stays a link, and the file that it leads to is replaced.

    :raises PolyteiaConfigurationError: if the storage is not known or not installed, or the path is that of something
        else than a file, such as a directory, a named pipe or a device.
    :raises PolyteiaError: if the file cannot be written completely; that may change, so the task may be retried.
    """
    with _explained(path):
        local = _local_path(path)
        storage = _StoredObject(path) if local is None else LocalFile(local)
        file = storage.open()
    is_committed = False
    try:
        with file:
            yield file
        storage.commit()
        is_committed = True
    except PolyteiaError:
        raise
    except Exception as error:  # noqa: BLE001 - a storage layer may raise anything
        log_cause(error)
        raise write_failed(public_name(path), error) from None
    finally:
        if not is_committed:
            _discard(storage, path)


def check_destination(path: Any) -> None:
    """Check what can be checked before there is content to write. An object is created only by writing it.

    :raises PolyteiaConfigurationError: as `atomic_write`.
    :raises PolyteiaError: as `atomic_write`.
    """
    with _explained(path):
        local = _local_path(path)
        if local is None:
            _StoredObject(path)
            return
        file = LocalFile(local)
        file.open().close()
        file.discard()


@contextmanager
def _explained(path: Any) -> Iterator[None]:
    """Raise our exceptions for those of opening a file for writing."""
    try:
        yield
    except PolyteiaError:
        raise
    except (ValueError, ImportError) as error:  # the storage is not known or not installed
        log_cause(error)
        raise PolyteiaConfigurationError(f"{public_name(path)!r} cannot be written: {reason(error)}.") from None
    except Exception as error:  # noqa: BLE001 - a storage layer may raise anything
        is_directory_missing = isinstance(error, FileNotFoundError) and _local_path(path) is not None
        why = "its directory does not exist on this worker" if is_directory_missing else reason(error)
        log_cause(error)
        raise PolyteiaError(f"{public_name(path)!r} cannot be written: {why}.", not_applied=True) from None


def _discard(storage: LocalFile | _StoredObject, path: Any) -> None:
    """Remove the partial file; a failure to do so must not hide the error that made it necessary."""
    try:
        storage.discard()
    except Exception as error:  # noqa: BLE001 - a storage layer may raise anything
        log.warning("A temporary file may be left beside %r: %s", public_name(path), reason(error))
        log_cause(error)


class _StoredObject:
    """A temporary object beside one in a storage that Airflow reaches through fsspec."""

    def __init__(self, path: ObjectStoragePath) -> None:
        self._fs = path.fs
        self._path: str = path.path
        parent, slash, name = self._path.rpartition("/")
        self._temp_path = f"{parent}{slash}{temp_name(name)}"

    def open(self) -> Any:
        if self._fs.isdir(self._path):  # it would be moved into it
            raise PolyteiaConfigurationError(
                f"{self._path!r} cannot be written: it is a directory, not a file. Set the destination to the path of "
                "a file."
            )
        return self._fs.open(self._temp_path, "wb")

    def commit(self) -> None:
        self._fs.mv(self._temp_path, self._path)

    def discard(self) -> None:
        if self._fs.exists(self._temp_path):
            self._fs.rm_file(self._temp_path)


def reason(error: Exception) -> str:
    """Return why a storage failed, in few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _without_secrets(f"{type(error).__name__}: {error}")
