"""The shape of the package: who may import whom, and what every operator, sensor, transfer and trigger keeps to.

Classes are found by walking the package, so a new one is held to the rules without being mentioned here.
"""

from __future__ import annotations

import ast
import copy
import importlib.metadata
import inspect
import json
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from airflow.serialization.serialized_objects import BaseSerialization
from airflow.triggers.base import BaseTrigger

import airflow_provider_polyteia
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS

PACKAGE = airflow_provider_polyteia.__name__
ROOT = Path(airflow_provider_polyteia.__file__).parent

# Part of the package -> the parts it may import, itself included; "" is the package's own __init__.
BASICS = {"", "exceptions", "version_compat", "provider_info"}
BELOW_TASKS = BASICS | {"assets", "client", "hooks", "links"}
MAY_IMPORT = {
    "": {"provider_info"},
    "exceptions": set(),
    "version_compat": set(),
    "provider_info": set(),
    "retry_policy": BASICS,
    "client": {"client", "exceptions"},
    "sql": {"exceptions", "sql"},
    "assets": BASICS | {"assets"},
    "links": BASICS | {"assets", "links"},
    "hooks": BASICS | {"assets", "client", "hooks"},
    "triggers": BELOW_TASKS | {"triggers"},
    "sensors": BELOW_TASKS | {"operators", "sensors", "triggers"},
    "operators": BELOW_TASKS | {"operators", "triggers"},
    "transfers": BELOW_TASKS | {"operators", "sql", "transfers", "triggers"},
    "sandbox": {"", "sandbox"},
}
TASK_PARTS = ("operators", "sensors", "transfers")
LIGHT_PARTS = (*TASK_PARTS, "triggers", "hooks", "assets", "links")
DRIVERS = {f"{PACKAGE}.client.sync", f"{PACKAGE}.client.aio"}
HEAVY = {"requests", "httpx", "pyarrow", "duckdb", "tenacity", "urllib3", "pandas", "numpy", "starlette", "uvicorn"}

NOT_DECLARED = {
    "asgiref": "part of every Airflow that cannot mask secrets asynchronously by itself",
    "flask_appbuilder": "asked for by an Airflow that has it",
    "flask_babel": "as flask_appbuilder",
    "wtforms": "as flask_appbuilder",
    "psycopg": "asked for if it is the driver of the user's database connection",
    "psycopg2": "as psycopg",
    "pytest": "asked for by a plugin of pytest",
}

NOT_TEMPLATED = {
    "driver": "a matter of what is installed, not of the run",
    "fail_on_empty": "a decision of the DAG's author, not a value of the run",
    "max_xcom_bytes": "a number",
    "wait_for_upload": "a decision of the DAG's author, not a value of the run",
    "deferrable": "decides in which process the waiting is done: a matter of the deployment, not of the run",
    "if_exists": "a decision of the DAG's author, not a value of the run",
    "idempotent": "a property of the command, known when the DAG is written",
    "ignore_missing": "a decision of the DAG's author, not a value of the run",
    "max_attempts": "a limit on the worker's patience, not a value of the run",
    "min_size": "a number",
    "paginate": "decides the type of the result",
    "wait_for_creation": "a decision of the DAG's author, not a value of the run",
}


@dataclass(frozen=True)
class Import:
    """One import: which module imports what, and when (`load`, `call` or `typing`)."""

    source: str
    target: str
    when: str

    @property
    def part(self):
        return self.source.partition(".")[2].partition(".")[0]

    @property
    def target_part(self):
        return self.target.partition(".")[2].partition(".")[0]


def module_name(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGE, *(part for part in parts if part != "__init__")])


