"""The RPC framework behind the platform's API, started from what `make orpc` has installed."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from orpc.target import Target

HERE = Path(__file__).parent
MODULES = HERE.parents[1] / ".orpc"  # made by `make orpc`
OLDEST_NODE = 20
START_TIMEOUT = 30
STOP_TIMEOUT = 5

# As in server.mjs
KNOWN = {
    "key": "pak_contract",
    "organizationId": "org_contract",
    "organizationSlug": "stadt_musterhausen",
    "solutionId": "sol_contract",
}


@pytest.fixture(scope="session", params=[1, 2], ids=["orpc-1", "orpc-2"])
def orpc_process(request):
    """The URL of a server on the framework, and the framework's major version."""
    with _running(request.param) as url:
        yield url, request.param


@pytest.fixture
def orpc_server(orpc_process):
    """A server on the framework without any datasets and sessions, as a `Target`."""
    url, dialect = orpc_process
    with requests.Session() as session:
        target = Target(url, dialect, KNOWN, session)
        session.post(f"{url}/reset", timeout=STOP_TIMEOUT).raise_for_status()
        yield target


@contextmanager
def _running(version):
    _skip_if_missing()
    # The server ends when its standard input is closed, so it does not outlive an aborted test run.
    server = subprocess.Popen(
        ["node", HERE / "server.mjs", MODULES, str(version)],
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"TZ": "UTC"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        readable, _, _ = select.select([server.stdout], [], [], START_TIMEOUT)
        line = server.stdout.readline() if readable else b""
        assert line, f"The server did not start within {START_TIMEOUT} s; exit code: {server.poll()}"
        yield json.loads(line)["url"]
    finally:
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(STOP_TIMEOUT)
        server.stdin.close()
        server.stdout.close()


def _skip_if_missing():
    node = shutil.which("node")
    version = subprocess.check_output([node, "--version"], text=True, timeout=STOP_TIMEOUT) if node else "v0"
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"needs Node.js {OLDEST_NODE} or later and npm; install them and run `make orpc`")
    installed = MODULES / "package.json"
    if not (MODULES / ".ready").exists() or installed.read_bytes() != (HERE / "package.json").read_bytes():
        pytest.skip("needs the packages in tests/orpc/package.json; run `make orpc`")
