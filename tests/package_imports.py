"""The imports within the package, found by parsing its files, and the rules about them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import airflow_provider_polyteia

PACKAGE = airflow_provider_polyteia.__name__
ROOT = Path(airflow_provider_polyteia.__file__).parent

TASK_PARTS = ("operators", "sensors", "transfers")
LIGHT_PARTS = (*TASK_PARTS, "triggers", "hooks", "assets", "links")


@dataclass(frozen=True)
class Import:
    """One import: which module imports what, and when (`load`, `call` or `typing`)."""

    source: str
    target: str
    when: str = "load"

    @property
    def part(self):
        return part_of(self.source)

    @property
    def target_part(self):
        return part_of(self.target)

    @property
    def is_internal(self):
        return self.target.split(".")[0] == PACKAGE


def part_of(module):
    """The part of the package that a module belongs to: its first name below the package."""
    return module.partition(".")[2].partition(".")[0]


def module_name(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGE, *(part for part in parts if part != "__init__")])


FILES = sorted(ROOT.rglob("*.py"))
MODULES = {module_name(file) for file in FILES}
# Modules that can be imported only where their dependencies are available.
CONDITIONAL = {
    f"{PACKAGE}.transfers.openlineage",  # when OpenLineage's provider asks a task that has ended
    f"{PACKAGE}.triggers.shared_stream",  # needs Airflow 3.3
}


def imports_of(file):
    """All imports of a file; `from a import b` counts as `a.b` if that is one of our modules."""
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


@cache
def all_imports():
    """The imports of the whole package."""
    return [found for file in FILES for found in imports_of(file)]


def modules_in(parts):
    return {name for name in MODULES - CONDITIONAL if part_of(name) in parts}


def find_cycle(imports):
    """The modules of one import cycle, in order; None without one."""
    graph = TopologicalSorter()
    for found in imports:
        if found.is_internal and found.source != found.target:
            graph.add(found.source, found.target)
    try:
        graph.prepare()
    except CycleError as error:
        return error.args[1]
    return None


def api_of(module):
    """The name of the platform API that a module of `client` implements; None for all other modules."""
    names = module.split(".")
    return names[2] if len(names) > 2 and names[1] == "client" and names[2].endswith("_api") else None


def string_constants(file):
    """All string constants of a file but docstrings, with their lines."""
    tree = ast.parse(file.read_text())
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
