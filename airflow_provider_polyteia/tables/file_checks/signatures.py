"""What a file really is, by its first bytes."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

HEAD = 4096  # bytes that are enough to recognize a format

HTML = "an HTML page"
ZIP = "a ZIP archive"
OFFICE = "an Excel workbook (xlsx) or another file of Office"
GZIP = "a gzip file"
OLE = "an Excel workbook (xls) or another file of old Office versions"
PARQUET = "a Parquet file"
JSON = "JSON"
XML = "an XML file"

_MAGIC = {
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,  # without members
    b"\x1f\x8b": GZIP,
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": OLE,
    b"PAR1": PARQUET,
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"%PDF-": "a PDF document",
    b"SQLite format 3\x00": "a SQLite database",
    b"ARROW1": "an Arrow file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"{\\rtf": "an RTF document",
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
}
# UTF-32 before UTF-16, whose mark it begins with.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HTML = re.compile(
    r"<!--|<(?:!doctype\s+html|html|head|body|title|meta|link|script|style|table|div|span|form|h1|p|pre|b|br|center)\b",
    re.IGNORECASE,
)
_XML = re.compile(r"<\?xml\b", re.IGNORECASE)
_JSON = re.compile(r'\{\s*["}]|\[\s*(?:[\[{"\]\d-]|true\b|false\b|null\b)')


class Signature(NamedTuple):
    """What the beginning of a file says about all of it.

    :ivar found: what it is, in words; empty if only the format that it should have can say so.
    :ivar encoding: the encoding that its byte order mark names; empty without one.
    """

    found: str
    encoding: str


def recognize(head: bytes) -> Signature:
    """Return what a file is.

    :param head: its first bytes, at least `HEAD` or all of them.
    """
    found = next((what for magic, what in _MAGIC.items() if head.startswith(magic)), "")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "")
    if found == ZIP and b"[Content_Types].xml" in head:
        found = OFFICE
    if found:
        return Signature(found, "")
    return Signature(_recognize_text(head.decode(encoding or "latin-1", "replace").lstrip("\ufeff \t\r\n")), encoding)


def _recognize_text(text: str) -> str:
    if _HTML.match(text):
        return HTML
    if _XML.match(text):
        return HTML if re.search(r"<html\b", text, re.IGNORECASE) else XML
    return JSON if _JSON.match(text) else ""
