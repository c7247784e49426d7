"""The running sandbox: start and stop, what survives a restart, its pages, its own interface, its log."""

from __future__ import annotations

import logging
import re
import signal
import socket
import time

import pytest
import requests

from airflow_provider_polyteia.sandbox import (
    SANDBOX_ORGANIZATION_ID,
    SANDBOX_SOLUTION_ID,
    SANDBOX_WORKSPACE_ID,
    Sandbox,
)
from airflow_provider_polyteia.sandbox.backend.platform import Platform
from airflow_provider_polyteia.sandbox.options import Options

CSV = b"id,name\n1,<script>alert(1)</script>\n2,b\n"


def page(sandbox, path):
    return requests.get(sandbox.base_url + path, timeout=10)


def test_sandboxes_run_side_by_side_and_stop(connect):
    """Two sandboxes know nothing of each other; a stopped one refuses connections."""
    with Sandbox() as first, Sandbox() as second:
        connect(first).new_dataset()
        assert [len(sandbox.records("dataset")) for sandbox in (first, second)] == [1, 0]
        port = int(first.base_url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    assert not first.platform.files.root.exists()


def test_a_taken_port_is_an_error(sandbox):
    """Listening where somebody listens already fails at once."""
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=int(sandbox.base_url.rpartition(":")[2])).start()


@pytest.mark.parametrize("option", ["latency", "ingest_delay", "token_lifetime"])
def test_negative_times_are_refused(option):
    """Options that make no sense are told when the sandbox is made."""
    with pytest.raises(ValueError, match=option):
        Sandbox(**{option: -1})


@pytest.mark.parametrize("options", [{"paks": "key"}, {"paks": []}, {"read_only_paks": [""]}, {"faults": "*:html"}])
def test_unusable_keys_and_faults_are_refused(options):
    """A text where a list belongs, or an empty key, is told when the sandbox is made."""
    with pytest.raises((TypeError, ValueError), match=r"key|list"):
        Sandbox(**options)


def test_latency_delays_every_call(start, connect):
    """With a latency no call is answered sooner."""
    api = connect(start(latency=0.2))
    started = time.monotonic()
    api.data("query", "list_organizations", page=1, size=1)
    assert time.monotonic() - started >= 0.2


def test_requests_and_connections_are_recorded(sandbox, api):
    """A test can see every request as it went over the wire; printing it shows no secret."""
    dataset_id = api.new_dataset("seen")
    api.upload(api.upload_token(dataset_id), CSV)
    create, token, upload = sandbox.requests
    assert create.headers["authorization"] == f"Bearer {sandbox.pak}"
    assert create.params["slug"] == "seen"
    assert (create.method, create.path, upload.name) == ("POST", "/api", "/upload")
    assert sandbox.count("create_dataset") == sandbox.count("/upload") == sandbox.connections == 1
    assert sandbox.pak not in repr(sandbox.requests) + repr(sandbox) + repr(sandbox.options)
    assert upload.headers["x-upload-token"] not in repr([token, upload])
    sandbox.recorder.clear()
    assert (sandbox.requests, sandbox.count("/upload"), sandbox.connections) == ([], 0, 1)


def test_everything_survives_a_restart(tmp_path, start, connect):
    """With a data directory records, slugs, roles and files are there again; without one they are not."""
    first = start(data_dir=tmp_path)
    api = connect(first)
    kept, deleted = api.new_dataset("kept"), api.new_dataset("deleted")
    for dataset in (kept, deleted):
        api.upload(api.upload_token(dataset), CSV)
    api.data("command", "delete_dataset", id=deleted)
    assignments = [{"id": "usr_1", "role": "editor"}]
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
    """A second sandbox on the same data directory is refused; after the first one's end it may run."""
    first = start(data_dir=tmp_path)
    with pytest.raises(RuntimeError, match="another sandbox"):
        Sandbox(data_dir=tmp_path).start()
    first.stop()
    assert start(data_dir=tmp_path).records("solution")


def test_what_a_killed_upload_left_is_removed(tmp_path):
    """Files no record refers to do not pile up in the data directory."""
    for place in ("files", "work"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "left").write_bytes(b"x")
    Platform(Options(data_dir=tmp_path)).close()
    assert [path.name for path in tmp_path.rglob("left")] == []


def test_pages_show_what_is_there_and_escape_it(sandbox, api):
    """The pages show datasets, metadata and first rows; markup in names and data stays text."""
    dataset = api.new_dataset("page", name="<b>Bookings</b>", description="a & b")
    start_page = page(sandbox, "/").text
    assert "Stadt Musterhausen" in start_page
    assert f'<a href="/ui/datasets/{dataset}">&lt;b&gt;Bookings&lt;/b&gt;</a>' in start_page
    assert "No data was uploaded yet" in page(sandbox, f"/ui/datasets/{dataset}").text
    api.upload(api.upload_token(dataset), CSV)
    shown = page(sandbox, f"/ui/datasets/{dataset}").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "a &amp; b" in shown
    assert dataset in page(sandbox, f"/ui/solutions/{SANDBOX_SOLUTION_ID}").text
    assert SANDBOX_SOLUTION_ID in page(sandbox, f"/ui/workspaces/{SANDBOX_WORKSPACE_ID}").text
    everything = start_page + shown
    assert "<b>Bookings" not in everything
    assert "<script>" not in everything
    assert sandbox.pak not in everything
    assert re.search(r'(src|href)="https?:', everything) is None


