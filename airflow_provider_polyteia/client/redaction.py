"""Finds secrets in a text, however they are spelled there, and keeps them out of it. Performs no I/O."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MASK = "***"
_MAX_SHOWN = 12  # characters of a value that cannot be a key
_MAX_PATH = 200
_MAX_INTEGER = 10**7
_RANDOM = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9]).{8,}")
_CERTIFICATES = (".pem", ".crt", ".cer", ".key", ".ca-bundle")
_MIN_LENGTH = 8  # shorter parts would be found in ordinary words
_MIN_KEY_LENGTH = 16
_QUOTES = "\"'`\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
_KEY = re.compile(r"(bearer|basic)?pak[_-](?=[\w-]*[0-9])[\w-]{12,}", re.IGNORECASE)


def spellings(secret: str) -> set[str]:
    """Return the ways in which a text may spell a secret, each without whitespace.

    These are plain, in JSON, in a log line, in a URL, in HTML, in hexadecimal digits, and as part of a base64 text such
    as that of ``Bearer <secret>`` or ``user:<secret>``.
    """
    raw = secret.encode(errors="surrogatepass")
    in_url = {quote(raw, safe=safe) for safe in ("", "/", "/:=&?")} | {quote_plus(raw)}
    in_url |= {"".join(f"%{byte:02X}" for byte in raw)}
    quoted = {json.dumps(secret)[1:-1], repr(secret)[1:-1], html.escape(secret)}
    encoded = {raw.hex(), raw.hex().upper(), *_in_base64(raw)}
    lower = {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), text) for text in in_url}
    found = {secret, *quoted, *in_url, *lower, *(text for text in encoded if len(text) >= _MIN_LENGTH)}
    return {_compact(text) for text in found} - {""}


def _in_base64(raw: bytes) -> set[str]:
    """Return what every base64 text that contains these bytes has in common, for each of the three offsets."""
    parts = set()
    for offset in range(3):
        text = b64encode(bytes(offset) + raw).decode()
        parts.add(text[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6])
    return parts | {part.translate(str.maketrans("+/", "-_")) for part in parts}


def redact(text: str, spelled: Iterable[str]) -> str:
    """Return a text in which each of these spellings is replaced, even if whitespace or a line break is inside it."""
    compact = _compact(text)
    for spelling in sorted(spelled, key=len, reverse=True):
        if spelling in compact:
            text = re.sub(r"\s*".join(map(re.escape, spelling)), _MASK, text)
    return text


def contains(text: str, secret: str) -> bool:
    """Return True if a text contains a secret in any spelling and any case; a short secret, if it is nothing else."""
    compact = {_compact(form).lower() for form in (text, unquote(text), unquote(unquote(text)))}
    if len(secret) < _MIN_LENGTH:
        return any(form.strip(_QUOTES).removeprefix("bearer") == secret.lower() for form in compact)
    return any(spelling.lower() in form for spelling in spellings(secret) for form in compact)


def holds_key(value: Any, password: str | None) -> bool:
    """Return True if a JSON value holds a key: the connection's password, or another one by its form."""
    return any(_is_key(text) or bool(password and contains(text, password)) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a JSON value, and the names in its objects."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def show(value: Any) -> str:
    """Return a value for an exception, unless it may be a key that was pasted by mistake."""
    is_short = len(value) <= _MAX_SHOWN if isinstance(value, str) else isinstance(value, bool | float)
    if is_short or (isinstance(value, int) and abs(value) < _MAX_INTEGER):
        return repr(value)
    return f"a {type(value).__name__} that is not shown because it may be a key"


def show_name(name: str, password: str | None) -> str:
    """Return the name of a setting for an exception, unless it may be a key."""
    return "whose name may be a key" if may_be_key(name) or holds_key(name, password) else repr(name)


def show_path(value: Any) -> str:
    """Return a path for an exception, unless it may be a key or a certificate that was pasted by mistake."""
    is_path = (
        isinstance(value, str)
        and len(value) <= _MAX_PATH
        and re.fullmatch(r"[\w./~@ -]+", value)
        and "-----" not in value
        and (value.startswith(("/", "~", "./", "../")) or value.lower().endswith(_CERTIFICATES))
        and not any(may_be_key(part) or _RANDOM.fullmatch(part) for part in re.split("[./]", value))
    )
    return repr(value) if is_path else f"a {type(value).__name__} that is not a path"


def _is_key(text: str) -> bool:
    """Return True if a text has the form of a key: ``pak_`` and more (docs/platform-api.md#rpc-exchange)."""
    return _KEY.match(_compact(unquote(text)).strip(_QUOTES)) is not None


def may_be_key(text: str) -> bool:
    """Return True unless a text certainly is not a key: it is too short, or made of letters only."""
    compact = _compact(text)
    return len(compact) >= _MIN_KEY_LENGTH and any(char.isdecimal() for char in compact)


def _compact(text: str) -> str:
    return "".join(text.split())
