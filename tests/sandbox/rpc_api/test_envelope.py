"""The envelope: content types, `meta` in inputs and responses, and both dialects."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime

import pytest

from airflow_provider_polyteia.sandbox.backend.errors import BusinessError
from airflow_provider_polyteia.sandbox.rpc_api import envelope

DATE = "2026-01-31T00:00:00.000Z"
CODES = {1: [0, 1], 2: ["bigint", "date"]}
INVALID = "Input validation failed"
MALFORMED = "Malformed request"


@pytest.fixture(params=[1, 2])
def dialect(request):
    """Both dialects."""
    return request.param


@pytest.fixture
def rpc(dialect, serve, connect):
    """A client with a session, in each dialect."""
    return connect(serve(rpc_dialect=dialect)).login()


def update(dataset_id, **fields):
    kept = {"name": "B", "slug": "bookings", "description": "", "source": "", "documentation": {}}
    return {"id": dataset_id, **kept, **fields}


def test_dates_of_a_record_are_named_in_meta(rpc, dialect, dataset):
    """Dates are ISO 8601 strings in UTC with milliseconds and have an entry; null dates do not."""
    body = rpc.call("dataset/getDatasetById", id=dataset).json()
    date = CODES[dialect][1]
    assert body["meta"] == [[date, "createdAt"], [date, "updatedAt"]]
    assert body["json"]["dataAsOf"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["json"]["createdAt"])
    rpc.value("dataset/updateDataset", [[date, "dataAsOf"]], **update(dataset, dataAsOf=DATE))
    body = rpc.call("dataset/listDatasets", solutionId=body["json"]["solutionId"]).json()
    assert body["meta"] == [[date, 0, name] for name in ("createdAt", "updatedAt", "dataAsOf")]
    assert body["json"][0]["dataAsOf"] == DATE


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (DATE, DATE),
        ("2026-01-31", DATE),
        ("2026-01-31T01:00:00.1239+01:00", "2026-01-31T00:00:00.123Z"),
        (None, None),
    ],
)
def test_dates_in_inputs(sent, stored, rpc, dialect, dataset):
    """A date with an entry and null without one are accepted."""
    meta = None if sent is None else [[CODES[dialect][1], "dataAsOf"]]
    rpc.value("dataset/updateDataset", [[CODES[dialect][1], "dataAsOf"]], **update(dataset, dataAsOf="2020-01-01"))
    assert rpc.value("dataset/updateDataset", meta, **update(dataset, dataAsOf=sent))["dataAsOf"] == stored


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"dataAsOf": DATE}, None, INVALID),
        ({"dataAsOf": None}, "dataAsOf", INVALID),
        ({"dataAsOf": "soon"}, "dataAsOf", INVALID),
        ({"dataAsOf": "20260131"}, "dataAsOf", INVALID),
        ({"dataAsOf": "2026-W05-6"}, "dataAsOf", INVALID),
        ({"dataAsOf": "2026-02-30"}, "dataAsOf", INVALID),
        ({"dataAsOf": None, "name": DATE}, "name", INVALID),
        ({"dataAsOf": None, "documentation": {"at": DATE}}, ("documentation", "at"), INVALID),
        ({}, "dataAsOf", MALFORMED),
        ({"dataAsOf": DATE}, ("dataAsOf", "x"), MALFORMED),
        ({"dataAsOf": DATE}, ("documentation", 0), MALFORMED),
        ({}, None, INVALID),
    ],
)
def test_invalid_dates_change_nothing(fields, path, message, rpc, dialect, dataset):
    """A date without an entry, an entry without a date, and an invalid date result in HTTP 400."""
    segments = [path] if isinstance(path, str) else list(path or ())
    meta = None if path is None else [[CODES[dialect][1], *segments]]
    response = rpc.call("dataset/updateDataset", meta, **update(dataset, name="changed") | fields)
    assert response.status_code == 400
    error = response.json()["json"]
    assert (error["code"], error["defined"]) == ("BAD_REQUEST", False)
    assert error["message"].startswith(message)
    if message == INVALID:
        assert [found["path"] for found in error["data"]["issues"]] == [segments[:1] if segments else ["dataAsOf"]]
        assert all(found["message"] for found in error["data"]["issues"])
    assert rpc.value("dataset/getDatasetById", id=dataset)["name"] == "Bookings"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (1769817600000, DATE),
        (1769817600123.9, "2026-01-31T00:00:00.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (10**17, INVALID),
        (10**400, INVALID),
        ([], INVALID),
    ],
)
def test_dates_that_are_not_strings(sent, stored, rpc, dialect, dataset):
    """A number is malformed in dialect 1, and milliseconds since 1970 in dialect 2."""
    meta = [[CODES[dialect][1], "dataAsOf"]]
    response = rpc.call("dataset/updateDataset", meta, **update(dataset, dataAsOf=sent))
    content = response.json()["json"]
    if dialect == 1:
        assert response.status_code == 400
        assert content["message"].startswith(MALFORMED)
    elif stored == INVALID:
        assert (response.status_code, content["message"]) == (400, INVALID)
    else:
        assert content["dataAsOf"] == stored


@pytest.mark.parametrize("code", ["other dialect", 99, -1, "point", True, None])
def test_unknown_type_codes(code, rpc, dialect, dataset):
    """An unknown code, such as one of the other dialect, is ignored in dialect 1 and malformed in dialect 2."""
    code = CODES[3 - dialect][1] if code == "other dialect" else code
    response = rpc.call("dataset/updateDataset", [[code, "dataAsOf"]], **update(dataset, dataAsOf=DATE))
    assert response.status_code == 400
    assert response.json()["json"]["message"].startswith(INVALID if dialect == 1 else MALFORMED)
    assert rpc.value("dataset/getDatasetById", id=dataset)["dataAsOf"] is None
    response = rpc.call("dataset/getDatasetById", [[code, "id"]], id=dataset)
    assert response.status_code == (200 if dialect == 1 else 400)


@pytest.mark.parametrize("meta", [None, []])
def test_meta_without_entries(meta, rpc, dialect, dataset):
    """`meta` can be null or empty."""
    response = rpc.send("POST", "/rpc/dataset/getDatasetById", json={"json": {"id": dataset}, "meta": meta})
    assert response.json()["json"]["id"] == dataset


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", INVALID),
        (b"{}", INVALID),
        (b'{"json": []}', INVALID),
        (b'{"json": "x"}', INVALID),
        (b"[1]", INVALID),
        (b"{", MALFORMED),
        (b"null", MALFORMED),
        (b'{"json": {"id": NaN}}', MALFORMED),
        (b'{"json": {"id": "x"}, "meta": {}}', MALFORMED),
        (b'{"json": {"id": "x"}, "meta": [[]]}', MALFORMED),
        (b'{"json": {"id": ["1"]}, "meta": [[0, "id", "0"]]}', MALFORMED),
        (b'{"json": {"id": ["1"]}, "meta": [[0, "id", 1]]}', MALFORMED),
    ],
)
def test_malformed_bodies(body, message, rpc):
    """A body that is not a JSON object with an input results in HTTP 400."""
    headers = {"Content-Type": "application/json"}
    response = rpc.send("POST", "/rpc/dataset/getDatasetById", data=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["json"]["message"].startswith(message)


@pytest.mark.parametrize(
    ("headers", "read", "issues"),
    [
        ({"Content-Type": None}, [1], {2: ["id"]}),
        ({"Content-Type": "application/json;charset=utf-8"}, [1, 2], {}),
        ({"Content-Type": "application/jsonl"}, [1], {2: ["id"]}),
        ({"Content-Type": "Application/JSON"}, [], {1: [], 2: ["id"]}),
        ({"Content-Type": "text/plain"}, [], {1: [], 2: ["id"]}),
        ({"Content-Type": "application/x-www-form-urlencoded"}, [], {1: [], 2: []}),
        ({"Content-Disposition": "attachment"}, [2], {1: []}),
    ],
)
def test_content_types(headers, read, issues, rpc, dialect, dataset):
    """A body that is not read as JSON does not contain an input. In dialect 2 it is a file, whose keys are missing."""
    headers = {"Content-Type": "application/json", **headers}
    body = json.dumps({"json": {"id": dataset}}).encode()
    response = rpc.send("POST", "/rpc/dataset/getDatasetById", data=body, headers=headers)
    content = response.json()["json"]
    if dialect in read:
        assert content["id"] == dataset
    else:
        assert (response.status_code, content["message"]) == (400, INVALID)
        assert [issue["path"] for issue in content["data"]["issues"]] == [issues[dialect]]


def test_a_charset_and_a_trailing_slash_do_not_matter(rpc, dataset):
    """The content type can have parameters, one slash at the end is ignored, and so is the query string."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    body = json.dumps({"json": {"id": dataset}})
    response = rpc.send("POST", "/rpc/dataset/getDatasetById/?x=1", data=body, headers=headers)
    assert response.json()["json"]["id"] == dataset
    assert response.headers["Content-Type"] == "application/json"


