"""A dataset is created exactly once, and the caller learns whether it is new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from calls import create
from conftest import HastyTime
from servers import DROP, Reply, body_error, data, status

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
CREATE = make_call("command", "create_dataset", PARAMS, required_field="id")
INSIGHT = make_call("command", "create_insight", PARAMS, required_field="id")
LOST = [DROP, Reply(200, b"<html>", content_type="text/html"), status(502), data(None), data({"name": "no id"})]
COLLISION = body_error(500)
ABSENT = body_error(404, "not found")


@pytest.fixture
def fake_time():
    """Here our clock is compared with the platform's, so it must go on."""
    return HastyTime()


def record(*, age=0.0, **fields):
    made = datetime.now(UTC) - timedelta(seconds=age)
    return data({"id": "ds_1", "created_at": made.isoformat().replace("+00:00", "Z"), **PARAMS, **fields})


def test_happy_path_is_one_request(server, client):
    """A create that succeeds is one request; nothing is looked up before."""
    server.answer(record())
    assert create(client, CREATE).origin is Origin.CREATED
    assert server.calls == ["create_dataset"]


@pytest.mark.parametrize("trouble", LOST)
def test_lost_answer_found(server, client, trouble):
    """The answer is lost, but a look-up by solution and slug finds the dataset that we have just made: ours."""
    server.answer(trouble, record())
    created = create(client, CREATE)
    assert (created.record["id"], created.origin) == ("ds_1", Origin.CREATED)
    assert server.calls == ["create_dataset", "get_dataset"]
    assert server.requests[1].json["params"] == {"solution_id": "sol_1", "slug": "bookings"}


@pytest.mark.parametrize("trouble", LOST)
def test_lost_request_is_repeated(server, client, trouble):
    """Nothing is found, at a second look either, so the create did not happen and is sent again."""
    server.answer(trouble, ABSENT, ABSENT, record())
    assert create(client, CREATE).origin is Origin.CREATED
    assert server.calls == ["create_dataset", "get_dataset", "get_dataset", "create_dataset"]


def test_slow_dataset_is_seen_at_the_second_look(server, client):
    """A dataset that takes a moment to be seen is found by the second look-up, not created again."""
    server.answer(DROP, ABSENT, record())
    assert create(client, CREATE).origin is Origin.CREATED
    assert server.calls == ["create_dataset", "get_dataset", "get_dataset"]


def test_slow_first_attempt_collides_with_the_repeat(server, client):
    """A first attempt that arrives late takes the slug; the refused repeat finds it, and it is ours."""
    server.answer(DROP, ABSENT, ABSENT, COLLISION, record())
    assert create(client, CREATE).origin is Origin.CREATED


@pytest.mark.parametrize(
    "refusal",
    [COLLISION, body_error(400), status(400), status(409), status(422), status(200, b'{"error": "slug taken"}')],
)
def test_existing_dataset(server, client, refusal):
    """A refused create whose look-up finds an older dataset: it was there before."""
    server.answer(refusal, record(age=60))
    assert create(client, CREATE).origin is Origin.PREEXISTING
    assert server.calls == ["create_dataset", "get_dataset"]


def test_existing_dataset_with_other_contents(server, client):
    """A dataset found with another name was not made by us, however young it is."""
    server.answer(DROP, record(name="Another"))
    assert create(client, CREATE).origin is Origin.PREEXISTING


@pytest.mark.parametrize("created_at", [None, "yesterday", 5])
def test_age_unknown(server, client, created_at):
    """Without a readable created_at nobody can tell who made it."""
    server.answer(DROP, record(created_at=created_at))
    assert create(client, CREATE).origin is Origin.UNCERTAIN


def test_refused_and_just_made(server, client):
    """A refusal, and a dataset made in the very same second: ours, or somebody else's a moment before."""
    server.answer(COLLISION, record())
    assert create(client, CREATE).origin is Origin.UNCERTAIN


@pytest.mark.parametrize(
    ("refusal", "error"),
    [(body_error(400), PolyteiaBadRequestError), (status(409), PolyteiaConflictError)],
)
def test_refused_and_absent(server, client, refusal, error):
    """A refused create that is not found was refused for another reason, and that is what is raised."""
    server.answer(refusal, ABSENT)
    with pytest.raises(error):
        create(client, CREATE)
    assert server.calls == ["create_dataset", "get_dataset"]


def test_internal_error_and_absent(server, client):
    """An internal error of the platform itself is tried three times, as nothing comes of it."""
    server.answer(COLLISION, ABSENT, COLLISION, ABSENT, COLLISION, ABSENT)
    with pytest.raises(PolyteiaServerError):
        create(client, CREATE)
    assert server.calls.count("create_dataset") == 3


@pytest.mark.parametrize("trouble", [DROP, status(502), body_error(403), BARE, record(slug="another")])
def test_look_up_fails(server, client, trouble):
    """If the look-up gets no answer either, nobody knows, and the error says both."""
    server.answer(DROP, trouble)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="Looking it up by its solution_id and slug") as caught:
        create(client, CREATE)
    assert server.calls.count("create_dataset") == 1
    assert caught.value.identifiers == PARAMS


@pytest.mark.parametrize("refusal", [status(401), body_error(401)])
def test_wrong_key_is_not_looked_up(server, client, refusal):
    """A wrong key ends a create after one request."""
    server.answer(refusal)
    with pytest.raises(PolyteiaAuthenticationError):
        create(client, CREATE)
    assert server.calls == ["create_dataset"]


def test_refusal_after_a_doubtful_attempt(server, client):
    """A repeat is refused, but the first attempt, which had got no answer, has arrived meanwhile: it is found."""
    server.answer(DROP, ABSENT, ABSENT, body_error(403), record())
    assert create(client, CREATE).origin is Origin.CREATED


