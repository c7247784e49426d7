"""Templates with `render_template_as_native_obj=True`: text stays text, other arguments become Python objects."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from airflow.providers.common.compat.sdk import DAG, XComArg
from airflow.providers.common.compat.sdk import BaseOperator as Other
from servers import data

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator, UpdateDatasetOperator
from airflow_provider_polyteia.operators.polyteia import PolyteiaCommandOperator
from airflow_provider_polyteia.operators.sql import SqlTablesOperator
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator
from airflow_provider_polyteia.transfers.sql_table_to_polyteia import SqlTableToPolyteiaOperator

RECORD = {"id": "ds_1", "solution_id": "sol_1", "slug": "s", "name": "N", "created_at": "2026-01-01T00:00:00Z"}
# All of these are other Python literals, or change as one.
TEXTS = [
    "2026",
    "007",
    "000",
    "2026_01",
    "1.50",
    "1e5",
    "0x10",
    "(2026)",
    "'quoted'",
    "2026, 2027",
    "True",
    "...",
    "5 ",
]


def native(make):
    """Make a task in a DAG with native rendering."""
    with DAG("native", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), render_template_as_native_obj=True):
        return make()


def mapped(cls, over, **arguments):
    """Make the only task of a mapped operator, as Airflow does before it renders the templates."""
    name, value = over
    return native(lambda: cls.partial(task_id="t", **arguments).expand(**{name: [value]})).unmap({name: value})


def render(task, **context):
    task.render_template_fields({"params": {}, **context})
    return task


def create(**arguments):
    return CreateDatasetOperator(**{"task_id": "t", "name": "N", "solution_id": "sol_1", "slug": "s", **arguments})


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("template", ["{text}", "{{{{ value }}}}"], ids=["literal", "template"])
@pytest.mark.parametrize("is_mapped", [False, True], ids=["unmapped", "mapped"])
def test_text_stays_text(connected, text, template, is_mapped):
    """Names, slugs and descriptions reach the platform as they were written, also from a mapped task."""
    connected.respond(data(RECORD))
    given = dict.fromkeys(("name", "slug", "description", "source"), template.format(text=text))
    if is_mapped:
        task = mapped(CreateDatasetOperator, ("solution_id", "sol_1"), **given)
    else:
        task = native(lambda: create(**given))
    render(task, value=text).execute({})
    assert connected.requests[0].json["params"] == {"solution_id": "sol_1", **dict.fromkeys(given, text)}


def test_mapped_template(connected):
    """A template among the values that a task is mapped over is text, too."""
    connected.respond(data(RECORD))
    task = mapped(CreateDatasetOperator, ("slug", "{{ ds_nodash }}_01"), name="N", solution_id="sol_1")
    render(task, ds_nodash="20260301").execute({})
    assert connected.requests[0].json["params"]["slug"] == "20260301_01"


def test_other_arguments_become_objects(connected):
    """Parameters and documentation keep native rendering, within them too; macros of the DAG work everywhere."""
    connected.respond(data({"id": "tag_1"}))
    task = native(lambda: PolyteiaCommandOperator(task_id="t", command="create_tag", parameters="{{ given }}"))
    render(task, given={"n": 1}).execute({})
    assert connected.requests[0].json["params"] == {"n": 1}
    task = native(lambda: create(name="{{ twice('a') }}", documentation={"n": "{{ 1 + 1 }}"}))
    task.dag.user_defined_macros = {"twice": lambda text: text * 2}
    render(task)
    assert (task.name, task.documentation) == ("aa", {"n": 2})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("20260301", "20260301"),
        (datetime(2026, 3, 1, 6, tzinfo=UTC), "2026-03-01 06:00:00+00:00"),
        (date(2026, 3, 1), "2026-03-01"),
    ],
)
def test_timestamps(connected, value, text):
    """A timestamp may be a date, or digits only."""
    sensor = render(
        native(lambda: DatasetUploadedSensor(task_id="t", dataset_id="ds_1", uploaded_after="{{ value }}")), value=value
    )
    connected.respond(data({**RECORD, "metadata": {"asset_info": {"uploaded_at": "2026-02-28T00:00:00Z"}}}))
    assert sensor.uploaded_after == text
    assert not sensor.poke({}).is_done
    load = native(
        lambda: FileToPolyteiaOperator(task_id="u", source="x", dataset_id="ds_1", source_timestamp="{{ value }}")
    )
    assert render(load, value=value)._timestamp().startswith("2026-03-01T0")


def test_lists_of_names():
    """The elements of a list of names are text; a template may render to the whole list."""
    tables = native(
        lambda: SqlTablesOperator(task_id="t", conn_id="c", include=["2026_1", "{{ y }}"], exclude="{{ e }}")
    )
    render(tables, y="2027", e=["a"])
    assert (tables.include, tables.exclude) == (["2026_1", "2027"], ["a"])
    arguments = {"conn_id": "c", "table": "2026", "solution_id": "sol_1"}
    load = native(lambda: SqlTableToPolyteiaOperator(task_id="u", columns=["1", "{{ y }}"], **arguments))
    assert render(load, y="2027").columns == ["1", "2027"]
    assert load.table == "2026"


class TaskInstance:
    """Replaces the task instance; each task it pulls from has returned `value`."""

    def __init__(self, value):
        self.value = value

    def get_relevant_upstream_map_indexes(self, *_, **__):
        """As Airflow 2 asks for, if no task is mapped."""

    def xcom_pull(self, **_):
        return self.value


def create_with(slug):
    """A create whose slug another task has returned."""
    task = native(lambda: create(slug=XComArg(Other(task_id="other"))))
    return render(task, ti=TaskInstance(slug), expanded_ti_count=None)


@pytest.mark.parametrize(
    ("value", "text"), [(2026, "2026"), (date(2026, 3, 1), "2026-03-01"), (Decimal("1.50"), "1.50")]
)
def test_numbers_and_dates_of_other_tasks(connected, caplog, value, text):
    """A number or a date from another task becomes its text; the log says what a number may have lost."""
    caplog.set_level("INFO")
    connected.respond(data(RECORD))
    create_with(value).execute({})
    assert connected.requests[0].json["params"]["slug"] == text
    assert ("leading zeros of its text may have been lost" in caplog.text) == (not isinstance(value, date))


@pytest.mark.parametrize("value", [7.0, float("nan")])
def test_floats_of_other_tasks(connected, value):
    """The text of a floating-point number is not known, so it is rejected."""
    with pytest.raises(PolyteiaConfigurationError, match=r"'slug' of task 't' is the number .* leading zeros"):
        create_with(value).execute({})
    assert connected.requests == []


@pytest.mark.parametrize("value", [True, ["a"], {"a": 1}])
def test_other_types_of_other_tasks(connected, value):
    """What is not text is rejected."""
    with pytest.raises(PolyteiaConfigurationError, match=r"'slug' of task 't' is .* must be a non-empty string"):
        create_with(value).execute({})
    assert connected.requests == []


def test_none_of_a_partial_operator_is_omitted(connected):
    """None that was written, not mapped over, omits an argument, as without mapping."""
    connected.respond(data(RECORD), data(RECORD))
    task = mapped(UpdateDatasetOperator, ("dataset_id", "ds_1"), name="N", description=None)
    render(task).execute({})
    assert "description" not in connected.requests[-1].json["params"]
