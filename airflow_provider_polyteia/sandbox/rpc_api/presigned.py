"""Presigned URLs, which grant access to a file until they expire (docs/platform-api.md#rpc-exports)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.platform import Platform

STORAGE_PATH = "/storage"
SIGNATURE = "X-Amz-Signature"


@dataclass(frozen=True)
class StoredExport:
    """A stored file that was exported, and the signature of its URL."""

    file: str
    content_type: str
    signature: str = field(repr=False)


def issue_url(platform: Platform, export: StoredExport) -> str:
    """Return a presigned URL, and remove the file when it expires."""
    lifetime = platform.options.url_lifetime
    token = platform.exports.issue(export, lifetime)
    asyncio.get_running_loop().call_later(lifetime, platform.files.remove, export.file)
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires={lifetime:g}&{SIGNATURE}={export.signature}"
    return f"{platform.base_url}{STORAGE_PATH}/{token}?{query}"
