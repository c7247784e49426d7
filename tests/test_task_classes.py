"""What every operator, sensor, transfer and trigger of this provider has in common.

Classes are found by walking the package, so a new one is held to the rules without being mentioned here.
"""

from __future__ import annotations

import copy
import importlib
import json
import pickle
from datetime import UTC, datetime

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.serialization.serialized_objects import BaseSerialization
from task_classes import ALTERNATIVES, OPERATORS, TRIGGERS, arguments_of, is_required

NOT_TEMPLATED = {
    "driver": "depends on what is installed, not on the run",
    "check": "decided by the DAG's author, not a value of the run",
    "check_only": "decided by the DAG's author, not a value of the run",
    "max_xcom_bytes": "a number",
    "wait_for_upload": "decided by the DAG's author, not a value of the run",
    "deferrable": "decides in which process to wait, which depends on the deployment",
    "if_exists": "decided by the DAG's author, not a value of the run",
    "idempotent": "a property of the command, known when the DAG is written",
    "ingest_timeout": "a number",
    "ignore_missing": "decided by the DAG's author, not a value of the run",
    "max_attempts": "a limit of the worker, not a value of the run",
    "max_shrink": "a number",
    "min_rows": "a number",
    "min_size": "a number",
    "on_schema_change": "decided by the DAG's author, not a value of the run",
    "paginate": "decides the type of the result",
    "verify": "decided by the DAG's author, not a value of the run",
    "wait_for_creation": "decided by the DAG's author, not a value of the run",
}


each_operator = pytest.mark.parametrize("cls", OPERATORS, ids=lambda cls: cls.__name__)
each_trigger = pytest.mark.parametrize("cls", TRIGGERS, ids=lambda cls: cls.__name__)


def make_dag():
    return DAG("architecture", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def given_templates(cls):
    return set(cls.template_fields) - ALTERNATIVES.get(cls.__name__, set())


def make_task(cls):
    """A task with every templated argument set to a template, and the other required ones to arbitrary text."""
    arguments = {
        name: f"{{{{ params.{name} }}}}"
        for name, parameter in arguments_of(cls).items()
        if name in given_templates(cls) or is_required(parameter)
    }
    return cls(task_id="task", **arguments)


def test_operators_are_found():
    """Walking the package finds the operators."""
    assert {"CreateDatasetOperator", "PolyteiaCommandOperator"} <= {cls.__name__ for cls in OPERATORS}


@each_operator
def test_template_fields_are_arguments(cls):
    """Every template field is an argument and an attribute of the same name, which keeps the value unchanged."""
    task = make_task(cls)
    assert isinstance(cls.template_fields, tuple)
    assert set(cls.template_fields) <= set(arguments_of(cls))
    for name in given_templates(cls):
        assert getattr(task, name) == f"{{{{ params.{name} }}}}"


@each_operator
def test_every_argument_is_templated_or_says_why_not(cls):
    """An argument that is not templated is in the list above, with the reason."""
    assert set(arguments_of(cls)) - set(cls.template_fields) <= set(NOT_TEMPLATED)


def test_no_obsolete_reasons():
    """Each reason belongs to an existing argument that is not templated."""
    plain = {name for cls in OPERATORS for name in set(arguments_of(cls)) - set(cls.template_fields)}
    assert set(NOT_TEMPLATED) <= plain


@each_operator
def test_arguments_are_keywords_and_documented(cls):
    """Every argument is keyword-only and documented in the docstring of its class, or of the base of a base."""
    is_base = any(other is not cls and issubclass(other, cls) for other in OPERATORS)
    documented = "".join(kind.__doc__ or "" for kind in (cls.__mro__ if is_base else [cls]))
    for name, parameter in arguments_of(cls).items():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert f":param {name}:" in documented


def round_trip(dag):
    """A DAG as the scheduler sees it: serialized, stored as JSON, and read back."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialization  # noqa: PLC0415
    except ImportError:  # before Airflow 3.2
        from airflow.serialization.serialized_objects import SerializedDAG as Serialization  # noqa: PLC0415
    data = Serialization.to_dict(dag)
    Serialization.validate_schema(data)
    return Serialization.from_dict(json.loads(json.dumps(data)))


@each_operator
def test_serialized_with_its_dag(cls):
    """The scheduler sees the task with its type, its templated fields and its links."""
    with make_dag() as dag:
        task = make_task(cls)
    seen = round_trip(dag).get_task("task")
    assert seen.task_type == cls.__name__
    assert tuple(seen.template_fields) == cls.template_fields
    assert {name: getattr(seen, name) for name in cls.template_fields} == {
        name: getattr(task, name) for name in cls.template_fields
    }
    assert [link.name for link in seen.operator_extra_links] == [link.name for link in task.operator_extra_links]


@each_operator
def test_mapped_over_each_argument(cls):
    """Any argument can be expanded, and the scheduler sees the mapped task."""
    for mapped in arguments_of(cls):
        required = {name for name, parameter in arguments_of(cls).items() if is_required(parameter)} - {mapped}
        with make_dag() as dag:
            cls.partial(task_id="task", **dict.fromkeys(required, "x")).expand(**{mapped: ["a", "b"]})
        assert round_trip(dag).get_task("task").task_type == cls.__name__


@each_operator
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))])  # noqa: S301 - ours
def test_copied_and_pickled(cls, copied):
    """A copy of the task has the same arguments."""
    task = make_task(cls)
    twin = copied(task)
    assert twin is not task
    assert {name: getattr(twin, name) for name in arguments_of(cls)} == {
        name: getattr(task, name) for name in arguments_of(cls)
    }


TRIGGER_ARGUMENTS = {
    "polyteia_conn_id": "city",
    "uploaded_after": "2026-03-31T12:00:00+00:00",
    "min_size": 8,
    "timestamp_field": "updated_at",
    "ingest_id": "dsig_1",
    "load": {"result": {"dataset_id": "ds_1", "rows": None, "columns": {"a": "int64"}}, "source_timestamp": None},
    "poll_interval": 2.5,
    "verify": "decided by the DAG's author, not a value of the run",
    "wait_for_creation": True,
    "poke_interval": 1.5,
    "exponential_backoff": True,
    "max_wait": 2.5,
    "max_attempts": 7,
    "deadline": "2026-03-31T13:00:00+00:00",
    "silent_fail": True,
}


BY_ID = {"dataset_id": "ds_1", "solution_id": None, "slug": None}
BY_SLUG = {"dataset_id": None, "solution_id": "sol_1", "slug": "bookings"}


def make_trigger(cls, dataset):
    """A trigger with every argument set; a new argument needs a value above."""
    values = TRIGGER_ARGUMENTS | dataset
    return cls(**{name: values[name] for name in arguments_of(cls)})


@each_trigger
@pytest.mark.parametrize("dataset", [BY_ID, BY_SLUG], ids=["by id", "by slug"])
def test_trigger_survives_the_database(cls, dataset):
    """Airflow recreates the same trigger from what `serialize` returned, and no argument is lost."""
    path, arguments = make_trigger(cls, dataset).serialize()
    stored = json.loads(json.dumps(BaseSerialization.serialize(arguments)))
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is cls
    assert cls(**BaseSerialization.deserialize(stored)).serialize() == (path, arguments)
    assert arguments == {name: (TRIGGER_ARGUMENTS | dataset)[name] for name in arguments_of(cls)}
