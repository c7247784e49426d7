"""Versions of files and objects, to notice one that is changed or replaced while it is read.

A version consists of what the file system or the storage shows: two that differ are certainly not the same content. Of
a storage that shows nothing, such as a buffer in memory, all versions are equal, and only the size is compared.
"""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable

    Version: TypeAlias = Hashable

# As fsspec's file systems name what changes with an object. `created` is the last write where objects are immutable.
_FIELDS = (
    "ETag",
    "etag",
    "generation",
    "md5Hash",
    "VersionId",
    "version_id",
    "mtime",
    "modified",
    "modify",
    "modificationTime",
    "LastModified",
    "last_modified",
    "created",
    "size",
)


def of_status(status: os.stat_result) -> Version:
    """Return the version of a local file: which file it is, its size in bytes, and when it was written."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def of_open_file(file: IO[bytes]) -> Version:
    """Return the version of a local file that is open.

    :raises OSError: if `file` is not one of the operating system.
    """
    return of_status(os.fstat(file.fileno()))


def of_object(fs: Any, path: str) -> Version:
    """Return the version of an object, as its storage shows it now.

    :param fs: of fsspec.
    :raises OSError: if it does not exist or is not reachable.
    """
    fs.invalidate_cache(path)
    info = fs.info(path)
    return tuple((name, str(info[name])) for name in _FIELDS if info.get(name) is not None)


def of_file_object(file: Any) -> Version:
    """Return the version of what a file object reads; None if nothing shows it, as with a buffer in memory."""
    try:
        return of_open_file(file)
    except (AttributeError, io.UnsupportedOperation):
        is_object = hasattr(file, "fs") and hasattr(file, "path")  # of fsspec
        return of_object(file.fs, file.path) if is_object else None
