"""A running sandbox, and plain requests to it as docs/platform-api.md describes them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

FIXTURES = Path(__file__).parents[1] / "fixtures"
TIMEOUT = 10


class Api:
    """Calls the API with plain requests and returns every response unchanged."""

    def __init__(self, base_url, credential):
        self.base_url = base_url
        self.session = requests.Session()
        self.session.trust_env = False
        if credential:
            self.session.headers["Authorization"] = f"Bearer {credential}"

    def send(self, method, path, **arguments):
        return self.session.request(method, self.base_url + path, timeout=TIMEOUT, **arguments)

    def command(self, name, path="/api", /, **params):
        return self.send("POST", path, json={"command": name, "params": params})

    def query(self, name, /, **params):
        return self.send("POST", "/api", json={"query": name, "params": params})

    def data(self, kind, name, path="/api", /, **params):
        response = self.send("POST", path, json={kind: name, "params": params})
        assert response.status_code == 200, response.text
        assert "error" not in response.json(), response.text
        return response.json()["data"]

    def new_dataset(self, slug="bookings", **params):
        params = {"name": "Bookings", "solution_id": SANDBOX_SOLUTION_ID, "slug": slug, **params}
        return self.data("command", "create_dataset", **params)["id"]

    def upload_token(self, dataset_id, content_type="text/csv"):
        return self.data("command", "generate_dataset_upload_token", id=dataset_id, content_type=content_type)["token"]

    def upload(self, token, content, filename="data.csv"):
        part = (filename, content, "application/octet-stream")
        return self.send("POST", "/upload", headers={"X-Upload-Token": token}, files={"file": part})

    def sql(self, sql, datasets, **params):
        params = {"sql": sql, "datasets": datasets, "args": [], "named_args": {}, **params}
        return self.command("execute_sql", "/api/execute_sql", **params)

    def export_token(self, sql, datasets, mime="application/vnd.apache.parquet", args=()):
        params = {"sql": sql, "datasets": datasets, "args": list(args), "format": mime}
        return self.data("command", "generate_query_export_token", **params)["token"]

    def download(self, token):
        return self.send("GET", "/download", params={"token": token})


@pytest.fixture
def golden():
    """Read a file in tests/fixtures."""
    return lambda name: json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def start():
    """Start sandboxes with options, and stop them after the test."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(Sandbox(**options))


@pytest.fixture
def sandbox(start):
    """A sandbox with default options."""
    return start()


@pytest.fixture
def connect():
    """Create clients of a sandbox, with its key, another credential, or none (None)."""
    with ExitStack() as sessions:

        def new(sandbox, credential=""):
            api = Api(sandbox.base_url, sandbox.pak if credential == "" else credential)
            sessions.enter_context(api.session)
            return api

        yield new


@pytest.fixture
def api(sandbox, connect):
    """A client of the sandbox with its key."""
    return connect(sandbox)


@pytest.fixture
def dataset(api):
    """The id of a new dataset without data."""
    return api.new_dataset()
