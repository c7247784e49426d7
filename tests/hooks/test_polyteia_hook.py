"""`PolyteiaHook`: from an Airflow connection to the wire and back."""

from __future__ import annotations

import itertools
import logging
import traceback

import pytest
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
WANTED = {"name": "Bookings", "solution_id": "sol_1", "slug": "bookings"}


@pytest.fixture
def hook(connected):
    """A hook for the scripted server."""
    with PolyteiaHook() as hook:
        yield hook


def test_command_and_query(connected, hook):
    """command and query return the decoded data, and send our User-Agent with Airflow's version."""
    connected.answer(data({"id": "ws_1"}), data([1]))
    assert hook.command("create_workspace", {"name": "Kämmerei"}) == {"id": "ws_1"}
    assert hook.query("get_dataset", {"id": "ds_1"}) == [1]
    agent = connected.requests[0].headers["user-agent"]
    assert agent.startswith(f"airflow-provider-polyteia/{__version__} apache-airflow/")
    assert " python/3." in agent


def test_missing_connection():
    """A connection that does not exist says how to create it."""
    with pytest.raises(PolyteiaConfigurationError, match=r"no connection 'nowhere'.*airflow connections add nowhere"):
        PolyteiaHook("nowhere").query("get_dataset", {"id": "ds_1"})


@pytest.mark.parametrize("extra", ["nonsense", "[1]", '"text"'])
def test_extra_that_is_no_object(connect, extra):
    """An Extra that is no JSON object is refused; Airflow 3.0 and 3.1 do so, and then say there is no connection."""
    connect(extra=extra)
    with pytest.raises(PolyteiaConfigurationError, match=r"Extra that is no JSON object|There is no connection"):
        PolyteiaHook().get_conn()


def test_limits_of_the_hook(connected):
    """Limits given to the hook win over the connection's."""
    connected.answer(status(502))
    with PolyteiaHook(max_attempts=4, max_wait=0.001) as hook, pytest.raises(Exception, match="max_attempts=4"):
        hook.query("get_dataset", {"id": "ds_1"})
    assert len(connected.requests) == 4


def test_close_forgets_the_token(connect, server):
    """After close, the key is exchanged anew."""
    connect(host=server.url, extra={"organization_id": "org_1"})
    server.answer(status(200, b'{"token": "tok-123456"}'), data(1), status(200, b'{"token": "tok-123456"}'), data(1))
    hook = PolyteiaHook()
    for _ in range(2):
        hook.query("get_dataset", {"id": "ds_1"})
        hook.close()
    assert server.calls == ["/auth/pak/token", "get_dataset"] * 2


def test_test_connection(connected, hook):
    """The button Test answers with the organization's name after one harmless query."""
    connected.answer(data({"items": [{"id": "org_1", "name": "Stadt Musterhausen"}], "total": 1}))
    assert hook.test_connection() == (True, "Connected to organization 'Stadt Musterhausen'.")
    assert connected.requests[0].json == {"query": "list_organizations", "params": {"page": 1, "size": 1}}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (status(401), (False, "put it into this connection")),
        (data({"items": []}), (True, "the key sees no organization")),
        (data(None), (True, "the key sees no organization")),
    ],
)
def test_test_connection_otherwise(connected, hook, reply, expected):
    """The button Test says what a task would log, or that there is no organization."""
    connected.answer(reply)
    succeeded, text = hook.test_connection()
    assert succeeded is expected[0]
    assert expected[1] in text


def test_test_connection_asks_once(connected, hook):
    """A person waits for the answer, so nothing is repeated."""
    connected.answer(status(502))
    assert hook.test_connection()[0] is False
    assert len(connected.requests) == 1


def test_test_connection_names_no_id(connect):
    """The id that the form makes up for its test is not shown."""
    connect("xyzabc", password="")
    succeeded, text = PolyteiaHook("xyzabc").test_connection()
    assert not succeeded
    assert text.startswith("This connection has no key")
    assert "xyzabc" not in text


