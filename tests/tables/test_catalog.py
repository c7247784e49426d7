"""Names of tables: parsed, quoted, turned into slugs, and chosen by patterns."""

from __future__ import annotations

from types import SimpleNamespace

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
    """What is not a name is refused, with the rule."""
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
    with pytest.raises(PolyteiaConfigurationError, match="of type 'oracle' cannot be listed, only those of postgres"):
        list_tables(SimpleNamespace(conn_type="oracle"), None)