def test_no_value_and_null_differ(rpc, dialect, dataset):
    """Without a result, dialect 1 sends `{}` and dialect 2 an empty body. Null is sent as null in both."""
    response = rpc.call("dataset/deleteDataset", id=dataset)
    assert response.status_code == 200
    expected = (b"{}", "application/json") if dialect == 1 else (b"", None)
    assert (response.content, response.headers.get("Content-Type")) == expected
    assert rpc.call("organization/getPublicOrganization", organizationSlug="x").json() == {"json": None}


def test_the_form_of_errors(rpc, dialect):
    """Only dialect 1 contains `status`, and only dialect 2 `inferable`."""
    response = rpc.call("dataset/getDatasetById", id="ds_0")
    assert response.status_code == 404
    assert response.json() == {
        "json": {"defined": False, "code": "NOT_FOUND", "message": "dataset not found"}
        | ({"status": 404} if dialect == 1 else {"inferable": False})
    }


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"data": '{"json": {"id": "ds_0"}}'}, 404),
        ({"data": ['{"json": {"id": 1}}', '{"json": {"id": "ds_0"}}']}, 404),
        ({"data": "{"}, 400),
        ({"id": "ds_0"}, 400),
        ({}, 400),
    ],
)
def test_get(params, status, rpc, dialect):
    """GET results in HTTP 405 in dialect 1. In dialect 2 it takes the envelope from the last parameter `data`."""
    response = rpc.send("GET", "/rpc/dataset/getDatasetById", params=params)
    assert response.status_code == (405 if dialect == 1 else status)
    assert (
        response.json()["json"]["code"]
        == {405: "METHOD_NOT_SUPPORTED", 404: "NOT_FOUND", 400: "BAD_REQUEST"}[response.status_code]
    )


