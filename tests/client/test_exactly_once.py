"""A dataset is created exactly once, and the result shows whether it is new (docs/platform-api.md#slugs)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from calls import create
from conftest import HastyTime
from servers import DROP, Reply, body_error, data, status

from airflow_provider_polyteia.client import exactly_once
from airflow_provider_polyteia.client.command_api.operations import creation
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.exactly_once import Origin
from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaBadRequestError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaOutcomeUnknownError,
    PolyteiaServerError,
    PolyteiaTransportError,
)

PARAMS = {"name": "Bookings", "solution_id": "sol_1", "slug": "bookings"}
BARE = Reply(404, b"404 page not found", content_type="text/plain")
BARE_400 = Reply(400, b"bad request", content_type="text/plain")
CREATE = make_call("command", "create_dataset", PARAMS, required_field="id")
INSIGHT = make_call("command", "create_insight", PARAMS, required_field="id")
LOST = [DROP, Reply(200, b"<html>", content_type="text/html"), status(502), data(None), data({"name": "no id"})]
COLLISION = body_error(500)
HOUR, DAY = 3600, 24 * 3600
ABSENT = body_error(404, "not found")


@pytest.fixture
def fake_time():
    """A running clock, because it is compared with the platform's."""
    return HastyTime()


def record(*, age=0.0, **fields):
    created = datetime.now(UTC) - timedelta(seconds=age)
    return data({"id": "ds_1", "created_at": created.isoformat().replace("+00:00", "Z"), **PARAMS, **fields})


def test_happy_path_is_one_request(server, client):
    """A create that succeeds is a single request, without a lookup before it."""
    server.respond(record())
    assert create(client, CREATE).origin is Origin.CREATED
    assert server.calls == ["create_dataset"]


@pytest.mark.parametrize("failure", LOST)
def test_lost_response_found(server, client, failure):
    """If the response is lost, a lookup by solution and slug finds the dataset, which may be another client's."""
    server.respond(failure, record())
    created = create(client, CREATE)
    assert (created.record["id"], created.origin) == ("ds_1", Origin.UNCERTAIN)
    assert server.calls == ["create_dataset", "get_dataset"]
    assert server.requests[1].json["params"] == {"solution_id": "sol_1", "slug": "bookings"}


@pytest.mark.parametrize("failure", LOST)
def test_lost_request_is_retried(server, client, failure):
    """If two lookups find nothing, the create was not applied and is retried."""
    server.respond(failure, ABSENT, ABSENT, record())
    assert create(client, CREATE).origin is Origin.CREATED
    assert server.calls == ["create_dataset", "get_dataset", "get_dataset", "create_dataset"]


def test_second_lookup_finds_a_slow_dataset(server, client):
    """A dataset that becomes visible late is found by the second lookup, not created again."""
    server.respond(DROP, ABSENT, record())
    assert create(client, CREATE).origin is Origin.UNCERTAIN
    assert server.calls == ["create_dataset", "get_dataset", "get_dataset"]


def test_slow_first_attempt_collides_with_the_retry(server, client):
    """If a slow first attempt takes the slug, the rejected retry finds the dataset."""
    server.respond(DROP, ABSENT, ABSENT, COLLISION, record())
    assert create(client, CREATE).origin is Origin.UNCERTAIN


@pytest.mark.parametrize(
    "rejection",
    [COLLISION, body_error(400), status(400), status(409), status(422), status(200, b'{"error": "slug taken"}')],
)
def test_existing_dataset(server, client, rejection):
    """If a create is rejected and the lookup finds an older dataset, the dataset existed before."""
    server.respond(rejection, record(age=2 * DAY))
    assert create(client, CREATE).origin is Origin.PREEXISTING
    assert server.calls == ["create_dataset", "get_dataset"]


@pytest.mark.parametrize("rejection", [body_error(400), body_error(409), status(409)])
def test_rejected_by_the_platform(server, client, rejection):
    """If the platform itself rejects the only attempt, the dataset found is another client's, however new it is."""
    server.respond(rejection, record())
    assert create(client, CREATE).origin is Origin.PREEXISTING


@pytest.mark.parametrize(
    "stored",
    [{"name": "Another"}, {"name": " Bookings"}, {"name": None}, {"description": "Gebühren"}, {"source": None}],
    ids=["different", "trimmed", "null", "composed", "empty"],
)
def test_contents_that_differ(server, client, stored):
    """Different contents do not show whose a dataset is, because the platform may normalize what it stores."""
    sent = make_call(
        "command",
        "create_dataset",
        {**PARAMS, "description": "Gebu\u0308hren", "source": ""},
        required_field="id",
    )
    server.respond(DROP, record(**stored))
    assert create(client, sent).origin is Origin.UNCERTAIN


@pytest.mark.parametrize("failure", [DROP, COLLISION, status(502), BARE_400])
@pytest.mark.parametrize("age", [-HOUR, HOUR, 14 * HOUR], ids=["ahead", "behind", "time zone"])
def test_clocks_that_differ(server, client, failure, age):
    """Where the database's clock may be hours from the web server's, the age of a dataset proves nothing."""
    server.respond(failure, record(age=age))
    assert create(client, CREATE).origin is Origin.UNCERTAIN


