"""Which SQL is accepted as a single query."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.sql_statement import single_query


@pytest.mark.parametrize(
    ("sql", "query"),
    [
        ("SELECT 1", "SELECT 1"),
        ("  SELECT 1 ;\n", "  SELECT 1"),
        ("SELECT 1; -- done\n", "SELECT 1"),
        ("SELECT 1; /* ; */ ;", "SELECT 1"),
        ("SELECT ';' AS a, ';--' FROM x", "SELECT ';' AS a, ';--' FROM x"),
        ("SELECT 'it''s; fine'", "SELECT 'it''s; fine'"),
        ("SELECT $$a;b$$", "SELECT $$a;b$$"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "WITH a AS (SELECT 1) SELECT * FROM a"),
        ("-- insert into\nVALUES (1)", "-- insert into\nVALUES (1)"),
        ("(SELECT 1) UNION (SELECT 2)", "(SELECT 1) UNION (SELECT 2)"),
        ("TABLE bookings", "TABLE bookings"),
        ("SELECT 1 -- the last line", "SELECT 1"),
        ("((SELECT 1))", "((SELECT 1))"),
        ("SELECT replace(a, 'x', 'y') FROM t FOR UPDATE", "SELECT replace(a, 'x', 'y') FROM t FOR UPDATE"),
        ("SELECT \"delete\", t.update, 'INTO' FROM t", "SELECT \"delete\", t.update, 'INTO' FROM t"),
        ("from bookings", "from bookings"),
    ],
)
def test_queries(sql, query):
    """A query is returned unchanged, except for trailing semicolons, comments and whitespace."""
    assert single_query(sql) == query


@pytest.mark.parametrize(
    ("sql", "count"),
    [("SELECT 1; SELECT 2", 2), ("BEGIN; SELECT 1; END", 3), ("", 0), (" ;; ", 0), ("-- nothing", 0)],
)
def test_several_statements(sql, count):
    """Anything but one statement is rejected; the error contains the number of statements."""
    with pytest.raises(PolyteiaConfigurationError, match=f"contains {count} statements; exactly one query"):
        single_query(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE a SET b = 1",
        "/* c */ insert into a values (1) RETURNING *",
        "DELETE FROM a",
        "create or replace table a (b int)",
        "DROP TABLE a;",
        "TRUNCATE a",
        "merge into a using b on true when matched then delete",
        "EXEC close_the_year",
        "CALL close_the_year()",
        "PRAGMA journal_mode = WAL",
        "ATTACH 'other.db' AS other",
        "( DELETE FROM a )",
    ],
)
def test_writes(sql):
    """A statement that does not begin like a query is rejected, regardless of comments and case."""
    with pytest.raises(PolyteiaConfigurationError, match=r"begins with [A-Z ]+\. The SQL must be a query"):
        single_query(sql)


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("WITH gone AS (DELETE FROM a RETURNING *) SELECT * FROM gone", "DELETE"),
        ("WITH new AS (SELECT 1) INSERT INTO a SELECT * FROM new", "INSERT"),
        ("with new as (select 1) update a set b = 1", "UPDATE"),
        ("SELECT * INTO b FROM a", "INTO"),
    ],
)
def test_nested_writes(sql, word):
    """A write inside a statement that begins like a query is detected."""
    with pytest.raises(PolyteiaConfigurationError, match=rf"contains {word}\. The SQL must be a query"):
        single_query(sql)


def test_not_a_string():
    """Anything but a string is rejected; the error names its type."""
    with pytest.raises(PolyteiaConfigurationError, match="The SQL is of type list"):
        single_query(["SELECT 1"])


def test_long_statement():
    """A statement with a list of 10,000 ids is accepted."""
    ids = ", ".join(map(str, range(10_000)))
    sql = f"SELECT * FROM a WHERE b IN ({ids})"  # noqa: S608 - not executed
    assert single_query(f"{sql};") == sql
