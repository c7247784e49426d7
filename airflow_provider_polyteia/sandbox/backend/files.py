"""The uploaded bytes: arriving in a temporary file, becoming a dataset's data in one step."""

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
    """A directory of immutable files, each named by the record that refers to it.

    :param root: directory; None takes a temporary one that `close` removes.
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
        """Where the stored file of this name is."""
        return self._stored / name

    @contextmanager
    def arriving(self) -> Iterator[Path]:
        """A path to receive a file at; what is still there in the end is removed."""
        path = self._work / uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, arrived: Path) -> str:
        """Take the received file in; returns the name it is stored under."""
        arrived.rename(self._stored / arrived.name)
        return arrived.name

    def drop(self, name: str) -> None:
        """Remove a stored file."""
        (self._stored / name).unlink(missing_ok=True)

    def drop_all_but(self, names: set[str]) -> None:
        """Remove what a killed sandbox left behind."""
        for path in self._stored.iterdir():
            if path.name not in names:
                path.unlink()

    @contextmanager
    def snapshot(self, names: Mapping[str, str]) -> Iterator[dict[str, Path]]:
        """Second names for stored files (key -> path): they stay readable when an upload replaces them."""
        directory = Path(tempfile.mkdtemp(dir=self._work))
        try:
            for key, name in names.items():
                (directory / key).hardlink_to(self._stored / name)
            yield {key: directory / key for key in names}
        finally:
            shutil.rmtree(directory)

    def close(self) -> None:
        """Remove what is temporary."""
        shutil.rmtree(self.root if self._temporary else self._work, ignore_errors=True)


def sha256(path: Path) -> str:
    """Checksum of a file, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
