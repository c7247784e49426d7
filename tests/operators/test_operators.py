"""Operators: arguments, templates, results and errors, against a local server."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from servers import body_error, data, status

from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
)
from airflow_provider_polyteia.operators.dataset import (
    CreateDatasetOperator,
    DeleteDatasetOperator,
    UpdateDatasetOperator,
)
from airflow_provider_polyteia.operators.polyteia import PolyteiaCommandOperator, PolyteiaQueryOperator
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator

RECORD = {
    "id": "ds_1",
    "solution_id": "sol_1",
    "slug": "bookings",
    "name": "Bookings",
    "created_at": "2026-01-01T00:00:00Z",
    "documentation": {"blocks": ["large"]},
    "metadata": {"schema": "large"},
}


def run(operator, **context):
    """Render an operator's templates and execute it, as a task runner does."""
    operator.render_template_fields(context)
    return operator.execute(context)


def create(**arguments):
    given = {"task_id": "create", "name": "Bookings", "solution_id": "sol_1", "slug": "bookings"}
    return CreateDatasetOperator(**{**given, **arguments})


def test_command(connected):
    """The command operator sends the documented request and returns the data."""
    connected.respond(data({"id": "ws_1"}))
    parameters = {"organization_id": "org_1", "name": "{{ department }}", "attributes": {"n": [1, "{{ department }}"]}}
    task = PolyteiaCommandOperator(task_id="t", command="create_{{ kind }}", parameters=parameters)
    assert run(task, department="Kämmerei", kind="workspace") == {"id": "ws_1"}
    assert connected.requests[0].json == {
        "command": "create_workspace",
        "params": {"organization_id": "org_1", "name": "Kämmerei", "attributes": {"n": [1, "Kämmerei"]}},
    }


def test_command_declared_idempotent(connected):
    """idempotent=True is passed to the client: the command is retried."""
    connected.respond(status(502), data(1))
    assert run(PolyteiaCommandOperator(task_id="t", command="recompute", idempotent=True)) == 1
    assert len(connected.requests) == 2


def test_query(connected):
    """The query operator returns the data, or all items of all pages."""
    connected.respond(data(RECORD), data({"items": ["a"]}), data({"items": ["b"]}), data({"items": []}))
    assert run(PolyteiaQueryOperator(task_id="t", query="get_dataset", parameters={"id": "ds_1"})) == RECORD
    assert run(PolyteiaQueryOperator(task_id="t", query="list_resources", paginate=True)) == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["generate_dataset_upload_token", "generate_query_export_token", "generate_novel_token"]
)
def test_token_commands_are_rejected(connected, name):
    """A command that returns a token is rejected, because the token would be stored as an XCom."""
    with pytest.raises(
        PolyteiaConfigurationError, match=rf"cannot run '{name}': it would expose the returned token in XCom"
    ):
        run(PolyteiaCommandOperator(task_id="t", command=name, parameters={"id": "ds_1"}))
    assert connected.requests == []


@pytest.mark.parametrize("value", ["", "{{ none }}", "  "])
def test_empty_command(connected, value):
    """A command that renders to an empty value is rejected; the error names the argument and the task."""
    with pytest.raises(PolyteiaConfigurationError, match="Argument 'command' of task 't' is"):
        run(PolyteiaCommandOperator(task_id="t", command=value), none="")
    assert connected.requests == []


def test_parameters_must_be_a_mapping(connected):
    """Parameters that do not render to a mapping are rejected."""
    with pytest.raises(
        PolyteiaConfigurationError,
        match="Argument 'parameters' of task 't' is of type str after templating; it must be a mapping",
    ):
        run(PolyteiaCommandOperator(task_id="t", command="create_tag", parameters="{{ given }}"), given="x")
    assert connected.requests == []


@pytest.mark.parametrize("operator", [PolyteiaCommandOperator, PolyteiaQueryOperator])
@pytest.mark.parametrize("key", [1, None])
def test_parameter_names_must_be_strings(connected, operator, key):
    """A parameter whose name is not a string is rejected."""
    name = {"command": "create_tag"} if operator is PolyteiaCommandOperator else {"query": "get_tag"}
    with pytest.raises(PolyteiaConfigurationError, match="parameters has a key of type"):
        run(operator(task_id="t", parameters={key: "x"}, **name))
    assert connected.requests == []


