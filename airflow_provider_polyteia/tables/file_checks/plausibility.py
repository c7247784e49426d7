"""How plausible a text is in an encoding, by the letters and symbols of European languages and those beside them.

Statistics of languages do not help: most files have few characters that are not ASCII, in names and amounts.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

# How plausible a character is between its neighbors.
_GERMAN, _LETTER, _NEUTRAL, _UNUSUAL, _IMPLAUSIBLE = 2, 1, 0, -1, -3
_IN_CONTEXT = re.compile(r"(?s)(?=(.[^\x00-\x7f].))")
_UMLAUTS = frozenset("äöüÄÖÜ")
_VOWELS = frozenset("aeiouyäöüAEIOUYÄÖÜ")
_CARONS = frozenset("ŠšŽž")
_RARE_LETTERS = frozenset("ðÐþÞýÝÿ")
_WORDS_OF_ONE_LETTER = frozenset("àèéíóôú")
_NO_LETTERS = frozenset("ªºµƒ")  # which Unicode counts as letters
_NEVER = frozenset("Ÿﬁﬂ\ufffd")
_WITHIN_WORDS = frozenset("‘’´–—·\u00a0\u00ad")  # noqa: RUF001 - these characters are meant
_BEFORE_WORDS = _WITHIN_WORDS | frozenset("“”‚„«»‹›§°µ©®±×¼½¾•…")  # noqa: RUF001
_NOT_AFTER_WORDS = frozenset("‚„§µ")  # noqa: RUF001
_RARE_SYMBOLS = frozenset("ªºƒ¤¬¦¨¯¸ˆ˜¢¥÷‡†‹›∞≈≠≤≥∂∆∑∏√∫◊¡¿")  # noqa: RUF001


class Plausibility(NamedTuple):
    """How plausible a text is.

    :ivar score: sum of the scores of all characters that are not ASCII.
    :ivar doubtful: share of those that are unusual or implausible.
    """

    score: int
    doubtful: float


def plausibility(sample: bytes, encoding: str) -> Plausibility:
    """Return how plausible bytes are as text in an encoding."""
    text = f"\n{sample.decode(encoding, 'replace')}\n"
    found = [(_score(*context), count) for context, count in Counter(_IN_CONTEXT.findall(text)).items()]
    total = sum(count for _, count in found)
    doubtful = sum(count for score, count in found if score < _NEUTRAL)
    return Plausibility(sum(score * count for score, count in found), doubtful / total if total else 0.0)


def _score(before: str, character: str, after: str) -> int:
    """Return how plausible a character that is not ASCII is between its neighbors."""
    if character in _NEVER:
        return _IMPLAUSIBLE
    if _is_letter(character):
        return _score_letter(before, character, after)
    category = unicodedata.category(character)
    if category == "Mn":  # an accent of its own
        return _LETTER if _is_letter(before) else _IMPLAUSIBLE
    if category in ("Cc", "Cn", "Co") or "\u2500" <= character <= "\u25a0":  # box drawing
        return _IMPLAUSIBLE
    return _score_symbol(before, character, after)


def _score_letter(before: str, character: str, after: str) -> int:
    if not _fits(before, character, after) or (character == "ß" and before not in _VOWELS):
        return _IMPLAUSIBLE
    if not _is_letter(before) and not _is_letter(after):
        is_plausible = character in _WORDS_OF_ONE_LETTER or (character in _UMLAUTS and after.isdecimal())  # as in Ü30
        return _NEUTRAL if is_plausible else _UNUSUAL
    if _is_unusual(before, character, after):
        return _UNUSUAL
    if character in _RARE_LETTERS or (character == "á" and before in _VOWELS):
        return _NEUTRAL
    return _GERMAN if character == "ß" or character in _UMLAUTS else _LETTER


def _is_unusual(before: str, character: str, after: str) -> bool:
    """Return whether a letter is likely another one, of another encoding."""
    if character == "á":  # ß in cp850: `Straáe`, `Gieáen`
        return before == "a" or (before in _VOWELS and after in _VOWELS)
    if character in _CARONS:  # umlauts in cp850 and macintosh: `GERŽT`, `Kšln`; but `Škoda`
        is_after_vowel = before in _VOWELS and character != "Ž"
        return not (after in _VOWELS or is_after_vowel or (character == "Š" and not _is_letter(before)))
    return character.isupper() and before.isupper() and after.islower()  # `KÜln`


def _fits(before: str, character: str, after: str) -> bool:
    """Return whether a letter has the case and the script of the letters beside it, and no digit before it."""
    if before.isdecimal() or (character in "ÂÃâ" and not after.isascii() and not _is_letter(after)):  # UTF-8, misread
        return False
    if any(_is_letter(other) and _is_latin(other) != _is_latin(character) for other in (before, after)):
        return False
    if character.isupper():
        return not before.islower() or not _is_letter(before)
    in_capitals = after.isupper() and (before.isupper() or not _is_letter(before))
    return not (character.islower() and in_capitals) or character == "ß"


def _score_symbol(before: str, character: str, after: str) -> int:
    follows, precedes = _is_letter(before), _is_letter(after)
    if follows and precedes:
        return _NEUTRAL if character in _WITHIN_WORDS else _IMPLAUSIBLE
    if follows and character in _NOT_AFTER_WORDS:
        return _IMPLAUSIBLE
    if precedes and character not in _BEFORE_WORDS:
        return _IMPLAUSIBLE
    return _UNUSUAL if character in _RARE_SYMBOLS else _NEUTRAL


def _is_letter(character: str) -> bool:
    return character.isalpha() and character not in _NO_LETTERS


def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or "\u1e00" <= letter <= "\u1eff"
