"""Records by kind and id, in memory or in an SQLite file."""

from __future__ import annotations

import json
import random
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox import constants

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Record = dict[str, Any]

PREFIXES = {
    "organization": "org",
    "workspace": "ws",
    "solution": "sol",
    "dataset": "ds",
    "insight": "ins",
    "report": "rep",
    "report_view": "rptv",
    "tag": "tag",
    "group": "grp",
    "user": "usr",
    "ingest": "dsig",
}
"""Kinds whose records have an id of their own, with its prefix.

org, ws, sol and ds, and dsig of the RPC API, are documented, the others are ours (docs/platform-api.md#ids).
"""

SIDE_TABLES = ("settings", "member", "roles", "tagging", "dpa_entry", "asset", "column_descriptions")
"""Kinds that belong to another record, which their id identifies."""

DEFAULT_SETTINGS: Record = {"seats": 10, "features": {"dpa": {"enabled": False}}}
"""Settings of an organization until others are set. The keys are those of the vendor's SDK."""

_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_random = random.Random()  # noqa: S311 - ids must be unique, but not unpredictable


def new_id(kind: str) -> str:
    """Return a new id: the prefix of the kind and 20 characters of 0-9a-v (docs/platform-api.md#ids)."""
    return f"{PREFIXES[kind]}_{''.join(_random.choices(_ID_ALPHABET, k=20))}"


def timestamp() -> str:
    """Return the current time as an RFC 3339 string in UTC (docs/platform-api.md#timestamps)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Store:
    """All records of a platform. Records are replaced, never changed in place. Not thread-safe.

    :param database: SQLite file that preserves the records across restarts. Default: in memory only.
    :raises RuntimeError: if another sandbox uses the file.
    """

    def __init__(self, database: Path | None = None) -> None:
        self._tables: dict[str, dict[str, Record]] = {kind: {} for kind in (*PREFIXES, *SIDE_TABLES)}
        self._slugs: dict[tuple[str, str, str], str] = {}
        self._database = _open(database) if database else None
        if self._database:
            rows = self._database.execute("SELECT kind, body FROM records ORDER BY position")
            for kind, body in rows:
                self._set(kind, json.loads(body))
        if not self._tables["organization"]:
            self._seed()

    def get(self, kind: str, record_id: str) -> Record | None:
        """Return a record, or None if it does not exist."""
        return self._tables[kind].get(record_id)

    def all(self, kind: str) -> list[Record]:
        """Return all records of a kind, oldest first."""
        return list(self._tables[kind].values())

    def by_slug(self, kind: str, solution_id: str, slug: str) -> Record | None:
        """Return the record with this slug in a solution, or None if not found."""
        record_id = self._slugs.get((kind, solution_id, slug))
        return self._tables[kind][record_id] if record_id else None

    def put(self, kind: str, record: Record) -> Record:
        """Add a record or replace the one with the same id. The next `commit` makes it permanent."""
        self._set(kind, record)
        if self._database:
            self._database.execute(
                "INSERT INTO records (kind, id, body) VALUES (?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                (kind, record["id"], json.dumps(record)),
            )
        return record

    def change(self, kind: str, record: Record, changes: Mapping[str, Any]) -> Record:
        """Replace a record by a copy with these changes and a new `updated_at`."""
        return self.put(kind, {**record, **changes, "updated_at": timestamp()})

    def remove(self, kind: str, record_id: str) -> None:
        """Remove a record if it exists. The next `commit` makes it permanent."""
        record = self._tables[kind].pop(record_id, None)
        if record is not None:
            self._slugs.pop(_slug_key(kind, record), None)
        if self._database:
            self._database.execute("DELETE FROM records WHERE kind = ? AND id = ?", (kind, record_id))

    def commit(self) -> None:
        """Make all changes since the last commit permanent, in one transaction."""
        if self._database and self._database.in_transaction:
            self._database.commit()

    def close(self) -> None:
        """Close the SQLite file."""
        if self._database:
            self._database.close()

    def _set(self, kind: str, record: Record) -> None:
        previous = self._tables[kind].get(record["id"])
        if previous is not None:
            self._slugs.pop(_slug_key(kind, previous), None)
        self._tables[kind][record["id"]] = record
        if record.get("slug") and "solution_id" in record:
            self._slugs[_slug_key(kind, record)] = record["id"]

    def _seed(self) -> None:
        now = timestamp()
        dates = {"created_at": now, "updated_at": now}
        organization = {"organization_id": constants.SANDBOX_ORGANIZATION_ID}
        workspace = {"workspace_id": constants.SANDBOX_WORKSPACE_ID}
        self.put(
            "organization",
            {"id": constants.SANDBOX_ORGANIZATION_ID, **dates, "name": "Stadt Musterhausen"}
            | {"description": "City administration", "slug": "stadt_musterhausen"},
        )
        self.put("settings", {"id": constants.SANDBOX_ORGANIZATION_ID, "settings": DEFAULT_SETTINGS})
        self.put(
            "workspace",
            {"id": constants.SANDBOX_WORKSPACE_ID, **organization, **dates, "name": "Kämmerei"}
            | {"description": "Treasury workspace", "attributes": {}},
        )
        self.put(
            "solution",
            {"id": constants.SANDBOX_SOLUTION_ID, **organization, **workspace, **dates, "name": "Haushalt"}
            | {"description": "Budget control", "attributes": {}, "documentation": {"blocks": []}},
        )
        member = {"user_id": constants.SANDBOX_USER_ID, "name": "Erika Musterfrau", "role": "admin"}
        self.put(
            "member",
            {"id": f"{constants.SANDBOX_ORGANIZATION_ID}/{constants.SANDBOX_USER_ID}"}
            | {**organization, **member, "email": "erika@musterhausen.example", "status": "active"},
        )
        self.commit()


def _slug_key(kind: str, record: Record) -> tuple[str, str, str]:
    return kind, record.get("solution_id", ""), record.get("slug", "")


def _open(path: Path) -> sqlite3.Connection:
    """Open the file for exclusive use by this process."""
    database = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        # Without sync, a commit survives a killed process but not a power failure, which is enough for a sandbox.
        database.executescript(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
            "CREATE TABLE IF NOT EXISTS records (position INTEGER PRIMARY KEY AUTOINCREMENT,"
            " kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id));"
            "BEGIN IMMEDIATE; COMMIT;"
        )
    except sqlite3.OperationalError as error:
        database.close()
        raise RuntimeError(f"{path} cannot be opened ({error}). Is another sandbox using it?") from error
    return database
