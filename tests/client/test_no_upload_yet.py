"""Dates of records without a value mean "no upload yet" wherever they are read (docs/platform-api.md#last-upload)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from rpc_responses import TOKEN, failure, output
from servers import Reply, data

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError, PolyteiaProtocolError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger

AT = "2026-03-01T06:04:58.512000Z"
UNSET = [
    None,
    "",
    " ",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00.000000Z",
    "0001-01-01T00:00:00+00:00",
    "0001-01-01T00:53:28+00:53",  # Go's zero time in Berlin
    "0000-12-31T19:03:58-04:56",  # and in New York
    "0001-01-01",
]
SOME = [None, "", "0001-01-01T00:00:00Z", "0001-01-01T00:53:28+00:53"]  # for all that reads it
INVALID = ["soon", 5, {}, False, "2026-13-01"]


def exchange():
    return output({"token": TOKEN, "organizationId": "org_1"})


@pytest.fixture(params=["command", "rpc", "field"])
def platform(request, connect, server):
    """A server of either API with the dataset ``ds_1``, whose upload is at the times in `platform.times`, in order.

    On the command API, the date is that of the upload, or of a field of the record.
    """
    is_rpc = request.param == "rpc"
    connect(
        host=server.url,
        extra={
            "api": "rpc" if is_rpc else "command",
            "organization_id": "org_1" if is_rpc else None,
            "max_attempts": 1,
        },
    )

    def reply(request_):
        if request_.path.endswith("/exchange"):
            return exchange()
        at = server.times.pop(0) if len(server.times) > 1 else server.times[0]
        if is_rpc:
            records = {"id": "ds_1", "solutionId": "sol_1", "slug": "a", "dataAsOf": at}
            return output([records] if "list" in request_.path else records)
        record = {"id": "ds_1", "solution_id": "sol_1", "slug": "a", "data_as_of": at}
        if request.param == "command":
            record["metadata"] = {"asset_info": {"uploaded_at": at, "size": 5, "content_type": "text/csv"}}
        if request_.call == "list_datasets":
            return data({"items": [record], "total": 1})
        return data(record)

    server.respond(reply)
    server.field = "data_as_of" if request.param == "field" else None
    return server


@pytest.mark.parametrize("unset", UNSET)
def test_last_upload(platform, unset):
    """There is none."""
    platform.times = [unset]
    with PolyteiaHook() as hook:
        assert hook.last_upload("ds_1", timestamp_field=platform.field) is None


@pytest.mark.parametrize("after", [None, "0001-01-01T00:00:00Z", "1970-01-01"])
@pytest.mark.parametrize("unset", SOME)
def test_wait_for_upload(platform, unset, after):
    """A wait goes on until there is an upload."""
    platform.times = [unset, unset, AT]
    with PolyteiaHook() as hook:
        options = {"timestamp_field": platform.field, "timeout": 5, "poll_interval": 0.01}
        assert hook.wait_for_upload("ds_1", after=after, **options)["uploaded_at"] == AT
    assert platform.times == [AT]


@pytest.mark.parametrize("unset", SOME)
def test_sensor(platform, unset):
    """The sensor pokes until there is an upload."""
    platform.times = [unset, unset, AT]
    options = {"poke_interval": 0.01, "deferrable": False, "timestamp_field": platform.field}
    sensor = DatasetUploadedSensor(task_id="wait", dataset_id="ds_1", **options)
    assert sensor.execute({})["uploaded_at"] == AT


@pytest.mark.parametrize("dataset", [{"dataset_id": "ds_1"}, {"solution_id": "sol_1", "slug": "a"}])
@pytest.mark.parametrize("unset", SOME)
def test_trigger(platform, unset, dataset):
    """A deferred sensor waits until there is an upload."""
    platform.times = [unset, unset, AT]
    deadline = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    options = {"poke_interval": 0.01, "deadline": deadline, "timestamp_field": platform.field}
    trigger = DatasetUploadedTrigger(polyteia_conn_id="polyteia_default", **dataset, **options)

    async def main():
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(main())
    assert (event["status"], event["dataset"]["uploaded_at"]) == ("uploaded", AT)


@pytest.mark.parametrize("invalid", INVALID)
def test_what_is_neither(platform, invalid):
    """Anything else is an error, as before."""
    platform.times = [invalid]
    with PolyteiaHook() as hook, pytest.raises((PolyteiaProtocolError, PolyteiaConfigurationError)):
        hook.last_upload("ds_1", timestamp_field=platform.field)


@pytest.mark.parametrize("unset", SOME)
def test_update_on_the_rpc_api(connect, server, unset):
    """An update of a record whose as-of time has no value sends null, which must not be named as a date."""
    connect(host=server.url, extra={"api": "rpc", "organization_id": "org_1"})
    record = {"id": "ds_1", "name": "a", "slug": "a", "source": "", "description": "", "dataAsOf": unset}
    server.respond(exchange(), output(record))
    with PolyteiaHook() as hook:
        hook.update_dataset("ds_1", name="b")
    sent = server.requests[-1].json
    assert (sent["json"]["name"], sent["json"]["dataAsOf"]) == ("b", None)
    assert "meta" not in sent


@pytest.mark.parametrize("unset", SOME)
def test_expiry_of_a_session(make_client, server, unset):
    """A session whose expiry has no value is used until it is rejected."""
    from airflow_provider_polyteia.client.rpc_api import sessions  # noqa: PLC0415 - beside its use
    from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI  # noqa: PLC0415 - beside its use

    sessions._sessions.clear()
    server.respond(output({"token": TOKEN, "expiresAt": unset}), output(1), output(2), failure(401, "UNAUTHORIZED"))
    client = make_client(api="rpc", organization_id="org_1", max_attempts=1)
    query = RpcAPI(client.credentials).call("dataset/getDatasetStats", {"id": "ds_1"})
    assert [client.run(query), client.run(query)] == [1, 2]
    with pytest.raises(PolyteiaError):
        client.run(query)


@pytest.mark.parametrize("unset", SOME)
def test_age_of_a_dataset(connect, server, unset):
    """The age of a dataset without a date of creation is unknown, so it does not count as older than the request."""
    connect(host=server.url)
    record = {"id": "ds_1", "solution_id": "sol_1", "slug": "a", "name": "A", "created_at": unset}
    created = []

    def reply(request):
        if request.call == "get_dataset":
            return data(record) if created else Reply(404, b'{"code": 404, "message": "not found"}')
        created.append(request)
        return Reply(200, b"")

    server.respond(reply)
    with PolyteiaHook() as hook, pytest.raises(PolyteiaError, match="ambiguous outcome"):
        hook.create_dataset(name="A", solution_id="sol_1", slug="a", if_exists="fail")
    assert len(created) == 1