def pages(*pages_of_items, total=None):
    """Replies that hold these items, page by page."""
    for items in pages_of_items:
        yield data({"items": items, **({} if total is None else {"total": total})})


def test_iterate_until_total(connected, hook):
    """All pages are read, lazily, until as many items as the total have come."""
    connected.answer(*pages([{"id": "a"}, {"id": "b"}], [{"id": "c"}], total=3))
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
    connected.answer(*pages(["a"], ["b"], []))
    assert list(hook.iterate("list_resources")) == ["a", "b"]
    assert len(connected.requests) == 3


def test_iterate_drops_duplicates(connected, hook):
    """An item that has shifted to the next page is given once."""
    connected.answer(*pages([{"id": "a"}, {"id": "b"}], [{"id": "b"}, {"id": "c"}], []))
    assert [item["id"] for item in hook.iterate("list_datasets", page_size=2)] == ["a", "b", "c"]


def test_iterate_does_not_trust_the_echoed_size(connected, hook):
    """The size asked for counts, not the one that the answer claims (API reference 6)."""
    connected.answer(data({"items": ["a"], "total": 2, "size": 100, "page": 1}), data({"items": ["b"], "total": 2}))
    assert list(hook.iterate("list_resources", page_size=1)) == ["a", "b"]


def test_iterate_is_bounded(connected, hook):
    """A list that never ends is given up with an error."""
    counter = itertools.count()
    connected.answer(lambda _: data({"items": [str(next(counter))]}))
    with pytest.raises(PolyteiaProtocolError, match="has not come to an end after 7 pages"):
        list(hook.iterate("list_resources", max_pages=7))


def test_iterate_filters_again(connected, hook):
    """A list whose filter the platform may ignore is filtered again (API reference 12, no. 29)."""
    items = [{"id": "ws_1", "organization_id": "org_1"}, {"id": "ws_2", "organization_id": "org_2"}, {"id": "ws_3"}]
    connected.answer(*pages(items, total=3))
    found = hook.iterate("list_workspaces", {"organization_id": "org_1"})
    assert [item["id"] for item in found] == ["ws_1", "ws_3"]


@pytest.mark.parametrize("answer", [None, [], {"items": None}, {"items": [1]}, {"data": []}])
def test_iterate_needs_a_page(connected, hook, answer):
    """An answer that is no page of items is a protocol error."""
    connected.answer(data(answer))
    with pytest.raises(PolyteiaProtocolError, match="is it a paginated query"):
        list(hook.iterate("get_dataset"))


@pytest.mark.parametrize("size", [0, 101, -1, 1.5, True, "10"])
def test_page_size_is_checked(hook, connected, size):
    """A page size outside 1..100 is refused before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match="whole number from 1 to 100"):
        hook.iterate("list_datasets", page_size=size)
    assert connected.requests == []


@pytest.mark.parametrize("params", ["abc", [1], 5])
def test_list_params_must_be_a_mapping(hook, params):
    """Params of a list that are no mapping are refused, naming their kind."""
    with pytest.raises(PolyteiaConfigurationError, match="they must be a mapping"):
        hook.iterate("list_datasets", params)


def test_items_with_odd_ids(connected, hook):
    """Items whose ids cannot be compared are given as they are."""
    connected.answer(*pages([{"id": []}, {"id": {}}, {}], []))
    assert len(list(hook.iterate("list_datasets"))) == 3


def test_page_params_are_refused(hook):
    """page and size among the parameters are refused, as all pages are read."""
    with pytest.raises(PolyteiaConfigurationError, match="'page' or 'size'"):
        hook.iterate("list_datasets", {"page": 2})


def test_create_dataset_sends_the_documented_body(connected, hook):
    """One request, with the documented params and no others."""
    connected.answer(data(RECORD))
    assert hook.create_dataset(**WANTED, description="d", source="SAP") == RECORD
    assert [request.json for request in connected.requests] == [
        {"command": "create_dataset", "params": {**WANTED, "description": "d", "source": "SAP"}}
    ]


@pytest.mark.parametrize("name", ["name", "solution_id", "slug"])
@pytest.mark.parametrize("value", ["", " ", None])
def test_create_dataset_checks_its_arguments(connected, hook, name, value):
    """A missing name, solution_id or slug is refused before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match=f"without '{name}'"):
        hook.create_dataset(**{**WANTED, name: value})
    assert connected.requests == []


