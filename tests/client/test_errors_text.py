"""Text from a response appears in exceptions and results only as a short, redacted, encodable line."""

from __future__ import annotations

import json

import pytest
from servers import KEY

from airflow_provider_polyteia.client import config
from airflow_provider_polyteia.client.command_api import protocol
from airflow_provider_polyteia.client.command_api.operations import CommandAPI
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.credentials import Credentials
from airflow_provider_polyteia.client.operation import Response
from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.upload_condition import UploadCondition
from airflow_provider_polyteia.exceptions import PolyteiaError

CALL = make_call("query", "get_dataset", {"id": "ds_1"})
JSON, MAX_LENGTH = "application/json", 200
FILLER = "§"  # not in any text of the package
TEXT = f"before {KEY}\r\nsecond\u2028line\t\ud800 {FILLER * 5000}"


def make_credentials():
    return Credentials(config.from_connection("city", password=KEY))


def caught(function, *args):
    with pytest.raises(PolyteiaError) as caught:
        function(*args)
    return caught.value


def decode(status, content_type, body):
    """Return the exception of a response."""
    encoded = json.dumps(body).encode() if content_type == JSON else body.encode(errors="surrogatepass")
    return caught(protocol.decode, CALL, Response(status, {"content-type": content_type}, encoded), make_credentials())


def organization_name(name):
    """Return the result of testing the connection."""
    flow = CommandAPI(make_credentials()).test_connection().start()
    next(flow)
    body = json.dumps({"data": {"items": [{"name": name}]}}).encode()
    with pytest.raises(StopIteration) as stop:
        flow.send(Response(200, {"content-type": JSON}, body))
    return stop.value.value


def upload_error(identifier, uploaded_at):
    """Return the exception of a record with an invalid upload timestamp."""
    record = {"id": identifier, "metadata": {"asset_info": {"uploaded_at": uploaded_at}}}
    return caught(CommandAPI(make_credentials()).last_upload, record, UploadCondition(DatasetRef("ds_1")))


SOURCES = {
    "message": lambda text: str(decode(400, JSON, {"error": {"code": 400, "message": text}})),
    "message attribute": lambda text: decode(200, JSON, {"error": {"code": 500, "message": text}}).message,
    "error": lambda text: str(decode(200, JSON, {"error": text})),
    "message of another type": lambda text: str(decode(403, JSON, {"code": 403, "message": {text: [text]}})),
    "error page": lambda text: str(decode(502, "text/html", f"<html>{text}")),
    "begin of a web page": lambda text: str(decode(200, "text/html", f"<html>{text}")),
    "begin of a redirect": lambda text: str(decode(302, "text/plain", text)),
    "begin of invalid JSON": lambda text: str(decode(200, JSON, [text])),
    "organization name": organization_name,
    "organization name of another type": lambda text: organization_name([text]),
    "upload timestamp": lambda text: str(upload_error("ds_1", text)),
    "upload timestamp of another type": lambda text: str(upload_error("ds_1", {"at": text})),
    "dataset id": lambda text: str(upload_error(text, "yesterday")),
}


@pytest.mark.parametrize("source", SOURCES)
def test_text_of_a_response(source):
    """The text is redacted, on one line, encodable, and at most about 200 characters long."""
    shown = SOURCES[source](TEXT)
    assert "before ***" in shown
    assert not any(KEY[start : start + 8] in shown for start in range(len(KEY) - 8))
    assert len(shown.splitlines()) == 1
    assert shown.isprintable()
    shown.encode()
    if source != "begin of invalid JSON":  # a body that is not decoded may contain the escape as plain text
        assert "\\ud800" not in shown
    assert 0 < shown.count(FILLER) + shown.count("\\u00a7") <= MAX_LENGTH
    assert "..." in shown


@pytest.mark.parametrize("source", SOURCES)
def test_short_text_is_complete(source):
    """A short text is shown completely."""
    shown = SOURCES[source]("no such dataset")
    assert "no such dataset" in shown
    assert "..." not in shown


def test_whitespace_and_surrogates():
    """Each run of whitespace becomes a space, and an unpaired surrogate becomes U+FFFD."""
    error = decode(400, JSON, {"error": {"code": 400, "message": TEXT}})
    assert error.message.startswith(f"before *** second line \ufffd {FILLER}")
    assert error.message.endswith(f"{FILLER}...")
    assert len(error.message) == MAX_LENGTH + len("...")
    assert repr(error.message) in str(error)


def test_both_texts_of_an_invalid_upload_are_shortened():
    """The exception for an invalid upload timestamp limits the id and the timestamp separately."""
    shown = str(upload_error(FILLER * 5000, "¤" * 5000))
    assert (shown.count(FILLER), shown.count("¤")) == (MAX_LENGTH, MAX_LENGTH)
    assert "'city'" in shown


def test_details():
    """The details of an error are redacted and encodable at any depth."""
    error = decode(400, JSON, {"error": {"code": 400, "details": [{KEY: [TEXT, 2**70, float("1e308")]}]}})
    shown = json.dumps(error.details, ensure_ascii=False, allow_nan=False)
    shown.encode()
    assert KEY not in shown
    assert error.details[0]["***"][0].startswith("before ***\r\nsecond\u2028line\t\ufffd ")
    assert error.details[0]["***"][1] == str(2**70)


def test_result_without_an_organization():
    """Testing a connection returns None if the organization has no name."""
    assert organization_name(None) is None
    assert organization_name("") is None
