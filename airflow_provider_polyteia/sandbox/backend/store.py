"""What the platform remembers: records by kind and id, in memory or in an SQLite file."""

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
}
"""Kinds whose records have an id of the platform. org, ws, sol, ds are documented, the others are ours."""

SIDE_TABLES = ("settings", "member", "roles", "tagging", "dpa_entry", "asset")
"""Kinds that only belong to another record; their id says to which."""

_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_random = random.Random()  # noqa: S311 - ids only have to differ, not to be hard to guess


def new_id(kind: str) -> str:
    """A fresh id: the kind's prefix and 20 characters of 0-9a-v (API reference 5)."""
    return f"{PREFIXES[kind]}_{''.join(_random.choices(_ID_ALPHABET, k=20))}"


def timestamp() -> str:
    """Now, as RFC 3339 in UTC with microseconds and Z (API reference 5)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Store:
    """All records. Used from one thread only; records are replaced, never changed in place.

    :param database: SQLite file that keeps the records over a restart; None keeps them in memory only.
    :raises RuntimeError: another sandbox uses the file.
    """

    def __init__(self, database: Path | None = None) -> None:
        self._tables: dict[str, dict[str, Record]] = {kind: {} for kind in (*PREFIXES, *SIDE_TABLES)}
        self._slugs: dict[tuple[str, str, str], str] = {}
        self._database = _open(database) if database else None
        if self._database:
            rows = self._database.execute("SELECT kind, body FROM records ORDER BY position")
            for kind, body in rows:
                self._remember(kind, json.loads(body))
        if not self._tables["organization"]:
            self._seed()

    def get(self, kind: str, record_id: str) -> Record | None:
        """The record, or None."""
        return self._tables[kind].get(record_id)

    def all(self, kind: str) -> list[Record]:
        """All records of a kind, oldest first."""
        return list(self._tables[kind].values())

    def by_slug(self, kind: str, solution_id: str, slug: str) -> Record | None:
        """The record that has this slug in the solution, or None."""
        record_id = self._slugs.get((kind, solution_id, slug))
        return self._tables[kind][record_id] if record_id else None

    def put(self, kind: str, record: Record) -> Record:
        """Add the record, or replace the one with the same id. Lasting after the next `commit`."""
        self._remember(kind, record)
        if self._database:
            self._database.execute(
                "INSERT INTO records (kind, id, body) VALUES (?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                (kind, record["id"], json.dumps(record)),
            )
        return record

    def change(self, kind: str, record: Record, changes: Mapping[str, Any]) -> Record:
        """Replace the record by one with these changes and a new `updated_at`."""
        return self.put(kind, {**record, **changes, "updated_at": timestamp()})

    def remove(self, kind: str, record_id: str) -> None:
        """Forget the record, if there is one. Lasting after the next `commit`."""
        record = self._tables[kind].pop(record_id, None)
        if record is not None:
            self._slugs.pop(_slug_key(kind, record), None)
        if self._database:
            self._database.execute("DELETE FROM records WHERE kind = ? AND id = ?", (kind, record_id))

    def commit(self) -> None:
        """Make everything since the last commit survive a restart, all of it or nothing."""
        if self._database and self._database.in_transaction:
            self._database.commit()

    def close(self) -> None:
        """Close the file."""
        if self._database:
            self._database.close()

    def _remember(self, kind: str, record: Record) -> None:
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
    """Open the file for this process alone."""
    database = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        # Without sync a commit survives a killed process, though not a power cut: enough for a sandbox.
        database.executescript(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
            "CREATE TABLE IF NOT EXISTS records (position INTEGER PRIMARY KEY AUTOINCREMENT,"
            " kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id));"
            "BEGIN IMMEDIATE; COMMIT;"
        )
    except sqlite3.OperationalError as error:
        database.close()
        raise RuntimeError(f"{path} cannot be used ({error}): is another sandbox running on it?") from error
    return database