def test_native_template_that_renders_to_none(connected):
    """An argument that was set does not count as omitted when its template renders to None."""
    with DAG("native", schedule=None, render_template_as_native_obj=True):
        command = PolyteiaCommandOperator(task_id="t", command="create_tag", parameters="{{ nothing }}")
        update = UpdateDatasetOperator(task_id="u", dataset_id="ds_1", name="{{ nothing }}")
        documented = UpdateDatasetOperator(task_id="v", dataset_id="ds_1", documentation="{{ nothing }}")
    for task, name in ((command, "parameters"), (update, "name"), (documented, "documentation")):
        with pytest.raises(PolyteiaConfigurationError, match=f"Argument '{name}' of task '{task.task_id}' is"):
            run(task, nothing=None)
    assert connected.requests == []


def test_parameters_must_be_json(connected):
    """The error for a value that is not JSON-serializable names its path."""
    with pytest.raises(PolyteiaConfigurationError, match=r"parameters\['a'\]\[0\] is of type object"):
        run(PolyteiaCommandOperator(task_id="t", command="create_tag", parameters={"a": [object()]}))
    assert connected.requests == []


def test_create_dataset(connected):
    """Create returns the small fields of the record; large fields are not pushed to XCom."""
    connected.respond(data(RECORD))
    task = create(name="{{ year }} Bookings", documentation={"blocks": ["{{ year }}"]}, description="d", source="s")
    assert run(task, year=2026) == {k: v for k, v in RECORD.items() if k not in ("documentation", "metadata")}
    assert connected.requests[0].json["params"] == {
        "name": "2026 Bookings",
        "solution_id": "sol_1",
        "slug": "bookings",
        "description": "d",
        "source": "s",
        "documentation": {"blocks": ["2026"]},
    }


class Pushed(dict):
    """Replaces the task instance: what is pushed to XCom, by key."""

    def xcom_push(self, *, key, value):
        self[key] = value


@pytest.mark.parametrize(
    ("options", "expected"), [({}, "ds_1"), ({"do_xcom_push": False}, None), ({"multiple_outputs": True}, None)]
)
def test_id_is_a_separate_xcom(connected, options, expected):
    """`create.output["id"]` works without one XCom per field; with `multiple_outputs` Airflow pushes the id itself."""
    pushed = Pushed()
    for call in (create(**options), UpdateDatasetOperator(task_id="u", dataset_id="ds_1", name="New", **options)):
        connected.respond(data(RECORD), data(RECORD))
        pushed.clear()
        run(call, ti=pushed)
        assert pushed.get("id") == expected


@pytest.mark.parametrize("placeholder", ["sol_...", "ds_..."])
def test_placeholder_of_an_example(connected, placeholder):
    """A placeholder from an example is rejected as such and not sent."""
    with pytest.raises(
        PolyteiaConfigurationError,
        match=f"Argument 'solution_id' of task 'create' is still the example placeholder '{placeholder}'",
    ):
        run(create(solution_id=placeholder))
    assert connected.requests == []


@pytest.mark.parametrize("argument", ["name", "solution_id", "slug"])
@pytest.mark.parametrize("value", ["", "{{ nothing }}", None, "{{ ti_returned_none }}"])
def test_create_dataset_with_empty_arguments(connected, argument, value):
    """An argument that renders to an empty string, or to Jinja's 'None', is rejected before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match=f"Argument '{argument}' of task 'create'"):
        run(create(**{argument: value}), nothing="", ti_returned_none=None)
    assert connected.requests == []


@pytest.mark.parametrize("argument", ["description", "source"])
def test_text_that_renders_to_none(connected, argument):
    """Jinja's 'None' is not sent as the value of an optional text."""
    with pytest.raises(PolyteiaConfigurationError, match=f"Argument '{argument}' of task 'create' is 'None'"):
        run(create(**{argument: "{{ nothing }}"}), nothing=None)
    assert connected.requests == []


def test_documentation_must_be_a_mapping(connected):
    """Documentation that a template has converted to a string is rejected."""
    with pytest.raises(PolyteiaConfigurationError, match="Argument 'documentation' of task 'create' is of type str"):
        run(create(documentation="{{ given }}"), given={"blocks": []})
    assert connected.requests == []


def test_if_exists_is_checked_at_parse_time():
    """A mistyped if_exists causes an import error of the DAG."""
    with pytest.raises(PolyteiaConfigurationError, match=r"'if_exists' of task 'create'.*reuse, update, fail"):
        create(if_exists="overwrite")


