"""Summaries of datasets: their records together with statistics of their data."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend import tabular
from airflow_provider_polyteia.sandbox.backend.files import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from airflow_provider_polyteia.sandbox.backend.platform import Platform
    from airflow_provider_polyteia.sandbox.backend.store import Record


async def summarize_datasets(
    platform: Platform,
    records: Iterable[Record],
    *,
    checksums: bool = False,
) -> list[dict[str, Any]]:
    """Return records of datasets, each with the additional field `data`.

    `data` contains content_type, size (bytes), uploaded_at, rows (None if the file cannot be read) and sha256, or is
    None before the first upload.

    :param checksums: Whether to include sha256.
    """
    records = list(records)
    assets = {record["id"]: asset for record in records if (asset := platform.store.get("asset", record["id"]))}
    with platform.readable(assets.values()) as files:
        summaries = await asyncio.to_thread(_summarize_data, platform, files, assets, checksums=checksums)
    return [{**record, "data": summaries.get(record["id"])} for record in records]


def _summarize_data(
    platform: Platform,
    files: dict[str, tuple[Path, str]],
    assets: dict[str, Record],
    *,
    checksums: bool,
) -> dict[str, dict[str, Any]]:
    summaries: dict[str, dict[str, Any]] = {}
    for key, (path, content_type) in files.items():
        asset = assets[key]
        # Stored files never change, so their statistics are computed once.
        stats = platform.file_stats.setdefault(asset["file"], {})
        if "rows" not in stats:
            stats["rows"] = _count_rows(path, content_type)
        if checksums and "sha256" not in stats:
            stats["sha256"] = sha256(path)
        shown = {name: value for name, value in asset.items() if name not in ("id", "file", "columns")}
        summaries[key] = shown | stats
    return summaries


def _count_rows(path: Path, content_type: str) -> int | None:
    """Return the number of rows of a file, or None if it cannot be read."""
    try:
        return tabular.count_rows(path, content_type)
    except tabular.UnreadableError:
        return None
