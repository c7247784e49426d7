"""Where `PolyteiaHook` reads files from and writes them to: paths, object storage, and open files."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypedDict

from airflow_provider_polyteia.client.formats import PARQUET, PARQUET_MAGIC, by_extension, media_type
from airflow_provider_polyteia.client.multipart import Source
from airflow_provider_polyteia.client.sql import Datasets, refer
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_polyteia.client.sync import PolyteiaClient

    AnyPath = str | os.PathLike[str] | ObjectStoragePath

log = logging.getLogger(__name__)

_LONGEST_NAME = 50  # characters of a file's name that its temporary name has, too


class Uploaded(TypedDict):
    """What an upload tells: which dataset, and what was sent. JSON, so a task may return it.

    `rows` is known of Parquet files, where pyarrow is installed.
    """

    dataset_id: str
    bytes: int
    rows: int | None
    content_type: str
    filename: str


class Exported(TypedDict):
    """What an export tells: the file, and from which datasets it comes. JSON, so a task may return it.

    `rows` is known of Parquet files, where pyarrow is installed.
    """

    path: str
    bytes: int
    rows: int | None
    content_type: str
    datasets: list[str]


def upload(
    client: PolyteiaClient,
    dataset_id: str,
    source: AnyPath | IO[bytes],
    *,
    content_type: str | None = None,
    filename: str | None = None,
    timeout: float | None = None,
) -> Uploaded:
    """Replace a dataset's data with a file; see `PolyteiaHook.upload_dataset`."""
    from airflow_provider_polyteia.client.upload import upload as send  # noqa: PLC0415 - imports tenacity

    found = source_of(source, filename)
    own_name = found.name if hasattr(source, "read") else path_of(source).name
    kind = content_type or by_extension(own_name, "content_type")
    rows = _parquet_rows(found) if media_type(kind) == PARQUET else None
    send(client, dataset_id, found, kind, timeout=timeout)
    return {
        "dataset_id": dataset_id,
        "bytes": found.size,
        "rows": rows,
        "content_type": kind,
        "filename": found.name,
    }


def export(
    client: PolyteiaClient,
    sql: str,
    datasets: Datasets,
    destination: AnyPath,
    *,
    args: Sequence[Any] | None = None,
    content_type: str | None = None,
    timeout: float | None = None,
) -> Exported:
    """Write the result of a query into a file; see `PolyteiaHook.export`."""
    from airflow_provider_polyteia.client.download import export as fetch  # noqa: PLC0415 - imports tenacity

    statement, ids = refer(sql, datasets)
    path = path_of(destination)
    kind = content_type or by_extension(path.name, "format")
    params = {"sql": statement, "datasets": ids, "args": list(args or ()), "format": kind}
    size = fetch(client, params, lambda: writing(path), str(path), timeout=timeout)
    rows = _rows_exported(path) if media_type(kind) == PARQUET else None
    return {"path": str(path), "bytes": size, "rows": rows, "content_type": kind, "datasets": ids}


def _rows_exported(path: Any) -> int | None:
    """Count the rows of a file that is complete as far as it can be told; whoever reads it may know better."""
    try:
        return _parquet_rows(source_of(path))
    except PolyteiaError as error:
        log.warning("The rows of %s cannot be counted: %s", path, error.__cause__ or error)
        return None


def is_local(path: Any) -> bool:
    """Tell a path of this machine from one in an object storage, which is a `Path` too on Airflow 2."""
    return isinstance(path, Path) and not hasattr(type(path), "fs")  # of the class: asking the path loads the storage


def path_of(path: AnyPath) -> Any:
    """Return a `Path`, or an `ObjectStoragePath` for URLs.

    :raises PolyteiaConfigurationError: if no such storage is known or installed.
    """
    if isinstance(path, str) and "://" in path:
        from airflow.providers.common.compat.sdk import ObjectStoragePath  # noqa: PLC0415 - imports fsspec

        try:
            return ObjectStoragePath(path)
        except (ValueError, ImportError) as error:
            raise PolyteiaConfigurationError(f"{path!r} leads to no storage: {_reason(error)}.") from error
    return Path(path) if isinstance(path, str) else path


def source_of(source: AnyPath | IO[bytes], filename: str | None = None) -> Source:
    """Look at what is to be uploaded.

    :param source: a path; a URL such as ``s3://conn_id@bucket/key``; an `ObjectStoragePath`; or a binary file object
        that can seek, which is read from where it stands.
    :param filename: its name for the platform; None: its own.
    :raises PolyteiaConfigurationError: if it leads to no storage, or cannot be read more than once.
    :raises PolyteiaError: if it is not there, or not to be reached; that may change, so the task may be retried.
    """
    if hasattr(source, "read"):
        return _open_file(source, filename)
    path = path_of(source)
    try:
        size = path.stat().st_size
        is_file = path.is_file()
    except OSError as error:
        raise PolyteiaError(f"{str(path)!r} cannot be uploaded: {_reason(error)}.", no_effect=True) from error
    except (ValueError, ImportError) as error:  # no such storage is known or installed
        raise PolyteiaConfigurationError(f"{str(path)!r} cannot be uploaded: {_reason(error)}.") from error
    if not is_file:
        raise PolyteiaConfigurationError(f"{str(path)!r} cannot be uploaded: it is not a file.")
    return Source(filename or path.name, size, lambda: path.open("rb"))


