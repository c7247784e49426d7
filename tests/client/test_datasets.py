"""What creates say about a dataset: whose it is, and its id, which is shortened and redacted in texts only."""

from __future__ import annotations

import json
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from calls import create
from servers import KEY, body_error, data, status

from airflow_provider_polyteia.client.api import select_api
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.credentials import EXCERPT_LENGTH
from airflow_provider_polyteia.client.datasets import create_dataset
from airflow_provider_polyteia.exceptions import PolyteiaConflictError, PolyteiaOutcomeUnknownError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.sandbox.backend.store import Store

HOSTILE = f"a\ud800 {KEY}\n\n" + 5_000 * "x"
FIELDS = {"name": "Bookings", "solution_id": "sol_1", "slug": "bookings"}
NEW = make_call("command", "create_dataset", FIELDS, required_field="id")
OTHER = {"id": HOSTILE, **FIELDS, "created_at": "2020-01-01T00:00:00Z"}


@pytest.mark.parametrize("replies", [[data(OTHER)], [status(502), body_error(500), data(OTHER)]])
def test_id_of_an_existing_dataset(server, make_client, replies):
    """The exception about a taken slug contains a redacted excerpt of the existing dataset's id."""
    client = make_client(max_attempts=1)
    server.respond(*replies)
    with pytest.raises(PolyteiaConflictError) as caught:
        create_dataset(client, client.run(select_api(client.credentials)), FIELDS, "fail")
    shown = str(caught.value)
    shown.encode()
    assert "is already used by 'a" in shown
    assert KEY not in shown
    assert "\n" not in shown
    assert "x" * (EXCERPT_LENGTH + 1) not in shown


def test_label_of_a_created_dataset(server, client, caplog):
    """The log line about a dataset contains an excerpt of its id only."""
    server.respond(data({"id": HOSTILE, **FIELDS}))
    with caplog.at_level("INFO"):
        create_dataset(client, client.run(select_api(client.credentials)), FIELDS, "reuse")
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Created dataset")]
    line.encode()
    assert KEY not in line
    assert len(line) < 2 * EXCERPT_LENGTH


def test_a_resource_that_was_created_keeps_its_own_id(server, client):
    """Only texts are shortened: the record itself is returned as the platform sent it."""
    server.respond(data({"id": HOSTILE, **FIELDS}))
    assert create(client, NEW).record["id"] == HOSTILE


@pytest.fixture(params=["command", "rpc"])
def sandbox(request):
    """A sandbox of either API."""
    with Sandbox(api=request.param) as running:
        yield running


@pytest.fixture
def new_hook(sandbox, connect):
    """Create hooks of the sandbox, as of several workers."""
    extra = json.loads(sandbox.airflow_connection())["extra"]
    connect(host=sandbox.base_url, password=sandbox.pak, extra={**extra, "max_wait": 0.01, "timeout": [5, 1]})
    hooks = []

    def make():
        hooks.append(PolyteiaHook())
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


def create_by_hook(hook, if_exists, slug="contested", name="Bookings"):
    return hook.create_dataset(name=name, solution_id=SANDBOX_SOLUTION_ID, slug=slug, if_exists=if_exists)


def fault_of_create(sandbox, kind):
    call = "create_dataset" if sandbox.options.api == "command" else "dataset/createDataset"
    sandbox.faults.add(f"{call}:{kind}:1")


@pytest.mark.parametrize("lost", ["hang:1", "close-before"])
def test_two_workers_create_the_same_slug(sandbox, new_hook, lost):
    """If the response to one of two workers is lost, only the other one reports that it created the dataset."""
    fault_of_create(sandbox, lost)
    loser = new_hook()
    client, sent = loser.get_conn(), threading.Event()
    transmit = client.transmit

    def transmit_create(request):
        try:
            return transmit(request)
        finally:
            if "create" in request.name.lower():
                sent.set()
                created.result(10)

    client.transmit = transmit_create
    with ThreadPoolExecutor(1) as pool:
        created = pool.submit(lambda: sent.wait(10) and create_by_hook(new_hook(), "fail"))
        with pytest.raises(PolyteiaOutcomeUnknownError, match="either by this call or by another client"):
            create_by_hook(loser, "fail")
    (stored,) = [item for item in sandbox.records("dataset") if item["slug"] == "contested"]
    assert created.result()["id"] == stored["id"]


STORED = {"trimmed": str.strip, "null": lambda _: None, "composed": lambda text: unicodedata.normalize("NFC", text)}
FAULTS = ["drop-after", "status-after:502", "status-after:400", "body-error-after:500", "html-after"]


@pytest.mark.parametrize("hours", [0, -1, 1], ids=["same clock", "clock behind", "clock ahead"])
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("stored", STORED)
def test_own_create_on_a_platform_that_normalizes(sandbox, new_hook, monkeypatch, stored, kind, hours):
    """A dataset that this call created is never reported as another client's, whatever the platform stores."""
    put = Store.put

    def put_changed(store, table, record):
        if table == "dataset":
            created = datetime.fromisoformat(record["created_at"]) + timedelta(hours=hours)
            record = {**record, "name": STORED[stored](record["name"]), "created_at": created.isoformat()}
        return put(store, table, record)

    monkeypatch.setattr(Store, "put", put_changed)
    fault_of_create(sandbox, kind)
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create_by_hook(new_hook(), "fail", name=" Gebu\u0308hren")
    fault_of_create(sandbox, kind)
    assert create_by_hook(new_hook(), "reuse", slug="mine", name=" Gebu\u0308hren")["slug"] == "mine"


@pytest.mark.parametrize("hours", [0, -1, 1], ids=["same clock", "clock behind", "clock ahead"])
@pytest.mark.parametrize("kind", FAULTS)
def test_dataset_of_another_client(sandbox, new_hook, monkeypatch, kind, hours):
    """A dataset that exists before the create is a conflict, whatever the clocks say and the response would be."""
    put = Store.put

    def put_shifted(store, table, record):
        created = datetime.fromisoformat(record["created_at"]) + timedelta(hours=hours)
        return put(store, table, {**record, "created_at": created.isoformat()} if table == "dataset" else record)

    monkeypatch.setattr(Store, "put", put_shifted)
    create_by_hook(new_hook(), "fail")
    fault_of_create(sandbox, kind)
    with pytest.raises(PolyteiaConflictError, match="slug='contested' is already used by 'ds_"):
        create_by_hook(new_hook(), "fail")


@pytest.mark.parametrize("stored", ["Bookings", " Bookings", "B\u00fccher"])
def test_reuse_of_normalized_contents(connect, server, caplog, stored):
    """Contents that differ only as the platform may normalize them are not reported as different."""
    connect(host=server.url)
    sent = unicodedata.normalize("NFD", stored) + " "
    server.respond(body_error(500), data({**FIELDS, "id": "ds_1", "name": stored, "source": None}))
    with caplog.at_level("WARNING"), PolyteiaHook() as hook:
        hook.create_dataset(name=sent, solution_id="sol_1", slug="bookings", source="")
    assert "differs" not in caplog.text
