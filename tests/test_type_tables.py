"""The tables of types in docs/transfers.md are those in the docstrings of the drivers."""

from __future__ import annotations

from pathlib import Path

import pytest
from type_tables import DOCUMENTED, TABLES, rows

DOCUMENT = Path(__file__).parent.parent / "docs" / "transfers.md"


@pytest.mark.parametrize("title", DOCUMENTED)
def test_documented(title):
    """The section of a database has the table of its driver, row by row."""
    _, _, section = DOCUMENT.read_text(encoding="utf-8").partition(f"\n#### {title}\n")
    table = [line for line in section.split("\n#", 1)[0].splitlines() if line.startswith("|")]
    assert table[0] == rows(DOCUMENTED[title])[0]
    assert table[2:] == rows(DOCUMENTED[title])[1:]


def test_every_driver_is_documented():
    """A module with a table is in the documentation."""
    with_tables = {
        str(path.relative_to(TABLES).with_suffix(""))
        for path in TABLES.rglob("*.py")
        if "\n=====" in path.read_text(encoding="utf-8")
    }
    assert with_tables == {*DOCUMENTED.values()}
