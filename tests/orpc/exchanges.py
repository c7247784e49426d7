"""What the RPC framework behind the platform's API replies to each kind of request, in both of its dialects.

A table of exchanges, `EXCHANGES`. Each names a request and the response that is expected for it. `test_framework.py`
proves the table with the framework itself; what emulates or uses the platform can be tested with the same table::

    request = exchange.request(dialect, given)
    response = send(request.method, base_url + request.path, request.headers, request.content)
    assert not exchange.differences(dialect, given, response.status, response.content_type, response.body)

`given` holds what exists before the exchange, see `GIVEN`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orpc.matching import (
    DATASET_ID,
    DATE,
    TEXT,
    TYPES,
    Given,
    Issues,
    OtherType,
    Record,
    Type,
    differences,
    example,
    fill,
    meta_differences,
)

# A key and its organization, an open session of it, and a new dataset in a solution that has no other dataset.
GIVEN = ("key", "organizationId", "organizationSlug", "solutionId", "token", "datasetId", "slug", "newSlug")

PREFIX = "/rpc/"
MALFORMED = (
    "Malformed request. Ensure the request body is properly formatted and the 'Content-Type' header is set correctly."
)


class Request(NamedTuple):
    """A request, ready to be sent."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


@dataclass(frozen=True)
class Response:
    """An expected response. `content_type` is None if the body is empty."""

    status: int
    content_type: str | None = "application/json"
    json: Any = None
    meta: list[list[Any]] = field(default_factory=list)
    is_error: bool = False
    has_value: bool = True

    def template(self, dialect: int, given: dict[str, Any]) -> tuple[Any, list[list[Any]]]:
        """Return the filled templates of `json` and `meta`."""
        content = fill(self.json, dialect, given)
        if self.is_error:
            del content["inferable" if dialect == 1 else "status"]
        return content, fill(self.meta, dialect, given)


def value(content, *meta) -> Response:
    """Success with a value."""
    return Response(200, json=content, meta=list(meta))


def error(status, code, message, *meta, defined=False, **data) -> Response:
    """An error in the framework's form."""
    content = {"defined": defined, "inferable": defined, "code": code, "status": status, "message": message} | data
    return Response(status, json=content, meta=list(meta), is_error=True)


def invalid(*paths) -> Response:
    """Rejection of an input that does not fit the schema; each path is the path of an issue."""
    return error(400, "BAD_REQUEST", "Input validation failed", data={"issues": Issues(paths)})


MALFORMED_REQUEST = error(400, "BAD_REQUEST", MALFORMED)
NO_INPUT = invalid(())
NO_VALUE = Response(200, has_value=False)
NO_VALUE_2 = Response(200, content_type=None, has_value=False)
NO_ROUTE = Response(404, content_type="text/plain", has_value=False)
UNAUTHORIZED = error(401, "UNAUTHORIZED", TEXT)


