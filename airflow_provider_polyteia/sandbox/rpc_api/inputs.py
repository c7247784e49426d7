"""Validation of the inputs of procedures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_polyteia.sandbox.rpc_api.errors import invalid_input, issue
from airflow_provider_polyteia.sandbox.rpc_api.records import to_snake

_TYPES: dict[str, tuple[type[Any] | tuple[type[Any], ...], str]] = {
    "": (str, "string"),
    "#": (int, "number"),
    "?": (bool, "boolean"),
    "[]": (list, "array"),
    "{}": (dict, "record"),
    "{[]}": ((dict, list), "record or array"),
    "@": (datetime, "date"),
}
_CHOICES = {
    "format": ("csv", "json", "parquet", "xlsx"),
    "schedule": ("daily", "weekly", "monthly"),
}
_MAY_BE_EMPTY = {"description", "source", "color", "context"}
"""Strings that may be empty. Others must be left out instead."""


@dataclass(frozen=True)
class Key:
    """A key of an input.

    :param mark: Type of the value: a key of `_TYPES`.
    :param nullable: Whether the value may be null.
    :param required: Whether the input must contain the key.
    """

    name: str
    mark: str
    nullable: bool
    required: bool

    def find_issue(self, value: Any) -> str:
        """Return what is invalid about a value, or an empty string."""
        expected, description = _TYPES[self.mark]
        if value is None and self.nullable:
            return ""
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            return f"Invalid input: expected {description}"
        if value == "" and self.name not in _MAY_BE_EMPTY:
            return "Too small: expected string to have >=1 characters"
        choices = _CHOICES.get(self.name)
        if choices and value not in choices:
            return f"Invalid option: expected one of {'|'.join(choices)}"
        if isinstance(value, list | dict) and not _is_json(value):
            return "Invalid input: expected JSON"
        return ""


def parse_keys(text: str) -> tuple[Key, ...]:
    """Return the keys that a text such as `id! documentation{}~! slug` describes.

    The name is followed by marks: # number, ? boolean, [] array, {} object, {[]} object or array, @ date (default:
    string), ~ nullable, ! required.
    """
    keys = []
    for word in text.split():
        match = re.fullmatch(r"(\w+)(#|\?|\[\]|\{\}|\{\[\]\}|@)?(~)?(!)?", word)
        if match is None:
            raise ValueError(f"{word!r} is not a key")
        keys.append(Key(match[1], match[2] or "", bool(match[3]), bool(match[4])))
    return tuple(keys)


def validate(keys: tuple[Key, ...], value: Any) -> dict[str, Any]:
    """Return the values of the keys by their names in the backend. Unknown keys are dropped.

    :param value: Input of the procedure, or None if the call does not have one.
    :raises BusinessError: 400, with a list of what is invalid.
    """
    if value is None and not keys:
        return {}
    if not isinstance(value, dict):
        raise invalid_input([issue("", "Invalid input: expected object")])
    issues = []
    for key in keys:
        if key.name in value:
            message = key.find_issue(value[key.name])
        else:
            message = f"Invalid input: expected {_TYPES[key.mark][1]}, received undefined" if key.required else ""
        if message:
            issues.append(issue(key.name, message))
    if issues:
        raise invalid_input(issues)
    return {to_snake(key.name): value[key.name] for key in keys if key.name in value}


def _is_json(value: Any) -> bool:
    """Return True if a value contains only what JSON can represent, so no dates."""
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int | float | bool)
