"""Checks that SQL is a single query."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sqlparse.engine import FilterStack
from sqlparse.tokens import Comment

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from sqlparse.sql import Token

_QUERIES = {"SELECT", "WITH", "VALUES", "TABLE", "FROM", "SHOW", "DESCRIBE", "EXPLAIN"}
_WRITES = {"INSERT", "UPDATE", "DELETE", "MERGE"}
_BEFORE_NESTED = {"(", ")"}  # tokens that may precede a nested statement
_EXPECTATION = "The SQL must be a query that returns rows and changes nothing, such as SELECT."
# What Oracle quotes as q'[it's]' or nq'!it's!'. The other alternatives are skipped, so that it is not found in them.
_ALTERNATIVE_QUOTES = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | "[^"]*" | '(?:''|\\'|[^'])*'
    | (?P<quoted> (?<![\w$\#]) n?q'
        (?: \[.*?\] | \{.*?\} | <.*?> | \(.*?\) | (?P<mark>[^\s\[{<(']) .*? (?P=mark) ) ' )""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_CODE = {"FUNCTION", "PROCEDURE"}  # what Oracle may define in WITH, in a language with semicolons of its own
_AFTER_TABLE = {"AS", "("}  # words after the name of a table in WITH


class _Statement(NamedTuple):
    """A statement, from `start` to `end` of the SQL, and its words and marks in upper case."""

    start: int
    end: int
    words: list[str]


def single_query(sql: str) -> str:
    """Return the only statement in `sql`, without the semicolon at its end and what follows that.

    What only the database can parse for sure is left to it: texts in Oracle's own quotes, and functions in `WITH`.

    This is a convenience check, not a security boundary: the readers also start a read-only transaction, if the
    database supports one, and never commit.

    :raises PolyteiaConfigurationError: if `sql` does not contain exactly one statement, or the statement writes.
    """
    if not isinstance(sql, str):
        raise PolyteiaConfigurationError(
            f"The SQL is of type {type(sql).__name__}; it must be a string that contains one query."
        )
    statements = _join_code(_split(sql))
    if len(statements) != 1:
        raise PolyteiaConfigurationError(
            f"The SQL contains {len(statements)} statements; exactly one query is allowed. Use one task per statement."
        )
    (statement,) = statements
    _check_reads_only(statement.words)
    return sql[statement.start : statement.end].rstrip()


def _split(sql: str) -> list[_Statement]:
    """Return the statements that are not empty, without trailing semicolons, comments and whitespace."""
    statements, start = [], 0
    for statement in FilterStack().run(_without_quotes(sql)):
        tokens = list(statement.flatten())
        kept = _strip_end(tokens)
        words = [" ".join(token.value.upper().split()) for token in kept if not _is_skipped(token)]
        statements.append(_Statement(start, start + _length(_up_to_semicolon(tokens, len(kept))), words))
        start += _length(tokens)
    return [statement for statement in statements if statement.words]


def _up_to_semicolon(tokens: list[Token], kept: int) -> list[Token]:
    """Return the tokens before the semicolon that ends a statement.

    What seems to be a comment before it stays: the database may read ``5--1`` or ``5 # 3`` as a number.

    :param kept: number of the tokens that belong to the statement in any case.
    """
    end = next((place for place in range(kept, len(tokens)) if tokens[place].value == ";"), len(tokens))
    return tokens[:end]


def _length(tokens: list[Token]) -> int:
    return sum(len(token.value) for token in tokens)


def _without_quotes(sql: str) -> str:
    """Return the SQL with texts in Oracle's other quotes as ordinary ones of the same length, which are not parsed."""
    return _ALTERNATIVE_QUOTES.sub(lambda found: f"'{'x' * (len(found[0]) - 2)}'" if found["quoted"] else found[0], sql)


def _check_reads_only(words: list[str]) -> None:
    first = next((word for word in words if word != "("), "(")
    if first not in _QUERIES:
        raise PolyteiaConfigurationError(f"The SQL begins with {first}. {_EXPECTATION}")
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        is_write = word in _WRITES and after != "("  # otherwise a function, such as INSERT() of MySQL
        if word == "INTO" or (before in _BEFORE_NESTED and is_write):
            raise PolyteiaConfigurationError(f"The SQL contains {word}. {_EXPECTATION}")


def _join_code(statements: list[_Statement]) -> list[_Statement]:
    """Return statements as one, with the words of its query only, if the first one defines functions in `WITH`.

    Such a function ends with `END` or `END name`, after which there is no other statement than the query.
    """
    parts = [part for statement in statements for part in _split_words(statement.words)]
    if len(parts) <= 1 or not _begins_with_code(parts[0]) or not _is_end(parts[-2]):
        return statements
    query = parts[-1]
    if query[0] not in _WRITES and not _AFTER_TABLE.isdisjoint(query[1:2]):
        query = ["WITH", *query]  # the functions are followed by tables
    return [_Statement(statements[0].start, statements[-1].end, query)]


def _split_words(words: list[str]) -> list[list[str]]:
    """Return the words between semicolons."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == ";":
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def _begins_with_code(words: list[str]) -> bool:
    with_code = len(words) > len(("WITH", "FUNCTION")) and words[0] == "WITH" and words[1] in _CODE
    return with_code and words[2] not in _AFTER_TABLE  # otherwise the name of a table


def _is_end(words: list[str]) -> bool:
    return words[0] == "END" and len(words) <= len(("END", "name"))


def _strip_end(tokens: list[Token]) -> list[Token]:
    """Return the tokens of a statement without trailing semicolons, comments and whitespace."""
    count = len(tokens)
    while count and (_is_skipped(tokens[count - 1]) or tokens[count - 1].value == ";"):
        count -= 1
    return tokens[:count]


def _is_skipped(token: Token) -> bool:
    return token.is_whitespace or token.ttype in Comment
