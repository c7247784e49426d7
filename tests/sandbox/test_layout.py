"""Imports within the sandbox: no cycles, and the backend and the faults are independent of the APIs."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import airflow_provider_polyteia.sandbox

PACKAGE = "airflow_provider_polyteia.sandbox"
ROOT = Path(airflow_provider_polyteia.sandbox.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def module_name(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGE, *(part for part in parts if part != "__init__")])


APIS = (f"{PACKAGE}.command_api", f"{PACKAGE}.rpc_api")
PARTS_OF_ALL_APIS = (
    *("backend", "faults", "web_ui", "admin", "api", "app", "recorder", "multipart", "file_response"),
    *("options", "unknown_paths", "request_guard"),
)

MODULES = {module_name(file) for file in FILES}


def imports(file):
    """Return everything that a file imports, including imports for type checking and within functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found


IMPORTS = {module_name(file): imports(file) for file in FILES}


def imports_of(part):
    return set().union(*(found for name, found in IMPORTS.items() if f"{name}.".startswith(f"{PACKAGE}.{part}.")))


def test_imports_have_no_cycles():
    """No module imports itself, directly or through others."""
    list(TopologicalSorter({name: found & MODULES for name, found in IMPORTS.items()}).static_order())


def test_only_the_version_comes_from_the_rest_of_the_package():
    """The sandbox does not share code with the provider."""
    own = {name for found in IMPORTS.values() for name in found if name.startswith("airflow_provider_polyteia")}
    assert {name for name in own if not f"{name}.".startswith(f"{PACKAGE}.")} == {"airflow_provider_polyteia"}


@pytest.mark.parametrize("part", PARTS_OF_ALL_APIS)
def test_parts_that_are_the_same_for_all_apis(part):
    """Only the server knows which APIs exist."""
    assert imports_of(part)
    assert {name for name in imports_of(part) if name.startswith(APIS)} == set()


def test_the_apis_are_independent():
    """No API imports another."""
    assert {name for name in imports_of("command_api") if name.startswith(APIS[1])} == set()
    assert {name for name in imports_of("rpc_api") if name.startswith(APIS[0])} == set()


def test_the_backend_does_not_know_http():
    """The backend imports neither an HTTP library nor another part of the sandbox, except options and constants."""
    found = imports_of("backend")
    assert {name for name in found if name.split(".")[0] in {"starlette", "uvicorn", "http"}} == set()
    others = {name for name in found & MODULES if not name.startswith(f"{PACKAGE}.backend")}
    assert others <= {f"{PACKAGE}.options", f"{PACKAGE}.constants"}
