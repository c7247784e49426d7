"""Names of tables: parsed, quoted, turned into slugs, and chosen by patterns."""

from __future__ import annotations

from types import SimpleNamespace

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.catalog import Table, list_tables, matching, select, slug, slugs

NAMES = {
    "bookings": ("bookings",),
    "public.Bookings": ("public", "Bookings"),
    '"a.b".c': ("a.b", "c"),
    'x."say ""hi"""': ("x", 'say "hi"'),
    "city.dbo.Größe in m²": ("city", "dbo", "Größe in m²"),
}


@pytest.mark.parametrize(("text", "parts"), NAMES.items())
def test_names(text, parts):
    """A name has parts, of which those with points and quotes are quoted."""
    table = Table.parse(text)
    assert (table.parts, table.name, str(table)) == (parts, parts[-1], text)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
@example(['"0"'])
def test_any_name(parts):
    """Every name can be written, and read again."""
    assert Table.parse(str(Table(tuple(parts)))).parts == tuple(parts)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", 'a"b', '"a', '"a"b', '""'])
def test_invalid_names(text):
    """What is not a name is rejected, with the rule."""
    with pytest.raises(PolyteiaConfigurationError, match=r"is not the name of a table\. Write it as table or"):
        Table.parse(text)


QUOTED = {
    "postgres": 'SELECT "a""b", "c`d]" FROM "s"."t.u" WHERE id > 1',
    "oracle": 'SELECT "a""b", "c`d]" FROM "s"."t.u" WHERE id > 1',
    "mysql": 'SELECT `a"b`, `c``d]` FROM `s`.`t.u` WHERE id > 1',
    "mssql": 'SELECT [a"b], [c`d]]] FROM [s].[t.u] WHERE id > 1',
}


@pytest.mark.parametrize(("conn_type", "sql"), QUOTED.items())
def test_quotes(conn_type, sql):
    """Names are quoted by the rules of the database, whatever they contain."""
    hook = SimpleNamespace(conn_type=conn_type)
    assert select(hook, Table.parse('s."t.u"'), ['a"b', "c`d]"], "id > 1") == sql
    assert select(hook, Table(("t",)), None, None).startswith("SELECT * FROM ")


SLUGS = {
    "Bäume_2026": "baeume_2026",
    "STRASSEN": "strassen",
    "Straße": "strasse",
    "A\u0308pfel": "aepfel",  # two characters
    "Ærø café": "r_cafe",
    "  a--b__c  ": "a_b_c",
    "道路": "",
}


@pytest.mark.parametrize(("name", "expected"), SLUGS.items())
def test_slug(name, expected):
    """A slug has lower-case letters, digits and underscores only."""
    assert slug(name) == expected


def test_unique_slugs():
    """Equal slugs get a suffix that does not depend on other tables: each table keeps its dataset."""
    tables = [Table((name,)) for name in ("Bäume", "baeume", "parks", "道路")]
    first, second, third, fourth = slugs(tables)
    assert (third, len({first, second, third, fourth})) == ("parks", 4)
    assert first.startswith("baeume_")
    assert second.startswith("baeume_")
    assert list(slugs([tables[1], Table(("BÄUME",)), tables[0]]))[::2] == [second, first]
    assert list(slugs(tables[3:])) == [fourth]


def test_patterns():
    """Shell patterns of `include` and `exclude` are compared with the name, without the schema, in its case."""
    tables = [Table(("s", name)) for name in ("res_a", "res_b", "RES_C", "other")]
    assert [table.name for table in matching(tables, ["res_*"], None)] == ["res_a", "res_b"]
    assert [table.name for table in matching(tables, None, ["res_*", "o*"])] == ["RES_C"]
    assert matching(tables, [], None) == []


def test_unknown_databases():
    """If the tables cannot be listed, the exception says of which databases they can."""
    with pytest.raises(PolyteiaConfigurationError, match="of type 'teradata' cannot be listed, only those of postgres"):
        list_tables(SimpleNamespace(conn_type="teradata"), None)


@pytest.mark.parametrize(("schema", "prefix"), [(None, ()), ("main", ("main",)), ("other", ("other",))])
def test_list_of_duckdb(schema, prefix):
    """Tables and views of one schema are listed, with their comments, and those of the system are not."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE trees (id int); CREATE VIEW old_trees AS FROM trees; CREATE SCHEMA other")
    connection.execute("COMMENT ON TABLE trees IS ' Trees of the city '; CREATE TABLE other.parks (id int)")

    def get_records(sql, parameters):
        return connection.execute(sql, parameters).fetchall()

    found = list_tables(SimpleNamespace(conn_type="duckdb", get_records=get_records), schema)
    expected = [("parks", "")] if schema == "other" else [("old_trees", ""), ("trees", "Trees of the city")]
    assert [(table.parts, table.comment) for table in found] == [((*prefix, name), text) for name, text in expected]


@pytest.mark.parametrize(("conn_type", "placeholder"), [("mssql", "%s"), ("oracle", ":1")])
def test_list_of_databases_without_a_server(conn_type, placeholder):
    """The schema is passed as a parameter in the style of the driver; without one, the connection's own is listed."""
    asked = []

    def get_records(sql, parameters):
        asked.append((sql.count(placeholder), parameters))
        return [("HR", "TREES", None), ("HR", "B", "x")]

    hook = SimpleNamespace(conn_type=conn_type, get_records=get_records)
    assert [table.parts for table in list_tables(hook, None)] == [("B",), ("TREES",)]
    assert [table.parts for table in list_tables(hook, "HR")] == [("HR", "B"), ("HR", "TREES")]
    assert asked == [(1, [None]), (1, ["HR"])]