def test_if_exists_reaches_the_hook(connected):
    """if_exists='update' updates an existing dataset."""
    connected.respond(body_error(500), data(RECORD), data({**RECORD, "name": "New"}))
    assert run(create(name="New", if_exists="update"))["name"] == "New"
    assert connected.calls == ["create_dataset", "get_dataset", "update_dataset"]


def test_update_dataset(connected):
    """Update changes the given fields and keeps the others."""
    connected.respond(data(RECORD), data({**RECORD, "name": "2026"}))
    task = UpdateDatasetOperator(task_id="t", dataset_id="{{ id }}", name="{{ year }}")
    assert run(task, id="ds_1", year=2026)["name"] == "2026"
    assert connected.requests[1].json["params"]["slug"] == "bookings"


def test_update_dataset_without_id(connected):
    """An id from a task that returned None is rejected."""
    with pytest.raises(PolyteiaConfigurationError, match="Argument 'dataset_id' of task 't' is 'None'"):
        run(UpdateDatasetOperator(task_id="t", dataset_id="{{ id }}", name="x"), id=None)
    assert connected.requests == []


def test_delete_dataset(connected):
    """Delete by slug returns whether a dataset was deleted."""
    connected.respond(data(RECORD), data(None), body_error(404))
    task = DeleteDatasetOperator(task_id="t", solution_id="sol_1", slug="{{ slug }}", ignore_missing=True)
    assert run(task, slug="bookings") is True
    assert run(task) is False
    with pytest.raises(PolyteiaNotFoundError):
        run(DeleteDatasetOperator(task_id="t2", dataset_id="ds_1"))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (status(401, b'{"error": "Unauthorized"}'), PolyteiaAuthenticationError),
        (status(403, b"forbidden", content_type="text/plain"), PolyteiaPermissionError),
        (body_error(401), PolyteiaAuthenticationError),
        (body_error(403), PolyteiaPermissionError),
    ],
)
def test_invalid_key_fails_immediately(connected, reply, error):
    """401 and 403 fail an Airflow task after one request, regardless of its retries."""
    connected.respond(reply)
    with pytest.raises(error) as caught:
        run(create(retries=3))
    assert isinstance(caught.value, AirflowFailException)
    assert len(connected.requests) == 1


def test_other_connection(connect, server):
    """polyteia_conn_id is templated."""
    connect("city_b", host=server.url)
    run(create(polyteia_conn_id="city_{{ which }}"), which="b")
    assert len(server.requests) == 1


def test_no_connection_at_parse_time(monkeypatch):
    """Parsing a DAG reads no connection and sends nothing, even with mapped operators."""
    monkeypatch.setattr("airflow_provider_polyteia.hooks.polyteia.PolyteiaHook.get_connection", None)
    with DAG("d", schedule=None) as dag:
        CreateDatasetOperator.partial(task_id="many", solution_id="sol_1").expand_kwargs(
            [{"name": "A", "slug": "a"}, {"name": "B", "slug": "b"}]
        )
        create()
    assert dag.task_ids == ["many", "create"]


def test_kill_cancels_the_hook(connected):
    """After on_kill, no further attempt begins; before the task runs, on_kill does nothing."""
    task = create()
    task.on_kill()
    run(task)
    task.on_kill()
    with pytest.raises(PolyteiaError, match="The task was killed before it sent 'get_dataset'"):
        task.hook.get_dataset("ds_1")
    assert connected.calls == ["create_dataset"]


def test_sql_that_could_not_be_written(connected, tmp_path):
    """A destination that cannot be written is rejected before the statement runs, which may change data."""
    for path in (tmp_path, tmp_path / "missing" / "rows.json", "unknown://bucket/rows.json"):
        task = PolyteiaSqlOperator(task_id="t", sql="DELETE FROM 'ds_1'", datasets="ds_1", destination=str(path))
        with pytest.raises(PolyteiaError, match=r"cannot be written|not a supported storage URL"):
            task.execute({})
    assert connected.requests == []
    assert list(tmp_path.iterdir()) == []


def test_sql_that_needs_no_destination(connected, tmp_path):
    """A result within the limit leaves the destination as it is."""
    connected.respond(data({"rows": []}))
    path = tmp_path / "rows.json"
    task = PolyteiaSqlOperator(task_id="t", sql="FROM 'ds_1'", datasets="ds_1", destination=str(path))
    assert task.execute({})["path"] is None
    assert list(tmp_path.iterdir()) == []
