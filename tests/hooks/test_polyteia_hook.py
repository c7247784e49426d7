"""`PolyteiaHook`: from an Airflow connection to requests, and from responses to results."""

from __future__ import annotations

import itertools
import logging
import traceback

import pytest
from airflow.utils.strings import get_random_string
from servers import DROP, KEY, body_error, data, status

from airflow_provider_polyteia import __version__
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaProtocolError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

RECORD = {
    "id": "ds_1",
    "solution_id": "sol_1",
    "slug": "bookings",
    "name": "Bookings",
    "description": "old",
    "source": "SAP",
    "documentation": {"blocks": []},
    "created_at": "2026-01-01T00:00:00Z",
    "metadata": {"asset_info": {"size": 1}},
}
FIELDS = {"name": "Bookings", "solution_id": "sol_1", "slug": "bookings"}


@pytest.fixture
def hook(connected):
    """A hook for the scripted server."""
    with PolyteiaHook() as hook:
        yield hook


def test_command_and_query(connected, hook):
    """command and query return the decoded data, and send a User-Agent with the version of Airflow."""
    connected.respond(data({"id": "ws_1"}), data([1]))
    assert hook.command("create_workspace", {"name": "Kämmerei"}) == {"id": "ws_1"}
    assert hook.query("get_dataset", {"id": "ds_1"}) == [1]
    agent = connected.requests[0].headers["user-agent"]
    assert agent.startswith(f"airflow-provider-polyteia/{__version__} apache-airflow/")
    assert " python/3." in agent


def test_missing_connection():
    """The error for a missing connection contains the command that creates it."""
    with pytest.raises(
        PolyteiaConfigurationError, match=r"Connection 'nowhere' does not exist.*airflow connections add nowhere"
    ):
        PolyteiaHook("nowhere").query("get_dataset", {"id": "ds_1"})


@pytest.mark.parametrize("extra", ["nonsense", "[1]", '"text"'])
def test_invalid_extra(connect, extra):
    """An Extra that is not a JSON object is rejected. On Airflow 3.0 and 3.1, Airflow itself rejects the connection."""
    connect(extra=extra)
    with pytest.raises(
        PolyteiaConfigurationError, match=r"has an invalid Extra: expected a JSON object|does not exist"
    ):
        PolyteiaHook().get_conn()


def test_limits_of_the_hook(connected):
    """Limits of the hook take precedence over the connection's."""
    connected.respond(status(502))
    with PolyteiaHook(max_attempts=4, max_wait=0.001) as hook, pytest.raises(Exception, match="max_attempts=4"):
        hook.query("get_dataset", {"id": "ds_1"})
    assert len(connected.requests) == 4


def test_close_forgets_the_token(connect, server):
    """After close, the key is exchanged again."""
    connect(host=server.url, extra={"organization_id": "org_1"})
    server.respond(status(200, b'{"token": "tok-123456"}'), data(1), status(200, b'{"token": "tok-123456"}'), data(1))
    hook = PolyteiaHook()
    for _ in range(2):
        hook.query("get_dataset", {"id": "ds_1"})
        hook.close()
    assert server.calls == ["/auth/pak/token", "get_dataset"] * 2


def test_test_connection(connected, hook):
    """The Test button shows the organization's name, after one query that changes nothing."""
    connected.respond(data({"items": [{"id": "org_1", "name": "Stadt Musterhausen"}], "total": 1}))
    assert hook.test_connection() == (True, "Connected to organization 'Stadt Musterhausen'.")
    assert connected.requests[0].json == {"query": "list_organizations", "params": {"page": 1, "size": 1}}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (status(401), (False, "and put it into connection 'polyteia_default'")),
        (data({"items": []}), (True, "Connected, but the key has no access to any organization.")),
        (data(None), (True, "Connected, but the key has no access to any organization.")),
    ],
)
def test_test_connection_without_organization(connected, hook, reply, expected):
    """The Test button shows what a task would log, or that the key has no access to any organization."""
    connected.respond(reply)
    succeeded, text = hook.test_connection()
    assert succeeded is expected[0]
    assert expected[1] in text


