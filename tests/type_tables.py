"""The tables of types in the docstrings of drivers, as rows of Markdown."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import airflow_provider_polyteia

# Of the package that is tested: in the matrix, it is not beside the tests.
TABLES = Path(airflow_provider_polyteia.__file__).parent / "tables" / "readers"
# Title of the section in docs/transfers.md -> the module whose docstring has the table.
DOCUMENTED = {
    "PostgreSQL": "postgres",
    "MySQL and MariaDB": "drivers/mysql",
    "Oracle": "drivers/oracle",
    "SQL Server": "drivers/sql_server",
    "SQLite": "drivers/sqlite",
    "DuckDB": "drivers/duckdb_driver",
    "Trino": "drivers/trino",
    "ODBC": "drivers/odbc",
}
_RULE = re.compile(r"^(=+) +(=+)$", re.MULTILINE)


def rows(module: str) -> list[str]:
    """The rows of a module's table, the header first."""
    docstring = ast.get_docstring(ast.parse((TABLES / f"{module}.py").read_text(encoding="utf-8"))) or ""
    (first, second, third) = _RULE.finditer(docstring)
    width = len(first[1])
    found: list[list[str]] = []
    for line in (docstring[first.end() : second.start()] + docstring[second.end() : third.start()]).split("\n"):
        left, right = line[:width].rstrip(), line[width:].strip()
        if line[:1].strip() and right:
            found.append([left, right])
        elif line.strip():  # continues the row above
            found[-1] = [f"{a} {b}".strip() for a, b in zip(found[-1], (left.strip(), right), strict=True)]
    return ["| {} | {} |".format(*row).replace("``", "`") for row in found]