@pytest.mark.parametrize("failure", [DROP, COLLISION])
def test_older_than_any_clock_is_wrong(server, client, failure):
    """A dataset that is older than a day was not created by this call."""
    server.respond(failure, record(age=2 * DAY))
    assert create(client, CREATE).origin is Origin.PREEXISTING


@pytest.mark.parametrize("stored", [" bookings ", "Bookings", None])
def test_slug_that_the_platform_normalizes(server, client, stored):
    """A slug that is returned in another spelling, or not at all, is that of the dataset that was looked up."""
    server.respond(DROP, record(slug=stored))
    assert create(client, CREATE).record["id"] == "ds_1"


@pytest.mark.parametrize("created_at", [None, "yesterday", 5])
def test_age_unknown(server, client, created_at):
    """Without a valid created_at, the origin is UNCERTAIN."""
    server.respond(DROP, record(created_at=created_at))
    assert create(client, CREATE).origin is Origin.UNCERTAIN


def test_rejected_and_just_created(server, client):
    """After a rejection, a dataset created in the same second may be another client's."""
    server.respond(COLLISION, record())
    assert create(client, CREATE).origin is Origin.UNCERTAIN


@pytest.mark.parametrize(
    ("rejection", "error"),
    [(body_error(400), PolyteiaBadRequestError), (status(409), PolyteiaConflictError)],
)
def test_rejected_and_absent(server, client, rejection, error):
    """If the lookup finds nothing, the create was rejected for another reason, and the rejection is raised."""
    server.respond(rejection, ABSENT)
    with pytest.raises(error):
        create(client, CREATE)
    assert server.calls == ["create_dataset", "get_dataset"]


def test_internal_error_and_absent(server, client):
    """A create with an internal error inside HTTP 200 is sent three times if lookups find nothing."""
    server.respond(COLLISION, ABSENT, COLLISION, ABSENT, COLLISION, ABSENT)
    with pytest.raises(PolyteiaServerError):
        create(client, CREATE)
    assert server.calls.count("create_dataset") == 3


@pytest.mark.parametrize("failure", [DROP, status(502), body_error(403), BARE, record(slug="another")])
def test_lookup_fails(server, client, failure):
    """If the lookup fails as well, the outcome is unknown, and the exception describes both failures."""
    server.respond(DROP, failure)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="lookup by solution_id and slug") as caught:
        create(client, CREATE)
    assert server.calls.count("create_dataset") == 1
    assert caught.value.identifiers == PARAMS


@pytest.mark.parametrize("rejection", [status(401), body_error(401)])
def test_invalid_key_is_not_looked_up(server, client, rejection):
    """An invalid key ends a create after one request."""
    server.respond(rejection)
    with pytest.raises(PolyteiaAuthenticationError):
        create(client, CREATE)
    assert server.calls == ["create_dataset"]


def test_rejection_after_an_unknown_outcome(server, client):
    """If a retry is rejected, the dataset found may be that of the first attempt, whose response was lost."""
    server.respond(DROP, ABSENT, ABSENT, body_error(403), record())
    assert create(client, CREATE).origin is Origin.UNCERTAIN


def test_key_revoked_after_an_unknown_outcome(server, client):
    """If the key is revoked before the lookup, the outcome of the first attempt remains unknown."""
    server.respond(DROP, ABSENT, ABSENT, status(401))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create(client, CREATE)
    assert server.calls[-2:] == ["create_dataset", "get_dataset"]


def test_one_time_limit_for_all_requests(server, make_client, fake_time):
    """Creates, lookups and delays share one time limit."""
    client = make_client(max_attempts=1000, max_elapsed=60)
    server.respond(lambda request: status(502) if request.call == "create_dataset" else ABSENT)
    with pytest.raises(PolyteiaServerError, match="max_elapsed=60 s"):
        create(client, CREATE)
    assert fake_time.slept <= 61


def test_not_sent_is_not_looked_up(make_client):
    """A create without a connection is retried without a lookup, and Airflow may retry the task."""
    with pytest.raises(PolyteiaTransportError) as caught:
        create(make_client(host="http://127.0.0.1:1", max_attempts=3), CREATE)
    assert caught.value.not_applied


def test_insight_found(server, client):
    """If the response to creating an insight is lost, the insight is found by solution and slug."""
    server.respond(DROP, record(id="ins_1"))
    assert create(client, INSIGHT).record["id"] == "ins_1"
    assert server.calls == ["create_insight", "get_insight"]


def test_insight_not_found_is_not_retried(server, client):
    """Slugs of insights may not be unique, so a create with an unknown outcome is not retried if it is not found."""
    server.respond(DROP, ABSENT)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="did not find it so far"):
        create(client, INSIGHT)
    assert server.calls.count("create_insight") == 1


def test_insight_with_an_internal_error_is_not_retried(server, client):
    """Where slugs may not be unique, an internal error leaves the outcome of a create unknown."""
    server.respond(COLLISION, ABSENT)
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create(client, INSIGHT)
    assert server.calls.count("create_insight") == 1


