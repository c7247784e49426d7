from __future__ import annotations

import json
import sqlite3

import pytest


@pytest.fixture
def city(tmp_path, monkeypatch):
    """A SQLite database with a table, and the Airflow connection `city` to it."""
    path = tmp_path / "city.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookings (id INTEGER, amount REAL, street TEXT, note TEXT, scan BLOB)")
        database.executemany(
            "INSERT INTO bookings VALUES (?, ?, ?, ?, ?)",
            [(i, None if i < 3000 else i / 4, f"Müllerstraße {i}", None, b"\x00" * 3) for i in range(5000)],
        )
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path
