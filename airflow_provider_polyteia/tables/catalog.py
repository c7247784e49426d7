"""Which tables a database has, and how their names are written in SQL.

A table is named as in ``schema.table``, exactly as the database stores the names. A part that contains a point or a
double quote is written in double quotes, in which a double quote is doubled: ``"a.b".c``.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
_PLAIN = re.compile(r'[^".]+')
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})

# Type of an Airflow connection -> SQL that lists schema, name and comment of the tables and views that may be read, in
# one schema. Its parameter is the schema, or None for the connection's own.
_CATALOGS = {
    "postgres": """
        SELECT n.nspname, c.relname, obj_description(c.oid, 'pg_class')
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
            AND n.nspname = coalesce(%s, current_schema()) AND has_table_privilege(c.oid, 'SELECT')
    """,
    "mysql": """
        SELECT table_schema, table_name, CASE WHEN table_type = 'VIEW' THEN '' ELSE table_comment END
        FROM information_schema.tables
        WHERE table_type IN ('BASE TABLE', 'VIEW') AND table_schema = coalesce(%s, database())
    """,
    "duckdb": """
        SELECT * FROM (
            SELECT schema_name, table_name, comment FROM duckdb_tables()
            WHERE NOT internal AND database_name = current_database()
            UNION ALL SELECT schema_name, view_name, comment FROM duckdb_views()
            WHERE NOT internal AND database_name = current_database()
        ) WHERE schema_name = coalesce(?, current_schema())
    """,
    "mssql": """
        SELECT s.name, o.name, CAST(p.value AS nvarchar(4000))
        FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id
            LEFT JOIN sys.extended_properties AS p
            ON p.class = 1 AND p.major_id = o.object_id AND p.minor_id = 0 AND p.name = 'MS_Description'
        WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0 AND s.name = coalesce(%s, SCHEMA_NAME())
            AND HAS_PERMS_BY_NAME(QUOTENAME(s.name) + '.' + QUOTENAME(o.name), 'OBJECT', 'SELECT') = 1
    """,
    "oracle": """
        SELECT owner, table_name, comments FROM all_tab_comments
        WHERE table_type IN ('TABLE', 'VIEW') AND table_name NOT LIKE 'BIN$%'
            AND owner = coalesce(:1, SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA'))
    """,
    "sqlite": """
        SELECT coalesce(?, 'main'), name, '' FROM sqlite_master
        WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
    """,
}
# Type of an Airflow connection -> the quotes around a name, of which the closing one is doubled within it.
_QUOTES = {"mysql": ("`", "`"), "mssql": ("[", "]")}
_PERCENT_PLACEHOLDERS = ("mssql", "mysql", "postgres")  # whose drivers have placeholders such as %s
_STANDARD_QUOTES = ('"', '"')


@dataclass(frozen=True)
class Table:
    """A table or view of a database.

    :ivar parts: its name, after the name of its schema if that is needed.
    :ivar comment: what the database says about it.
    """

    parts: tuple[str, ...]
    comment: str = ""

    @classmethod
    def parse(cls, text: str) -> Table:
        """Return the table with a name such as ``schema.table``.

        :raises PolyteiaConfigurationError: if it is not such a name.
        """
        parts: list[str] = []
        end = -1
        while end < len(text):
            found = _PART.match(text, end + 1)
            if not found or (end >= 0 and text[end] != "."):
                raise PolyteiaConfigurationError(
                    f"{text!r} is not the name of a table. Write it as table or schema.table, and parts with points or "
                    'double quotes in double quotes, as in "a.b".table.'
                )
            parts.append((found[1] or found[2]).replace('""', '"'))
            end = found.end()
        return cls(tuple(parts))

    @property
    def name(self) -> str:
        """Its name without the schema."""
        return self.parts[-1]

    def __str__(self) -> str:
        return ".".join(part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in self.parts)


def list_tables(hook: Any, schema: str | None) -> list[Table]:
    """Return the tables and views of a schema that may be read, sorted by name.

    :param hook: of the database.
    :param schema: name of the schema. Default: None, that of the connection.
    :raises PolyteiaConfigurationError: if it is not known how to list the tables of this database.
    """
    sql = _CATALOGS.get(hook.conn_type)
    if sql is None:
        raise PolyteiaConfigurationError(
            f"The tables of a connection of type {hook.conn_type!r} cannot be listed, only those of "
            f"{', '.join(_CATALOGS)}. Name them in the DAG."
        )
    rows = hook.get_records(sql, parameters=[schema])
    tables = [Table((owner, name) if schema else (name,), (comment or "").strip()) for owner, name, comment in rows]
    return sorted(tables, key=lambda table: table.parts)


def matching(tables: Iterable[Table], include: Sequence[str] | None, exclude: Sequence[str] | None) -> list[Table]:
    """Return the tables whose names match a shell pattern of `include` (None: any), and none of `exclude`."""
    return [
        table
        for table in tables
        if (include is None or any(fnmatchcase(table.name, pattern) for pattern in include))
        and not any(fnmatchcase(table.name, pattern) for pattern in exclude or ())
    ]


def slugs(tables: Sequence[Table]) -> Iterator[str]:
    """Return a slug for each table: lower case, ASCII, unique.

    Tables whose names give the same slug all get a suffix that depends on their own name only. So a new table never
    takes over the slug, and with it the dataset, of another one.
    """
    plain = [slug(table.name) for table in tables]
    for table, name in zip(tables, plain, strict=True):
        suffix = sha256(table.name.encode()).hexdigest()[:8]
        yield f"{name}_{suffix}".lstrip("_") if plain.count(name) > 1 or not name else name


def slug(name: str) -> str:
    """Return a slug for a name: ``Bäume 2026`` becomes ``baeume_2026``."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", name).lower().translate(_UMLAUTS))
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    return re.sub("[^a-z0-9]+", "_", letters).strip("_")


def select(
    hook: Any, table: Table, columns: Sequence[str] | None, where: str | None, *, has_parameters: bool = False
) -> str:
    """Return a query on a table, with its names quoted by the rules of the database.

    :param columns: names of the columns. Default: None, all.
    :param where: condition in SQL. Default: None, all rows.
    :param has_parameters: whether the query runs with values for placeholders. Default: False.
    """
    selected = ", ".join(_quoted(hook, name) for name in columns) if columns else "*"
    source = ".".join(_quoted(hook, part) for part in table.parts)
    if has_parameters and hook.conn_type in _PERCENT_PLACEHOLDERS:
        selected, source = selected.replace("%", "%%"), source.replace("%", "%%")
    return f"SELECT {selected} FROM {source}" + (f" WHERE {where}" if where else "")  # noqa: S608 - quoted here


def _quoted(hook: Any, name: str) -> str:
    opening, closing = _QUOTES.get(hook.conn_type, _STANDARD_QUOTES)
    return f"{opening}{name.replace(closing, 2 * closing)}{closing}"
