"""Our client of the RPC API agrees with the framework behind it, in both major versions."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta, timezone
from http import HTTPStatus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orpc.exchanges import EXCHANGES, MIDNIGHT, NO_ROUTE, find
from orpc.matching import TYPES, Generated, Issues, differences, fill

from airflow_provider_polyteia.client import api as client_api
from airflow_provider_polyteia.client import config as client_config
from airflow_provider_polyteia.client import exactly_once
from airflow_provider_polyteia.client.credentials import Credentials
from airflow_provider_polyteia.client.operation import Response
from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.client.rpc_api import probe, procedures, protocol, sessions
from airflow_provider_polyteia.client.rpc_api.envelope import Dialect, decode_output
from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI
from airflow_provider_polyteia.client.transports.aiohttp_client import AsyncPolyteiaClient
from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
    PolyteiaRateLimitError,
    PolyteiaServerError,
)

pytestmark = pytest.mark.integration  # starts Node.js

TIMEOUT = 10
DIALECTS = {1: Dialect.NUMBERS, 2: Dialect.WORDS}
CLASSES = {
    400: PolyteiaBadRequestError,
    401: PolyteiaAuthenticationError,
    403: PolyteiaPermissionError,
    404: PolyteiaNotFoundError,
    409: PolyteiaConflictError,
    412: PolyteiaPreconditionError,
    429: PolyteiaRateLimitError,
    **dict.fromkeys(range(500, 600), PolyteiaServerError),
}
STATISTICS = {
    "rowCount": 9_007_199_254_740_993,
    "columnTypes": {"amount": "DOUBLE", "day": "DATE"},
    "formats": ["csv", "parquet"],
    "counts": [1, 2],
    "mean": None,
    "maximum": None,
    "invalidDate": None,
    "samples": ["a", None, "c"],
    "pattern": "/^[a-z]+$/i",
    "center": [10, 2.5],  # of a type that the framework does not know
    "page": "https://example.com/datasets?page=1",
    "nothing": None,
}


def make_config(target, *, key=None, **extra):
    """The settings of a connection with the framework's server. Default: with the organization's id."""
    extra = extra or {"organization_id": target.known["organizationId"]}
    given = {"api": "rpc", "max_attempts": 1, **extra}
    return client_config.from_connection("city", host=target.base_url, password=key or target.known["key"], extra=given)


@pytest.fixture(autouse=True)
def _no_sessions():
    """Begin without sessions, and without known hosts."""
    sessions._sessions.clear()
    probe._hosts_with_rpc_api.clear()
    probe._hosts_without.clear()


def run_sync(config, make_operation):
    with PolyteiaClient(config) as client:
        return client.run(make_operation(client.credentials))


def run_async(config, make_operation):
    async def main():
        client = AsyncPolyteiaClient(config)
        try:
            return await client.run(make_operation(client.credentials))
        finally:
            await client.aclose()

    return asyncio.run(main())


@pytest.fixture(params=[run_sync, run_async], ids=["requests", "aiohttp"])
def run(request):
    """Runs an operation over HTTP with the client of workers, and with that of triggers."""
    return request.param


def call(name, parameters=None, **options):
    return lambda credentials: RpcAPI(credentials).call(name, parameters, **options)


# What the framework returns


def response_to(target, exchange, given):
    """Send the request of an exchange, and return the framework's response as a transport returns it."""
    method, path, headers, content = exchange.request(target.dialect, given)
    received = target.session.request(
        method, target.base_url + path, headers=headers, data=content, timeout=TIMEOUT, allow_redirects=False
    )
    lower = {name.lower(): value for name, value in received.headers.items()}
    return Response(received.status_code, lower, received.content)


def outcome_of(target, exchange, given):
    """Return the data that our client makes of an exchange, or its exception."""
    response = response_to(target, exchange, given)
    name = exchange.procedure
    is_called = protocol._NAME.fullmatch(name) and not procedures.find(name).rejection  # some are never sent like this
    made = protocol.make_call(name if is_called else "dataset/getDatasetById", idempotent=True)
    try:
        return protocol.decode(made, response, Credentials(make_config(target))).data
    except PolyteiaError as error:
        return error


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_every_response(orpc_server, exchange):
    """Each response of the table becomes data, or the exception for its status with code, message and issues."""
    given = orpc_server.prepare()
    outcome = outcome_of(orpc_server, exchange, given)
    expected = exchange.response(orpc_server.dialect)
    if expected.status < 400:
        assert not isinstance(outcome, PolyteiaError), outcome
        assert_data(expected, outcome, orpc_server.dialect, given)
        return
    assert type(outcome) is CLASSES.get(expected.status, PolyteiaAPIError)
    assert outcome.http_status == expected.status
    assert outcome.from_gateway == (expected == NO_ROUTE)
    if expected != NO_ROUTE:
        assert_error(expected, outcome)