def test_test_connection_makes_one_attempt(connected, hook):
    """Retries are disabled because a user is waiting for the result."""
    connected.respond(status(502))
    assert hook.test_connection()[0] is False
    assert len(connected.requests) == 1


def test_test_connection_hides_the_generated_id(connect):
    """The id that the form generates for its test is not shown."""
    conn_id = get_random_string()  # as Airflow's API server does
    connect(conn_id, password="")
    succeeded, text = PolyteiaHook(conn_id).test_connection()
    assert not succeeded
    assert text.startswith("This connection has no key")
    assert conn_id not in text


def pages(*pages_of_items, total=None):
    """Yield replies that contain these items, page by page."""
    for items in pages_of_items:
        yield data({"items": items, **({} if total is None else {"total": total})})


def test_iterate_until_total(connected, hook):
    """Pages are read lazily, until as many items as the total were received."""
    connected.respond(*pages([{"id": "a"}, {"id": "b"}], [{"id": "c"}], total=3))
    items = hook.iterate("list_datasets", {"solution_id": "sol_1"}, page_size=2)
    assert connected.requests == []
    assert next(items) == {"id": "a"}
    assert len(connected.requests) == 1
    assert [item["id"] for item in items] == ["b", "c"]
    assert [request.json["params"] for request in connected.requests] == [
        {"solution_id": "sol_1", "page": 1, "size": 2},
        {"solution_id": "sol_1", "page": 2, "size": 2},
    ]


def test_iterate_until_empty_page(connected, hook):
    """Without a total, an empty page ends the list."""
    connected.respond(*pages(["a"], ["b"], []))
    assert list(hook.iterate("list_resources")) == ["a", "b"]
    assert len(connected.requests) == 3


def test_iterate_drops_duplicates(connected, hook):
    """An item that moves to the next page is yielded once."""
    connected.respond(*pages([{"id": "a"}, {"id": "b"}], [{"id": "b"}, {"id": "c"}], []))
    assert [item["id"] for item in hook.iterate("list_datasets", page_size=2)] == ["a", "b", "c"]


def test_iterate_does_not_trust_the_echoed_size(connected, hook):
    """The requested page size counts, not the one in the response (docs/platform-api.md#pagination)."""
    connected.respond(data({"items": ["a"], "total": 2, "size": 100, "page": 1}), data({"items": ["b"], "total": 2}))
    assert list(hook.iterate("list_resources", page_size=1)) == ["a", "b"]


def test_iterate_is_bounded(connected, hook):
    """A list that does not end raises an exception after `max_pages`."""
    counter = itertools.count()
    connected.respond(lambda _: data({"items": [str(next(counter))]}))
    with pytest.raises(PolyteiaProtocolError, match="'list_resources' returned more than 7 pages of 100 items"):
        list(hook.iterate("list_resources", max_pages=7))


def test_iterate_filters_again(connected, hook):
    """A list whose filter the platform may ignore is filtered again (docs/platform-api.md#list-filters)."""
    items = [{"id": "ws_1", "organization_id": "org_1"}, {"id": "ws_2", "organization_id": "org_2"}, {"id": "ws_3"}]
    connected.respond(*pages(items, total=3))
    found = hook.iterate("list_workspaces", {"organization_id": "org_1"})
    assert [item["id"] for item in found] == ["ws_1", "ws_3"]


@pytest.mark.parametrize("page", [None, [], {"items": None}, {"items": [1]}, {"data": []}])
def test_iterate_needs_a_page(connected, hook, page):
    """A response that is not a page of items is a protocol error."""
    connected.respond(data(page))
    with pytest.raises(
        PolyteiaProtocolError, match=r"'get_dataset' did not return a page of items\. Is it a paginated query"
    ):
        list(hook.iterate("get_dataset"))


