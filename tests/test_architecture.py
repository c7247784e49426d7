"""The layers of the package: which module may import which, what stays private to an API, how heavy an import may be.

`docs/architecture.md` explains the layers. The rules are applied to the imports of the whole package, those for types
and within functions included; a test of each rule shows that it finds an offender.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys

import pytest
from package_imports import (
    FILES,
    LIGHT_PARTS,
    MODULES,
    PACKAGE,
    ROOT,
    TASK_PARTS,
    Import,
    all_imports,
    api_of,
    find_cycle,
    module_name,
    modules_in,
    part_of,
    string_constants,
)

# Part of the package -> the parts it may import, itself included; "" is the package's own __init__.
BASICS = {"", "exceptions", "version_compat", "provider_info"}
BELOW_TASKS = BASICS | {"assets", "client", "hooks", "links", "storage"}
MAY_IMPORT = {
    "": {"provider_info"},
    "exceptions": set(),
    "version_compat": set(),
    "provider_info": set(),
    "retry_policy": BASICS,
    "client": {"client", "exceptions"},
    "storage": {"client", "exceptions", "storage"},
    "tables": {"client", "exceptions", "storage", "tables"},
    "assets": BASICS | {"assets"},
    "links": BASICS | {"assets", "links"},
    "hooks": BASICS | {"assets", "client", "hooks", "storage", "tables"},
    "triggers": BELOW_TASKS | {"triggers"},
    "sensors": BELOW_TASKS | {"operators", "sensors", "triggers"},
    "operators": BELOW_TASKS | {"operators", "tables", "triggers"},
    "transfers": BELOW_TASKS | {"operators", "tables", "transfers", "triggers"},
    "sandbox": {"", "sandbox"},
}
# Of `client`, only these are used by the parts that stage and store files.
SHARED_BELOW_HOOKS = {f"{PACKAGE}.client.{name}" for name in ("file_sink", "formats", "json_values", "multipart")}
TRANSPORTS = {f"{PACKAGE}.client.transports.requests_client", f"{PACKAGE}.client.transports.aiohttp_client"}
HEAVY = {"requests", "aiohttp", "pyarrow", "duckdb", "tenacity", "urllib3", "pandas", "numpy", "starlette", "uvicorn"}
IO_LIBRARIES = {"aiohttp", "asyncio", "http.client", "requests", "selectors", "socket", "ssl", "threading", "urllib3"}

# They choose the API of a connection, load it before an event loop needs it, and run commands, queries and procedures.
MAY_IMPORT_AN_API = {
    f"{PACKAGE}.client.api",
    f"{PACKAGE}.hooks.raw_access",
    f"{PACKAGE}.operators.polyteia",
    f"{PACKAGE}.triggers.shared_client",
}
ABOVE_THE_API = {
    f"{PACKAGE}.client.{name}" for name in ("api", "datasets", "exactly_once", "ingest", "upload_condition")
}
WIRE_FORMAT = re.compile(
    r"^/(api|rpc|auth|upload|download)\b|\b(authorization|bearer|content-type|x-upload-token)\b", re.IGNORECASE
)

NOT_DECLARED = {
    "asgiref": "part of every Airflow that cannot mask secrets asynchronously by itself",
    "flask_appbuilder": "imported by an Airflow that has it",
    "flask_babel": "imported by an Airflow that has it",
    "wtforms": "imported by an Airflow that has it",
    "psycopg": "imported if it is the driver of the user's database connection",
    "psycopg2": "imported if it is the driver of the user's database connection",
    "pytest": "imported by the pytest plugin",
}
MAX_LINES = 400


def misplaced(imports):
    """Imports of a part that is above or beside the importing one."""
    return [found for found in imports if found.is_internal and found.target_part not in MAY_IMPORT[found.part]]


def reaching_into_an_api(imports):
    """Imports of an API from another API, a transport, or anything above that only knows operations."""
    return [
        found
        for found in imports
        if api_of(found.target) not in (None, api_of(found.source)) and found.source not in MAY_IMPORT_AN_API
    ]


def transports_looking_up(imports):
    """Imports of transports that go beyond what flows and operations are made of."""
    layer = f"{PACKAGE}.client.transports"
    allowed = {f"{PACKAGE}.client.{name}" for name in ("config", "credentials", "errors", "operation", "retries")}
    return [
        found
        for found in imports
        if found.source.startswith(layer)
        and found.is_internal
        and not found.target.startswith(layer)
        and found.target not in {*allowed, f"{PACKAGE}.exceptions"}
    ]


def io_in_the_core(imports):
    """Imports of I/O libraries by modules of the client that perform no I/O."""
    return [
        found
        for found in imports
        if found.part == "client"
        and not found.source.startswith(f"{PACKAGE}.client.transports")
        and {found.target, found.target.split(".")[0]} & IO_LIBRARIES
    ]


RULES = [misplaced, reaching_into_an_api, transports_looking_up, io_in_the_core]
OFFENDERS = {
    misplaced: Import(f"{PACKAGE}.client.config", f"{PACKAGE}.hooks.connection", "typing"),
    reaching_into_an_api: Import(f"{PACKAGE}.triggers.dataset", f"{PACKAGE}.client.command_api.protocol", "call"),
    transports_looking_up: Import(f"{PACKAGE}.client.transports.failures", f"{PACKAGE}.client.datasets", "typing"),
    io_in_the_core: Import(f"{PACKAGE}.client.retries", "http.client"),
}


@pytest.mark.parametrize("rule", RULES)
def test_imports(rule):
    """No import in the package breaks the rule."""
    assert rule(all_imports()) == []


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_finds_an_offender(rule):
    """The rule reports an import that breaks it, even if it is only for types or within a function."""
    assert rule([*all_imports(), OFFENDERS[rule]]) == [OFFENDERS[rule]]


def test_an_api_does_not_import_another():
    """A second API stands beside the first: neither imports the other."""
    sibling = Import(f"{PACKAGE}.client.command_api.files", f"{PACKAGE}.client.rpc_api.files")
    assert reaching_into_an_api([sibling]) == [sibling]


def test_no_import_cycle():
    """No modules import each other in a circle, for types and within functions included."""
    assert find_cycle(all_imports()) is None


def test_a_cycle_is_found():
    """One import added to those of the package closes a circle, and the check names it."""
    closing = Import(f"{PACKAGE}.client.operation", f"{PACKAGE}.client.exactly_once", "typing")
    assert {closing.source, closing.target} <= set(find_cycle([*all_imports(), closing]))


def test_every_part_has_its_place():
    """A new part of the package must be listed with the parts that it may import."""
    assert {part_of(name) for name in MODULES} <= set(MAY_IMPORT)


def test_files_and_tables_do_not_know_the_platform():
    """What stages and stores files uses no more of the client than formats and bodies of files."""
    used = {
        found.target for found in all_imports() if found.part in ("storage", "tables") and found.target_part == "client"
    }
    assert used <= SHARED_BELOW_HOOKS


def is_above_the_api(file):
    module = module_name(file)
    return module in ABOVE_THE_API or part_of(module) not in ("client", "sandbox", "exceptions")


def wire_format_in(file):
    """String constants of a file that look like a path or a header of the platform's APIs."""
    return [(file.name, line, text) for line, text in string_constants(file) if WIRE_FORMAT.search(text)]