def assert_data(expected, data, dialect, given):
    """Compare data with what the table says, for all types but those of `test_values_of_every_type`."""
    if not expected.has_value:
        assert data is None
        return
    template, meta = expected.template(dialect, given)
    if any(kind in ("map", TYPES["map"]) for kind, *_ in meta):
        return
    root = [template]
    for kind, *path in meta:
        container, segment = root, 0
        for following in path:
            container, segment = container[segment], following
        if kind in ("bigint", TYPES["bigint"]) and len(container[segment]) < 400:
            container[segment] = int(container[segment])
    assert not differences(root[0], data)


def assert_error(expected, error):
    assert error.code == expected.json["code"]
    message = expected.json["message"]
    assert error.message.startswith("" if isinstance(message, Generated) else message[:100])
    issues = (expected.json.get("data") or {}).get("issues")
    if isinstance(issues, Issues):
        assert {tuple(issue["path"]) for issue in error.details} == set(issues.paths)
        assert all(f"{'.'.join(path)}: " in str(error) for path in issues.paths if path)


def test_missing_procedure(orpc_server):
    """A missing procedure is another exception than a missing resource, and names the extra `api`."""
    given = orpc_server.prepare()
    missing_procedure = outcome_of(orpc_server, find("unknown procedure"), given)
    missing_dataset = outcome_of(orpc_server, find("get of an unknown id"), given)
    assert missing_procedure.from_gateway
    assert "set the extra 'api' of connection 'city' to 'command'" in str(missing_procedure)
    assert not missing_dataset.from_gateway
    assert "extra 'api'" not in str(missing_dataset)


def test_values_of_every_type(orpc_server, run):
    """Bigints, maps, sets, NaN, undefined and custom types become plain values; dates and URLs stay text."""
    given = orpc_server.prepare()
    result = run(make_config(orpc_server), call("dataset/getDatasetStats", {"id": given["datasetId"]}))
    assert result == STATISTICS | {"lastChanges": {given["datasetId"]: MIDNIGHT}}
    assert type(result["rowCount"]) is int


def test_paths_of_dates(orpc_server):
    """The paths of all dates in an output are known, the one of an invalid date included."""
    given = orpc_server.prepare()
    body = protocol.parse_json(response_to(orpc_server, find("statistics"), given).body)
    output = decode_output(body)
    assert set(output.dates) == {("lastChanges", 0, 1), ("invalidDate",)}
    assert output.dialect is DIALECTS[orpc_server.dialect]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("returnDate", MIDNIGHT), ("returnNull", None), ("returnText", "Straße"), ("returnUndefined", None)],
)
def test_values_at_the_top_level(orpc_server, run, name, expected):
    """A date, null, text, and no value at all can be the whole output."""
    assert run(make_config(orpc_server), call(f"contract/{name}")) == expected


# What we send


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ("", ""),
        ("Straße \U0001f600 \x00 \u2028", "Straße \U0001f600 \x00 \u2028"),
        (0, 0),
        (-1.5e-300, -1.5e-300),
        (1.7976931348623157e308, 1.7976931348623157e308),
        (2**53 - 1, 2**53 - 1),
        (1 - 2**53, 1 - 2**53),
        (2**53, 2**53),
        (-(2**53) - 1, -(2**53) - 1),
        (2**1000 + 1, 2**1000 + 1),
        (datetime(2026, 1, 31, tzinfo=UTC), MIDNIGHT),
        (datetime(2026, 1, 31), MIDNIGHT),
        (date(2026, 1, 31), MIDNIGHT),
        (datetime(2026, 1, 31, 2, tzinfo=timezone(timedelta(hours=2))), MIDNIGHT),
        (datetime(2026, 1, 31, 0, 0, 0, 123_999, tzinfo=UTC), "2026-01-31T00:00:00.123Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (MIDNIGHT, MIDNIGHT),
        ([], []),
        ({}, {}),
        ((1, [2**60, None, {"at": date(2026, 1, 31)}]), [1, [2**60, None, {"at": MIDNIGHT}]]),
        (
            {"": {"0": [[date(2026, 1, 31)]]}, "meta": 2**60, "json": 1},
            {"": {"0": [[MIDNIGHT]]}, "meta": 2**60, "json": 1},
        ),
    ],
)
def test_values_in_inputs(orpc_server, run, value, expected):
    """The framework receives the values that were given, and we read them in its response."""
    result = run(make_config(orpc_server), call("contract/returnInput", {"value": value}))
    assert result == {"type": "object", "input": {"value": expected}}
    assert type(result["input"]["value"]) is type(expected)


