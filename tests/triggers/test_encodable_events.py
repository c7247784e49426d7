"""Events that Airflow can encode, whatever the platform returns: one that it cannot encode stops the triggerer."""

from __future__ import annotations

import asyncio
import logging

import pytest
from encodable import HIGH_SURROGATE, HUGE, assert_encodable, nested
from servers import Reply, body_error, data

from airflow_provider_polyteia import exceptions
from airflow_provider_polyteia.triggers import poller, shared_client
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedEventTrigger, DatasetUploadedTrigger
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS

pytest.importorskip("msgpack", reason="Airflow 3 encodes events with msgpack")

AT = "2026-03-01T06:00:00Z"


def record(*, slug="d", uploaded_at=AT, size=5, content_type="text/csv", **fields):
    info = {"uploaded_at": uploaded_at, "size": size, "content_type": content_type}
    return {"id": "ds_1", "slug": slug, "metadata": {"asset_info": info}, **fields}


# Record -> summary in the event.
SUMMARY = {"id": "ds_1", "slug": "d", "uploaded_at": AT, "size": 5, "content_type": "text/csv"}
RECORDS = {
    "slug": (record(slug=f"a{HIGH_SURROGATE}"), {"slug": "a\ufffd"}),
    "id": (record(id=f"ds_1{HIGH_SURROGATE}"), {"id": "ds_1\ufffd"}),
    "content type": (record(content_type=f"text/{HIGH_SURROGATE}csv"), {"content_type": "text/\ufffdcsv"}),
    "timestamp": (
        record(uploaded_at=f"2026-03-01{HIGH_SURROGATE}06:00:00Z"),
        {"uploaded_at": "2026-03-01\ufffd06:00:00Z"},
    ),
    "large size": (record(size=HUGE), {"size": str(HUGE)}),
    "negative size": (record(size=-HUGE), {"size": str(-HUGE)}),
}


def first_event(trigger):
    """Run a trigger until its first event, and return the payload."""

    async def main():
        events = trigger.run()
        async with asyncio.timeout(5):
            event = await anext(events)
        await events.aclose()
        return event.payload

    return asyncio.run(main())


def make(**options):
    return DatasetUploadedTrigger(
        **{"polyteia_conn_id": "polyteia_default", "dataset_id": "ds_1", "poke_interval": 0.01, **options}
    )


@pytest.mark.parametrize(("found", "changes"), RECORDS.values(), ids=RECORDS)
def test_upload_for_a_sensor(connected, found, changes):
    """The event of a deferred sensor contains the upload in encodable form."""
    connected.respond(data(found))
    payload = first_event(make())
    assert payload == {"status": "uploaded", "dataset": {**SUMMARY, **changes}}
    assert_encodable(payload)


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="needs Airflow 3")
@pytest.mark.parametrize(
    ("watched_by", "name"),
    # A record is found by the field that is watched, so that field is valid.
    [*(("id", name) for name in RECORDS if name != "id"), *(("slug", name) for name in RECORDS if name != "slug")],
)
def test_upload_for_a_watcher(connected, monkeypatch, watched_by, name):
    """The event of a watcher is the upload in encodable form, whether the dataset is queried or listed."""
    found, changes = RECORDS[name]
    options = {"id": {"dataset_id": "ds_1"}, "slug": {"solution_id": "sol_1", "slug": "d"}}[watched_by]
    monkeypatch.setattr(poller, "JOINING_TIME", 0.0)
    page = data({"items": [found], "total": 1})
    connected.respond(lambda request: page if request.call == "list_datasets" else data(found))
    trigger = DatasetUploadedEventTrigger(uploaded_after="2026-01-01", poke_interval=0.03, **options)
    payload = first_event(trigger)
    assert payload == {**SUMMARY, **changes}
    assert_encodable(payload)


def test_huge_size_is_still_a_number_for_the_condition(connected):
    """`min_size` is compared with the size itself, not with its encodable form."""
    connected.respond(data(record(size=HUGE)))
    assert first_event(make(min_size=HUGE))["status"] == "uploaded"


@pytest.mark.parametrize(
    "details",
    [[HUGE], [-HUGE], [HIGH_SURROGATE], [{HIGH_SURROGATE: 1}], [nested(600)], [{"a": nested(600)}]],
    ids=["large", "small", "surrogate", "key", "nested list", "nested object"],
)
def test_error_of_the_platform(connected, details):
    """The event of a failed wait contains the platform's message and details in encodable form."""
    error = {"code": 400, "message": f"invalid {HIGH_SURROGATE}", "details": details}
    connected.respond(Reply(body=data(None).body.replace(b'"data": null', _json_member("error", error))))
    payload = first_event(make())
    assert payload["status"] == "failed"
    assert_encodable(payload)
    rebuilt = exceptions.PolyteiaError.from_dict(payload["error"])
    assert type(rebuilt) is exceptions.PolyteiaBadRequestError
    assert rebuilt.code == 400
    assert rebuilt.message.startswith("invalid ")
    assert len(rebuilt.details) == 1


def _json_member(name, value):
    return data(value).body.removeprefix(b"{").removesuffix(b"}").replace(b'"data"', f'"{name}"'.encode(), 1)


def test_error_from_a_gateway(connected):
    """The event contains an excerpt of a response that is not UTF-8 in encodable form."""
    connected.respond(Reply(200, b"<p>\xff\xfe\xed\xa0\x80", content_type="text/html"))
    payload = first_event(make(max_attempts=1))
    assert payload["status"] == "failed"
    assert_encodable(payload)


def test_unexpected_error(connected, monkeypatch):
    """The event of an exception of any other type is encodable, whatever its text."""

    async def fail(_):
        raise RuntimeError(HIGH_SURROGATE)

    monkeypatch.setattr(shared_client, "get_async_connection", fail)
    # Its traceback contains the surrogate, which no report of the tests can encode.
    monkeypatch.setattr(logging.getLogger("airflow_provider_polyteia.triggers.dataset"), "disabled", True)
    payload = first_event(make())
    assert payload["error"]["text"] == "RuntimeError: \ufffd"
    assert_encodable(payload)


def test_invalid_timestamp(connected):
    """The event of a record with an invalid upload timestamp contains that timestamp in encodable form."""
    connected.respond(data(record(uploaded_at=f"yesterday{HIGH_SURROGATE}", id=f"ds_{HIGH_SURROGATE}")))
    payload = first_event(make())
    assert payload["error"]["type"] == "PolyteiaProtocolError"
    assert_encodable(payload)


def test_missing_dataset(connected):
    """The event of a wait for a missing dataset, with surrogates in the platform's message, is encodable."""
    connected.respond(body_error(404, f"no {HIGH_SURROGATE}"))
    payload = first_event(make())
    assert payload["error"]["type"] == "PolyteiaNotFoundError"
    assert_encodable(payload)
