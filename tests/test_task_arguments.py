"""Arguments that were set but became None, for all operators, unmapped and mapped."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, BaseOperator, XComArg
from task_classes import ALTERNATIVES, OPERATORS, arguments_of, is_required

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

CONCRETE = [cls for cls in OPERATORS if cls.__name__.endswith(("Operator", "Sensor")) and "execute" in dir(cls)]
CONCRETE = [cls for cls in CONCRETE if not any(other is not cls and issubclass(other, cls) for other in OPERATORS)]
EACH_ARGUMENT = [(cls, name) for cls in CONCRETE for name in arguments_of(cls)]
EACH_FIELD = [(cls, name) for cls, name in EACH_ARGUMENT if name in cls.template_fields]


def ids(values):
    return [f"{cls.__name__}-{name}" for cls, name in values]


class TaskInstance:
    """Replaces the task instance; each task it pulls from has returned `value`."""

    map_index = -1

    def __init__(self, value=None):
        self.value = value

    def xcom_pull(self, **_):
        return self.value

    def get_relevant_upstream_map_indexes(self, *_, **__):
        """As Airflow 2 asks for, if no task is mapped."""

    def xcom_push(self, **_):
        """Store nothing."""


def dag(**options):
    return DAG("arguments", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **options)


def required(cls, but):
    """Values of the arguments that a task needs beside one, so that this one matters."""
    values = {name: "x" for name, parameter in arguments_of(cls).items() if is_required(parameter) and name != but}
    if cls.__name__ == "PolyteiaToFileOperator" and but not in ALTERNATIVES[cls.__name__]:
        values |= {name: "x" for name in ("sql", "datasets") if name != but}
    return values


def another(cls, names):
    """Return an argument besides these, which may have any text."""
    excluded = {"source_timestamp", *names, *ALTERNATIVES.get(cls.__name__, ())}
    return next(name for name in reversed(cls.template_fields) if name not in excluded)


def run(task, value=None, **context):
    """Render the templates of a task and execute it, as Airflow does."""
    context = {"ti": TaskInstance(value), "params": {}, "expanded_ti_count": None, **context}
    task.render_template_fields(context)
    return task.execute(context)


def assert_refused(cls, name, run_task):
    """The task fails at once, and the text names the argument."""
    with pytest.raises(PolyteiaConfigurationError, match=rf"'?{name}'?\b") as caught:
        run_task()
    assert isinstance(caught.value, AirflowFailException), cls


@pytest.mark.parametrize(("cls", "name"), EACH_ARGUMENT, ids=ids(EACH_ARGUMENT))
def test_mapped_over_none(connected, cls, name):
    """A mapped task that gets None for an argument fails as an unmapped one does, and sends nothing."""
    with dag():
        mapped = cls.partial(task_id="t", **required(cls, name)).expand(**{name: [None]})
    assert_refused(cls, name, lambda: run(mapped.unmap({name: None})))
    assert connected.requests == []


@pytest.mark.parametrize("is_native", [True, False], ids=["native", "text"])
@pytest.mark.parametrize(("cls", "name"), EACH_FIELD, ids=ids(EACH_FIELD))
def test_template_that_renders_to_none(connected, cls, name, is_native):
    """A template that renders to None fails its task, with and without native rendering."""
    with dag(render_template_as_native_obj=is_native):
        task = cls(task_id="t", **required(cls, name), **{name: "{{ nothing }}"})
    assert_refused(cls, name, lambda: run(task, nothing=None))
    assert connected.requests == []


@pytest.mark.parametrize("is_partial", [False, True], ids=["unmapped", "partial"])
@pytest.mark.parametrize(("cls", "name"), EACH_FIELD, ids=ids(EACH_FIELD))
def test_other_task_that_returned_none(connected, cls, name, is_partial):
    """An argument from a task that returned None fails the task, also if the task is mapped over another argument."""
    with dag():
        value = XComArg(BaseOperator(task_id="other"))
        others = required(cls, name)
        if is_partial:
            over = {another(cls, {name, *others}): "x"}
            task = (
                cls.partial(task_id="t", **others, **{name: value}).expand(**{key: ["x"] for key in over}).unmap(over)
            )
        else:
            task = cls(task_id="t", **others, **{name: value})
    assert_refused(cls, name, lambda: run(task))
    assert connected.requests == []
