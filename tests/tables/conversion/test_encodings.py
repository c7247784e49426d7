"""Encodings: windows-1252 unless it is implausible, UTF-8 that is damaged, and what cannot be decoded."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from conversions import converted, named

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError
from airflow_provider_polyteia.tables.file_checks.encodings import CHUNK

pytestmark = pytest.mark.slow  # many conversions

GERMAN = "Müller Straße"
# In windows-1252.
USUAL = [
    "Müller;5 €",
    "x;5 €",
    "x;§ 5 €",
    "x;100€",
    "STRAßE;x",
    "GRÖßE;ÄRZTE",
    "Fläche m²;Raum m³",
    "x;20 °C",
    "x;µg/m³",
    "Ü30;ü18",
    "Ä;Ö",
    "x;12ä",
    "x;1€uro",
    "„Spaß“;x",
    "„Ä“;Müller",
    "Maß–Stab;Öl…",  # noqa: RUF001
    "l’été;« créé\u00a0»",  # noqa: RUF001
    "Max‘s;Café´s",  # noqa: RUF001
    "à;Crème brûlée",
    "Juárez;Málaga",
    "João;Eloá",
    "Þór Guðmundsson;x",
    "Škoda;Miloš",
    "Štšerbakov;x",
    "Størst Å;æble",
    "MÃ¼ller;Übergröße Köln Straße",  # misread once before, which is not undone
]
DOS = [
    "Müller;x",
    "März;x",
    "Köln;x",
    "Straße;x",
    "Gießen;x",
    "MÄRZ;x",
    "GERÄTE;ÖL",
    "MÜLLER;x",
    "Änderung;x",
    "Österreich;Übung",
    "Fläche m²;§ 5",
    "Café;Crème",
]
UNICODE = [
    "Müller",
    "KÖLN",
    "STRAßE",
    "5 €",
    "§ 5",
    "Łódź",
    "Şanlıurfa",  # noqa: RUF001
    "Říčany",
    "Москва",
    "東京",
    "Mu\u0308ller",
    "✓ ja",
]
DAMAGE = [(b"M\xc3", 4), (b"\xff", 3), (b"\x81", 3), (b"x\xfcx", 4), (b"\xf0\x9f\x98", 3)]


def rejection(content, name="x.csv"):
    with pytest.raises(PolyteiaDataError) as rejected:
        converted(named(content, name))
    return str(rejected.value)


def read(text, encoding):
    """Return two fields that were written in an encoding, as they are read."""
    row = converted(named(f"id;a;b\n1;{text}\n".encode(encoding), "x.csv"))[1][0]
    return f"{row['a']};{row['b']}"


@pytest.mark.parametrize("text", USUAL)
def test_windows_1252(text):
    """A file is in windows-1252 even if it contains few characters that are not ASCII."""
    assert read(text, "cp1252") == text


@pytest.mark.parametrize("text", DOS)
def test_cp850(text):
    """A file is in cp850 if windows-1252 makes no words of its letters."""
    assert read(text, "cp850") == text


@pytest.mark.parametrize("text", ["Müller Straße;x", "Köln;Größe", "Äpfel;schön", "GERÄTE;ÜBUNG"])
def test_macintosh(text):
    """A file of classic macOS is recognized by its words."""
    assert read(text, "mac_roman") == text


@pytest.mark.parametrize("encoding", ["iso8859-15", "cp1250"])
def test_similar_encodings(encoding):
    """Encodings that have the same letters need not be distinguished."""
    assert read("Müller;Straße", encoding) == "Müller;Straße"


@pytest.mark.parametrize("text", ["Müller;Straße", "x;Gerät", "MÖLLN;x"])
@pytest.mark.parametrize("byte", [b"\x81", b"\x8d", b"\x90"])
def test_undefined_byte(text, byte):
    """A byte that windows-1252 does not have makes no other encoding of a file whose words are right in it."""
    assert "not in the encoding windows-1252 (line 3, character 3)" in rejection(
        f"a;b\n{text}\n1;".encode("cp1252") + byte + b"\n"
    )


@pytest.mark.parametrize(
    ("text", "damage", "column", "rows"),
    [(text, *DAMAGE[number % len(DAMAGE)], 1) for number, text in enumerate(UNICODE)]
    + [(UNICODE[0], *damage, 5_000) for damage in DAMAGE],
)
def test_damaged_utf8(text, damage, column, rows):
    """One byte makes no other encoding of a file in UTF-8, wherever it is."""
    lines = f"1;{text}\n".encode() * rows
    at_the_end = f"not in the encoding UTF-8 (line {rows + 2}, character {column})"
    assert at_the_end in rejection(b"a;b\n" + lines + b"1;" + damage)
    assert f"not in the encoding UTF-8 (line 1, character {column})" in rejection(b"a;" + damage + b"\n" + lines)


@pytest.mark.parametrize("encodings", [("utf-8", "cp1252"), ("cp1252", "utf-8")])
def test_mixed_encodings(encodings):
    """A file that was joined from two encodings is in neither."""
    content = "".join(f"1;{GERMAN}\n" for _ in range(100))
    joined = b"a;b\n" + b"".join(content.encode(encoding) for encoding in encodings)
    line = 102 if encodings[0] == "utf-8" else 2
    assert f"not in the encoding UTF-8 (line {line}, character 4)" in rejection(joined)


def test_damaged_json():
    """JSON in UTF-8 that is damaged is rejected like CSV."""
    content = json.dumps([{"a": GERMAN}] * 5_000, ensure_ascii=False, indent=0).encode()
    damaged = content[: content.rindex(b"e")] + b'\xe4"}]'
    assert "not in the encoding UTF-8 (line 15000, character 19)" in rejection(damaged, "x.json")


@pytest.mark.parametrize("size", range(5))
def test_characters_between_chunks(size):
    """A character that two reads divide is not damage."""
    content = b"a;b\n" + b"1;xxxxx\n" * (CHUNK // 8 - 1) + b"1" * size + ";MüüC\n".encode()
    assert "not in the encoding UTF-8" in rejection(content + b"1;\xff\n")
    legacy = converted(named(content.decode().encode("cp850"), "x.csv"))[1]
    assert legacy[-1]["b"] == "MüüC"


def test_late_damage():
    """Damage is found wherever it is, in constant memory."""
    content = b"a;b\n" + f"1;{GERMAN}\n".encode() * 600_000 + b"1;\xff\n"
    source = named(content, "x.csv")
    tracemalloc.start()
    with pytest.raises(PolyteiaDataError, match=r"UTF-8 \(line 600002, character 3\)"):
        converted(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024 < len(content)


def test_encoding_decides():
    """A named encoding is not doubted."""
    content = "a;b\n1;Müller\n".encode() + b"2;\xff\n"
    assert converted(named(content, "x.csv"), {"encoding": "cp1252"})[1] == [
        {"a": 1, "b": "MÃ¼ller"},
        {"a": 2, "b": "ÿ"},
    ]


@pytest.mark.parametrize("name", ["rot13", "hex", "base64", "zlib", "undefined", "latin-42", "a\0b", "", 1252])
def test_unknown_encoding(name):
    """Codecs that are not for text are rejected like unknown ones."""
    with pytest.raises(PolyteiaConfigurationError, match="must be an encoding that Python knows"):
        converted(named(b"a;b\n1;x\n", "x.csv"), {"encoding": name})


@pytest.mark.parametrize("content", [b"a;b\n1;x\n", b"a;b\n\x00\xdc", b"\xff\xfea"])
def test_wrongly_named_utf16(content):
    """A file that is not in UTF-16 is rejected, even if it contains half a pair of surrogates."""
    with pytest.raises(PolyteiaDataError, match="not in the encoding UTF-16"):
        converted(named(content, "x.csv"), {"encoding": "utf-16"})
