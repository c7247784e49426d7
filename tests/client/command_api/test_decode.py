"""Every response that the platform, or a gateway, may send (docs/platform-api.md#responses-and-errors)."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import KEY

from airflow_provider_polyteia.client import config
from airflow_provider_polyteia.client.command_api import protocol
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.credentials import Credentials
from airflow_provider_polyteia.client.operation import Response
from airflow_provider_polyteia.client.retries import classify
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaProtocolError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
)

CALL = make_call("query", "get_dataset", {"id": "ds_1"})
JSON = "application/json"


def decode(status, content_type, body, call=CALL, **headers):
    credentials = Credentials(config.from_connection("city", password=KEY))
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = Response(status, {"content-type": content_type, **headers}, text)
    return protocol.decode(call, response, credentials)


@pytest.mark.parametrize(
    ("status", "content_type", "body", "expected"),
    [
        (200, JSON, {"data": {"id": "ds_1"}}, {"id": "ds_1"}),
        (201, JSON, {"data": [1]}, [1]),
        (200, "application/json; charset=utf-8", {"data": None}, None),
        (200, "APPLICATION/JSON", {"data": 0}, 0),
        (200, "application/problem+json", {"data": "x"}, "x"),
        (200, JSON, {}, None),
        (200, JSON, {"error": None, "data": 1, "new_field": 2}, 1),
        (200, JSON, {"data": 1, "code": 404, "message": "data wins"}, 1),
        (200, JSON, {"code": "many", "message": "not a number"}, None),
        (200, JSON, {"code": 404}, None),
    ],
)
def test_success(status, content_type, body, expected):
    """Any 2xx response with a JSON object and no error is a success, regardless of its data."""
    assert decode(status, content_type, body).data == expected


@pytest.mark.parametrize(
    ("status", "content_type", "body", "expected", "code"),
    [
        # docs/platform-api.md#error-bodies, in its order.
        (401, JSON, {"error": "Unauthorized"}, PolyteiaAuthenticationError, 401),
        (404, JSON, {"code": 404, "message": "not found"}, PolyteiaNotFoundError, 404),
        (200, JSON, {"error": {"code": 500, "message": "internal error"}}, PolyteiaServerError, 500),
        (200, JSON, {"error": {"code": 500, "message": "internal error", "details": []}}, PolyteiaServerError, 500),
        (401, JSON, {"error": {"code": 401, "message": "x", "details": []}}, PolyteiaAuthenticationError, 401),
        # Rules 2 to 4 of docs/platform-api.md#decoding-rules: the HTTP status decides, whatever the body.
        (401, "text/plain", b"no", PolyteiaAuthenticationError, 401),
        (401, "text/html", b"<html>login</html>", PolyteiaAuthenticationError, 401),
        (401, JSON, b"", PolyteiaAuthenticationError, 401),
        (403, JSON, {"error": {"code": 403, "message": "x"}}, PolyteiaPermissionError, 403),
        (403, "text/plain", b"forbidden", PolyteiaPermissionError, 403),
        (403, JSON, {"error": {"code": 500, "message": "x"}}, PolyteiaPermissionError, 500),
        (404, "text/html", b"<html></html>", PolyteiaNotFoundError, 404),
        (400, JSON, {"error": {"code": 400, "message": "x"}}, PolyteiaBadRequestError, 400),
        (409, JSON, {"error": "taken"}, PolyteiaConflictError, 409),
        (422, JSON, {"error": "?"}, PolyteiaAPIError, 422),
        (413, "text/html", b"<html>too large</html>", PolyteiaAPIError, 413),
        (429, "text/plain", b"", PolyteiaRateLimitError, 429),
        (500, JSON, {"error": {"code": 500}}, PolyteiaServerError, 500),
        (502, "text/html", b"<html>bad gateway</html>", PolyteiaServerError, 502),
        (504, "", b"", PolyteiaServerError, 504),
        (407, "text/plain", b"proxy", PolyteiaConfigurationError, None),
        (302, "text/html", b"", PolyteiaProtocolError, None),
        # Rules 5 and 6: a success must be a JSON object.
        (200, "text/html", b"<!doctype html><html></html>", PolyteiaProtocolError, None),
        (200, "", b"", PolyteiaProtocolError, None),
        (204, "", b"", PolyteiaProtocolError, None),
        (200, "text/plain", b'{"data": 1}', PolyteiaProtocolError, None),
        (200, JSON, b'{"data": 1', PolyteiaProtocolError, None),
        (200, JSON, b'{"data": NaN}', PolyteiaProtocolError, None),
        (200, JSON, b'\xff\xfe{"data"', PolyteiaProtocolError, None),
        (200, JSON, b"[" * 100_000, PolyteiaProtocolError, None),
        (200, JSON, [1], PolyteiaProtocolError, None),
        (200, JSON, b"null", PolyteiaProtocolError, None),
        (200, JSON, b"", PolyteiaProtocolError, None),
        # Rule 7: an error counts even beside data, whether it is an object, a string or any other value.
        (200, JSON, {"error": {"code": 404, "message": "x"}, "data": {"id": "ds_1"}}, PolyteiaNotFoundError, 404),
        (200, JSON, {"error": {"code": 401}}, PolyteiaAuthenticationError, 401),
        (200, JSON, {"error": {"code": 403}}, PolyteiaPermissionError, 403),
        (200, JSON, {"error": {"code": 429}}, PolyteiaRateLimitError, 429),
        (200, JSON, {"error": {"code": 400, "message": None}}, PolyteiaBadRequestError, 400),
        (200, JSON, {"error": "Unauthorized"}, PolyteiaAPIError, None),
        (200, JSON, {"error": ["a", 1]}, PolyteiaAPIError, None),
        (200, JSON, {"error": False}, PolyteiaAPIError, None),
        (200, JSON, {"error": {}}, PolyteiaAPIError, None),
        # Rules 8 and 10: code and message at the top level; numeric strings.
        (200, JSON, {"code": 403, "message": "forbidden"}, PolyteiaPermissionError, 403),
        (200, JSON, {"code": "404", "message": "not found"}, PolyteiaNotFoundError, 404),
        (200, JSON, {"error": {"code": "500", "message": "x"}}, PolyteiaServerError, 500),
        (200, JSON, {"error": {"code": True}}, PolyteiaAPIError, None),
    ],
)
def test_errors(status, content_type, body, expected, code):
    """Each error body becomes exactly one exception class, with the platform's code."""
    with pytest.raises(PolyteiaError) as caught:
        decode(status, content_type, body)
    assert type(caught.value) is expected
    assert getattr(caught.value, "code", None) == code
    assert "'get_dataset'" in str(caught.value)
    assert "'city'" in str(caught.value)


