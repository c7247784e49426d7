"""The command `polyteia-sandbox`, run as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import requests

from airflow_provider_polyteia.sandbox import (
    SANDBOX_ORGANIZATION_ID,
    SANDBOX_PAK,
    SANDBOX_SOLUTION_ID,
    cli,
    optional_dependencies,
    server,
)

pytestmark = pytest.mark.slow  # processes and signals

COMMAND = [sys.executable, "-m", "airflow_provider_polyteia.sandbox"]


@pytest.fixture
def serve(tmp_path):
    """Start the command, wait until it is ready, and return the process and its URL."""
    processes = []

    def run(*arguments):
        ready = tmp_path / f"ready{len(processes)}"
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--ready-file", str(ready), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process, ready.read_text()

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def create(url, key=SANDBOX_PAK, slug="s"):
    params = {"name": "x", "slug": slug, "solution_id": SANDBOX_SOLUTION_ID}
    headers = {"Authorization": f"Bearer {key}"}
    body = {"command": "create_dataset", "params": params}
    return requests.post(f"{url}/api", json=body, headers=headers, timeout=10)


def test_prints_url_and_connection_and_stops_on_sigterm(serve):
    """Prints its URL and a working Airflow connection, and exits with 0 on SIGTERM."""
    process, url = serve()
    assert create(url).status_code == 200
    process.send_signal(signal.SIGTERM)
    output, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert output.count("\n") == 2
    assert f"Polyteia sandbox with the command API on {url}" in output
    assert f'AIRFLOW_CONN_POLYTEIA_DEFAULT=\'{{"conn_type": "polyteia", "host": "{url}"' in output
    assert "create_dataset 200" in log
    assert SANDBOX_PAK not in log


def test_given_keys_are_neither_printed_nor_logged(serve):
    """With --pak the well-known key is rejected, and the given keys are not printed or logged."""
    process, url = serve("--pak", 'k"ONE', "--read-only-pak", "k-TWO", "--deny", f"k-THREE={SANDBOX_SOLUTION_ID}")
    responses = [create(url, key) for key in ('k"ONE', "k-TWO", "k-THREE", SANDBOX_PAK)]
    assert [response.status_code for response in responses] == [200, 200, 200, 401]
    assert [response.json().get("error", {}).get("code") for response in responses[:3]] == [None, 403, 403]
    process.send_signal(signal.SIGINT)
    output, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert [key for key in ("ONE", "k-TWO", "k-THREE") if key in output + log] == []


def test_options_reach_the_sandbox(serve):
    """The options --fault, --http-403 and --quiet take effect."""
    process, url = serve("--fault", "create_dataset:status:503:1", "--read-only-pak", "reader", "--http-403", "--quiet")
    assert [create(url).status_code, create(url).status_code, create(url, "reader").status_code] == [503, 200, 403]
    process.terminate()
    assert process.communicate(timeout=10)[1] == ""


def test_allowed_hosts_reach_the_sandbox(serve):
    """With --allowed-host, requests for this host are served, but not those for another one."""
    _, url = serve("--allowed-host", "sandbox")
    statuses = [requests.get(url, headers={"Host": host}, timeout=10).status_code for host in ("sandbox:80", "other")]
    assert statuses == [200, 421]


def test_the_rpc_api_can_be_served(serve):
    """The API, its dialect and its other options take effect, and the output states which API is served."""
    terms = ["--terms-missing", SANDBOX_SOLUTION_ID]
    ingests = ["--ingest-delay", "0.5", "--ingest-error", "bad csv"]
    process, url = serve("--api", "rpc", "--rpc-dialect", "2", "--token-lifetime", "100", *terms, *ingests)
    session = requests.Session()

    def call(name, /, **params):
        response = session.post(f"{url}/rpc/{name}", json={"json": params}, timeout=10)
        return response.json() if response.content else None

    organization = {"organizationId": SANDBOX_ORGANIZATION_ID}
    exchanged = call("auth/personalAccessKey/exchange", key=SANDBOX_PAK, **organization)
    assert exchanged["meta"] == [["date", "expiresAt"]]
    left = datetime.fromisoformat(exchanged["json"]["expiresAt"]) - datetime.now(UTC)
    assert 90 < left.total_seconds() <= 100
    session.headers["Authorization"] = f"Bearer {exchanged['json']['token']}"
    fields = {"solutionId": SANDBOX_SOLUTION_ID, "name": "x", "description": "", "source": "", "documentation": {}}
    dataset = call("dataset/createDataset", **organization, **fields)["json"]["id"]
    upload = {"url": f"{url}/api/upload/dataset/{dataset}", "files": {"file": ("a.csv", b"a\n1\n", "text/csv")}}
    assert session.post(**upload, timeout=10).status_code == 412
    assert call("dpa/recordAcceptance", solutionId=SANDBOX_SOLUTION_ID) is None
    ingest = {"id": dataset, "ingestId": session.post(**upload, timeout=10).json()["ingestId"]}
    assert call("dataset/getDatasetIngestStatus", **ingest)["json"]["status"] in {"pending", "running"}
    time.sleep(0.6)
    failed = {"status": "failed", "errorMessage": "bad csv"}
    assert call("dataset/getDatasetIngestStatus", **ingest) == {"json": failed}
    process.terminate()
    output = process.communicate(timeout=10)[0]
    assert f"Polyteia sandbox with the RPC API on {url}" in output
    assert f'"extra": {{"api": "rpc", "organization_id": "{SANDBOX_ORGANIZATION_ID}"}}}}' in output


@pytest.mark.parametrize(
    ("arguments", "option", "value"),
    [
        ([], "api", "command"),
        (["--api", "rpc"], "api", "rpc"),
        ([], "url_lifetime", 900),
        (["--url-lifetime", "7"], "url_lifetime", 7),
        (["--terms-missing", "sol_1", "--terms-missing", "sol_2"], "unacknowledged_solutions", ["sol_1", "sol_2"]),
    ],
)
def test_options_are_passed_on(arguments, option, value, monkeypatch):
    """Each argument becomes an option of the sandbox."""
    given = {}

    def record(**options):
        given.update(options)
        raise OSError

    monkeypatch.setattr(server, "Sandbox", record)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli.logging, "basicConfig", lambda **_: None)
    assert cli.main(["serve", *arguments]) == 1
    assert given[option] == value


def test_a_killed_sandbox_loses_no_data(serve, tmp_path):
    """After SIGKILL the data directory contains every change that was confirmed."""
    data_dir = str(tmp_path / "data")
    process, url = serve("--data-dir", data_dir)
    made = [create(url, slug=f"s{number}").json()["data"]["id"] for number in range(20)]
    process.kill()
    process.wait(10)
    _, url = serve("--data-dir", data_dir)
    assert [item["id"] for item in requests.get(f"{url}/_sandbox/state", timeout=10).json()["datasets"]] == made


@pytest.mark.parametrize(
    ("arguments", "code", "about"),
    [
        (["--fault", "nonsense"], 2, "nonsense"),
        (["--deny", "key-SECRET"], 2, "KEY=SOLUTION"),
        (["--latency", "-1"], 2, "latency"),
        (["--api", "graphql"], 2, "--api"),
        (["--rpc-dialect", "3"], 2, "--rpc-dialect"),
        (["--terms-missing", "key-SECRET"], 2, "--terms-missing"),
        (["--port", "x"], 2, "--port"),
        (["--host", "192.0.2.1"], 1, "assign"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(arguments, code, about):
    """Invalid arguments end the command with one line, without a traceback or secrets."""
    done = subprocess.run(
        [*COMMAND, "serve", "--port", "0", *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == code
    assert about in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "SECRET" not in done.stdout + done.stderr


def test_missing_packages_are_listed(monkeypatch):
    """The error contains the missing packages and the pip command."""
    monkeypatch.setattr(optional_dependencies, "PACKAGES", ("duckdb", "no_such_package"))
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        optional_dependencies.require_packages()
    assert 'pip install "airflow-provider-polyteia[sandbox]"' in str(caught.value)


def test_missing_packages_are_reported_in_one_line(tmp_path):
    """Without the extra, the command ends with one line instead of a traceback."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'duckdb' else find(name, package)\n"
        "sys.modules['duckdb'] = None\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*COMMAND, "serve"], capture_output=True, text=True, timeout=30, env=environment, check=False)
    assert done.returncode == 1
    assert "needs duckdb" in done.stderr
    assert "Traceback" not in done.stderr
