"""Checks that SQL is a single query."""

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
_BEFORE_NESTED = {"(", ")"}  # tokens that may precede a nested statement
_EXPECTATION = "The SQL must be a query that returns rows and changes nothing, such as SELECT."


def single_query(sql: str) -> str:
    """Return the only statement in `sql`, without trailing semicolons, comments and whitespace.

    This is a convenience check, not a security boundary: the readers also start a read-only transaction, if the
    database supports one, and never commit.

    :raises PolyteiaConfigurationError: if `sql` does not contain exactly one statement, or the statement writes.
    """
    if not isinstance(sql, str):
        raise PolyteiaConfigurationError(
            f"The SQL is of type {type(sql).__name__}; it must be a string that contains one query."
        )
    statements = [tokens for tokens in map(_strip_end, FilterStack().run(sql)) if tokens]
    if len(statements) != 1:
        raise PolyteiaConfigurationError(
            f"The SQL contains {len(statements)} statements; exactly one query is allowed. Use one task per statement."
        )
    (tokens,) = statements
    words = [" ".join(token.value.upper().split()) for token in tokens if not _is_skipped(token)]
    _check_reads_only(words)
    return "".join(token.value for token in tokens)


def _check_reads_only(words: list[str]) -> None:
    first = next((word for word in words if word != "("), "(")
    if first not in _QUERIES:
        raise PolyteiaConfigurationError(f"The SQL begins with {first}. {_EXPECTATION}")
    for before, word in pairwise(words):
        if word == "INTO" or (before in _BEFORE_NESTED and word in _WRITES):
            raise PolyteiaConfigurationError(f"The SQL contains {word}. {_EXPECTATION}")


def _strip_end(statement: Statement) -> list[Token]:
    """Return the statement's tokens without trailing semicolons, comments and whitespace."""
    tokens = list(statement.flatten())
    while tokens and (_is_skipped(tokens[-1]) or tokens[-1].value == ";"):
        tokens.pop()
    return tokens


def _is_skipped(token: Token) -> bool:
    return token.is_whitespace or token.ttype in Comment
