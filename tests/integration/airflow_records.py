"""Airflow's own records, read directly from its metadata database (SQLite, read-only)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

RUNNING = "running"


@dataclass(frozen=True)
class TaskInstance:
    """One row of `task_instance` or `task_instance_history`."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int


class Records:
    """Queries that read the same tables in Airflow 2.11 and 3.x."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a run, or None if it does not exist yet."""
        rows = self._select("SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?", dag_id, run_id)
        return rows[0]["state"] if rows else None

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return the current row of each task instance of a run."""
        return self._instances("task_instance", dag_id, run_id)

    def duration(self, dag_id: str, run_id: str, task_id: str) -> float:
        """Return the duration of a finished task in seconds, including the start of its worker."""
        sql = "SELECT duration FROM task_instance WHERE dag_id = ? AND run_id = ? AND task_id = ?"
        return float(self._select(sql, dag_id, run_id, task_id)[0]["duration"])

    def most_at_once(self, dag_id: str, run_id: str, task_id: str) -> int:
        """Return the largest number of instances of a mapped task that ran at the same time."""
        sql = "SELECT start_date, end_date FROM task_instance WHERE dag_id = ? AND run_id = ? AND task_id = ?"
        spans = [(row["start_date"], row["end_date"]) for row in self._select(sql, dag_id, run_id, task_id)]
        return max(sum(begin <= start < end for begin, end in spans) for start, _ in spans)

    def history(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return earlier tries: Airflow moves a try to the history when the next one begins."""
        return self._instances("task_instance_history", dag_id, run_id)

    def map_index_names(self, dag_id: str, run_id: str, task_id: str) -> list[str | None]:
        """Return the names that the web interface shows for the instances of a mapped task."""
        sql = "SELECT rendered_map_index FROM task_instance WHERE dag_id = ? AND run_id = ? AND task_id = ?"
        return [row["rendered_map_index"] for row in self._select(sql, dag_id, run_id, task_id)]

    def xcoms(self, dag_id: str, run_id: str) -> dict[tuple[str, int, str], Any]:
        """Return (task id, map index, key) -> decoded value."""
        sql = "SELECT task_id, map_index, key, value FROM xcom WHERE dag_id = ? AND run_id = ?"
        rows = self._select(sql, dag_id, run_id)
        return {(row["task_id"], row["map_index"], row["key"]): _xcom(row["value"]) for row in rows}

    def rendered_fields(self, dag_id: str, run_id: str) -> dict[tuple[str, int], dict[str, Any]]:
        """Return (task id, map index) -> rendered template fields."""
        sql = (
            "SELECT task_id, map_index, rendered_fields FROM rendered_task_instance_fields"
            " WHERE dag_id = ? AND run_id = ?"
        )
        rows = self._select(sql, dag_id, run_id)
        return {(row["task_id"], row["map_index"]): json.loads(row["rendered_fields"]) for row in rows}

    def asset_events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (URI of the asset, extra of the event), oldest first. Airflow 2 calls assets datasets."""
        (row,) = self._select("SELECT count(*) AS found FROM sqlite_master WHERE name = 'asset_event'")
        kind = "asset" if row["found"] else "dataset"
        sql = (
            f"SELECT {kind}.uri, {kind}_event.extra FROM {kind}_event"  # noqa: S608 - one of two names above
            f" JOIN {kind} ON {kind}.id = {kind}_event.{kind}_id ORDER BY {kind}_event.id"
        )
        return [(row["uri"], json.loads(row["extra"])) for row in self._select(sql)]

    def worker_pid(self, run_id: str) -> int:
        """Return the process id of the only task of a run."""
        rows = self._select("SELECT pid FROM task_instance WHERE run_id = ? AND pid IS NOT NULL", run_id)
        return int(rows[0]["pid"])

    def import_errors(self) -> list[str]:
        """Return the tracebacks of DAG files that could not be imported."""
        return [row["stacktrace"] for row in self._select("SELECT stacktrace FROM import_error")]

    def dag_is_parsed(self, dag_id: str) -> bool:
        """Return True if a DAG is in the database and can be run."""
        return bool(self._select("SELECT 1 FROM serialized_dag WHERE dag_id = ?", dag_id))

    def last_job_id(self) -> int:
        """Return the id of the last registered component, or 0 if none was registered."""
        return int(self._select("SELECT coalesce(max(id), 0) AS id FROM job")[0]["id"])

    def job_runs(self, job_type: str, *, newer_than: int) -> bool:
        """Return True if a component with an id above `newer_than` is registered and running."""
        sql = "SELECT 1 FROM job WHERE job_type = ? AND id > ? AND state = ?"
        return bool(self._select(sql, job_type, newer_than, RUNNING))

    def everything(self) -> str:
        """Return the contents of all tables as text, to search them for secrets."""
        tables = [row["name"] for row in self._select("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = (row for table in tables for row in self._select(f"SELECT * FROM {table}"))  # noqa: S608 - names from the database
        return "\n".join(" ".join(_text(value) for value in row) for row in rows)

    def _instances(self, table: str, dag_id: str, run_id: str) -> list[TaskInstance]:
        sql = (
            f"SELECT task_id, map_index, state, try_number FROM {table}"  # noqa: S608 - one of two names above
            " WHERE dag_id = ? AND run_id = ? ORDER BY task_id, map_index, try_number"
        )
        return [TaskInstance(**row) for row in self._select(sql, dag_id, run_id)]

    def _select(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, parameters).fetchall()


def _xcom(value: str | bytes | float) -> Any:
    # SQLite returns JSON numbers as numbers.
    return json.loads(value) if isinstance(value, str | bytes) else value


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
