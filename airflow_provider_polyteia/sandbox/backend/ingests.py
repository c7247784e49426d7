"""Ingests: the processing of uploads whose status callers can query (docs/platform-api.md#rpc-ingests)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend import tabular
from airflow_provider_polyteia.sandbox.backend.store import new_id, timestamp

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_polyteia.sandbox.backend.platform import Platform, UploadTarget
    from airflow_provider_polyteia.sandbox.backend.store import Record

PENDING, RUNNING, COMPLETED, FAILED = "pending", "running", "completed", "failed"

FAULT_FAILED, FAULT_STUCK, FAULT_LOST = "ingest-failed", "ingest-stuck", "ingest-lost"


async def start_ingest(platform: Platform, target: UploadTarget, path: Path, size: int, *, fault: str = "") -> Record:
    """Start to make a received file the data of its dataset, and return the ingest.

    The data is replaced when the ingest completes, immediately or after the ingest delay. A failed ingest does not
    change it.

    :param fault: `ingest-failed`: the ingest fails. `ingest-stuck`: it runs indefinitely. `ingest-lost`: it completes,
        but it cannot be found by its id. Default: none of these.
    """
    columns, error = await asyncio.to_thread(_describe_columns, target.content_type, path)
    error = platform.options.ingest_error or error
    if fault == FAULT_FAILED:
        error = error or "injected by the sandbox"
    ingest = _new_ingest(platform, target)
    if fault != FAULT_LOST:
        platform.store.put("ingest", ingest)
        platform.store.commit()
    if fault == FAULT_STUCK:
        _change(platform, ingest["id"], status=RUNNING)
        return ingest
    file = "" if error else platform.files.store(path)

    def finish() -> None:
        if file:
            platform.replace_data(target, file, size, columns)
        _change(platform, ingest["id"], status=FAILED if error else COMPLETED, error_message=error or None)

    _run_later(platform, ingest["id"], finish)
    return ingest


def fail_interrupted_ingests(platform: Platform) -> None:
    """Let ingests fail that did not end before the sandbox was stopped."""
    for ingest in platform.store.all("ingest"):
        if ingest["status"] in (PENDING, RUNNING):
            _change(platform, ingest["id"], status=FAILED, error_message="the sandbox was stopped")


def _new_ingest(platform: Platform, target: UploadTarget) -> Record:
    dataset = platform.store.get("dataset", target.record_id) or {}
    containers = {name: dataset.get(name) for name in ("organization_id", "solution_id")}
    now = timestamp()
    return {
        "id": new_id("ingest"),
        "dataset_id": target.record_id,
        **containers,
        "created_at": now,
        "updated_at": now,
    } | {
        "status": PENDING,
        "error_message": None,
    }


def _run_later(platform: Platform, ingest_id: str, finish: Any) -> None:
    """Finish an ingest after the ingest delay. It is pending in the first half of the delay, then running."""
    delay = platform.options.ingest_delay
    if not delay:
        finish()
        return
    loop = asyncio.get_running_loop()
    loop.call_later(delay / 2, lambda: _change(platform, ingest_id, status=RUNNING))
    loop.call_later(delay, finish)


def _change(platform: Platform, ingest_id: str, **changes: Any) -> None:
    ingest = platform.store.get("ingest", ingest_id)
    if ingest is not None:  # its dataset may have been deleted
        platform.store.change("ingest", ingest, changes)
        platform.store.commit()


def _describe_columns(content_type: str, path: Path) -> tuple[dict[str, dict[str, str]], str]:
    """Return the columns of a file, and the reason why it cannot be ingested, or an empty string."""
    if not tabular.can_read(content_type):
        return {}, f"unsupported content type {content_type}"
    try:
        return tabular.describe(path, content_type), ""
    except tabular.UnreadableError as error:
        return {}, str(error)