@pytest.mark.parametrize("size", [0, 101, -1, 1.5, True, "10"])
def test_page_size_is_checked(hook, connected, size):
    """A page size outside 1 to 100 is rejected before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match="must be an integer between 1 and 100"):
        hook.iterate("list_datasets", page_size=size)
    assert connected.requests == []


@pytest.mark.parametrize("params", ["abc", [1], 5])
def test_list_params_must_be_a_mapping(hook, params):
    """Params of a list that are not a mapping are rejected; the error names their type."""
    with pytest.raises(PolyteiaConfigurationError, match="must be a mapping"):
        hook.iterate("list_datasets", params)


def test_items_without_comparable_ids(connected, hook):
    """Items whose ids cannot be compared are yielded unchanged."""
    connected.respond(*pages([{"id": []}, {"id": {}}, {}], []))
    assert len(list(hook.iterate("list_datasets"))) == 3


def test_page_params_are_rejected(hook):
    """page and size among the params are rejected, because all pages are read."""
    with pytest.raises(PolyteiaConfigurationError, match="'page' or 'size'"):
        hook.iterate("list_datasets", {"page": 2})


def test_create_dataset_sends_the_documented_body(connected, hook):
    """There is one request, with the documented params and no others."""
    connected.respond(data(RECORD))
    assert hook.create_dataset(**FIELDS, description="d", source="SAP") == RECORD
    assert [request.json for request in connected.requests] == [
        {"command": "create_dataset", "params": {**FIELDS, "description": "d", "source": "SAP"}}
    ]


@pytest.mark.parametrize("name", ["name", "solution_id", "slug"])
@pytest.mark.parametrize("value", ["", " ", None])
def test_create_dataset_checks_its_arguments(connected, hook, name, value):
    """A missing name, solution_id or slug is rejected before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match=f"'{name}' is required to create a dataset; got "):
        hook.create_dataset(**{**FIELDS, name: value})
    assert connected.requests == []


def test_if_exists_is_checked(hook):
    """The error for a mistyped if_exists lists the allowed values."""
    with pytest.raises(PolyteiaConfigurationError, match="it must be one of reuse, update, fail"):
        hook.create_dataset(**FIELDS, if_exists="replace")


