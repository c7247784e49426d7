"""Temporary files without a name, which disappear with the process."""

from __future__ import annotations

import os
import tempfile
from typing import IO

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError, log_cause

_PROBE_BYTES = 1024 * 1024


def open_temporary(directory: str | None) -> IO[bytes]:
    """Create a temporary file.

    :param directory: where. Default: the system's temporary directory.
    :raises PolyteiaConfigurationError: if that is not possible there.
    """
    try:
        return tempfile.TemporaryFile(dir=directory)
    except OSError as error:
        log_cause(error)
        raise PolyteiaConfigurationError(
            f"Cannot create a temporary file in {directory or tempfile.gettempdir()!r}: {error.strerror}. Set "
            "'temp_dir' to a different directory."
        ) from None


def path_of(file: IO[bytes]) -> str:
    """Return a path under which a file without a name can be opened again in this process."""
    return f"/dev/fd/{file.fileno()}"


def check_writable(file: IO[bytes], directory: str | None) -> None:
    """Check that a temporary file can still grow.

    :param directory: in which it was created.
    :raises PolyteiaError: if not, e.g. because the disk is full.
    """
    end = os.fstat(file.fileno()).st_size + _PROBE_BYTES
    try:
        while missing := end - os.fstat(file.fileno()).st_size:
            os.pwrite(file.fileno(), bytes(missing), end - missing)
    except OSError as error:
        log_cause(error)
        raise write_failed(directory, error) from None


def write_failed(directory: str | None, error: Exception) -> PolyteiaError:
    """Return the exception for a temporary file that cannot be written."""
    why = getattr(error, "strerror", None) or error
    return PolyteiaError(
        f"The temporary file in {directory or tempfile.gettempdir()!r} could not be written: {why}. Nothing was "
        "uploaded. Free up space or set 'temp_dir' to another directory.",
        not_applied=True,
    )
