"""Templates of requests and responses: placeholders for generated values, and how a response is compared."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# The types that `meta` names: word in 2.x -> number in 1.x. The last one is not the framework's, but of server.mjs.
TYPES = {"bigint": 0, "date": 1, "nan": 2, "undefined": 3, "url": 4, "regexp": 5, "set": 6, "map": 7, "point": 21}


@dataclass(frozen=True)
class Type:
    """A type in `meta`: a number for dialect 1, a word for dialect 2."""

    word: str

    def in_dialect(self, dialect):
        return TYPES[self.word] if dialect == 1 else self.word


@dataclass(frozen=True)
class OtherType(Type):
    """A type in `meta` as the other dialect writes it."""

    def in_dialect(self, dialect):
        return super().in_dialect(3 - dialect)


@dataclass(frozen=True)
class Given:
    """A value that is known before the request, by its name."""

    name: str


@dataclass(frozen=True)
class Generated:
    """A text that the server generates or words: anything that matches `pattern`."""

    pattern: str
    example: str


@dataclass(frozen=True)
class Issues:
    """The issues of a failed validation: one or more at each of these paths. All other texts are the schema's own."""

    paths: tuple[tuple[str, ...], ...]


class Record(dict):
    """An object of the platform: may have more keys than these, and `meta` may name those."""


TEXT = Generated(r".+", "Some text")
DATE = Generated(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-01-31T12:34:56.789Z")
DATASET_ID = Generated(r"ds_.+", "ds_d2k7p8f4c5v1s8h3q9v0a")


def fill(template: Any, dialect: int, given: dict[str, Any]) -> Any:
    """Return a template with known values in place of `Given` and `Type`."""
    match template:
        case Type():
            return template.in_dialect(dialect)
        case Given():
            return given[template.name]
        case dict():
            return type(template)((key, fill(value, dialect, given)) for key, value in template.items())
        case list():
            return [fill(value, dialect, given) for value in template]
    return template


def example(template: Any) -> Any:
    """Return a filled template with examples in place of generated values."""
    match template:
        case Generated():
            return template.example
        case Issues():
            return [{"path": list(path), "message": "Invalid input"} for path in template.paths]
        case dict():
            return {key: example(value) for key, value in template.items()}
        case list():
            return [example(value) for value in template]
    return template


def differences(template: Any, actual: Any, path: str = "") -> list[str]:
    """Compare a JSON value with a filled template and describe each difference. Types must be equal: 1 is not True."""
    match template:
        case Generated():
            fits = isinstance(actual, str) and re.fullmatch(template.pattern, actual, re.DOTALL)
            return [] if fits else [f"{path}: {actual!r} does not match {template.pattern}"]
        case Issues():
            return _issue_differences(template, actual, path)
        case dict() if isinstance(actual, dict):
            return _object_differences(template, actual, path)
        case list() if isinstance(actual, list) and len(actual) == len(template):
            pairs = enumerate(zip(template, actual, strict=True))
            return [line for index, (item, value) in pairs for line in differences(item, value, f"{path}[{index}]")]
    if type(actual) is type(template) and actual == template:
        return []
    return [f"{path}: {actual!r} instead of {template!r}"]


def _object_differences(template: dict[str, Any], actual: dict[str, Any], path: str) -> list[str]:
    found = [f"{path}.{key}: missing" for key in template.keys() - actual.keys()]
    if not isinstance(template, Record):
        found += [f"{path}.{key}: unexpected, {actual[key]!r}" for key in actual.keys() - template.keys()]
    for key in template.keys() & actual.keys():
        found += differences(template[key], actual[key], f"{path}.{key}")
    return found


def _issue_differences(template: Issues, actual: Any, path: str) -> list[str]:
    if not isinstance(actual, list):
        return [f"{path}: {actual!r} is not an array"]
    if not all(isinstance(issue, dict) and isinstance(issue.get("message"), str) for issue in actual):
        return [f"{path}: {actual!r} has an issue without a message"]
    paths = {json.dumps(issue.get("path")) for issue in actual}
    expected = {json.dumps(wanted) for wanted in template.paths}
    return [] if paths == expected else [f"{path}: issues at {sorted(paths)} instead of {sorted(expected)}"]


def meta_differences(template: Any, meta: list[Any], actual: Any) -> list[str]:
    """Compare `meta`. Its order is free, except that entries inside a set or map come before the set or map itself.

    :param template: The filled template of `json`; additional keys of a `Record` may be named in `meta`.
    """
    if not meta and actual is None:
        return []
    if not isinstance(actual, list) or not actual:
        return [f"meta: {actual!r} instead of {meta}; it is left out if it is empty"]
    wanted, found = ([json.dumps(entry) for entry in entries] for entries in (meta, actual))
    lines = [f"meta: {entry} is missing" for entry in wanted if entry not in found]
    lines += [
        f"meta: {json.dumps(entry)} is unexpected"
        for entry in actual
        if json.dumps(entry) not in wanted and not _is_additional(template, entry[1:])
    ]
    if len(set(found)) != len(found):
        lines.append(f"meta: {actual} has an entry twice")
    for index, entry in enumerate(actual):
        lines += [
            f"meta: {inner} comes after {entry}"
            for inner in actual[index + 1 :]
            if len(inner) > len(entry) and inner[1 : len(entry)] == entry[1:]
        ]
    return lines


def _is_additional(template: Any, path: list[Any]) -> bool:
    """Whether a path leads to a key of a `Record` that the template does not name."""
    for segment in path:
        if isinstance(template, Record) and segment not in template:
            return True
        try:
            template = template[segment]
        except (KeyError, IndexError, TypeError):
            return False
    return False