names = st.text(max_size=5).filter(lambda name: name != "__proto__")  # not a usual key in JavaScript
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(-1e15, 1e15)
    | st.text(max_size=5)
    | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def as_received(value):
    """The value that a date becomes, in a value that was sent."""
    match value:
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z"
        case list():
            return [as_received(item) for item in value]
        case dict():
            return {key: as_received(item) for key, item in value.items()}
    return value


def test_any_input(orpc_server):
    """Any JSON with dates and large integers arrives, and comes back, unchanged."""
    with PolyteiaClient(make_config(orpc_server)) as client:

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
        @given(st.dictionaries(names, values, max_size=4))
        def arrives(parameters):
            result = client.run(RpcAPI(client.credentials).call("contract/returnInput", parameters))
            assert result["input"] == as_received(parameters)

        arrives()


def test_dialect_of_the_session(orpc_server, run):
    """The dialect is learned from the exchange: dates are accepted in both, and only in the right one."""
    given = orpc_server.prepare()
    config = make_config(orpc_server)
    run(config, lambda credentials: RpcAPI(credentials).set_source_timestamp(given["datasetId"], MIDNIGHT))
    (session,) = sessions._sessions.values()
    assert session.dialect is DIALECTS[orpc_server.dialect]
    assert session.organization_id == given["organizationId"]
    record = orpc_server.call("dataset/getDatasetById", {"id": given["datasetId"]}, given)
    assert record["dataAsOf"] == MIDNIGHT

    credentials = Credentials(config)
    other = next(dialect for dialect in Dialect if dialect is not session.dialect)
    sessions.keep(credentials, sessions.Session(session.token, session.organization_id, other))
    with pytest.raises(PolyteiaBadRequestError):
        run(config, lambda credentials: RpcAPI(credentials).set_source_timestamp(given["datasetId"], MIDNIGHT))


# Operations


def test_organization_by_slug(orpc_server, run):
    """A session can be begun with the slug of the organization, and shows its id."""
    config = make_config(orpc_server, organization_slug=orpc_server.known["organizationSlug"])
    assert run(config, lambda credentials: RpcAPI(credentials).test_connection()) == "Stadt Musterhausen"
    (session,) = sessions._sessions.values()
    assert session.organization_id == orpc_server.known["organizationId"]


def test_wrong_key(orpc_server, run):
    """The framework's rejection of a key is an authentication error, and says that nothing was applied."""
    with pytest.raises(PolyteiaAuthenticationError, match="Invalid personal access key") as caught:
        run(make_config(orpc_server, key="pak_wrong"), call("contract/returnNull"))
    assert caught.value.not_applied
    assert caught.value.code == "UNAUTHORIZED"


@pytest.mark.parametrize("extra", [{"organization_id": "org_unknown"}, {"organization_slug": "unknown"}])
def test_unknown_organization(orpc_server, run, extra):
    """An unknown organization is an error of the connection, which names the extra."""
    with pytest.raises(PolyteiaConfigurationError, match=f"extra '{next(iter(extra))}'"):
        run(make_config(orpc_server, **extra), call("contract/returnNull"))


def test_detection(orpc_server, run):
    """A host that runs the framework is found to serve the RPC API, without the key."""
    config = make_config(orpc_server, api="auto", organization_id="org_contract")
    assert run(config, client_api.select_api).name == "rpc"
    assert probe._hosts_with_rpc_api == {orpc_server.base_url}
    assert not sessions._sessions


def test_session_that_ended(orpc_server, run):
    """A call within a session that the server has forgotten is repeated within a new one."""
    config = make_config(orpc_server)
    assert run(config, call("contract/returnText")) == "Straße"
    (before,) = sessions._sessions.values()
    orpc_server.session.post(f"{orpc_server.base_url}/reset", timeout=TIMEOUT).raise_for_status()
    assert run(config, call("contract/returnText")) == "Straße"
    (after,) = sessions._sessions.values()
    assert after is not before


