"""The platform: its records and files, and the view that a caller has of them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend import tabular
from airflow_provider_polyteia.sandbox.backend.access import Access, Caller, TokenStore
from airflow_provider_polyteia.sandbox.backend.columns import with_columns
from airflow_provider_polyteia.sandbox.backend.errors import forbidden, not_found
from airflow_provider_polyteia.sandbox.backend.files import Files
from airflow_provider_polyteia.sandbox.backend.store import Record, Store, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_polyteia.sandbox.options import Options


@dataclass(frozen=True)
class UploadTarget:
    """What an upload token stands for: a dataset whose data is replaced, or an image of a report.

    :param kind: "dataset" or "image".
    :param report_id: Report to which an image belongs. Empty for a dataset.
    """

    kind: str
    record_id: str
    content_type: str
    report_id: str = ""


@dataclass(frozen=True)
class Export:
    """What an export token stands for: a query, and the MIME type of the file with its rows."""

    sql: str
    datasets: tuple[str, ...]
    args: tuple[object, ...]
    content_type: str


class Platform:
    """The state of one sandbox.

    :raises RuntimeError: if another sandbox uses the data directory.

    :ivar base_url: URL at which the platform is served, for URLs in responses. Set by the server.
    :ivar unacknowledged_solutions: Ids of solutions whose data processing terms are not acknowledged.
    :ivar file_stats: Row counts and checksums by the name of the stored file; see `summaries`.
    """

    def __init__(self, options: Options) -> None:
        data_dir = Path(options.data_dir) if options.data_dir is not None else None
        if data_dir:
            data_dir.mkdir(parents=True, exist_ok=True)
        self.options = options
        self.store = Store(data_dir / "records.sqlite" if data_dir else None)
        self.files = Files(data_dir)
        self.files.prune({asset["file"] for asset in self.store.all("asset")})
        self.access = Access(options)
        self.uploads = TokenStore()
        self.exports = TokenStore()
        self.base_url = ""
        self.unacknowledged_solutions = set(options.unacknowledged_solutions)
        self.file_stats: dict[str, dict[str, Any]] = {}

    async def ingest(self, target: UploadTarget, path: Path, size: int) -> None:
        """Make a received file the data of its target, immediately or after the ingest delay.

        :raises BusinessError: 404, if the dataset or report does not exist.
        """
        columns = await asyncio.to_thread(_describe_columns, target, path)
        self._require_record(target)
        file = self.files.store(path)
        delay = self.options.ingest_delay
        if delay:
            asyncio.get_running_loop().call_later(delay, self.replace_data, target, file, size, columns)
        else:
            self.replace_data(target, file, size, columns)

    def _require_record(self, target: UploadTarget) -> None:
        """Check that the dataset, or the report of an image, was not deleted since the token was issued."""
        kind, record_id = ("report", target.report_id) if target.kind == "image" else ("dataset", target.record_id)
        if self.store.get(kind, record_id) is None:
            raise not_found(f"{kind} not found")

    def replace_data(self, target: UploadTarget, file: str, size: int, columns: Record) -> None:
        """Make a stored file the data of its target, and remove the previous data.

        :param columns: Description of each column by name (docs/platform-api.md#columns).
        """
        dataset = self.store.get("dataset", target.record_id)
        if target.kind == "dataset" and dataset is None:  # deleted during the ingest delay
            self.files.remove(file)
            return
        previous = self.store.get("asset", target.record_id)
        asset_info = {
            "content_type": target.content_type,
            "size": size,
            "storage_backend": "sandbox",
            "uploaded_at": timestamp(),
        }
        self.store.put("asset", {"id": target.record_id, "file": file, "columns": columns, **asset_info})
        if dataset is not None:
            metadata = {**with_columns(self.store, dataset), "asset_info": asset_info}
            self.store.put("dataset", {**dataset, "metadata": metadata})
        self.store.commit()
        if previous is not None:
            self._remove_file(previous)

    @contextmanager
    def readable(self, assets: Iterable[Record]) -> Iterator[dict[str, tuple[Path, str]]]:
        """Return path and content type of stored data, by the id of the record to which the data belongs.

        The files stay readable until the end of the block, even if an upload replaces them in the meantime.
        """
        by_id = {asset["id"]: asset for asset in assets}
        with self.files.snapshot({key: asset["file"] for key, asset in by_id.items()}) as paths:
            yield {key: (path, by_id[key]["content_type"]) for key, path in paths.items()}

    def remove_asset(self, record_id: str) -> None:
        """Remove the data of a record if it has any."""
        asset = self.store.get("asset", record_id)
        if asset is not None:
            self.store.remove("asset", record_id)
            self._remove_file(asset)

    def _remove_file(self, asset: Record) -> None:
        self.files.remove(asset["file"])
        self.file_stats.pop(asset["file"], None)

    def close(self) -> None:
        """Close the store and remove temporary files."""
        self.store.close()
        self.files.close()


def _describe_columns(target: UploadTarget, path: Path) -> dict[str, dict[str, str]]:
    """Return the columns of a dataset's file. A file that cannot be read is stored without columns."""
    try:
        return tabular.describe(path, target.content_type) if target.kind == "dataset" else {}
    except tabular.UnreadableError:
        return {}


@dataclass(frozen=True)
class Session:
    """The view that one caller has of the platform."""

    platform: Platform
    caller: Caller

    @property
    def store(self) -> Store:
        """All records of the platform, regardless of the caller's permissions."""
        return self.platform.store

    def find(self, kind: str, record_id: str) -> Record:
        """Return a record that the caller can access.

        :raises BusinessError: 404, if the record does not exist or belongs to another organization; 403, if access
            to its solution is denied.
        """
        return self._permit(kind, self.store.get(kind, record_id))

    def find_by_slug(self, kind: str, solution_id: str, slug: str) -> Record:
        """Return the record with this slug in a solution.

        :raises BusinessError: 404 or 403, as in `find`.
        """
        self.find("solution", solution_id)
        return self._permit(kind, self.store.by_slug(kind, solution_id, slug))

    def visible(self, kind: str) -> list[Record]:
        """Return all records of a kind that the caller can access."""
        records = self.store.all(kind)
        if self.caller.organization_id is None and not self.caller.denied_solutions:
            return records
        return [record for record in records if self.caller.has_in_scope(record) and not self.caller.is_denied(record)]

    def _permit(self, kind: str, record: Record | None) -> Record:
        if record is None or not self.caller.has_in_scope(record):
            raise not_found(f"{kind} not found")
        if self.caller.is_denied(record):
            raise forbidden()
        return record
