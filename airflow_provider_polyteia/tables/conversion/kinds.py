"""What kind of value a text is, in words that do not contain it: it may be personal data."""

from __future__ import annotations

import re

_KINDS = {
    r"[+-]?[0-9]+": "a whole number",
    r"[+-]?[0-9.]*,[0-9]+-?": "a number with a decimal comma",
    r"[+-]?[0-9,]*\.[0-9]+-?": "a number with a decimal point",
    r"[+-]?[0-9]{1,3}(?:[.,][0-9]{3})+(?:[.,][0-9]+)?-?": "a number with thousands separators",
    r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2,4}": "a German date, or what seems to be one",
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}": "an ISO date, or what seems to be one",
    r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}": "a date with slashes, or what seems to be one",
    r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?": "a time of day, or what seems to be one",
}


def describe(text: str) -> str:
    """Return what kind of value a text is."""
    stripped = text.strip()
    fitting = (kind for pattern, kind in _KINDS.items() if re.fullmatch(pattern, stripped))
    return next(fitting, f"a string of {len(stripped)} character{'s' * (len(stripped) != 1)}")