def own_messages(caplog):
    """What this package logged; Airflow 2 logs something as well."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_polyteia")]


def test_log_of_a_create(connected, hook, caplog):
    """The first run logs that it created the dataset, the second that it is reused; a taken slug is not a warning."""
    with caplog.at_level(logging.INFO):
        for if_exists in ("reuse", "fail"):
            connected.respond(*([body_error(404)] if if_exists == "fail" else []), data(RECORD))
            hook.create_dataset(**FIELDS, if_exists=if_exists)
        assert own_messages(caplog) == ["Created dataset 'ds_1' (slug 'bookings')."] * 2
        caplog.clear()
        connected.respond(body_error(500), data(RECORD))
        hook.create_dataset(**FIELDS)
        assert own_messages(caplog) == ["Dataset 'ds_1' (slug 'bookings') already exists and is reused."]


@pytest.mark.parametrize("code", [403, 404])
def test_errors_contain_the_identifiers(connected, hook, code):
    """The error contains the ids and slugs of the request, but nothing that may be long or personal."""
    connected.respond(body_error(code))
    with pytest.raises(PolyteiaAPIError, match="Requested: id='ds_nosuch'") as caught:
        hook.command("update_dataset_metadata", {"id": "ds_nosuch", "metadata": {"text": "Erika"}})
    assert "Erika" not in str(caught.value)


def test_reuse(connected, hook, caplog):
    """if_exists='reuse' returns the existing dataset, with a warning that names the differing fields."""
    connected.respond(body_error(500), data(RECORD))
    with caplog.at_level(logging.WARNING):
        assert hook.create_dataset(**FIELDS, description="new") == RECORD
    assert "already exists and is reused. Its description differs from this task's, and is kept" in caplog.text
    assert connected.calls == ["create_dataset", "get_dataset"]


def test_reuse_without_difference(connected, hook, caplog):
    """if_exists='reuse' logs no warning if nothing differs."""
    connected.respond(body_error(500), data(RECORD))
    hook.create_dataset(**FIELDS, description="old")
    assert "differs" not in caplog.text


def test_update_existing(connected, hook):
    """if_exists='update' sends the whole record with the new fields."""
    connected.respond(body_error(500), data(RECORD), data({**RECORD, "description": "new"}))
    assert hook.create_dataset(**FIELDS, description="new", if_exists="update")["description"] == "new"
    assert connected.requests[2].json == {
        "command": "update_dataset",
        "params": {
            "id": "ds_1",
            "solution_id": "sol_1",
            "slug": "bookings",
            "name": "Bookings",
            "description": "new",
            "source": "SAP",
            "documentation": {"blocks": []},
        },
    }


def test_update_existing_without_difference(connected, hook):
    """if_exists='update' sends nothing if nothing differs."""
    connected.respond(body_error(500), data(RECORD))
    hook.create_dataset(**FIELDS, if_exists="update")
    assert connected.calls == ["create_dataset", "get_dataset"]


@pytest.mark.parametrize("how", ["hook", "command"])
def test_fail_if_exists(connected, hook, how):
    """if_exists='fail', and the command itself, raise a conflict that names the existing dataset."""
    replies = {"hook": [data(RECORD)], "command": [body_error(500), data(RECORD)]}
    connected.respond(*replies[how])
    create = {
        "hook": lambda: hook.create_dataset(**FIELDS, if_exists="fail"),
        "command": lambda: hook.command("create_dataset", FIELDS),
    }[how]
    with pytest.raises(PolyteiaConflictError, match="slug='bookings' is already used by 'ds_1'"):
        create()


def test_other_rejection_is_not_hidden(connected, hook):
    """Even if the slug is taken, the error contains the platform's own reason for the rejection."""
    connected.respond(body_error(400, "query: unknown column"), data({**RECORD, "id": "ins_1"}))
    with pytest.raises(PolyteiaConflictError, match=r"unknown column.*already used by 'ins_1'") as caught:
        hook.command("create_insight", {**FIELDS, "query": {}})
    assert "if_exists" not in str(caught.value)


def test_fail_if_the_origin_is_uncertain(connected, hook):
    """if_exists='fail' with a dataset of unknown age raises PolyteiaOutcomeUnknownError."""
    connected.respond(body_error(404), body_error(500), data({**RECORD, "created_at": None}))
    with pytest.raises(PolyteiaOutcomeUnknownError, match="either by this call or by another client"):
        hook.create_dataset(**FIELDS, if_exists="fail")


def test_get_dataset_by_either_key(connected, hook):
    """A dataset is queried by id, or by solution and slug; never both."""
    connected.respond(data(RECORD))
    hook.get_dataset("ds_1")
    hook.get_dataset(solution_id="sol_1", slug="bookings")
    assert [request.json["params"] for request in connected.requests] == [
        {"id": "ds_1"},
        {"solution_id": "sol_1", "slug": "bookings"},
    ]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"solution_id": "sol_1"}, {"slug": "s"}, {"dataset_id": "ds_1", "slug": "s"}, {"dataset_id": ""}],
)
def test_get_dataset_needs_one_key(connected, hook, arguments):
    """An incomplete or ambiguous key is rejected before anything is sent."""
    with pytest.raises(
        PolyteiaConfigurationError, match="Specify either dataset_id, or both solution_id and slug; got dataset_id="
    ):
        hook.get_dataset(**arguments)
    assert connected.requests == []


