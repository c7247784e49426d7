"""What may be sent to the database: one statement that reads."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from sqlparse.engine import FilterStack
from sqlparse.tokens import Comment

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from sqlparse.sql import Statement, Token

_QUERIES = {"SELECT", "WITH", "VALUES", "TABLE", "FROM", "SHOW", "DESCRIBE", "EXPLAIN"}
_WRITES = {"INSERT", "UPDATE", "DELETE", "MERGE"}
_AFTER = {"(", ")"}  # where a statement within a statement begins


def single_query(sql: str) -> str:
    """Return the only statement in `sql`, without the semicolon that may end it.

    This is a courtesy, not a fence: the readers also open a transaction that cannot write, where the database has
    one, and never commit.

    :raises PolyteiaConfigurationError: if there is none, or more than one, or one that writes.
    """
    if not isinstance(sql, str):
        raise PolyteiaConfigurationError(f"The SQL is a {type(sql).__name__}; it must be the text of one query.")
    found = [part for part in map(_stripped, FilterStack().run(sql)) if part]
    if len(found) != 1:
        raise PolyteiaConfigurationError(
            f"The SQL holds {len(found)} statements; it must be one query. Several steps belong into several tasks."
        )
    text = "".join(token.value for token in found[0])
    words = [" ".join(token.value.upper().split()) for token in found[0] if not _is_blank(token)]
    first = next((word for word in words if word != "("), "(")
    if first not in _QUERIES:
        raise PolyteiaConfigurationError(
            f"The SQL begins with {first}: it must be a query that returns rows and changes nothing, such as SELECT."
        )
    writes = [word for before, word in pairwise(words) if word == "INTO" or (before in _AFTER and word in _WRITES)]
    if writes:
        raise PolyteiaConfigurationError(
            f"The SQL holds {writes[0]}: it must be a query that returns rows and changes nothing, such as SELECT."
        )
    return text


def _stripped(statement: Statement) -> list[Token]:
    """Return the statement's tokens without the semicolons, comments and blanks that end it."""
    tokens = list(statement.flatten())
    while tokens and (_is_blank(tokens[-1]) or tokens[-1].value == ";"):
        tokens.pop()
    return tokens


def _is_blank(token: Token) -> bool:
    return token.is_whitespace or token.ttype in Comment