def test_get_runs_any_procedure_in_dialect_2(rpc, dialect, dataset):
    """Procedures that write are not an exception, nor is the exchange of a key."""
    data = json.dumps({"json": {"id": dataset}})
    response = rpc.send("GET", "/rpc/dataset/deleteDataset", params={"data": data})
    assert response.status_code == (405 if dialect == 1 else 200)
    assert len(rpc.sandbox.datasets) == (1 if dialect == 1 else 0)
    rpc.session.headers.pop("Authorization")
    data = json.dumps({"json": {"key": rpc.sandbox.pak}})
    response = rpc.send("GET", "/rpc/auth/personalAccessKey/exchange", params={"data": data})
    assert response.status_code == (405 if dialect == 1 else 200)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_http_methods(method, rpc, dataset):
    """Every HTTP method except GET is like POST."""
    response = rpc.send(method, "/rpc/dataset/getDatasetById", json={"json": {"id": dataset}})
    assert response.json()["json"]["id"] == dataset


def test_counts_are_64_bit_numbers(rpc, dialect, dataset):
    """A row count is a string with an entry."""
    rpc.sandbox.upload(dataset, b"a\n1\n2\n")
    body = rpc.call("dataset/getDatasetStats", id=dataset).json()
    assert body["json"] == {"rowCount": "2", "columns": [{"name": "a", "type": "BIGINT"}]}
    assert body["meta"] == [[CODES[dialect][0], "rowCount"]]


@pytest.mark.parametrize(
    ("value", "content", "meta"),
    [
        (2**53 - 1, 2**53 - 1, []),
        (2**53, str(2**53), [[0]]),
        ({"a": [True, -(2**60)]}, {"a": [True, str(-(2**60))]}, [[0, "a", 1]]),
        ([math.nan, 1.5], [None, 1.5], [[2, 0]]),
        (datetime(2026, 1, 31, 1, 2, 3, 4999, UTC), "2026-01-31T01:02:03.004Z", [[1]]),
    ],
)
def test_values_that_json_cannot_represent(value, content, meta):
    """Integers beyond 53 bits, NaN and dates are named in `meta`."""
    assert envelope.encode(value, 1) == (content, meta)
    assert envelope.encode(value, 2) == (content, [[envelope.TYPES[entry[0]], *entry[1:]] for entry in meta])


def test_types_in_inputs():
    """A bigint becomes an integer, and undefined becomes null."""
    body = json.dumps({"json": {"n": "9007199254740993", "l": [None]}, "meta": [[0, "n"], [3, "l", 0]]}).encode()
    assert envelope.decode(body, "application/json", None, 1) == {"n": 2**53 + 1, "l": [None]}


@pytest.mark.parametrize("value", [5, "+5", "05", "", " 5", "1_0", "0x5", "five", None, "1" * 4301])
def test_bigints_in_inputs_of_dialect_1(value):
    """A bigint must be a string of at most 4300 digits."""
    body = json.dumps({"json": value, "meta": [[0]]}).encode()
    with pytest.raises(BusinessError, match=MALFORMED):
        envelope.decode(body, "application/json", None, 1)


@pytest.mark.parametrize(("value", "number"), [("0", 0), ("-5", -5), ("1" * 30, int("1" * 30))])
def test_valid_bigints_in_inputs(value, number):
    """Both dialects read strings of digits."""
    for dialect, codes in CODES.items():
        body = json.dumps({"json": value, "meta": [[codes[0]]]}).encode()
        assert envelope.decode(body, "application/json", None, dialect) == number
