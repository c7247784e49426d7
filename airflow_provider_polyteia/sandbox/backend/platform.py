"""The platform itself, without HTTP: its records and files, and one caller's view of them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend.access import Access, Caller, Tickets
from airflow_provider_polyteia.sandbox.backend.errors import forbidden, not_found
from airflow_provider_polyteia.sandbox.backend.files import Files
from airflow_provider_polyteia.sandbox.backend.store import Record, Store, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_polyteia.sandbox.options import Options


@dataclass(frozen=True)
class UploadTarget:
    """What an upload token is good for: new data of a dataset, or an image of a report."""

    kind: str
    record_id: str
    content_type: str


@dataclass(frozen=True)
class Export:
    """What an export token is good for: a query whose rows come as a file of this MIME type."""

    sql: str
    datasets: tuple[str, ...]
    args: tuple[object, ...]
    content_type: str


class Platform:
    """Everything one sandbox holds."""

    def __init__(self, options: Options) -> None:
        data_dir = Path(options.data_dir) if options.data_dir is not None else None
        if data_dir:
            data_dir.mkdir(parents=True, exist_ok=True)
        self.options = options
        self.store = Store(data_dir / "records.sqlite" if data_dir else None)
        self.files = Files(data_dir)
        self.files.drop_all_but({asset["file"] for asset in self.store.all("asset")})
        self.access = Access(options)
        self.uploads = Tickets()
        self.exports = Tickets()
        self.facts: dict[str, dict[str, Any]] = {}  # stored file -> what `overview` found out of it

    def replace_data(self, target: UploadTarget, file: str, size: int, schema: Record) -> None:
        """Let a stored file be the target's data from now on, and forget what was there before.

        :param schema: column name -> what is known of the column (API reference 5.4).
        """
        dataset = self.store.get("dataset", target.record_id)
        if target.kind == "dataset" and dataset is None:  # deleted since
            self.files.drop(file)
            return
        previous = self.store.get("asset", target.record_id)
        asset_info = {
            "content_type": target.content_type,
            "size": size,
            "storage_backend": "sandbox",
            "uploaded_at": timestamp(),
        }
        self.store.put("asset", {"id": target.record_id, "file": file, **asset_info})
        if dataset is not None:
            metadata = {
                **dataset.get("metadata", {}),
                "asset_info": asset_info,
                "schema": {"columns": schema},
            }
            self.store.put("dataset", {**dataset, "metadata": metadata})
        self.store.commit()
        if previous is not None:
            self._drop(previous)

    @contextmanager
    def readable(self, assets: Iterable[Record]) -> Iterator[dict[str, tuple[Path, str]]]:
        """Files and content types of these assets, by the id of whose data they are.

        They stay readable to the end of the block, even when an upload replaces them meanwhile.
        """
        by_id = {asset["id"]: asset for asset in assets}
        with self.files.snapshot({key: asset["file"] for key, asset in by_id.items()}) as paths:
            yield {key: (path, by_id[key]["content_type"]) for key, path in paths.items()}

    def remove_asset(self, record_id: str) -> None:
        """Forget the data of a record, if it has any."""
        asset = self.store.get("asset", record_id)
        if asset is not None:
            self.store.remove("asset", record_id)
            self._drop(asset)

    def _drop(self, asset: Record) -> None:
        self.files.drop(asset["file"])
        self.facts.pop(asset["file"], None)

    def close(self) -> None:
        """Release files."""
        self.store.close()
        self.files.close()


@dataclass(frozen=True)
class Session:
    """The platform as one caller sees it."""

    platform: Platform
    caller: Caller

    @property
    def store(self) -> Store:
        """The platform's records, whoever may see them."""
        return self.platform.store

    def find(self, kind: str, record_id: str) -> Record:
        """The record, if the caller may see it.

        :raises ApiError: 404 not there or of another organization; 403 the caller is shut out.
        """
        return self._permit(kind, self.store.get(kind, record_id))

    def find_by_slug(self, kind: str, solution_id: str, slug: str) -> Record:
        """As `find`, by the slug inside a solution."""
        self.find("solution", solution_id)
        return self._permit(kind, self.store.by_slug(kind, solution_id, slug))

    def visible(self, kind: str) -> list[Record]:
        """All records of a kind that the caller may see."""
        records = self.store.all(kind)
        if self.caller.organization_id is None and not self.caller.shut_out:
            return records
        return [record for record in records if self.caller.belongs(record) and not self.caller.is_shut_out(record)]

    def _permit(self, kind: str, record: Record | None) -> Record:
        if record is None or not self.caller.belongs(record):
            raise not_found(f"{kind} not found")
        if self.caller.is_shut_out(record):
            raise forbidden()
        return record
