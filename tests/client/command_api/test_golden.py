"""The client sends and accepts what docs/platform-api.md describes, as the sandbox does (see tests/fixtures)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from calls import send
from servers import KEY, Reply

from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.exceptions import PolyteiaAPIError

FIXTURES = Path(__file__).parents[2] / "fixtures"
CALLS = sorted((FIXTURES / "calls").glob("*.json"))
ERRORS = json.loads((FIXTURES / "errors.json").read_text())


def replay(client, server, exchange):
    """Send the request of an exchange to a server that sends its response."""
    response, body = exchange["response"], exchange["request"]["json"]
    server.respond(Reply(response["status"], json.dumps(response["json"]).encode()))
    kind = "command" if "command" in body else "query"
    return send(client, make_call(kind, body[kind], body["params"])).data


@pytest.mark.parametrize("path", [path for path in CALLS if path.stem != "exchange_token"], ids=lambda path: path.stem)
def test_calls(path, client, server):
    """Each documented call is sent as documented, and its result is the `data` of the response."""
    exchange = json.loads(re.sub(r"<(\w+) token>", r"\1-token", path.read_text()))  # a token contains no whitespace
    expected = exchange["response"]["json"]
    assert replay(client, server, exchange) == expected["data"]
    (request,) = server.requests
    expected_request = exchange["request"]
    assert (request.verb, request.path, request.json) == (
        expected_request["method"],
        expected_request["path"],
        expected_request["json"],
    )
    for name, value in expected_request["headers"].items():
        assert request.headers[name.lower()] == value.replace("<PAK>", KEY)


def test_token_exchange(make_client, server):
    """The token exchange is sent as documented."""
    exchange = json.loads((FIXTURES / "calls" / "exchange_token.json").read_text())
    expected_request = exchange["request"]
    server.respond(Reply(200, b'{"token": "tok-123456"}'), Reply(200, b'{"data": 1}'))
    send(
        make_client(organization_id=expected_request["json"]["organization_id"]),
        make_call("query", "get_dataset", {"id": "ds"}),
    )
    request = server.requests[0]
    assert (request.verb, request.path, request.json) == (
        expected_request["method"],
        expected_request["path"],
        expected_request["json"],
    )
    for name, value in expected_request["headers"].items():
        assert request.headers[name.lower()] == value.replace("<PAK>", KEY)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error["name"])
def test_errors(error, make_client, server):
    """Each documented error body becomes an exception with the platform's code and message."""
    server.respond(Reply(error["status"], json.dumps(error["json"]).encode()))
    with pytest.raises(PolyteiaAPIError) as caught:
        send(make_client(max_attempts=1), make_call("query", "get_dataset", {"id": "ds"}))
    body = error["json"].get("error", error["json"])
    fields = body if isinstance(body, dict) else {"code": error["status"], "message": body}
    assert (caught.value.code, caught.value.message) == (fields["code"], fields["message"])
