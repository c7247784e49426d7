"""Every text that a response contributes to an exception is redacted, short, on one line and valid UTF-8."""

from __future__ import annotations

import json

import pytest
from calls import create, send
from servers import KEY, Reply, body_error, data

from airflow_provider_polyteia.client.api import select_api
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.credentials import EXCERPT_LENGTH
from airflow_provider_polyteia.client.datasets import create_dataset
from airflow_provider_polyteia.exceptions import PolyteiaError

HOSTILE = f"a\ud800 {KEY}\n\n" + 5_000 * "x"
QUERY = make_call("query", "get_dataset", {"id": "ds_1"}, required_field="id")
FIELDS = {"name": "Bookings", "solution_id": "sol_1", "slug": "bookings"}
NEW = make_call("command", "create_dataset", FIELDS, required_field="id")
OTHER = {"id": HOSTILE, **FIELDS, "created_at": "2020-01-01T00:00:00Z"}


def text_of_upload(client, **record):
    select_api(client.credentials).last_upload({"id": "ds_1", **record})


CASES = {
    "message": ([body_error(400, HOSTILE)], lambda client: send(client, QUERY)),
    "text body": ([Reply(500, HOSTILE.encode(errors="replace"))], lambda client: send(client, QUERY)),
    "web page": ([Reply(200, HOSTILE.encode(errors="replace"), {}, "text/html")], lambda client: send(client, QUERY)),
    "error of any type": ([Reply(400, json.dumps({"error": [HOSTILE]}).encode())], lambda client: send(client, QUERY)),
    "upload timestamp": ([], lambda client: text_of_upload(client, metadata={"asset_info": {"uploaded_at": HOSTILE}})),
    "id beside an upload timestamp": (
        [],
        lambda client: text_of_upload(client, id=HOSTILE, metadata={"asset_info": {"uploaded_at": "soon"}}),
    ),
    "id of an existing dataset": (
        [body_error(500), data(OTHER)],
        lambda client: create_dataset(client, select_api(client.credentials), FIELDS, "fail"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_texts_of_responses(server, make_client, case):
    """The text of the exception contains no key, no line break, no unpaired surrogate, and an excerpt only."""
    replies, act = CASES[case]
    client = make_client(max_attempts=1)
    if replies:
        server.answer(*replies)
    with pytest.raises(PolyteiaError) as caught:
        act(client)
    shown = str(caught.value)
    shown.encode()
    assert KEY not in shown
    assert "\n" not in shown
    assert shown.count("x" * (EXCERPT_LENGTH // 2)) <= 2
    assert "x" * (EXCERPT_LENGTH + 1) not in shown
    json.dumps(caught.value.details if hasattr(caught.value, "details") else None, ensure_ascii=False).encode()


def test_label_of_a_created_dataset(server, client, caplog):
    """The log line about a dataset contains an excerpt of its id only."""
    server.answer(data({"id": HOSTILE, **FIELDS}))
    with caplog.at_level("INFO"):
        create_dataset(client, select_api(client.credentials), FIELDS, "reuse")
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Created dataset")]
    line.encode()
    assert KEY not in line
    assert len(line) < 2 * EXCERPT_LENGTH


def test_a_resource_that_was_created_keeps_its_own_id(server, client):
    """Only texts are shortened: the record itself is returned as the platform sent it."""
    server.answer(data({"id": HOSTILE, **FIELDS}))
    assert create(client, NEW).record["id"] == HOSTILE
