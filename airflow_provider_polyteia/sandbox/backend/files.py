"""Uploaded files: received in a temporary file, then stored in one step."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Files:
    """A directory of immutable files. Records refer to them by name.

    :param root: Directory for the files. Default: a temporary directory, which `close` removes.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._temporary = root is None
        self.root = root or Path(tempfile.mkdtemp(prefix="polyteia-sandbox-"))
        self._stored = self.root / "files"
        self._work = self.root / "work"
        shutil.rmtree(self._work, ignore_errors=True)
        self._stored.mkdir(parents=True, exist_ok=True)
        self._work.mkdir()

    def path(self, name: str) -> Path:
        """Return the path of a stored file."""
        return self._stored / name

    @contextmanager
    def receiving(self) -> Iterator[Path]:
        """Return a path for a temporary file. The file is removed at the end of the block unless it was stored."""
        path = self._work / uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def store(self, received: Path) -> str:
        """Store a received file and return its name."""
        received.rename(self._stored / received.name)
        return received.name

    def remove(self, name: str) -> None:
        """Remove a stored file."""
        (self._stored / name).unlink(missing_ok=True)

    def prune(self, names: set[str]) -> None:
        """Remove all stored files except these, for instance the files of an upload that was killed."""
        for path in self._stored.iterdir():
            if path.name not in names:
                path.unlink()

    @contextmanager
    def snapshot(self, names: Mapping[str, str]) -> Iterator[dict[str, Path]]:
        """Return hard links to stored files, which stay readable when an upload replaces the files.

        :param names: Names of stored files by key; the paths returned have the same keys.
        """
        directory = Path(tempfile.mkdtemp(dir=self._work))
        try:
            for key, name in names.items():
                (directory / key).hardlink_to(self._stored / name)
            yield {key: directory / key for key in names}
        finally:
            shutil.rmtree(directory)

    def close(self) -> None:
        """Remove temporary files and directories."""
        shutil.rmtree(self.root if self._temporary else self._work, ignore_errors=True)


def sha256(path: Path) -> str:
    """Return the checksum of a file as a hexadecimal string."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
