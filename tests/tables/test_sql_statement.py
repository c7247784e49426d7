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
        ("SELECT 1 -- the last line", "SELECT 1 -- the last line"),
        ("SELECT 5--1 AS x", "SELECT 5--1 AS x"),  # 6 for MySQL
        ("SELECT 5 # 3", "SELECT 5 # 3"),  # 6 for PostgreSQL
        ("SELECT (INSERT('abc', 1, 1, 'x'))", "SELECT (INSERT('abc', 1, 1, 'x'))"),  # a function of MySQL
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
    "sql",
    [
        "SELECT q'[it's; ok]' FROM dual",
        "SELECT q'{it's; ok}' FROM dual",
        "SELECT nq'<it's; ok>' FROM dual",
        "SELECT q'(it's; ok)' FROM dual",
        "SELECT Q'!it's; ok!' FROM dual",
        "SELECT Nq'|it's; -- ok|' AS a, q'[]' AS b FROM dual",
        "SELECT 'q''[' AS a, freq'b', q'a;b' FROM dual",
        "SELECT -- q'[\n 1 AS a /* q'[ */ FROM dual",
        "SELECT q'[INSERT INTO t]' || q'[; DELETE FROM t]' FROM dual",
    ],
)
def test_alternative_quotes(sql):
    """A text in one of Oracle's other quotes may contain semicolons and quotes."""
    assert single_query(f"{sql} ; -- done") == sql


@pytest.mark.parametrize(
    "sql",
    [
        "WITH FUNCTION f RETURN NUMBER IS BEGIN RETURN 1; END; SELECT f FROM dual",
        "with function f return number is begin return 1; end f; select f from dual",
        "-- first\nwith /* a; */ function -- b;\n f return number is begin return 1; end; /* c; */ select f from dual",
        """WITH PROCEDURE p IS BEGIN NULL; END;
        FUNCTION f(a IN NUMBER) RETURN NUMBER IS
            b NUMBER;
        BEGIN
            IF a > 1 THEN p; END IF;
            FOR i IN 1..2 LOOP NULL; END LOOP;
            SELECT 1 INTO b FROM dual;
            RETURN CASE WHEN a = 1 THEN b ELSE 2 END;
        END f;
        SELECT f(1) FROM dual""",
        """WITH FUNCTION f RETURN VARCHAR2 IS BEGIN RETURN q'[END; it's]'; END;
        a AS (SELECT 1 AS x FROM dual), b (y) AS (SELECT 2 FROM dual)
        SELECT f FROM a, b""",
        "WITH FUNCTION f RETURN NUMBER IS BEGIN RETURN 1; END; (SELECT f FROM dual)",
        "WITH FUNCTION f(x integer) RETURNS integer RETURN x + 1 SELECT f(1)",
    ],
)
def test_functions_in_with(sql):
    """A query may define functions, whose code has semicolons; only the last one of the SQL is removed."""
    assert single_query(f"{sql};\n") == sql


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT q'[a]' FROM dual; DELETE FROM t", "contains 2 statements"),
        ("SELECT q'[a FROM dual; DELETE FROM t", "contains 2 statements"),
        ("SELECT freq'[a' FROM t; DELETE FROM t; --]'", "contains 2 statements"),
        ("SELECT 'q'; DELETE FROM t WHERE a = 'q'", "contains 2 statements"),
        ("DELETE FROM t WHERE a = q'[SELECT]'", "begins with DELETE"),
        ("WITH FUNCTION f RETURN NUMBER IS BEGIN RETURN 1; END; DELETE FROM t", "begins with DELETE"),
        (
            "WITH FUNCTION f RETURN NUMBER IS BEGIN RETURN 1; END; UPDATE (SELECT 1 FROM t) SET a = 1",
            "begins with UPDATE",
        ),
        ("WITH FUNCTION f RETURN NUMBER IS BEGIN RETURN 1; END; SELECT 1; DELETE FROM t", r"contains [34] statements"),
        (
            "WITH FUNCTION f RETURN NUMBER IS BEGIN RETURN 1; END; SELECT 1 FROM a; SELECT 2 FROM b",
            r"contains [34] statements",
        ),
        ("WITH FUNCTION f RETURN NUMBER IS BEGIN RETURN 1; END; SELECT f INTO a FROM b", "contains INTO"),
        ("WITH function AS (SELECT 1) SELECT * FROM function; DELETE FROM t", "contains 2 statements"),
        ("WITH function (a) AS (SELECT 1) SELECT * FROM function; END; SELECT 1", r"contains [34] statements"),
        ("SELECT 1; END; SELECT 2", r"contains [34] statements"),
    ],
)
def test_no_statement_is_hidden(sql, expected):
    """Neither Oracle's quotes nor functions hide another statement, or one that writes."""
    with pytest.raises(PolyteiaConfigurationError, match=expected):
        single_query(sql)


def test_position():
    """Empty statements before the query are not returned."""
    assert single_query(";; -- a\n;\r\n SELECT q'[a]' ;;").strip() == "SELECT q'[a]'"


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