@dataclass(frozen=True)
class Exchange:
    """A request and the response to it.

    :param name: Unique name, for test ids.
    :param procedure: Path below `/rpc/`, with a trailing slash or a query string where that is what is tested.
    :param expected: The response.
    :param body: The request body: a JSON value with placeholders, or bytes that are sent unchanged.
    :param expected_2: The response in dialect 2, if it differs in more than the encoding.
    :param credential: Name of what is sent as the bearer, or None for no Authorization header.
    :param headers: Headers that replace the usual ones; None removes one.
    :param emulated: Whether emulators of the platform must reply like this. False for procedures that only our server
        has, and if the platform's own behavior is unknown.
    """

    name: str
    procedure: str
    expected: Response
    body: Any
    expected_2: Response | None = None
    credential: str | None = "token"
    headers: dict[str, str | None] = field(default_factory=dict)
    method: str = "POST"
    emulated: bool = True

    def response(self, dialect: int) -> Response:
        """Return the response that is expected in a dialect."""
        return (dialect == 2 and self.expected_2) or self.expected

    def request(self, dialect: int, given: dict[str, Any]) -> Request:
        """Return the request in a dialect."""
        headers: dict[str, str | None] = {"Content-Type": "application/json"}
        if self.credential:
            headers["Authorization"] = f"Bearer {given.get(self.credential, self.credential)}"
        headers |= self.headers
        content = self.body
        if not isinstance(content, bytes):
            content = json.dumps(fill(content, dialect, given)).encode()
        used = {name: text for name, text in headers.items() if text is not None}
        return Request(self.method, PREFIX + self.procedure, used, content)

    def differences(
        self, dialect: int, given: dict[str, Any], status: int, content_type: str | None, body: bytes
    ) -> list[str]:
        """Compare a response with the expected one and describe each difference."""
        expected = self.response(dialect)
        if status != expected.status:
            return [f"status: {status} instead of {expected.status}, with the body {body!r}"]
        kind = content_type.split(";")[0].strip() if content_type and expected == NO_ROUTE else content_type
        found = []
        if kind != expected.content_type:
            found.append(f"content type: {content_type} instead of {expected.content_type}")
        if expected == NO_ROUTE:  # the application words it
            return found
        if expected.content_type is None:
            return found + ([f"body: {body!r} instead of nothing"] if body else [])
        return found + self._body_differences(dialect, given, body)

    def _body_differences(self, dialect: int, given: dict[str, Any], body: bytes) -> list[str]:
        try:
            actual = json.loads(body)
        except ValueError:
            return [f"body: {body!r} is not JSON"]
        expected = self.response(dialect)
        if not expected.has_value:
            return differences({}, actual, "body")
        if not isinstance(actual, dict) or "json" not in actual or actual.keys() - {"json", "meta"}:
            return [f"body: {actual!r} does not have the keys json and meta"]
        content, meta = expected.template(dialect, given)
        return differences(content, actual["json"], "json") + meta_differences(content, meta, actual.get("meta"))

    def matches(self, dialect: int, given: dict[str, Any], status: int, content_type: str | None, body: bytes) -> bool:
        """Whether a response is the expected one."""
        return not self.differences(dialect, given, status, content_type, body)

    def example(self, dialect: int, given: dict[str, Any]) -> tuple[int, str | None, bytes]:
        """Return a response as expected: status, content type and body."""
        expected = self.response(dialect)
        if expected.content_type != "application/json":
            return expected.status, expected.content_type, b"Not found" if expected.content_type else b""
        body = {}
        if expected.has_value:
            content, meta = expected.template(dialect, given)
            body = {"json": example(content)} | ({"meta": meta} if meta else {})
        return expected.status, expected.content_type, json.dumps(body).encode()


# The platform's objects

BIGINT, DATE_TYPE, NAN, UNDEFINED, URL, REGEXP, SET, MAP, POINT = (Type(word) for word in TYPES)

SESSION = {"token": TEXT, "expiresAt": DATE, "organizationId": Given("organizationId"), "scope": "organization"}
EXPIRES_AT = [DATE_TYPE, "expiresAt"]

NEW_DATASET = {
    "organizationId": Given("organizationId"),
    "solutionId": Given("solutionId"),
    "name": "Bookings",
    "description": "All bookings",
    "source": "Nightly job",
    "documentation": {},
}
DATASET = Record(
    NEW_DATASET
    | {
        "id": Given("datasetId"),
        "slug": Given("slug"),
        "columns": [],
        "dataAsOf": None,
        "createdAt": DATE,
        "updatedAt": DATE,
    }
)
DATASET_DATES = ([DATE_TYPE, "createdAt"], [DATE_TYPE, "updatedAt"])
BY_ID = {"json": {"id": Given("datasetId")}}
FOUND = value(DATASET, *DATASET_DATES)

CHANGES = {
    "id": Given("datasetId"),
    "name": "Bookings 2026",
    "slug": Given("slug"),
    "description": None,
    "source": "Nightly job",
    "documentation": {"unit": "EUR"},
}
AS_OF = [DATE_TYPE, "dataAsOf"]
MIDNIGHT = "2026-01-31T00:00:00.000Z"


def updated(data_as_of) -> Response:
    """The response to an update that was applied."""
    meta = DATASET_DATES if data_as_of is None else (AS_OF, *DATASET_DATES)
    return value(Record(DATASET | CHANGES | {"dataAsOf": data_as_of}), *meta)