def test_if_exists_is_checked(hook):
    """A mistyped if_exists is refused with the possible values."""
    with pytest.raises(PolyteiaConfigurationError, match="one of reuse, update, fail"):
        hook.create_dataset(**WANTED, if_exists="replace")


def ours(caplog):
    """What this package has logged; Airflow 2 says something as well."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_polyteia")]


def test_what_the_log_says_of_a_create(connected, hook, caplog):
    """The first run says that it has made the dataset, the second that it was there; a taken slug is no incident."""
    with caplog.at_level(logging.INFO):
        for if_exists in ("reuse", "fail"):
            connected.answer(data(RECORD))
            hook.create_dataset(**WANTED, if_exists=if_exists)
        assert ours(caplog) == ["Dataset 'ds_1' (slug 'bookings') was created."] * 2
        caplog.clear()
        connected.answer(body_error(500), data(RECORD))
        hook.create_dataset(**WANTED)
        assert ours(caplog) == ["Dataset 'ds_1' (slug 'bookings') is there already, and is used."]


@pytest.mark.parametrize("code", [403, 404])
def test_refusals_name_what_the_call_named(connected, hook, code):
    """Which id or slug it was about stands in the error, and nothing that may be long or personal."""
    connected.answer(body_error(code))
    with pytest.raises(PolyteiaAPIError, match="The call named id='ds_nosuch'") as caught:
        hook.command("update_dataset_metadata", {"id": "ds_nosuch", "metadata": {"text": "Erika"}})
    assert "Erika" not in str(caught.value)


def test_reuse(connected, hook, caplog):
    """if_exists='reuse' returns the dataset that is there, with a warning that names what differs."""
    connected.answer(body_error(500), data(RECORD))
    with caplog.at_level(logging.WARNING):
        assert hook.create_dataset(**WANTED, description="new") == RECORD
    assert "has another description than this task asks for" in caplog.text
    assert connected.calls == ["create_dataset", "get_dataset"]


def test_reuse_without_difference(connected, hook, caplog):
    """if_exists='reuse' is silent about a dataset that is as it should be."""
    connected.answer(body_error(500), data(RECORD))
    hook.create_dataset(**WANTED, description="old")
    assert "another" not in caplog.text


def test_update_existing(connected, hook):
    """if_exists='update' sends the whole record with the new fields."""
    connected.answer(body_error(500), data(RECORD), data({**RECORD, "description": "new"}))
    assert hook.create_dataset(**WANTED, description="new", if_exists="update")["description"] == "new"
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


def test_update_existing_that_is_in_line(connected, hook):
    """if_exists='update' sends nothing if nothing differs."""
    connected.answer(body_error(500), data(RECORD))
    hook.create_dataset(**WANTED, if_exists="update")
    assert connected.calls == ["create_dataset", "get_dataset"]


@pytest.mark.parametrize("how", ["hook", "command"])
def test_fail_if_exists(connected, hook, how):
    """if_exists='fail', and the bare command, raise a conflict that names the dataset there."""
    connected.answer(body_error(500), data(RECORD))
    create = {
        "hook": lambda: hook.create_dataset(**WANTED, if_exists="fail"),
        "command": lambda: hook.command("create_dataset", WANTED),
    }[how]
    with pytest.raises(PolyteiaConflictError, match="slug='bookings' is taken already, by 'ds_1'"):
        create()


def test_other_refusal_is_not_hidden(connected, hook):
    """If something with the slug is there, the platform's own reason for its refusal is in the error all the same."""
    connected.answer(body_error(400, "query: unknown column"), data({**RECORD, "id": "ins_1"}))
    with pytest.raises(PolyteiaConflictError, match=r"unknown column.*taken already, by 'ins_1'") as caught:
        hook.command("create_insight", {**WANTED, "query": {}})
    assert "if_exists" not in str(caught.value)