def test_nothing_above_the_api_knows_the_wire_format():
    """No module above `client/api.py` contains a path or a header."""
    files = [file for file in FILES if is_above_the_api(file)]
    assert {ROOT / "client" / "api.py", ROOT / "hooks" / "polyteia.py"} <= set(files)
    assert [found for file in files for found in wire_format_in(file)] == []


@pytest.mark.parametrize(
    "module", ["command_api/files.py", "rpc_api/files.py", "rpc_api/protocol.py", "transports/requests_client.py"]
)
def test_wire_format_is_found(module):
    """The check finds the paths and headers where they belong."""
    assert wire_format_in(ROOT / "client" / module) != []


def test_files_are_short():
    """A file of more than 400 lines probably contains two things."""
    assert {file.name for file in FILES if len(file.read_text().splitlines()) > MAX_LINES} == set()


def test_the_client_does_not_know_airflow():
    """The client depends on Airflow through the exceptions only; the sandbox not at all."""
    airflow = {found.source for found in all_imports() if found.target.split(".")[0] == "airflow"}
    assert f"{PACKAGE}.exceptions" in airflow
    assert {name for name in airflow if name.split(".")[1] in {"client", "sandbox"}} == set()


def test_only_one_module_depends_on_airflows_version():
    """Differences between versions of Airflow are handled in one place."""
    assert {found.source for found in all_imports() if found.target == "airflow"} == {f"{PACKAGE}.version_compat"}


def test_tasks_and_triggers_import_no_transport():
    """Operators, sensors and transfers never import a transport; a trigger imports one only while it runs."""
    transports = [found for found in all_imports() if found.target in TRANSPORTS and found.when != "typing"]
    assert {found.part for found in transports} & {*TASK_PARTS} == set()
    assert [found for found in transports if found.part in LIGHT_PARTS and found.when == "load"] == []


def test_nothing_heavy_is_imported_at_load():
    """No module that a DAG file imports has an HTTP library, Arrow or the like among its own imports."""
    at_load = [found for found in all_imports() if found.when == "load" and found.part in LIGHT_PARTS]
    assert [found for found in at_load if found.target.split(".")[0] in HEAVY] == []


def test_every_imported_package_is_declared():
    """What our code imports is one of our dependencies or extras, or listed above with a reason."""
    requirements = importlib.metadata.requires("airflow-provider-polyteia")
    declared = {re.match(r"[\w-]+", text)[0].replace("-", "_") for text in requirements}
    distributions = importlib.metadata.packages_distributions()
    roots = {found.target.split(".")[0] for found in all_imports() if found.when != "typing"}
    external = roots - sys.stdlib_module_names - {PACKAGE, "airflow"} - set(NOT_DECLARED)
    names = {root: {name.replace("-", "_") for name in (*distributions.get(root, ()), root)} for root in external}
    assert {root for root in external if not declared & names[root]} == set()


# Airflow's own base classes import some of these, depending on its version: only what we add counts.
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


def import_in_a_new_process(modules):
    arguments = [sys.executable, "-c", MEASURE, json.dumps(sorted(modules))]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_heavy_is_loaded_with_our_modules(capsys):
    """A new interpreter with Airflow's base classes loads nothing heavy for all that a DAG file may import.

    The time it takes is reported, not judged.
    """
    modules = modules_in(LIGHT_PARTS)
    measured = import_in_a_new_process(modules)
    assert set(measured["new"]) >= modules
    assert {name.split(".")[0] for name in measured["new"]} & HEAVY == set()
    assert set(measured["new"]) & TRANSPORTS == set()
    with capsys.disabled():
        print(f" {len(modules)} modules in {1000 * measured['seconds']:.0f} ms ", end="")  # noqa: T201 - the report
