"""Replaces a local file as a whole, and leaves nothing beside it, even if the process is killed.

Theory of operation
-------------------
The new content is written to a file without a name (``O_TMPFILE``), which disappears with its process. When it is
complete, it gets a temporary name, because a link cannot replace a file, and is renamed. Where the file system has no
files without a name, it has the temporary name from the beginning.

A process that is killed while its file has a temporary name leaves it behind. So the next export to the same
destination removes it, unless a process still holds its lock (``flock``). Without locks, as on some network file
systems, nothing is removed. Where locks are not shared between machines (NFS mounted with ``nolock``), two exports to
one destination at the same time must not run on different machines.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import shutil
import stat
from typing import IO, TYPE_CHECKING

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_MAX_NAME = 50  # characters of a file's name that its temporary name keeps
_MODE = 0o666  # less the process's umask
_CLOSED = -1  # no descriptor
_KINDS = {
    stat.S_ISDIR: "a directory",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


class LocalFile:
    """The next content of a local file.

    A link to a file stays a link, and the file that it leads to is replaced. The file keeps its permissions.

    :param path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._given = path
        self._path = path.resolve()
        self._temp_path: Path | None = None
        self._descriptor = _CLOSED  # keeps content and lock until the file is replaced

    def open(self) -> IO[bytes]:
        """Open the content for writing.

        :raises PolyteiaConfigurationError: if the path leads to something that is not a file.
        :raises OSError: if it cannot be written there.
        """
        self._check_replaceable()
        _remove_leftovers(self._path)
        self._descriptor = _create_unnamed(self._path.parent)
        if self._descriptor == _CLOSED:
            self._descriptor, self._temp_path = _create_named(self._path)
        return os.fdopen(os.dup(self._descriptor), "wb")

    def commit(self) -> None:
        """Replace the file. Its content must have been closed.

        :raises PolyteiaConfigurationError: if the path now leads to something that is not a file.
        :raises OSError: if it cannot be replaced.
        """
        self._check_replaceable()
        if self._temp_path is None:
            self._temp_path = self._name_content()
        if self._path.exists():
            os.fchmod(self._descriptor, stat.S_IMODE(self._path.stat().st_mode))
        self._temp_path.replace(self._path)
        self._close()

    def discard(self) -> None:
        """Remove the content.

        :raises OSError: if it cannot be removed.
        """
        try:
            if self._temp_path is not None:
                self._temp_path.unlink(missing_ok=True)
        finally:
            self._close()

    def _check_replaceable(self) -> None:
        try:
            mode = self._given.stat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISREG(mode):
            kind = next((name for is_kind, name in _KINDS.items() if is_kind(mode)), "something else")
            raise PolyteiaConfigurationError(
                f"{str(self._given)!r} cannot be written: it is {kind}, not a file. Set the destination to the path of "
                "a file."
            )

    def _name_content(self) -> Path:
        """Give the content a temporary name, and return it."""
        temp_path = self._path.with_name(temp_name(self._path.name))
        content = f"/proc/self/fd/{self._descriptor}"
        try:
            # With `src_dir_fd` Python calls linkat, which can follow this link; with an absolute path it is not used.
            os.link(content, temp_path, src_dir_fd=self._descriptor, follow_symlinks=True)
        except OSError as error:
            log.debug("A file without a name could not be linked, so it is copied: %s", error)
            return self._copy()
        return temp_path

    def _copy(self) -> Path:
        """Continue with a copy of the content that has a temporary name, and return it."""
        with os.fdopen(self._descriptor, "rb") as content:
            self._descriptor, self._temp_path = _create_named(self._path)
            content.seek(0)
            with os.fdopen(os.dup(self._descriptor), "wb") as copy:
                shutil.copyfileobj(content, copy)
        return self._temp_path

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)


def _create_unnamed(folder: Path) -> int:
    """Return the descriptor of a new file without a name; `_CLOSED` where that is not possible."""
    unnamed: int | None = getattr(os, "O_TMPFILE", None)  # of Linux
    if unnamed is None:
        return _CLOSED
    try:
        descriptor = os.open(folder, unnamed | os.O_RDWR, _MODE)
    except OSError:  # the error differs between file systems; what else may be wrong, a file with a name shows
        return _CLOSED
    _lock(descriptor)
    return descriptor


def _create_named(path: Path) -> tuple[int, Path]:
    """Return the descriptor and the name of a new file beside `path`, which is locked."""
    while True:
        temp_path = path.with_name(temp_name(path.name))
        descriptor = os.open(temp_path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE)
        _lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temp_path
        os.close(descriptor)  # another export took it for a leftover before it was locked


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:  # a file system without locks, where no leftover is removed either
        log.debug("A temporary file could not be locked: %s", error)


def temp_name(name: str) -> str:
    """Return a name for the content of a file until it is complete."""
    return f".{name[:_MAX_NAME]}.{secrets.token_hex(4)}.part"


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of exports to `path` whose processes were killed."""
    pattern = re.compile(re.escape(f".{path.name[:_MAX_NAME]}.") + r"[0-9a-f]{8}\.part")
    try:
        found = [beside for beside in path.parent.iterdir() if pattern.fullmatch(beside.name)]
    except PermissionError:  # files can be written in a folder that cannot be listed
        return
    for leftover in found:
        try:
            _remove_unlocked(leftover)
        except (BlockingIOError, FileNotFoundError):  # another process is writing it, or has just finished
            continue
        except OSError as error:
            log.warning(
                "%r may be left over from a killed export, but could not be removed: %s", str(leftover), error.strerror
            )
        else:
            log.info("Removed %r, which was left over from a killed export.", str(leftover))


def _remove_unlocked(path: Path) -> None:
    """Remove a file that no process has locked.

    :raises BlockingIOError: if one has.
    :raises OSError: if it cannot be removed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)