def _open_file(file: Any, filename: str | None) -> Source:
    if not (hasattr(file, "seekable") and file.seekable()):
        raise PolyteiaConfigurationError(
            "The file object given cannot seek, so it could not be sent again if the connection broke off. Save it to "
            "a file first."
        )
    start = file.tell()
    if not isinstance(file.read(0), bytes):
        raise PolyteiaConfigurationError("The file object given is open as text; open it in binary mode ('rb').")
    size = file.seek(0, os.SEEK_END) - start

    @contextmanager
    def rewound() -> Iterator[IO[bytes]]:
        file.seek(start)
        yield file

    own_name = getattr(file, "name", None)
    return Source(filename or (Path(own_name).name if isinstance(own_name, str) else "data"), size, rewound)


def _parquet_rows(source: Source) -> int | None:
    """Check both ends of a Parquet file; return how many rows it has, where that can be read.

    :raises PolyteiaError: if it is none, or not complete, e.g. because it is still being written.
    """
    try:
        with source.open() as file:
            return _rows_in(file, source.size)
    except ValueError as error:
        raise PolyteiaError(
            f"{source.name!r} is no complete Parquet file. Let the task begin when it is written to its end, or name "
            "its format with the argument 'content_type'.",
            no_effect=True,
        ) from error
    except Exception as error:  # whatever a storage layer raises
        raise PolyteiaError(f"{source.name!r} cannot be read: {_reason(error)}.", no_effect=True) from error


def _rows_in(file: IO[bytes], size: int) -> int | None:
    """Return the number of rows; None where pyarrow is not installed.

    :raises ValueError: if it is no complete Parquet file.
    """
    magic = len(PARQUET_MAGIC)
    begin = file.read(magic)
    file.seek(max(0, size - 2 * magic), os.SEEK_CUR)
    if not begin == file.read(magic) == PARQUET_MAGIC:
        raise ValueError("one of its ends is missing")
    if find_spec("pyarrow") is None:
        return None
    import pyarrow as pa  # noqa: PLC0415 - heavy, and optional
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    try:
        return int(pq.read_metadata(file).num_rows)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


@contextmanager
def writing(path: Any) -> Iterator[IO[bytes]]:
    """Open a file under a temporary name beside `path`; rename it to `path` at the end, or remove it after an error.

    :raises PolyteiaConfigurationError: if it leads to a storage that is not known or installed.
    :raises PolyteiaError: if it cannot be written, or not to its end; that may change, so the task may be retried.
    """
    from airflow_provider_polyteia.client.transfer import unwritable  # noqa: PLC0415 - imports tenacity

    try:
        storage = _Local(path) if is_local(path) else _ObjectStorage(path)
        file = storage.open()
    except (ValueError, ImportError) as error:  # no such storage is known or installed
        raise PolyteiaConfigurationError(f"{str(path)!r} cannot be written: {_reason(error)}.") from error
    except Exception as error:  # whatever a storage layer raises
        is_folder_missing = isinstance(error, FileNotFoundError) and is_local(path)
        reason = "its folder does not exist on this worker" if is_folder_missing else _reason(error)
        raise PolyteiaError(f"{str(path)!r} cannot be written: {reason}.", no_effect=True) from error
    is_kept = False
    try:
        with file:
            yield file
        storage.keep()
        is_kept = True
    except PolyteiaError:
        raise
    except Exception as error:  # as above
        raise unwritable(str(path), error) from error
    finally:
        if not is_kept:
            _remove_rest(storage, path)


def _remove_rest(storage: _Local | _ObjectStorage, path: Any) -> None:
    """Remove what was written so far; that this fails must not hide why it had to be."""
    try:
        storage.remove_rest()
    except Exception:
        log.warning("A temporary file may be left beside %s.", path, exc_info=True)


class _Local:
    """A temporary file beside a path of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # a link stays a link
        self._part = self._path.with_name(_temporary_name(path.name))

    def open(self) -> IO[bytes]:
        return self._part.open("xb")

    def keep(self) -> None:
        if self._path.exists():
            shutil.copymode(self._path, self._part)
        self._part.replace(self._path)

    def remove_rest(self) -> None:
        self._part.unlink(missing_ok=True)


class _ObjectStorage:
    """A temporary object beside one in a storage that Airflow reaches through fsspec."""

    def __init__(self, path: ObjectStoragePath) -> None:
        self._fs = path.fs
        self._path: str = path.path
        parent, slash, name = self._path.rpartition("/")
        self._part = f"{parent}{slash}{_temporary_name(name)}"

    def open(self) -> Any:
        return self._fs.open(self._part, "wb")

    def keep(self) -> None:
        self._fs.mv(self._part, self._path)

    def remove_rest(self) -> None:
        if self._fs.exists(self._part):
            self._fs.rm_file(self._part)


def _temporary_name(name: str) -> str:
    return f".{name[:_LONGEST_NAME]}.{secrets.token_hex(4)}.part"


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