# Words of the framework and their status, in both dialects and in dialect 2 only; all other words are sent with 500.
STATUSES = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_SUPPORTED": 405,
    "NOT_ACCEPTABLE": 406,
    "CONFLICT": 409,
    "PRECONDITION_FAILED": 412,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "UNPROCESSABLE_CONTENT": 422,
    "TOO_MANY_REQUESTS": 429,
    "CLIENT_CLOSED_REQUEST": 499,
    "INTERNAL_SERVER_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
    "BAD_GATEWAY": 502,
    "SERVICE_UNAVAILABLE": 503,
    "GATEWAY_TIMEOUT": 504,
}
STATUSES_2 = {"PAYMENT_REQUIRED": 402, "GONE": 410, "PRECONDITION_REQUIRED": 428}

EXCHANGE = "auth/personalAccessKey/exchange"
CREATE = "dataset/createDataset"
GET = "dataset/getDatasetById"
UPDATE = "dataset/updateDataset"


def exchanged(name, expected, /, *, credential=None, emulated=True, **credentials) -> Exchange:
    """An exchange of a key for a session."""
    return Exchange(name, EXCHANGE, expected, {"json": credentials}, credential=credential, emulated=emulated)


def created(name, expected, /, *, emulated=True, **fields) -> Exchange:
    """A creation of a dataset."""
    return Exchange(name, CREATE, expected, {"json": NEW_DATASET | fields}, emulated=emulated)


def read(name, expected=FOUND, expected_2=None, *, suffix="", body=BY_ID, emulated=True, **options) -> Exchange:
    """A read of the dataset."""
    return Exchange(name, GET + suffix, expected, body, expected_2, emulated=emulated, **options)


def update(name, expected, expected_2=None, *, body, emulated=True) -> Exchange:
    """An update of the dataset; `body` is added to the request without `dataAsOf`."""
    content = {**body, "json": CHANGES | body.get("json", {})}
    return Exchange(name, UPDATE, expected, content, expected_2, emulated=emulated)


def ours(name, expected, expected_2=None, *, body=None) -> Exchange:
    """A call of a procedure that only our server has."""
    body = {"json": {}} if body is None else body
    return Exchange(f"contract {name}", f"contract/{name.split()[0]}", expected, body, expected_2, emulated=False)


def multipart(*, data, file) -> bytes:
    """Return the body of a call with a file, with the boundary `b1`."""
    return (
        b'--b1\r\nContent-Disposition: form-data; name="data"\r\n\r\n%s\r\n'
        b'--b1\r\nContent-Disposition: form-data; name="0"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n%s\r\n'
        b"--b1--\r\n"
    ) % (data, file)


def in_words(code) -> str:
    """Return the framework's message for an error without one: `NOT_FOUND` is `Not Found`."""
    return code.replace("_", " ").title()


def failed(code, status, message, status_2, message_2) -> Exchange:
    """An error with a word of the framework or of the application, and without a message."""
    expected, expected_2 = error(status, code, message), error(status_2, code, message_2)
    return ours(f"fail with {code}", expected, expected_2, body={"json": {"code": code}})


