"""The words of the project: US English, and one standard term per concept.

The rules apply to every text file of the repository: the package, the documentation, the tests, the examples and the
scripts. A rule is a pattern with its replacement; `ALLOWED` lists the exceptions, each with its reason.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The package's folder is absent where these tests run against an installed wheel.
FOLDERS = ("airflow_provider_polyteia", "docs", "example_dags", "tests", ".ci", ".github")
TEXT = {".cfg", ".css", ".html", ".js", ".json", ".md", ".mjs", ".py", ".sh", ".sql", ".toml", ".txt", ".yaml", ".yml"}
GENERATED = {"__pycache__", "_build", "node_modules"}

# Pattern in lower case, between word boundaries -> what to write instead.
BANNED = {
    r"(?:is|are|was|were) no(?! longer)": "negate the verb: 'is not a ...'",
    r"nobody|somebody|whoever": "name the actor",
    r"anew": "again",
    r"for ever": "indefinitely",
    r"at the most": "at most",
    r"told": "say who reports what, or 'distinguished'",
    r"blanks": "spaces, whitespace",
    r"(?:break|breaks|broke|broken|breaking) off": "interrupted, aborted",
    r"harmless": "idempotent, safe to retry",
    r"foreign": "unexpected, of another ...",
    r"moments?": "time, timestamp",
    r"mend(?:s|ed|ing)?": "fix (a bug), resolve (an error)",
    r"look-ups?": "lookup",
    r"(?:dis)?honest(?:y|ly)?": "complete, correct",
    r"patien(?:ce|t|tly)": "timeout",
    r"as of when": "as of",
    r"so many": "the number",
    r"meanwhile": "in the meantime",
    r"of (?:ours|yours)": "our ..., your ...",
    r"answer(?:s|ed|ing)?": "response (HTTP), result (SQL)",
    r"(?:is|are|be) repeated as a whole|repetitions?": "retried, retry",
    r"stand-in": "sandbox",
    r"hand(?:s|ed|ing)? on": "push, pass",
    r"set-ups?": "setup",
    r"time-outs?": "timeout",
    r"typing errors?": "typo",
    r"licences?": "license",
    r"colours?": "color",
    r"behaviours?": "behavior",
    r"honour(?:s|ed|ing)?": "honor",
    r"catalogues?": "catalog",
    r"favourites?": "favorite",
    r"refus(?:e|es|ed|ing|al|als)": "reject; a host or a proxy refuses a connection",
    r"organisations?|organis(?:e|es|ed|ing)": "organization, organize",
    r"(?:un)?authoris(?:e|es|ed|ing|ation)": "authorize",
    r"(?:de)?serialis(?:e|es|ed|ing|ation)": "serialize",
    r"recognis(?:e|es|ed|ing)": "recognize",
    r"normalis(?:e|es|ed|ing|ation)": "normalize",
    r"initialis(?:e|es|ed|ing|ation)": "initialize",
}
# Phrases that a rule would find, and why they are correct.
ALLOWED = {
    r"there (?:is|are|was|were) no": "the usual way to say that something does not exist",
    r"foreign keys?": "the term of databases",
    r"foreign members?": "the term of GeoJSON (RFC 7946)",
    r"connection (?:was )?refused|refuse[sd]? (?:the |a |to )?connect\w*": "the term of networks, as in ECONNREFUSED",
    r"proxy refused|refused: |refused, reset|refused \.\* after": "the same",
    r"ui-field-behaviour|get_ui_field_behaviour": "the name in Airflow's API",
    r"behaviours(?=\")": "the name of a command, `airflow providers behaviours`",
}
SKIPPED = {"tests/test_language.py": "names the words", "LICENSE": "the text of Apache"}

RULES = re.compile(rf"\b(?:{'|'.join(BANNED)})\b")
EXCEPTIONS = re.compile(rf"\b(?:{'|'.join(ALLOWED)})\b")


def text_files() -> list[Path]:
    """Return the project's text files, without caches and generated pages."""
    files = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if not GENERATED & set(path.relative_to(ROOT).parts)]
    named = [path for path in files if path.suffix in TEXT or path.name == "Makefile"]
    return sorted(path for path in named if path.is_file() and path.relative_to(ROOT).as_posix() not in SKIPPED)


def find_banned(text: str) -> list[tuple[int, str, str]]:
    """Return the line number, the word and the replacement of each finding."""
    kept = EXCEPTIONS.sub(lambda match: "_" * len(match[0]), text.lower())
    return [(kept.count("\n", 0, match.start()) + 1, match[0], advice(match)) for match in RULES.finditer(kept)]


def advice(match: re.Match[str]) -> str:
    """Return what to write instead of a finding."""
    # From the finding's start, because some rules look at what follows.
    return next(
        text for rule, text in BANNED.items() if re.compile(rf"(?:{rule})\b").match(match.string, match.start())
    )


def test_banned_words_do_not_occur():
    """No file contains a word that is not the standard term, or a British spelling."""
    files = text_files()
    assert ROOT / "tests/conftest.py" in files
    findings = [
        f"{path.relative_to(ROOT)}:{line}: {word} -> {replacement}"
        for path in files
        for line, word, replacement in find_banned(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not findings, "\n".join(["Words that docs or code should not use:", *findings])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The body is no JSON object.", "is no"),
        ("A retry is Harmless.", "harmless"),
        ("an option of yours", "of yours"),
        ("the BEHAVIOUR of a sensor", "behaviour"),
        ("Colour of the row", "colour"),
        ("The server answered.", "answered"),
    ],
)
def test_the_rules_find_their_words(text, word):
    """Each rule ignores case and reports the line."""
    assert [(line, found) for line, found, _ in find_banned(f"First line\n{text}")] == [(2, word)]


@pytest.mark.parametrize(
    "text", ["There is no row.", "It is no longer known.", "a foreign key", "The toldbar", '"ui-field-behaviour": 1']
)
def test_correct_phrases_are_allowed(text):
    """Standard phrases and names of other APIs are not findings."""
    assert find_banned(text) == []
