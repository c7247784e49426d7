"""Parts of SQL."""

from __future__ import annotations


def quoted(name: str) -> str:
    """Return a name of a column as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as a literal."""
    return "'" + text.replace("'", "''") + "'"


def trimmed(text: str) -> str:
    """Return a text without the spaces around it, which do not belong to a number or a date."""
    return f"trim({text})"