def imports_of(file):
    """All imports of a file; `from a import b` counts as `a.b` where that is a module of ours."""
    found = []

    def visit(node, when):
        if isinstance(node, ast.Import):
            found.extend(Import(module_name(file), alias.name, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.extend(Import(module_name(file), imported(node.module, alias.name), when) for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            when = "call"
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            when = "typing"
        for child in ast.iter_child_nodes(node):
            visit(child, when)

    visit(ast.parse(file.read_text()), "load")
    return found


def imported(module, name):
    is_module = module.split(".")[0] == PACKAGE and f"{module}.{name}" in MODULES
    return f"{module}.{name}" if is_module else module


FILES = sorted(ROOT.rglob("*.py"))
MODULES = {module_name(file) for file in FILES}
# Modules that are imported only where what they need is there.
SOMETIMES = {
    f"{PACKAGE}.transfers.openlineage",  # when OpenLineage's provider asks a task that has ended
    f"{PACKAGE}.triggers.producer",  # needs Airflow 3.3
}
IMPORTS = [found for file in FILES for found in imports_of(file)]


def modules_in(parts):
    return {name for name in MODULES - SOMETIMES if name.partition(".")[2].partition(".")[0] in parts}


def test_every_part_has_its_place():
    """A new part of the package must say here what it may import."""
    assert {name.partition(".")[2].partition(".")[0] for name in MODULES} <= set(MAY_IMPORT)


def test_imports_point_downwards():
    """No part imports one that is above or beside it, not even within a function or for its types."""
    ours = [found for found in IMPORTS if found.target.split(".")[0] == PACKAGE]
    assert ours
    assert [found for found in ours if found.target_part not in MAY_IMPORT.get(found.part, ())] == []


def test_the_client_does_not_know_airflow():
    """What speaks Polyteia's API depends on Airflow through the tree of errors only; the sandbox not at all."""
    airflow = {found.source for found in IMPORTS if found.target.split(".")[0] == "airflow"}
    assert f"{PACKAGE}.exceptions" in airflow
    assert {name for name in airflow if name.split(".")[1] in {"client", "sandbox"}} == set()


def test_only_one_module_looks_at_airflows_version():
    """Differences between versions of Airflow are known in one place."""
    assert {found.source for found in IMPORTS if found.target == "airflow"} == {f"{PACKAGE}.version_compat"}


def test_tasks_and_triggers_import_no_driver():
    """Operators, sensors and transfers never see a driver; a trigger sees one only while it runs."""
    drivers = [found for found in IMPORTS if found.target in DRIVERS and found.when != "typing"]
    assert {found.part for found in drivers} & {*TASK_PARTS} == set()
    assert [found for found in drivers if found.part in LIGHT_PARTS and found.when == "load"] == []


def test_nothing_heavy_is_imported_at_load():
    """No module that a DAG file imports has an HTTP library, Arrow or the like among its own imports."""
    at_load = [found for found in IMPORTS if found.when == "load" and found.part in LIGHT_PARTS]
    assert [found for found in at_load if found.target.split(".")[0] in HEAVY] == []


def test_every_imported_package_is_declared():
    """What our code imports is a dependency or an extra of our own, or listed above with a reason."""
    requirements = importlib.metadata.requires("airflow-provider-polyteia")
    declared = {re.match(r"[\w-]+", text)[0] for text in requirements}
    distributions = importlib.metadata.packages_distributions()
    roots = {found.target.split(".")[0] for found in IMPORTS if found.when != "typing"}
    foreign = roots - sys.stdlib_module_names - {PACKAGE, "airflow"} - set(NOT_DECLARED)
    assert {root for root in foreign if not declared & {*distributions.get(root, ()), root}} == set()


# Airflow's own base classes bring some of these, depending on its version: what counts is what we add.
MEASURE = """
import importlib, json, sys, time
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, DAG, conf
import airflow.triggers.base
before = set(sys.modules)
modules = json.loads(sys.argv[1])
started = time.perf_counter()
for module in modules:
    importlib.import_module(module)
print(json.dumps({"seconds": time.perf_counter() - started, "new": sorted(set(sys.modules) - before)}))
"""


def import_afresh(modules):
    arguments = [sys.executable, "-c", MEASURE, json.dumps(sorted(modules))]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_heavy_is_loaded_with_our_modules(capsys):
    """A fresh interpreter with Airflow's base classes loads nothing heavy more for all that a DAG file may import.

    The time it takes is reported, not judged.
    """
    modules = modules_in(LIGHT_PARTS)
    measured = import_afresh(modules)
    assert set(measured["new"]) >= modules
    assert {name.split(".")[0] for name in measured["new"]} & HEAVY == set()
    assert set(measured["new"]) & DRIVERS == set()
    with capsys.disabled():
        print(f" {len(modules)} modules in {1000 * measured['seconds']:.0f} ms ", end="")  # noqa: T201 - the report


def classes_in(parts, base):
    """All public classes of ours below `base` in some parts of the package."""
    modules = map(importlib.import_module, sorted(modules_in(parts)))
    things = [thing for module in modules for thing in vars(module).values() if inspect.isclass(thing)]
    return list(dict.fromkeys(thing for thing in things if issubclass(thing, base) and is_ours_and_public(thing)))


def is_ours_and_public(cls):
    return cls.__module__.startswith(PACKAGE) and not cls.__name__.startswith("_")


def arguments_of(cls):
    """Name -> parameter of all arguments that the classes of ours add to Airflow's."""
    ours = [kind for kind in cls.__mro__ if kind.__module__.startswith(PACKAGE) and "__init__" in vars(kind)]
    parameters = [parameter for kind in ours for parameter in inspect.signature(kind.__init__).parameters.values()]
    return {p.name: p for p in reversed(parameters) if p.name != "self" and p.kind is not p.VAR_KEYWORD}


def is_required(parameter):
    return parameter.default is parameter.empty


OPERATORS = classes_in(TASK_PARTS, BaseOperator)
# Airflow 2 has no event triggers, and the test of the triggers shows what ours say to that.
TRIGGERS = [cls for cls in classes_in({"triggers"}, BaseTrigger) if AIRFLOW_V_3_0_PLUS or "Event" not in cls.__name__]
each_operator = pytest.mark.parametrize("cls", OPERATORS, ids=lambda cls: cls.__name__)
each_trigger = pytest.mark.parametrize("cls", TRIGGERS, ids=lambda cls: cls.__name__)


def make_dag():
    return DAG("architecture", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def make_task(cls):
    """A task with every templated argument set to a template, and the required rest to made-up text."""
    arguments = {
        name: f"{{{{ params.{name} }}}}"
        for name, parameter in arguments_of(cls).items()
        if name in cls.template_fields or is_required(parameter)
    }
    return cls(task_id="task", **arguments)


def test_operators_are_found():
    """The walk through the package finds what the tests below are about."""
    assert {"CreateDatasetOperator", "PolyteiaCommandOperator"} <= {cls.__name__ for cls in OPERATORS}


@each_operator
def test_template_fields_are_arguments(cls):
    """Every template field is an argument and an attribute of the same name, and the unchanged value is in it."""
    task = make_task(cls)
    assert isinstance(cls.template_fields, tuple)
    assert set(cls.template_fields) <= set(arguments_of(cls))
    for name in cls.template_fields:
        assert getattr(task, name) == f"{{{{ params.{name} }}}}"


@each_operator
def test_every_argument_is_templated_or_says_why_not(cls):
    """An argument that can't be templated is in the list above, with the reason."""
    assert set(arguments_of(cls)) - set(cls.template_fields) <= set(NOT_TEMPLATED)


def test_no_reason_is_left_over():
    """Each reason belongs to an argument that is there and not templated."""
    plain = {name for cls in OPERATORS for name in set(arguments_of(cls)) - set(cls.template_fields)}
    assert set(NOT_TEMPLATED) <= plain


@each_operator
def test_arguments_are_keywords_and_documented(cls):
    """Every argument is keyword-only and has its line in the docstring of its class."""
    for name, parameter in arguments_of(cls).items():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert f":param {name}:" in cls.__doc__


def round_trip(dag):
    """What the scheduler gets to see of a DAG: serialized, stored as JSON, and read again."""
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
    """A trigger with every argument set; one that is new needs a value above."""
    values = TRIGGER_ARGUMENTS | dataset
    return cls(**{name: values[name] for name in arguments_of(cls)})


@each_trigger
@pytest.mark.parametrize("dataset", [BY_ID, BY_SLUG], ids=["by id", "by slug"])
def test_trigger_survives_the_database(cls, dataset):
    """Airflow makes the same trigger again from what `serialize` gave, and no argument has got lost."""
    path, arguments = make_trigger(cls, dataset).serialize()
    stored = json.loads(json.dumps(BaseSerialization.serialize(arguments)))
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is cls
    assert cls(**BaseSerialization.deserialize(stored)).serialize() == (path, arguments)
    assert arguments == {name: (TRIGGER_ARGUMENTS | dataset)[name] for name in arguments_of(cls)}
