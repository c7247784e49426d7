"""The data directory: persistence, and exclusive use by one sandbox."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, SANDBOX_USER_ID, Sandbox
from airflow_provider_polyteia.sandbox.backend.platform import Platform
from airflow_provider_polyteia.sandbox.options import Options

CSV = b"id,name\n1,<script>alert(1)</script>\n2,b\n"


def test_the_state_survives_a_restart(tmp_path, start, connect):
    """With a data directory records, slugs, roles and files are preserved; without one they are not."""
    first = start(data_dir=tmp_path)
    api = connect(first)
    kept, deleted = api.new_dataset("kept"), api.new_dataset("deleted")
    for dataset in (kept, deleted):
        api.upload(api.upload_token(dataset), CSV)
    api.data("command", "delete_dataset", id=deleted)
    assignments = [{"id": SANDBOX_USER_ID, "role": "editor"}]
    api.data("command", "bulk_role_update", resource_id=kept, assignments=assignments, unassignments=[])
    before = first.datasets
    first.stop()
    second = start(data_dir=tmp_path)
    api = connect(second)
    assert second.datasets == before
    assert second.content(kept) == CSV
    assert api.command("create_dataset", name="x", slug="kept", solution_id=SANDBOX_SOLUTION_ID).json() == {
        "error": {"code": 500, "message": "internal error"}
    }
    roles = api.data("query", "get_users_or_groups_for_resource", resource_id=kept)
    assert roles["items"] == assignments
    assert api.sql(f"FROM {kept} SELECT count(*)", [kept]).json()["data"]["rows"] == [[2]]
    assert start().records("dataset") == []


def test_a_data_directory_has_one_sandbox(tmp_path, start):
    """A second sandbox cannot use the same data directory until the first one has stopped."""
    first = start(data_dir=tmp_path)
    with pytest.raises(RuntimeError, match="another sandbox"):
        Sandbox(data_dir=tmp_path).start()
    first.stop()
    assert start(data_dir=tmp_path).records("solution")


def test_files_of_killed_uploads_are_removed(tmp_path):
    """Files without a record are removed from the data directory."""
    for place in ("files", "work"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "left").write_bytes(b"x")
    Platform(Options(data_dir=tmp_path)).close()
    assert [path.name for path in tmp_path.rglob("left")] == []