def test_attributes_of_an_error():
    """An exception carries code, message, details, HTTP status and method as attributes."""
    body = {"error": {"code": 404, "message": "no such dataset", "details": [{"field": "id"}]}}
    with pytest.raises(PolyteiaNotFoundError) as caught:
        decode(200, JSON, body)
    error = caught.value
    assert (error.code, error.message, error.details) == (404, "no such dataset", [{"field": "id"}])
    assert (error.http_status, error.method, error.conn_id) == (200, "get_dataset", "city")


@pytest.mark.parametrize("value", [None, {}, {"id": ""}, {"id": 5}, [], "ds_1"])
def test_missing_id_is_a_protocol_error(value):
    """A success without a required field is a protocol error."""
    call = make_call("query", "get_dataset", {"id": "ds_1"}, required_field="id")
    with pytest.raises(PolyteiaProtocolError, match="missing the required field 'id'"):
        decode(200, JSON, {"data": value}, call)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("Tue, 24 Nov 2026 10:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(value, seconds):
    """Retry-After is read as seconds, or as a date relative to the server's Date."""
    with pytest.raises(PolyteiaRateLimitError) as caught:
        decode(429, JSON, {}, **{"retry-after": value, "date": "Tue, 24 Nov 2026 10:00:00 GMT"})
    assert caught.value.retry_after == seconds


def test_retry_after_date_without_server_time():
    """Without a Date header, the date is compared with the local clock."""
    when = datetime.now(UTC) + timedelta(seconds=60)
    with pytest.raises(PolyteiaRateLimitError) as caught:
        decode(429, JSON, {}, **{"retry-after": when.strftime("%a, %d %b %Y %H:%M:%S GMT")})
    assert 50 < caught.value.retry_after <= 60


@pytest.mark.parametrize(
    ("content_type", "body", "fails"),
    [
        (JSON, {"data": {}}, False),
        (JSON, {"error": {"code": 403}}, True),
        ("text/plain", b"OK", False),
        ("", b"", False),
        ("text/html", b"<html></html>", True),
        ("text/plain", b"  <!doctype html>", True),
    ],
)
def test_upload_response(content_type, body, fails):
    """Any response to an upload is a success, except an error or a web page (docs/platform-api.md#upload-responses)."""
    credentials = Credentials(config.from_connection("city", password=KEY))
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = Response(200, {"content-type": content_type}, text)
    try:
        protocol.raise_for_error("/upload", response, credentials)
    except PolyteiaError:
        assert fails
    else:
        assert not fails


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (401, "text/plain", f"bad key {KEY}".encode()),
        (200, JSON, {"error": {"code": 400, "message": f"key {KEY}", "details": [{KEY: [KEY]}]}}),
        (200, "text/html", f"<html>{KEY}</html>".encode()),
        (500, "text/plain", f"{'x' * 190} {KEY}".encode()),
    ],
)
def test_echoed_key_is_redacted(status, content_type, body):
    """A key that a response echoes is not in the exception, not even in part."""
    with pytest.raises(PolyteiaError) as caught:
        decode(status, content_type, body)
    shown = repr(caught.value.__dict__) + str(caught.value)
    assert "***" in shown or "..." in shown
    assert not any(KEY[start : start + 8] in shown for start in range(len(KEY) - 8))


