"""Which values may be sent to the platform, and which may be handed to Airflow. Performs no I/O."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time
from typing import Any, NoReturn

MAX_DEPTH = 100
MAX_BITS = 1024
MAX_PACKABLE = 2**63 - 1
_MIN_PACKABLE = -(2**63)
# Airflow takes a mapping with one of these keys for an object that it has serialized itself, and rejects or changes it.
_RESERVED_KEYS = frozenset({"__classname__", "__id__", "__type", "__var"})


class NotJSONError(ValueError):
    """A value that JSON cannot represent; the text names its path."""


def parse_json(body: bytes) -> Any:
    """Return the JSON value in `body`, or None if it is not valid JSON."""
    try:
        return json.loads(body, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return None


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON


def check_json(value: Any, path: str, depth: int = 0) -> Any:
    """Return `value` as plain JSON types.

    :param path: what to call the value in the exception, e.g. ``parameters``.
    :raises NotJSONError: if JSON cannot represent it; the text names the path to the offending value.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise NotJSONError(
                f"{path} is too large to be sent as JSON ({value.bit_length()} bits; the limit is {MAX_BITS})"
            )
        return value
    if isinstance(value, str):
        return _check_text(value, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotJSONError(f"{path} is {value}, which is not a JSON number")
        return value
    if depth > MAX_DEPTH:
        raise NotJSONError(f"{path[:80]}... is nested too deeply or is recursive")
    if isinstance(value, Mapping):
        return {_check_key(key, path): check_json(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [check_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise NotJSONError(f"{path} is of type {type(value).__name__}, which is not JSON-serializable; convert it first")


def to_encodable(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one per type
    """Return a value from the platform in the form in which Airflow can store it: in JSON, msgpack and UTF-8.

    Airflow packs trigger events and XComs with msgpack, which rejects unpaired surrogates, integers beyond 64 bits and
    deep nesting; databases reject NaN and infinity in JSON, and PostgreSQL also NUL characters. A trigger that yields
    such a value stops its whole triggerer. The rules are in docs/operators.md#values-in-xcom.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _to_storable_text(value)
    if isinstance(value, int):
        return value if _MIN_PACKABLE <= value <= MAX_PACKABLE else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        if depth >= MAX_DEPTH:
            return "..."
        return _to_storable_mapping(value, depth)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Sequence | AbstractSet):
        return "..." if depth >= MAX_DEPTH else [to_encodable(item, depth + 1) for item in value]
    return _to_storable_text(value.isoformat() if isinstance(value, date | time) else str(value))


def _to_storable_text(text: str) -> str:
    known = text.replace("\0", "\ufffd")
    return known if known.isascii() else known.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _to_storable_mapping(mapping: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    """Return a mapping with storable keys, of which none replaces another."""
    storable: dict[str, Any] = {}
    for key, item in mapping.items():
        name = _to_storable_text(str(key))
        while name in storable or name in _RESERVED_KEYS:
            name += "_"
        storable[name] = to_encodable(item, depth + 1)
    return storable


def _check_key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise NotJSONError(f"{path} has a key of type {type(key).__name__}; JSON allows only string keys")
    return _check_text(key, path)


def _check_text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotJSONError(f"{path} contains an unpaired surrogate and cannot be encoded as UTF-8") from None
    return text