def test_fail_if_nobody_knows(connected, hook):
    """if_exists='fail' with a dataset of unknown age leaves the decision to a person."""
    connected.answer(body_error(500), data({**RECORD, "created_at": None}))
    with pytest.raises(PolyteiaOutcomeUnknownError, match="by this call, or by somebody else"):
        hook.create_dataset(**WANTED, if_exists="fail")


def test_get_dataset_by_either_key(connected, hook):
    """A dataset is asked for by id, or by solution and slug; never both."""
    connected.answer(data(RECORD))
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
    """Too little or too much is refused before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match="dataset_id, or by solution_id and slug together"):
        hook.get_dataset(**arguments)
    assert connected.requests == []


def test_update_dataset_reads_merges_and_sends_all(connected, hook):
    """An update keeps what it does not change, and rereads the record if the answer does not hold it."""
    connected.answer(data(RECORD), data(None), data({**RECORD, "name": "New"}))
    assert hook.update_dataset("ds_1", name="New")["name"] == "New"
    assert connected.calls == ["get_dataset", "update_dataset", "get_dataset"]
    sent = connected.requests[1].json["params"]
    assert sent == {name: RECORD[name] for name in sent if name != "name"} | {"name": "New"}
    assert set(sent) == {"id", "name", "solution_id", "description", "source", "slug", "documentation"}


def test_delete_dataset(connected, hook):
    """A delete by slug looks the id up; a delete by id is one request."""
    connected.answer(data(RECORD), data(None), data(None))
    assert hook.delete_dataset(solution_id="sol_1", slug="bookings") is True
    assert hook.delete_dataset("ds_1") is True
    assert connected.calls == ["get_dataset", "delete_dataset", "delete_dataset"]
    assert connected.requests[1].json["params"] == {"id": "ds_1"}


@pytest.mark.parametrize("key", [{"dataset_id": "ds_1"}, {"solution_id": "sol_1", "slug": "bookings"}])
def test_delete_missing_dataset(connected, hook, key):
    """A dataset that is not there is an error, unless that is fine."""
    connected.answer(body_error(404))
    with pytest.raises(PolyteiaNotFoundError):
        hook.delete_dataset(**key)
    assert hook.delete_dataset(**key, ignore_missing=True) is False


@pytest.mark.parametrize("body", [b"404 page not found", b'{"message": "no Route matched"}'])
def test_gateways_404_of_a_delete(connected, hook, body):
    """A gateway that knows no such page does not say that the dataset is gone, whatever the caller tolerates."""
    connected.answer(status(404, body))
    with pytest.raises(PolyteiaNotFoundError):
        hook.delete_dataset("ds_1", ignore_missing=True)


def test_killed_before_the_first_request(connected, hook):
    """A task that is killed while its connection is still looked up sends nothing."""
    hook.cancel()
    with pytest.raises(PolyteiaError, match="was killed"):
        hook.command("create_tag", {"name": "x"})
    assert connected.requests == []


def test_repeated_delete(connected, hook):
    """A delete whose answer got lost, repeated and answered 404, is a success."""
    connected.answer(DROP, body_error(404))
    assert hook.delete_dataset("ds_1") is True


def test_no_secret_in_logs_and_errors(connect, server, caplog):
    """At level DEBUG, neither key nor token occur in any record, error or repr, whatever happens."""
    token = "tok-SECRET-987654321"
    connect(host=server.url, extra={"organization_id": "org_1", "max_attempts": 2, "max_wait": 0.01})
    echo = f"Bearer {KEY} {token}".encode()
    server.answer(
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
    shown = [caplog.text, repr(hook), repr(client), repr(client.identity), repr(client.config)]
    shown += [repr(error.__dict__) + "".join(traceback.format_exception(error)) for error in errors]
    assert "SECRET" not in "".join(shown)
