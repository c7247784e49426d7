"""What creates say about a dataset: ids from a response are shortened and redacted in texts, not in results."""

from __future__ import annotations

import pytest
from calls import create
from servers import KEY, body_error, data

from airflow_provider_polyteia.client.api import select_api
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.credentials import EXCERPT_LENGTH
from airflow_provider_polyteia.client.datasets import create_dataset
from airflow_provider_polyteia.exceptions import PolyteiaConflictError

HOSTILE = f"a\ud800 {KEY}\n\n" + 5_000 * "x"
FIELDS = {"name": "Bookings", "solution_id": "sol_1", "slug": "bookings"}
NEW = make_call("command", "create_dataset", FIELDS, required_field="id")
OTHER = {"id": HOSTILE, **FIELDS, "created_at": "2020-01-01T00:00:00Z"}


def test_id_of_an_existing_dataset(server, make_client):
    """The exception about a taken slug contains a redacted excerpt of the existing dataset's id."""
    client = make_client(max_attempts=1)
    server.answer(body_error(500), data(OTHER))
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
    server.answer(data({"id": HOSTILE, **FIELDS}))
    with caplog.at_level("INFO"):
        create_dataset(client, client.run(select_api(client.credentials)), FIELDS, "reuse")
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Created dataset")]
    line.encode()
    assert KEY not in line
    assert len(line) < 2 * EXCERPT_LENGTH


def test_a_resource_that_was_created_keeps_its_own_id(server, client):
    """Only texts are shortened: the record itself is returned as the platform sent it."""
    server.answer(data({"id": HOSTILE, **FIELDS}))
    assert create(client, NEW).record["id"] == HOSTILE
