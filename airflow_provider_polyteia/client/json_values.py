"""Which values may be sent to the platform, and which may be handed to Airflow. Performs no I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

MAX_DEPTH = 100
MAX_BITS = 1024
MAX_PACKABLE = 2**63 - 1
_MIN_PACKABLE = -(2**63)


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
    deep nesting; databases reject NaN and infinity in JSON. A trigger that yields such a value stops its whole
    triggerer. Unpaired surrogates become U+FFFD, numbers out of range become their text, and what is nested deeper than
    100 levels becomes ``"..."``.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, int):
        return value if _MIN_PACKABLE <= value <= MAX_PACKABLE else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        if depth >= MAX_DEPTH:
            return "..."
        return {to_encodable(str(key)): to_encodable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return "..." if depth >= MAX_DEPTH else [to_encodable(item, depth + 1) for item in value]
    return to_encodable(str(value))


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
