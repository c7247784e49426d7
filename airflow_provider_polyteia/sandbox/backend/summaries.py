"""What the sandbox holds, told for people and tests: datasets with the facts of their data."""

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


async def datasets(platform: Platform, records: Iterable[Record], *, checksums: bool = False) -> list[dict[str, Any]]:
    """These datasets: the record, and under `data` what is stored for it (None: nothing yet).

    `data` holds content_type, size (bytes), uploaded_at, rows (None when the file is not readable) and, when
    asked for, sha256.
    """
    records = list(records)
    assets = {record["id"]: asset for record in records if (asset := platform.store.get("asset", record["id"]))}
    with platform.readable(assets.values()) as files:
        facts = await asyncio.to_thread(_facts, platform, files, assets, checksums=checksums)
    return [{**record, "data": facts.get(record["id"])} for record in records]


def _facts(
    platform: Platform,
    files: dict[str, tuple[Path, str]],
    assets: dict[str, Record],
    *,
    checksums: bool,
) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {}
    for key, (path, content_type) in files.items():
        asset = assets[key]
        # Stored files never change, so that what was once found out of one stays true.
        known = platform.facts.setdefault(asset["file"], {})
        if "rows" not in known:
            known["rows"] = count_rows(path, content_type)
        if checksums and "sha256" not in known:
            known["sha256"] = sha256(path)
        shown = {name: value for name, value in asset.items() if name not in ("id", "file")}
        facts[key] = shown | known
    return facts


def count_rows(path: Path, content_type: str) -> int | None:
    """The number of rows of a file; None when it cannot be read as rows."""
    try:
        return tabular.count_rows(path, content_type)
    except tabular.UnreadableError:
        return None