@pytest.mark.parametrize("encode", [json.dumps, lambda key: quote(key, safe=""), html.escape, repr])
def test_echoed_key_in_another_spelling(encode):
    """A key with special characters is recognized in JSON, in a URL and in HTML as well."""
    key = 'pak"SECRET\\&<>/+%'
    credentials = Credentials(config.from_connection("city", password=key))
    response = Response(500, {"content-type": "text/plain"}, f"you sent {encode(key)}".encode())
    with pytest.raises(PolyteiaServerError) as caught:
        protocol.decode(CALL, response, credentials)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 407, 409, 413, 429, 503])
def test_page_of_a_proxy(code):
    """A page that rejects a request is not blamed on the key or the id; an overload is not taken for one."""
    with pytest.raises(PolyteiaError) as caught:
        decode(code, "text/html", b"<html><body>Blocked</body></html>")
    text = str(caught.value)
    assert ("ask your network team to allow https://app.polyteia.com" in text) == (code not in (407, 429, 503))
    assert "is valid" not in text
    assert "invalid, expired or revoked" not in text


@pytest.mark.parametrize(("host", "is_known"), [(None, True), ("polyteia.stadt.example", False)])
def test_other_api(host, is_known):
    """A host that is known to serve one API only is not said to serve perhaps the other one."""
    credentials = Credentials(config.from_connection("city", host=host, password=KEY, extra={"api": "command"}))
    for code in (200, 404):
        response = Response(code, {"content-type": "text/html"}, b"<html>Blocked</html>")
        with pytest.raises(PolyteiaError) as caught:
            protocol.decode(CALL, response, credentials)
        assert ("If this host serves the RPC API" in str(caught.value)) is not is_known


KEYS = ["error", "data", "code", "message", "details", "token", "id"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.sampled_from(KEYS), children),
    max_leaves=10,
)
bodies = st.binary() | st.dictionaries(st.sampled_from(KEYS), json_values).map(lambda value: json.dumps(value).encode())
content_types = st.sampled_from([JSON, "text/html", "text/plain", "", "application/vnd.api+json"]) | st.text()
header_values = st.text() | st.sampled_from(["1", "99" * 300, "Mon, 31 Feb 9999 25:61:61 +99999999", "1 Jan 0 0:0"])


@given(st.integers(100, 599), content_types, bodies, header_values, header_values)
def test_anything_becomes_data_or_a_polyteia_error(status, content_type, body, date, retry_after):
    """For any response, only exceptions of this provider are raised, and each can be classified."""
    error = None
    try:
        decode(status, content_type, body, date=date, **{"retry-after": retry_after})
    except PolyteiaError as caught:
        error = caught
    assert classify(error) if error else 200 <= status < 300
