"""Texts of databases' errors keep names of the SQL, and lose values."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.tables.error_texts import summary, without_values

SQL = "SELECT name::int FROM persons WHERE \"Größe\" > 'a'"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Table 'city.persons' doesn't exist", "Table 'city.persons' doesn't exist"),
        ('relation "persons" does not exist', 'relation "persons" does not exist'),
        ("no such column: Größe", "no such column: Größe"),
        ('invalid input syntax for type integer: "Müller"', "invalid input syntax for type integer: '...'"),
        ("Incorrect value: 'O'Brien' for column 'name'", "Incorrect value: '...'"),
        ("Incorrect value: 'it\"s 'odd'' for 'name'", "Incorrect value: '...'"),
        ("Incorrect value: 'open", "Incorrect value: '...'"),
        ("server closed the connection", "server closed the connection"),
        ("Unknown column 'x' in 'SELECT'", "Unknown column '...'"),
        ("Unknown column 'name' in 'field list'", "Unknown column 'name' in 'field list'"),
        ('column "Größe" is odd', 'column "Größe" is odd'),
        ('wrong: "Hans Muster."', "wrong: '...'"),
        ('wrong: "hans@muster.a"', "wrong: '...'"),
        ("near 'e'", "near '...'"),
        ("near ''", "near '...'"),
    ],
)
def test_values_are_left_out(message, kept):
    """What is quoted stays only if the SQL contains it."""
    assert without_values(message, SQL) == kept


def test_summary():
    """An excerpt of the SQL, which may contain parameters, is left out; the class of the exception is named."""
    error = ValueError('\n relation "persons" is odd\nLINE 1: SELECT 4711 FROM persons\n               ^\n')
    assert summary(error, SQL) == 'ValueError: relation "persons" is odd'
    assert summary(ValueError(), SQL) == "ValueError: "
    assert summary(OSError(1146, "Table 'city.persons' doesn't exist"), SQL).endswith(
        ": 1146 Table 'city.persons' doesn't exist"
    )
