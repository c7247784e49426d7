"""Texts of databases' errors, without values of rows and parameters, which may be personal data."""

from __future__ import annotations

import re

_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")
_QUOTED = re.compile("'([^']*)'|\"([^\"]*)\"")
_WORD = re.compile(r"[\w$]+")
_NAME = re.compile(r"[\w$]+(\.[\w$]+)*")
_QUOTES = (('"', '"'), ("`", "`"), ("[", "]"))  # of names in SQL
_CLAUSES = ("SELECT", "field list", "where clause", "order clause", "group statement", "having clause", "on clause")
_FIRST_TO_LAST_QUOTE = re.compile("['\"].*['\"]|['\"].*", re.DOTALL)


def without_values(message: str, sql: str) -> str:
    """Return the message of a database without what it quotes, unless that is part of the SQL: it may be a value."""
    text = _APOSTROPHE.sub("\N{RIGHT SINGLE QUOTATION MARK}", message)
    quotes = sum(map(text.count, "'\""))
    parts = [found[1] or found[2] or "" for found in _QUOTED.finditer(text)]
    if 2 * len(parts) == quotes and all(_is_part(part, sql) for part in parts):
        return message
    return _FIRST_TO_LAST_QUOTE.sub("'...'", text)  # a value may have quotes itself


def summary(error: Exception, sql: str) -> str:
    """Return what an exception of a driver says: its class, and the first line, because excerpts of SQL follow it."""
    match error.args:
        case (int() as code, str() as message):  # of the drivers of MySQL
            text = f"{code} {message}"
        case _:
            text = str(error)
    first, *_ = [line for line in text.splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {without_values(first.strip(), sql)}"


def _is_part(quoted: str, sql: str) -> bool:
    """Return True if a quoted text is a clause, or a name in the SQL, perhaps after that of the database."""
    if quoted in _CLAUSES or any(f"{opening}{quoted}{closing}" in sql for opening, closing in _QUOTES):
        return True
    return bool(_NAME.fullmatch(quoted)) and quoted.rpartition(".")[2] in _WORD.findall(sql)
