"""A running sandbox with the RPC API, and plain requests to it as docs/platform-api.md describes them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import requests

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID

TIMEOUT = 10
EXCHANGE = "auth/personalAccessKey/exchange"


class Rpc:
    """Calls the API with plain requests and returns every response unchanged."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.base_url = sandbox.base_url
        self.session = requests.Session()
        self.session.trust_env = False

    def login(self, key="", **organization):
        """Exchange a key, and use the session for the following requests. Default: the seeded organization."""
        organization = organization or {"organizationId": SANDBOX_ORGANIZATION_ID}
        self.session.headers.pop("Authorization", None)
        token = self.value(EXCHANGE, key=key or self.sandbox.pak, **organization)["token"]
        self.session.headers["Authorization"] = f"Bearer {token}"
        return self

    def send(self, method, path, **arguments):
        return self.session.request(method, self.base_url + path, timeout=TIMEOUT, **arguments)

    def call(self, name, /, meta=None, **params):
        body = {"json": params} if meta is None else {"json": params, "meta": meta}
        return self.send("POST", f"/rpc/{name}", json=body)

    def value(self, name, /, meta=None, **params):
        response = self.call(name, meta, **params)
        assert response.status_code == 200, response.text
        return response.json()["json"]

    def error(self, name, /, meta=None, **params):
        """Return status, code and message of a call that fails in the JSON form."""
        response = self.call(name, meta, **params)
        error = response.json()["json"]
        assert error["status"] == response.status_code
        return response.status_code, error["code"], error["message"]

    def new_dataset(self, slug="bookings", **fields):
        return self.value("dataset/createDataset", **new(slug=slug, **fields))["id"]

    def upload(self, dataset_id, content, content_type="text/csv"):
        part = ("data.csv", content, content_type)
        return self.send("POST", f"/api/upload/dataset/{dataset_id}", files={"file": part})

    def ingest_status(self, dataset_id, ingest_id):
        return self.value("dataset/getDatasetIngestStatus", id=dataset_id, ingestId=ingest_id)

    def query(self, sql, solution_id=SANDBOX_SOLUTION_ID, **fields):
        return self.send("POST", "/api/query", json={"query": sql, "solution_id": solution_id, **fields})


def new(**fields):
    """Return an input of createDataset."""
    place = {"organizationId": SANDBOX_ORGANIZATION_ID, "solutionId": SANDBOX_SOLUTION_ID}
    return {**place, "name": "Bookings", "description": "", "source": "", "documentation": {}, **fields}


@pytest.fixture
def new_input():
    """Return inputs of createDataset."""
    return new


@pytest.fixture
def serve(start):
    """Start sandboxes that serve the RPC API."""
    return lambda **options: start(api="rpc", **options)


@pytest.fixture
def sandbox(serve):
    """A sandbox with default options."""
    return serve()


@pytest.fixture
def connect():
    """Create clients of a sandbox that do not have a session yet."""
    with ExitStack() as sessions:

        def new_client(sandbox):
            client = Rpc(sandbox)
            sessions.enter_context(client.session)
            return client

        yield new_client


@pytest.fixture
def rpc(sandbox, connect):
    """A client with a session."""
    return connect(sandbox).login()


@pytest.fixture
def dataset(rpc):
    """The id of a new dataset without data."""
    return rpc.new_dataset()