EXCHANGES = (
    # Sessions
    exchanged("exchange by id", value(SESSION, EXPIRES_AT), key=Given("key"), organizationId=Given("organizationId")),
    exchanged(
        "exchange by slug", value(SESSION, EXPIRES_AT), key=Given("key"), organizationSlug=Given("organizationSlug")
    ),
    exchanged(
        "exchange without an organization",
        value({"token": TEXT, "expiresAt": DATE, "scope": "user"}, EXPIRES_AT),
        key=Given("key"),
        emulated=False,
    ),
    exchanged(
        "exchange with a wrong key",
        error(401, "UNAUTHORIZED", "Invalid personal access key"),
        key="pak_wrong",
        organizationId=Given("organizationId"),
    ),
    exchanged(
        "exchange for an unknown id", error(404, "NOT_FOUND", TEXT), key=Given("key"), organizationId="org_unknown"
    ),
    exchanged(
        "exchange for an unknown slug", error(404, "NOT_FOUND", TEXT), key=Given("key"), organizationSlug="unknown"
    ),
    exchanged(
        "exchange with an empty id", invalid(("organizationId",)), key=Given("key"), organizationId="", emulated=False
    ),
    exchanged(
        "exchange with a bearer",
        value(SESSION, EXPIRES_AT),
        credential="expired",
        key=Given("key"),
        organizationId=Given("organizationId"),
        emulated=False,  # whether the platform accepts it is unknown
    ),
    exchanged("exchange without a key", invalid(("key",))),
    exchanged("exchange with a key of another type", invalid(("key",)), key=1),
    Exchange("exchange without input", EXCHANGE, NO_INPUT, {}, credential=None),
    read("no bearer", UNAUTHORIZED, credential=None),
    read("unknown bearer", UNAUTHORIZED, credential="session_unknown"),
    read("key as the bearer", UNAUTHORIZED, credential="key"),
    read("another scheme", UNAUTHORIZED, headers={"Authorization": "Basic dXNlcjprZXk="}),
    read("no bearer and no input", UNAUTHORIZED, credential=None, body={}),
    read("no bearer and broken JSON", MALFORMED_REQUEST, credential=None, body=b'{"json":'),
    # Datasets: values, dates, null, no value
    created("create", value(Record(DATASET | {"id": DATASET_ID, "slug": TEXT}), *DATASET_DATES)),
    created(
        "create with a slug",
        value(Record(DATASET | {"id": DATASET_ID, "slug": Given("newSlug")}), *DATASET_DATES),
        slug=Given("newSlug"),
    ),
    created(
        "create with an unknown key",
        value(Record(DATASET | {"id": DATASET_ID, "slug": TEXT}), *DATASET_DATES),
        slugg=Given("newSlug"),
    ),
    created("create with a slug in use", error(409, "CONFLICT", TEXT), slug=Given("slug"), emulated=False),
    created("create in an unknown solution", error(404, "NOT_FOUND", TEXT), solutionId="sol_unknown"),
    created("create with a name of another type", invalid(("name",)), name=1),
    created("create with two issues", invalid(("name",), ("solutionId",)), name=None, solutionId=1),
    Exchange(
        "create with missing keys",
        CREATE,
        invalid(("name",), ("organizationId",)),
        {"json": {key: text for key, text in NEW_DATASET.items() if key not in {"name", "organizationId"}}},
    ),
    read("get"),
    read("get of an unknown id", error(404, "NOT_FOUND", TEXT), body={"json": {"id": "ds_unknown"}}),
    Exchange(
        "get by slug",
        "dataset/getDatasetBySolutionSlug",
        FOUND,
        {"json": {"solutionId": Given("solutionId"), "slug": Given("slug")}},
    ),
    Exchange(
        "get by an unknown slug",
        "dataset/getDatasetBySolutionSlug",
        error(404, "NOT_FOUND", TEXT),
        {"json": {"solutionId": Given("solutionId"), "slug": "unknown"}},
    ),
    Exchange(
        "list",
        "dataset/listDatasets",
        value([DATASET], [DATE_TYPE, 0, "createdAt"], [DATE_TYPE, 0, "updatedAt"]),
        {"json": {"solutionId": Given("solutionId")}},
    ),
    Exchange(
        "list of an unknown solution",
        "dataset/listDatasets",
        value([]),
        {"json": {"solutionId": "sol_unknown"}},
        emulated=False,
    ),
    Exchange("delete", "dataset/deleteDataset", NO_VALUE, BY_ID, NO_VALUE_2),
    Exchange(
        "delete of an unknown id",
        "dataset/deleteDataset",
        error(404, "NOT_FOUND", TEXT),
        {"json": {"id": "ds_unknown"}},
    ),
    Exchange(
        "failed ingest",
        "dataset/getDatasetIngestStatus",
        value({"status": "failed", "errorMessage": "bad csv"}),
        {"json": {"id": Given("datasetId"), "ingestId": "dsig_1"}},
        emulated=False,
    ),
    Exchange(
        "organization",
        "organization/getOrganizationById",
        value(
            Record({"id": Given("organizationId"), "slug": Given("organizationSlug"), "name": TEXT, "createdAt": DATE}),
            [DATE_TYPE, "createdAt"],
        ),
        {"json": {"id": Given("organizationId")}},
    ),
    Exchange(
        "unknown organization",
        "organization/getOrganizationById",
        error(404, "NOT_FOUND", TEXT),
        {"json": {"id": "org_unknown"}},
    ),
    # Values of every type
    Exchange(
        "statistics",
        "dataset/getDatasetStats",
        value(
            {
                "rowCount": "9007199254740993",
                "columnTypes": [["amount", "DOUBLE"], ["day", "DATE"]],
                "lastChanges": [[Given("datasetId"), MIDNIGHT]],
                "formats": ["csv", "parquet"],
                "counts": ["1", "2"],
                "mean": None,
                "maximum": None,
                "invalidDate": None,
                "samples": ["a", None, "c"],
                "pattern": "/^[a-z]+$/i",
                "center": ["10", 2.5],
                "page": "https://example.com/datasets?page=1",
                "nothing": None,
            },
            [BIGINT, "rowCount"],
            [MAP, "columnTypes"],
            [DATE_TYPE, "lastChanges", 0, 1],
            [MAP, "lastChanges"],
            [SET, "formats"],
            [BIGINT, "counts", 0],
            [BIGINT, "counts", 1],
            [SET, "counts"],
            [NAN, "mean"],
            [DATE_TYPE, "invalidDate"],
            [UNDEFINED, "samples", 1],
            [REGEXP, "pattern"],
            [BIGINT, "center", 0],
            [POINT, "center"],
            [URL, "page"],
        ),
        BY_ID,
        emulated=False,
    ),
    ours("returnDate", value(MIDNIGHT, [DATE_TYPE])),
    ours("returnNull", value(None)),
    ours("returnText", value("Straße")),
    ours("returnUndefined", NO_VALUE, NO_VALUE_2),
    # Dates in inputs
    update("update with a date", updated(MIDNIGHT), body={"json": {"dataAsOf": MIDNIGHT}, "meta": [AS_OF]}),
    update("update with a date without meta", invalid(("dataAsOf",)), body={"json": {"dataAsOf": MIDNIGHT}}),
    update("update with null", updated(None), body={"json": {"dataAsOf": None}}),
    update("update with null in meta", invalid(("dataAsOf",)), body={"json": {"dataAsOf": None}, "meta": [AS_OF]}),
    update("update without the date", invalid(("dataAsOf",)), body={}),
    update("update without the date that meta names", MALFORMED_REQUEST, body={"meta": [AS_OF]}),
    update(
        "update with text that is not a date",
        invalid(("dataAsOf",)),
        body={"json": {"dataAsOf": "yesterday"}, "meta": [AS_OF]},
    ),
    update("update with a day", updated(MIDNIGHT), body={"json": {"dataAsOf": "2026-01-31"}, "meta": [AS_OF]}),
    update(
        "update with microseconds",
        updated("2026-01-31T12:34:56.123Z"),
        body={"json": {"dataAsOf": "2026-01-31T12:34:56.123999Z"}, "meta": [AS_OF]},
    ),
    update(
        "update with an offset",
        updated("2026-01-30T22:00:00.000Z"),
        body={"json": {"dataAsOf": "2026-01-31T00:00:00.000+02:00"}, "meta": [AS_OF]},
    ),
    update(
        "update with a time without a zone",  # in the server's own time zone
        updated(DATE),
        body={"json": {"dataAsOf": "2026-01-31T00:00:00"}, "meta": [AS_OF]},
        emulated=False,
    ),
    update(
        "update with a compact date",
        invalid(("dataAsOf",)),
        body={"json": {"dataAsOf": "20260131"}, "meta": [AS_OF]},
    ),
    update(
        "update with a week date",
        invalid(("dataAsOf",)),
        body={"json": {"dataAsOf": "2026-W05-6"}, "meta": [AS_OF]},
    ),
    update(
        "update with a day that does not exist",
        updated("2026-03-02T00:00:00.000Z"),
        body={"json": {"dataAsOf": "2026-02-30"}, "meta": [AS_OF]},
        emulated=False,  # an emulator may reject it
    ),
    update(
        "update with a year after 9999",
        updated("+012026-01-31T00:00:00.000Z"),
        body={"json": {"dataAsOf": "+012026-01-31T00:00:00.000Z"}, "meta": [AS_OF]},
        emulated=False,  # an emulator may reject it
    ),
    update(
        "update with a number",
        MALFORMED_REQUEST,
        updated("2026-01-31T00:00:00.000Z"),
        body={"json": {"dataAsOf": 1769817600000}, "meta": [AS_OF]},
    ),
    update(
        "update in the other dialect",
        invalid(("dataAsOf",)),
        MALFORMED_REQUEST,
        body={"json": {"dataAsOf": MIDNIGHT}, "meta": [[OtherType("date"), "dataAsOf"]]},
    ),
    Exchange(
        "update with missing keys",
        UPDATE,
        invalid(("description",), ("documentation",), ("source",)),
        {
            "json": {"id": Given("datasetId"), "name": "A", "slug": Given("slug"), "dataAsOf": MIDNIGHT},
            "meta": [AS_OF],
        },
    ),
    Exchange(
        "update of an unknown id",
        UPDATE,
        error(404, "NOT_FOUND", TEXT),
        {"json": CHANGES | {"id": "ds_unknown", "dataAsOf": None}},
    ),
    # meta
    update("meta null", updated(None), body={"json": {"dataAsOf": None}, "meta": None}),
    update("meta empty", updated(None), body={"json": {"dataAsOf": None}, "meta": []}),
    update("meta an object", MALFORMED_REQUEST, body={"json": {"dataAsOf": None}, "meta": {}}),
    update(
        "meta a text",
        updated(None),
        MALFORMED_REQUEST,
        body={"json": {"dataAsOf": None}, "meta": "x"},
        emulated=False,  # dialect 1 takes each character for an entry with an unknown type
    ),
    update(
        "meta with an unknown number",
        updated(None),
        MALFORMED_REQUEST,
        body={"json": {"dataAsOf": None}, "meta": [[99, "dataAsOf"]]},
    ),
    update(
        "meta with an unknown word",
        updated(None),
        MALFORMED_REQUEST,
        body={"json": {"dataAsOf": None}, "meta": [["other", "dataAsOf"]]},
    ),
    update(
        "meta with an empty entry",
        updated(None),
        NO_INPUT,  # dialect 2 takes the missing type for undefined
        body={"json": {"dataAsOf": None}, "meta": [[]]},
        emulated=False,  # an emulator may reject it
    ),
    update(
        "meta with an unknown number and a path that does not exist",
        updated(None),
        MALFORMED_REQUEST,
        body={"json": {"dataAsOf": None}, "meta": [[99, "unknown", "x"]]},
    ),
    read(
        "meta with the other dialect's type for text",
        FOUND,
        MALFORMED_REQUEST,
        body=BY_ID | {"meta": [[OtherType("date"), "id"]]},
    ),
    read(
        "meta with a number that is not text",
        MALFORMED_REQUEST,
        invalid(("id",)),
        body={"json": {"id": 5}, "meta": [[BIGINT, "id"]]},
    ),
    read(
        "meta with a number that has a sign",
        MALFORMED_REQUEST,
        invalid(("id",)),
        body={"json": {"id": "+5"}, "meta": [[BIGINT, "id"]]},
    ),
    ours(
        "returnInput with the index of an array as text",
        value({"type": "object", "input": ["1"]}, [BIGINT, "input", 0]),
        body={"json": ["1"], "meta": [[BIGINT, "0"]]},
    ),
    update(
        "meta with a path into a text",
        MALFORMED_REQUEST,
        body={"json": {"dataAsOf": None}, "meta": [[DATE_TYPE, "name", "x"]]},
    ),
    update(
        "meta with a path into nothing",
        MALFORMED_REQUEST,
        body={"json": {"dataAsOf": None}, "meta": [[DATE_TYPE, "unknown", "x"]]},
    ),
    ours(
        "returnInput of a number",
        value({"type": "bigint", "input": "9007199254740993"}, [BIGINT, "input"]),
        body={"json": "9007199254740993", "meta": [[BIGINT]]},
    ),
    ours(
        "returnInput of a number with too many digits",
        MALFORMED_REQUEST,
        value({"type": "bigint", "input": "1" * 4301}, [BIGINT, "input"]),
        body={"json": "1" * 4301, "meta": [[BIGINT]]},
    ),
    ours(
        "returnInput of a number that is not text",
        MALFORMED_REQUEST,
        value({"type": "bigint", "input": "5"}, [BIGINT, "input"]),
        body={"json": 5, "meta": [[BIGINT]]},
    ),
    ours(
        "returnInput of a set",
        value({"type": "object", "input": {"a": ["1"]}}, [BIGINT, "input", "a", 0], [SET, "input", "a"]),
        body={"json": {"a": ["1"]}, "meta": [[BIGINT, "a", 0], [SET, "a"]]},
    ),
    # Bodies
    read("body empty", NO_INPUT, body=b""),
    read("body an empty object", NO_INPUT, body={}),
    read("body with json null", NO_INPUT, body={"json": None}),
    read("body with meta only", NO_INPUT, body={"meta": []}),
    read("body without an envelope", NO_INPUT, body={"id": Given("datasetId")}),
    read("body an array", NO_INPUT, body=[]),
    read("body a number", NO_INPUT, body=b"1"),
    read("body a text", NO_INPUT, body=b'"x"'),
    read("body null", MALFORMED_REQUEST, body=b"null"),
    read("body broken", MALFORMED_REQUEST, body=b'{"json":'),
    read("body of form fields", MALFORMED_REQUEST, body=b"id=ds_1"),
    read("input an array", NO_INPUT, body={"json": []}),
    read("input of another type", invalid(("id",)), body={"json": {"id": 1}}),
    read("input without a key", invalid(("id",)), body={"json": {}}),
    read("input with an unknown key", body={"json": {"id": Given("datasetId"), "unknown": 1}}),
    read("envelope with an unknown key", body=BY_ID | {"unknown": 1}),
    ours("returnInput of an empty body", value({"type": "undefined"}), body=b""),
    ours("returnInput of an empty object", value({"type": "undefined"}), body={}),
    ours("returnInput of null", value({"type": "object", "input": None}), body={"json": None}),
    ours("returnInput of invalid UTF-8", value({"type": "string", "input": "\ufffd"}), body=b'{"json":"\xff"}'),
    ours("returnInput of a byte order mark", value({"type": "number", "input": 1}), body=b'\xef\xbb\xbf{"json":1}'),
    Exchange(
        "contract fileSize of a body that is a file",
        "contract/fileSize",
        NO_INPUT,
        b"a;b",
        invalid(("file",)),
        headers={"Content-Type": "text/csv"},
        emulated=False,
    ),
    Exchange(
        "contract fileSize of a multipart body",
        "contract/fileSize",
        value(3),
        multipart(data=b'{"json":{"file":null},"meta":[],"maps":[["file"]]}', file=b"a;b"),
        headers={"Content-Type": "multipart/form-data; boundary=b1"},
        emulated=False,
    ),
    ours("strictInput of an unknown key", NO_INPUT, body={"json": {"id": "ds_1", "unknown": 1}}),
    # Headers
    read("type with charset", headers={"Content-Type": "application/json; charset=utf-8"}),
    read("type text", NO_INPUT, invalid(("id",)), headers={"Content-Type": "text/plain"}),
    read("type of a file", NO_INPUT, invalid(("id",)), headers={"Content-Type": "application/octet-stream"}),
    read("type in capitals", NO_INPUT, invalid(("id",)), headers={"Content-Type": "Application/JSON"}),
    read("type with the beginning of JSON", FOUND, invalid(("id",)), headers={"Content-Type": "application/jsonl"}),
    read("type missing", FOUND, invalid(("id",)), headers={"Content-Type": None}),
    read(
        "type of form fields",
        NO_INPUT,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=b"id=ds_1",
    ),
    read("content disposition", NO_INPUT, FOUND, headers={"Content-Disposition": "attachment"}),
    read("accept HTML", headers={"Accept": "text/html"}),
    read(
        "navigation of a browser",
        FOUND,
        error(403, "FORBIDDEN", "Request blocked by CSRF protection."),
        headers={"Sec-Fetch-Mode": "navigate"},
        emulated=False,
    ),
    # Methods
    read("GET", error(405, "METHOD_NOT_SUPPORTED", "Method Not Supported"), NO_INPUT, method="GET", body=b""),
    read(
        "GET with data",
        error(405, "METHOD_NOT_SUPPORTED", "Method Not Supported"),
        error(404, "NOT_FOUND", TEXT),
        method="GET",
        body=b"",
        suffix="?data=%7B%22json%22%3A%7B%22id%22%3A%22ds_unknown%22%7D%7D",
    ),
    read(
        "GET without a bearer",
        error(405, "METHOD_NOT_SUPPORTED", "Method Not Supported"),
        UNAUTHORIZED,
        method="GET",
        body=b"",
        credential=None,
    ),
    read("PUT", method="PUT"),
    read("PATCH", method="PATCH"),
    read("DELETE", method="DELETE"),
    read("OPTIONS", method="OPTIONS"),
    # Paths
    read("path with a slash", suffix="/"),
    read("path with two slashes", NO_ROUTE, suffix="//"),
    read("path with a query", suffix="?data=1"),
    read("path with a slash and a query", suffix="/?data=1"),
    Exchange("path with an escape", "dataset/getDataset%42yId", FOUND, BY_ID),
    Exchange("path in lower case", "dataset/getdatasetbyid", NO_ROUTE, BY_ID),
    Exchange("path with a dot", "dataset.getDatasetById", NO_ROUTE, BY_ID),
    Exchange("path of a router", "dataset", NO_ROUTE, BY_ID),
    Exchange("path of nothing", "", NO_ROUTE, BY_ID),
    Exchange("path below a procedure", "dataset/getDatasetById/more", NO_ROUTE, BY_ID),
    Exchange("unknown procedure", "dataset/archiveDataset", NO_ROUTE, BY_ID),
    Exchange("unknown procedure without a bearer", "dataset/archiveDataset", NO_ROUTE, BY_ID, credential=None),
    Exchange("GET of an unknown procedure", "dataset/archiveDataset", NO_ROUTE, b"", method="GET"),
    # Errors
    *(failed(code, status, in_words(code), status, in_words(code)) for code, status in STATUSES.items()),
    *(failed(code, 500, code, status, in_words(code)) for code, status in STATUSES_2.items()),
    failed("TIMEOUT", 408, "Request Timeout", 408, "Timeout"),
    failed("DATASET_LOCKED", 500, "DATASET_LOCKED", 500, "Dataset Locked"),
    ours(
        "fail with a message",
        error(409, "CONFLICT", "Slug already in use"),
        body={"json": {"code": "CONFLICT", "message": "Slug already in use"}},
    ),
    ours(
        "fail with a word of the application and a status",
        error(423, "DATASET_LOCKED", "Locked"),
        error(500, "DATASET_LOCKED", "Locked"),
        body={"json": {"code": "DATASET_LOCKED", "message": "Locked", "status": 423}},
    ),
    ours(
        "unexpected",
        error(500, "INTERNAL_SERVER_ERROR", "Internal server error"),
        error(500, "INTERNAL_SERVER_ERROR", "Internal Server Error"),
    ),
    ours(
        "createAndBreakOutput",
        error(500, "INTERNAL_SERVER_ERROR", "Output validation failed"),
        body={"json": {"slug": Given("newSlug")}},
    ),
    ours(
        "defined",
        error(
            409,
            "CONFLICT",
            "Slug already in use",
            [DATE_TYPE, "data", "since"],
            defined=True,
            data={"since": MIDNIGHT},
        ),
    ),
)


def find(name: str) -> Exchange:
    """Return the exchange with this name."""
    return next(exchange for exchange in EXCHANGES if exchange.name == name)