def test_update_dataset_reads_merges_and_sends_all(connected, hook):
    """An update keeps the other fields, and reads the record again if the response does not contain it."""
    connected.respond(data(RECORD), data(None), data({**RECORD, "name": "New"}))
    assert hook.update_dataset("ds_1", name="New")["name"] == "New"
    assert connected.calls == ["get_dataset", "update_dataset", "get_dataset"]
    sent = connected.requests[1].json["params"]
    assert sent == {name: RECORD[name] for name in sent if name != "name"} | {"name": "New"}
    assert set(sent) == {"id", "name", "solution_id", "description", "source", "slug", "documentation"}


def test_delete_dataset(connected, hook):
    """A delete by slug looks the id up; a delete by id is one request."""
    connected.respond(data(RECORD), data(None), data(None))
    assert hook.delete_dataset(solution_id="sol_1", slug="bookings") is True
    assert hook.delete_dataset("ds_1") is True
    assert connected.calls == ["get_dataset", "delete_dataset", "delete_dataset"]
    assert connected.requests[1].json["params"] == {"id": "ds_1"}


@pytest.mark.parametrize("key", [{"dataset_id": "ds_1"}, {"solution_id": "sol_1", "slug": "bookings"}])
def test_delete_missing_dataset(connected, hook, key):
    """Deleting a missing dataset fails unless ignore_missing is set."""
    connected.respond(body_error(404))
    with pytest.raises(PolyteiaNotFoundError):
        hook.delete_dataset(**key)
    assert hook.delete_dataset(**key, ignore_missing=True) is False


@pytest.mark.parametrize("body", [b"404 page not found", b'{"message": "no Route matched"}'])
def test_404_of_a_gateway_for_a_delete(connected, hook, body):
    """A 404 from a gateway does not prove that the dataset is missing, so it fails even with ignore_missing."""
    connected.respond(status(404, body))
    with pytest.raises(PolyteiaNotFoundError):
        hook.delete_dataset("ds_1", ignore_missing=True)


def test_killed_before_the_first_request(connected, hook):
    """A task that is killed while its connection is read sends nothing."""
    hook.cancel()
    with pytest.raises(PolyteiaError, match="was killed"):
        hook.command("create_tag", {"name": "x"})
    assert connected.requests == []


def test_retried_delete(connected, hook):
    """A delete whose response is lost succeeds if its retry returns 404."""
    connected.respond(DROP, body_error(404))
    assert hook.delete_dataset("ds_1") is True


def test_no_secret_in_logs_and_errors(connect, server, caplog):
    """At level DEBUG, neither the key nor a token appears in any log record, error or repr."""
    token = "tok-SECRET-987654321"
    connect(host=server.url, extra={"organization_id": "org_1", "max_attempts": 2, "max_wait": 0.01})
    echo = f"Bearer {KEY} {token}".encode()
    server.respond(
        status(200, b'{"token": "%s"}' % token.encode()),
        data({"token": "upl-SECRET-1"}),
        status(502, echo, content_type="text/plain"),
        DROP,
        status(400, echo, content_type="text/plain"),
        status(401, echo, content_type="text/plain"),
    )
    hook, errors = PolyteiaHook(), []
    with caplog.at_level(logging.DEBUG):
        hook.command("generate_dataset_upload_token", {"id": "ds_1", "content_type": "text/csv"})
        for call in (hook.query, hook.query, hook.query):
            with pytest.raises(Exception, match=r"get_dataset|auth/pak") as caught:
                call("get_dataset", {"id": "ds_1"})
            errors.append(caught.value)
    assert isinstance(errors[-1], PolyteiaAuthenticationError)
    client = hook.get_conn()
    shown = [caplog.text, repr(hook), repr(client), repr(client.credentials), repr(client.config)]
    shown += [repr(error.__dict__) + "".join(traceback.format_exception(error)) for error in errors]
    assert "SECRET" not in "".join(shown)