def test_different_insight_with_the_slug(server, client):
    """Where slugs may not be unique, finding a different insight proves nothing about this call's."""
    server.respond(DROP, record(id="ins_1", name="Another"))
    assert create(client, INSIGHT).origin is Origin.UNCERTAIN


def test_unknown_outcome_when_giving_up(server, make_client):
    """A create that gives up after a lost response is not marked as not applied."""
    server.respond(DROP, ABSENT, ABSENT, DROP, ABSENT)
    with pytest.raises(PolyteiaTransportError, match="may still be processed") as caught:
        create(make_client(max_attempts=2), CREATE)
    assert not caught.value.not_applied


@pytest.mark.parametrize("response", [status(400), status(422), status(302, location="/x")])
def test_exchange_rejected(server, make_client, response):
    """If exchanging the key fails, the create was not sent, so its outcome is not unknown."""
    server.respond(response)
    with pytest.raises(PolyteiaError) as caught:
        create(make_client(organization_id="org_1"), CREATE)
    assert not isinstance(caught.value, PolyteiaOutcomeUnknownError)
    assert server.calls == ["/auth/pak/token"]


def test_killed_before_it_was_sent(server, client):
    """Airflow may retry a task that is killed before it sends anything."""
    client.cancel()
    with pytest.raises(PolyteiaError, match="killed before it sent") as caught:
        create(client, CREATE)
    assert not isinstance(caught.value, PolyteiaOutcomeUnknownError)
    assert caught.value.not_applied
    assert server.requests == []


def test_killed_between_two_lookups(server, client):
    """If a task is killed before the second lookup, the exception says what is unknown, and the task may run again."""
    server.respond(DROP, killing(client))
    expected = r"killed before a lookup showed .*slug='bookings'.*runs again"
    with pytest.raises(PolyteiaError, match=expected) as caught:
        create(client, CREATE)
    assert not isinstance(caught.value, PolyteiaOutcomeUnknownError)
    assert not caught.value.not_applied


def test_insight_killed_between_two_lookups(server, client):
    """If slugs may not be unique, a task that was killed must not run again."""
    server.respond(DROP, killing(client))
    with pytest.raises(PolyteiaOutcomeUnknownError, match="killed before a second lookup"):
        create(client, INSIGHT)


def killing(client):
    """Return a reply that finds nothing; the task is killed before it arrives."""

    def absent(_):
        client.cancel()
        return ABSENT

    return absent


@pytest.mark.parametrize("failure", [status(503), body_error(403)])
def test_rejected_and_lookup_fails(server, client, failure):
    """If the platform itself rejects a create and the lookup fails, the rejection is raised."""
    server.respond(lambda request: body_error(400, "name too long") if request.call == "create_dataset" else failure)
    with pytest.raises(PolyteiaBadRequestError, match=r"name too long.*Could not check whether it already exists"):
        create(client, CREATE)
    assert server.calls.count("create_dataset") == 1


def test_rejected_by_http_status_and_lookup_fails(server, client):
    """An HTTP error status may come from a gateway while the create continues, so the outcome is unknown."""
    server.respond(lambda request: status(400 if request.call == "create_dataset" else 503))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create(client, CREATE)


def test_rejected_after_an_unknown_outcome_and_absent(server, client):
    """A rejection after a lost response is not marked as not applied."""
    server.respond(DROP, ABSENT, ABSENT, status(400), ABSENT)
    with pytest.raises(PolyteiaBadRequestError, match="may still be processed") as caught:
        create(client, CREATE)
    assert not caught.value.not_applied


def test_insight_redirected(server, client):
    """A redirect does not show who received the create of an insight, so its outcome is unknown."""
    server.respond(status(302, location="/x"), ABSENT)
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create(client, INSIGHT)
    assert server.calls.count("create_insight") == 1


def test_clock_skew_within_the_platform(server, client):
    """A dataset that seems a second older than the attempt may be ours, because the platform may use two clocks."""
    server.respond(DROP, record(age=1.5))
    assert create(client, CREATE).origin is not Origin.PREEXISTING


def test_field_that_the_platform_omits(server, client):
    """A field that is missing from the record found does not mean that another client created it."""
    sent = make_call("command", "create_dataset", {**PARAMS, "source": "SAP"}, required_field="id")
    server.respond(DROP, record())
    assert create(client, sent).origin is Origin.UNCERTAIN


def test_what_is_said_about_an_uncertain_origin(server, client):
    """The exception contains what helps to decide: id, time of creation, and the fields that really differ."""
    sent = creation(make_call("command", "create_dataset", {**PARAMS, "source": "SAP "}), client.credentials)
    server.respond(DROP, record(name="Another", source="SAP", created_at="2026-03-01T06:04:58Z"))
    created = exactly_once.create(client, sent)._replace(origin=Origin.UNCERTAIN)
    with pytest.raises(PolyteiaOutcomeUnknownError) as caught:
        exactly_once.require_new(client, created, sent)
    shown = str(caught.value)
    assert "as 'ds_1', created at '2026-03-01T06:04:58Z' either by this call or by another client; its name " in shown
    assert caught.value.identifiers == {**PARAMS}