def test_life_of_a_dataset(orpc_server):
    """Create, find, list, update, set the as-of time, and delete; the records have our names and the given values."""
    given = orpc_server.prepare()
    fields = {"name": "Zählung", "solution_id": given["solutionId"], "slug": given["newSlug"], "source": "Kämmerei"}
    with PolyteiaClient(make_config(orpc_server)) as client:
        api = RpcAPI(client.credentials)
        created = exactly_once.create(client, api.create_dataset(fields))
        assert created.is_new
        record = created.record
        assert {name: record[name] for name in fields} == fields
        assert (record["description"], record["documentation"], record["data_as_of"]) == ("", {}, None)
        assert record["organization_id"] == given["organizationId"]

        again = exactly_once.create(client, api.create_dataset({**fields, "name": "Another"}))
        assert again.already_existed
        assert isinstance(again.rejection, PolyteiaConflictError)
        assert again.record == record

        for reference in (DatasetRef(record["id"]), DatasetRef(None, given["solutionId"], given["newSlug"])):
            assert client.run(api.get_dataset(reference)) == record
        listing = api.list_datasets(given["solutionId"])
        listed = listing.take(client.run(listing.next_page()))
        assert [item["id"] for item in listed] == [given["datasetId"], record["id"]]
        assert listing.is_complete

        client.run(api.set_source_timestamp(record["id"], "2026-01-31T00:00:00Z"))
        record = client.run(api.get_dataset(DatasetRef(record["id"])))
        updated = client.run(api.update_dataset(record, {"name": "Bookings", "description": None}))
        assert (updated["name"], updated["description"], updated["data_as_of"]) == ("Bookings", None, MIDNIGHT)

        ingest = client.run(api.ingest_status(record["id"], "dsig_1"))
        assert (ingest.status, ingest.message) == ("failed", "bad csv")

        assert client.run(api.delete_dataset(record["id"])) is None
        with pytest.raises(PolyteiaNotFoundError, match="Dataset not found"):
            client.run(api.get_dataset(DatasetRef(record["id"])))


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        ({"code": "FORBIDDEN"}, 403, "Forbidden"),
        ({"code": "NOT_FOUND", "message": "No such thing"}, 404, "No such thing"),
        ({"code": "CONFLICT", "message": "Slug already in use"}, 409, "Slug already in use"),
        ({"code": "PRECONDITION_FAILED"}, 412, "Precondition Failed"),
        ({"code": "TOO_MANY_REQUESTS"}, 429, "Too Many Requests"),
        ({"code": "SERVICE_UNAVAILABLE"}, 503, "Service Unavailable"),
        ({"code": "DATASET_LOCKED", "message": "Locked"}, 500, "Locked"),
    ],
)
def test_errors(orpc_server, run, parameters, status, message):
    """An error of the framework or of the application arrives as its exception, from both transports."""
    with pytest.raises(PolyteiaAPIError) as caught:
        run(make_config(orpc_server), call("contract/fail", parameters, idempotent=True))
    error = caught.value
    assert type(error) is CLASSES[status]
    assert (error.http_status, error.code, error.message) == (status, parameters["code"], message)
    assert (error.method, error.conn_id, error.from_gateway) == ("contract/fail", "city", False)


def test_status_of_the_application(orpc_server, run):
    """The HTTP status decides, whatever word the application uses; version 2 does not let it choose the status."""
    parameters = {"code": "DATASET_LOCKED", "message": "Locked", "status": 423}
    with pytest.raises(PolyteiaAPIError, match="DATASET_LOCKED: 'Locked'") as caught:
        run(make_config(orpc_server), call("contract/fail", parameters, idempotent=True))
    assert caught.value.http_status == (423 if orpc_server.dialect == 1 else HTTPStatus.INTERNAL_SERVER_ERROR)


def test_validation(orpc_server, run):
    """A rejected input names the path of each issue."""
    parameters = {"organizationId": orpc_server.known["organizationId"], "solutionId": 1, "name": None}
    with pytest.raises(PolyteiaBadRequestError) as caught:
        run(make_config(orpc_server), call("dataset/createDataset", parameters))
    error = caught.value
    assert {"name", "solutionId", "description", "source", "documentation"} == {
        issue["path"][0] for issue in error.details
    }
    assert error.message.startswith("Input validation failed: ")
    assert f"{error.details[0]['path'][0]}: {error.details[0]['message']}; " in str(error)


def test_date_without_meta(orpc_server):
    """The framework accepts our dates and our null, and rejects a date that `meta` does not name."""
    given = orpc_server.prepare()
    body = fill(find("update with a date").body, orpc_server.dialect, given)["json"]
    config = make_config(orpc_server)
    assert run_sync(config, call("dataset/updateDataset", body))["dataAsOf"] == MIDNIGHT
    assert run_sync(config, call("dataset/updateDataset", body | {"dataAsOf": None}))["dataAsOf"] is None
    assert outcome_of(orpc_server, find("update with a date without meta"), given).http_status == HTTPStatus.BAD_REQUEST


def test_write_that_breaks_its_output(orpc_server, run):
    """Error 500 after a write leaves the outcome unknown; the resource does exist."""
    given = orpc_server.prepare()
    with pytest.raises(PolyteiaOutcomeUnknownError, match="Output validation failed"):
        run(make_config(orpc_server), call("contract/createAndBreakOutput", {"slug": given["newSlug"]}))
    by_slug = {"solutionId": given["solutionId"], "slug": given["newSlug"]}
    assert run(make_config(orpc_server), call("dataset/getDatasetBySolutionSlug", by_slug))["name"] == "Created"