@pytest.mark.parametrize("kind", ["datasets", "solutions", "workspaces"])
def test_pages_of_what_is_not_there_are_404(kind, sandbox):
    """An unknown id has a page that says so, and does not echo it unescaped."""
    answer = page(sandbox, f"/ui/{kind}/<b>x")
    assert answer.status_code == 404
    assert "<b>x" not in answer.text


def test_a_page_says_why_there_are_no_rows(sandbox, api):
    """A file that cannot be read is explained, without paths of this machine."""
    dataset = api.new_dataset()
    sandbox.upload(dataset, b"no parquet", "application/vnd.apache.parquet")
    shown = page(sandbox, f"/ui/datasets/{dataset}").text
    assert "No rows to show" in shown
    assert str(sandbox.platform.files.root) not in shown


def test_other_processes_see_state_and_set_faults(sandbox, api):
    """The JSON interface tells datasets and counts, and takes and removes faults; it holds no secret."""
    dataset = api.new_dataset()
    api.upload(api.upload_token(dataset), CSV)
    url = f"{sandbox.base_url}/_sandbox"
    state = requests.get(f"{url}/state", timeout=10)
    assert state.json()["datasets"] == sandbox.datasets
    assert state.json()["organizations"][0]["id"] == SANDBOX_ORGANIZATION_ID
    counted = requests.get(f"{url}/requests", timeout=10)
    assert counted.json()["counts"] == {"create_dataset": 1, "generate_dataset_upload_token": 1, "/upload": 1}
    assert sandbox.pak not in state.text + counted.text
    added = requests.post(f"{url}/faults", json={"faults": ["create_dataset:status:503:1"]}, timeout=10)
    assert added.json() == {"faults": [{"fault": "create_dataset:status:503:1", "calls": 0, "hits": 0}]}
    assert api.command("create_dataset").status_code == 503
    assert requests.get(f"{url}/faults", timeout=10).json()["faults"][0]["hits"] == 1
    assert requests.delete(f"{url}/faults", timeout=10).json() == {"faults": []}
    assert requests.delete(f"{url}/requests", timeout=10).json()["counts"] == {}


@pytest.mark.parametrize("body", ['{"faults": ["nonsense"]}', '{"faults": 1}', "[]", "no json"])
def test_wrong_faults_are_refused(body, sandbox):
    """The JSON interface answers 400 to what is no fault, and adds none."""
    answer = requests.post(f"{sandbox.base_url}/_sandbox/faults", data=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert list(sandbox.faults) == []


def test_the_log_has_a_line_for_each_call_and_no_secret(start, connect, caplog):
    """Name, status and time are logged; no key, token, query string or made-up method name."""
    caplog.set_level(logging.DEBUG)
    sandbox = start(paks=["k-SECRET"])
    api = connect(sandbox)
    dataset = api.new_dataset()
    upload_token = api.upload_token(dataset)
    api.upload(upload_token, CSV)
    export_token = api.export_token(f"FROM {dataset}", [dataset])
    api.download(export_token)
    token = api.send("PUT", "/auth/pak/token", json={"organization_id": SANDBOX_ORGANIZATION_ID}).json()["token"]
    api.command("k-SECRET")
    api.send("GET", "/k-SECRET?token=k-SECRET")
    sandbox.stop()
    ours = [record.getMessage() for record in caplog.records if "sandbox" in record.name]
    assert [re.sub(r" [\d.]+ ms$", "", line) for line in ours] == [
        "create_dataset 200",
        "generate_dataset_upload_token 200",
        "/upload 200",
        "generate_query_export_token 200",
        "/download 200",
        "/auth/pak/token 200",
        "POST (not an API call) 200, error 404",
        "GET (not an API call) 200",
    ]
    server_side = "\n".join(record.getMessage() for record in caplog.records if "urllib3" not in record.name)
    assert [secret for secret in ("k-SECRET", upload_token, export_token, token) if secret in server_side] == []


def test_a_failure_of_the_sandbox_itself_is_answered_and_logged(sandbox, api, monkeypatch, caplog):
    """A bug in the sandbox is HTTP 500 for the caller and a traceback in its log, not a silent end."""
    monkeypatch.setattr(sandbox.platform.store, "get", None)
    answer = api.query("get_dataset", id="ds_1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, 500)
    assert any(record.exc_info for record in caplog.records)


def test_signal_handlers_are_left_alone():
    """A sandbox inside a test-suite or a worker does not touch the process's signals."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Sandbox():
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