def test_key_revoked_after_a_doubtful_attempt(server, client):
    """If the key is refused before anybody could look, nobody knows what became of the first attempt."""
    server.answer(DROP, ABSENT, ABSENT, status(401))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create(client, CREATE)
    assert server.calls[-2:] == ["create_dataset", "get_dataset"]


def test_budget_is_one_for_all(server, make_client, fake_time):
    """Creates, look-ups and waits share one budget of time."""
    client = make_client(max_attempts=1000, max_elapsed=60)
    server.answer(lambda request: status(502) if request.call == "create_dataset" else ABSENT)
    with pytest.raises(PolyteiaServerError, match="max_elapsed=60 s"):
        create(client, CREATE)
    assert fake_time.slept <= 61


def test_never_sent_is_not_looked_up(make_client):
    """A create that found no connection is repeated without a look-up, and may be tried again by Airflow."""
    with pytest.raises(PolyteiaTransportError) as caught:
        create(make_client(host="http://127.0.0.1:1", max_attempts=3), CREATE)
    assert caught.value.not_applied


def test_insight_found(server, client):
    """An insight whose create got lost is found by solution and slug."""
    server.answer(DROP, record(id="ins_1"))
    assert create(client, INSIGHT).record["id"] == "ins_1"
    assert server.calls == ["create_insight", "get_insight"]


def test_insight_not_found_is_not_repeated(server, client):
    """Nobody promises that slugs of insights are unique, so a doubtful create that is not found is not repeated."""
    server.answer(DROP, ABSENT)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="has not found it so far"):
        create(client, INSIGHT)
    assert server.calls.count("create_insight") == 1


def test_insight_with_an_internal_error_is_not_repeated(server, client):
    """An internal error leaves the outcome of a create unknown where slugs are not unique."""
    server.answer(COLLISION, ABSENT)
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create(client, INSIGHT)
    assert server.calls.count("create_insight") == 1


def test_other_insight_with_the_slug(server, client):
    """Where slugs are not unique, an insight found that is not ours proves nothing about ours."""
    server.answer(DROP, record(id="ins_1", name="Another"))
    assert create(client, INSIGHT).origin is Origin.UNCERTAIN


def test_doubt_outlives_the_limits(server, make_client):
    """A create that is given up after an attempt without an answer does not claim that nothing happened."""
    server.answer(DROP, ABSENT, ABSENT, DROP, ABSENT)
    with pytest.raises(PolyteiaTransportError, match="may still arrive") as caught:
        create(make_client(max_attempts=2), CREATE)
    assert not caught.value.not_applied


@pytest.mark.parametrize("answer", [status(400), status(422), status(302, location="/x")])
def test_exchange_refused(server, make_client, answer):
    """If the exchange of the key fails, the create was not sent: that is no unknown outcome."""
    server.answer(answer)
    with pytest.raises(PolyteiaError) as caught:
        create(make_client(organization_id="org_1"), CREATE)
    assert not isinstance(caught.value, PolyteiaOutcomeUnknownError)
    assert server.calls == ["/auth/pak/token"]


def test_killed_before_it_was_sent(server, client):
    """A task that is killed before it has sent anything may be tried again by Airflow."""
    client.cancel()
    with pytest.raises(PolyteiaError, match="killed before it sent") as caught:
        create(client, CREATE)
    assert not isinstance(caught.value, PolyteiaOutcomeUnknownError)
    assert caught.value.not_applied
    assert server.requests == []


def test_killed_between_two_looks(server, client):
    """A task that is killed while nobody knows yet what became of its create says just that."""

    def absent(_):
        client.cancel()
        return ABSENT

    server.answer(DROP, absent)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="killed before a second look-up"):
        create(client, CREATE)


@pytest.mark.parametrize("trouble", [status(503), body_error(403)])
def test_refused_and_look_up_fails(server, client, trouble):
    """What the platform itself has refused did not happen, whatever a look-up says: the refusal is the error."""
    server.answer(lambda request: body_error(400, "name too long") if request.call == "create_dataset" else trouble)
    with pytest.raises(PolyteiaBadRequestError, match=r"name too long.*could not be looked up"):
        create(client, CREATE)
    assert server.calls.count("create_dataset") == 1


def test_refused_by_somebody_and_look_up_fails(server, client):
    """An HTTP status may be a gateway's word, which has given up on a create that goes on: nobody knows."""
    server.answer(lambda request: status(400 if request.call == "create_dataset" else 503))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create(client, CREATE)


def test_refused_after_a_doubtful_attempt_and_absent(server, client):
    """A refusal after an attempt without an answer does not claim that nothing will happen."""
    server.answer(DROP, ABSENT, ABSENT, status(400), ABSENT)
    with pytest.raises(PolyteiaBadRequestError, match="may still arrive") as caught:
        create(client, CREATE)
    assert not caught.value.not_applied


def test_insight_redirected(server, client):
    """A redirect does not say who has seen an insight's create, so it is as doubtful as a lost answer."""
    server.answer(status(302, location="/x"), ABSENT)
    with pytest.raises(PolyteiaOutcomeUnknownError):
        create(client, INSIGHT)
    assert server.calls.count("create_insight") == 1


def test_clocks_of_the_platform_apart(server, client):
    """A dataset that seems to be a second older than our attempt may be ours: the platform may have two clocks."""
    server.answer(DROP, record(age=1.5))
    assert create(client, CREATE).origin is not Origin.PREEXISTING


def test_field_that_the_platform_leaves_out(server, client):
    """A field that the record found does not have is no sign that somebody else has made it."""
    sent = make_call("command", "create_dataset", {**PARAMS, "source": "SAP"}, required_field="id")
    server.answer(DROP, record())
    assert create(client, sent).origin is Origin.CREATED
