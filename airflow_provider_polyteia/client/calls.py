"""What is asked of the platform: one command or query, checked before anything is sent. Pure; no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_polyteia.client import methods
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

MAX_DEPTH = 100
MAX_BITS = 1024
_IDENTITY_KEYS = ("slug", "name")


@dataclass(frozen=True, slots=True)
class Call:
    """One command or query, ready to be sent.

    :param params: plain JSON types only.
    :param repeatable: whether sending the call again does no harm.
    :param needs: key that the answer's data must hold, e.g. ``id``; empty if anything will do.
    """

    method: methods.Method
    params: Mapping[str, Any] = field(repr=False)
    repeatable: bool
    needs: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """The params that say what the call is about: ids, slugs and names; nothing else."""
        return {
            key: value
            for key, value in self.params.items()
            if isinstance(value, str) and (key == "id" or key.endswith("_id") or key in _IDENTITY_KEYS)
        }

    @property
    def natural_key(self) -> dict[str, Any] | None:
        """The params by which a look-up finds what this call creates; None where there is no such way."""
        names = self.method.natural_key
        return {name: self.params[name] for name in names} if names and all(map(self.params.get, names)) else None


class _NotJSONError(ValueError):
    """What JSON cannot hold, and the path to it."""


def make_call(
    kind: methods.Kind,
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    idempotent: bool | None = None,
    needs: str = "",
) -> Call:
    """Check a command or query and its params.

    :param idempotent: whether repeating the call is harmless; None: as known, see `methods`.
    :raises PolyteiaConfigurationError: naming the offending value by its path.
    """
    if idempotent is not None and not isinstance(idempotent, bool):
        raise PolyteiaConfigurationError(f"'idempotent' of {name!r} is {idempotent!r}; it must be True, False or None.")
    if not isinstance(name, str) or not name.strip():
        raise PolyteiaConfigurationError(f"The name of a {kind} is empty; use one such as 'list_datasets'.")
    if not name.isprintable() or " " in name:
        raise PolyteiaConfigurationError(f"The name of a {kind} holds blanks or the like: {name!r}.")
    method = methods.find(name, kind)
    if method.kind != kind:
        raise PolyteiaConfigurationError(f"{name!r} is a {method.kind}, not a {kind}.", method=name)
    if params is not None and not isinstance(params, Mapping):
        raise PolyteiaConfigurationError(
            f"The parameters of {name!r} are a {type(params).__name__}; they must be a mapping of names to values.",
            method=name,
        )
    try:
        checked = _jsonable(params or {}, "parameters", 0)
    except _NotJSONError as error:
        raise PolyteiaConfigurationError(f"{name!r} cannot be sent: {error}.", method=name) from None
    return Call(method, checked, method.repeatable if idempotent is None else idempotent, needs)


def _jsonable(value: Any, path: str, depth: int) -> Any:
    """Return `value` as plain JSON types, or raise an error that names the path to what JSON cannot hold."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise _NotJSONError(f"{path} is a number of {value.bit_length()} bits, which no receiver can read")
        return value
    if isinstance(value, str):
        return _encodable(value, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _NotJSONError(f"{path} is {value}, which JSON cannot hold")
        return value
    if depth > MAX_DEPTH:
        raise _NotJSONError(f"{path[:80]}... is nested too deeply, or contains itself")
    if isinstance(value, Mapping):
        return {_key(key, path): _jsonable(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_jsonable(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise _NotJSONError(
        f"{path} is a {type(value).__name__}, which JSON cannot hold; turn it into text or a number first"
    )


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise _NotJSONError(f"{path} has a key that is a {type(key).__name__}; JSON has text keys only")
    return _encodable(key, path)


def _encodable(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _NotJSONError(f"{path} holds half a surrogate pair, which UTF-8 cannot encode") from None
    return text
