"""Files that are sent as they are: what is rejected, what is only suspicious, and what is fine."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import logging
import tracemalloc
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_polyteia.client.formats import BY_EXTENSION, PARQUET
from airflow_provider_polyteia.exceptions import PolyteiaDataError, PolyteiaError
from airflow_provider_polyteia.storage import open_source
from airflow_provider_polyteia.tables.file_checks.check import check_file

CASES = Path(__file__).parents[2] / "fixtures" / "files"
CSV, JSON, XLSX, XLS = (BY_EXTENSION[extension] for extension in (".csv", ".json", ".xlsx", ".xls"))
GERMAN = "PLZ,Straße,Betrag\n01067,Müllerstraße 5,12.50\n24937,Große Gasse,-0.99\n"
MEGABYTE = 1024 * 1024

# File of ../shared/cases -> what the exception says.
REFUSED_CASES = {
    "alt.xls": "an HTML page",
    "bom.json": "JSON with a byte order mark",
    "cp1252.csv": "CSV in windows-1252, not in UTF-8 (line 1, character 13)",
    "empty.csv": "empty (0 bytes)",
    "html.csv": "an HTML page",
    "lat.json": "JSON in windows-1252, not in UTF-8 (line 1, character 8)",
    "pipe_sap.csv": "CSV in windows-1252",
    "trunc.csv": "CSV that ends in the middle of a row",
    "trunc.parquet": "not a complete Parquet file: its end is missing",
    "utf16.csv": "CSV in UTF-16",
}
# File -> what the warnings say.
SENT_CASES = {
    "bericht.xlsx": [],
    "err.json": ["a single JSON object"],
    "l.json": ["2 JSON documents, one per line"],
    "misc.parquet": [],
    "newline_quoted.csv": [],
    "pandas_index.parquet": [],
    "preamble.csv": ["separated by semicolons", "begin in line 4"],
    "ragged.csv": ["line 3 does not have 3 columns"],
    "utf8.csv": ["separated by semicolons"],
    "w.json": [],
}


def xlsx(*names):
    with zipfile.ZipFile(written := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(name, "<workbook/>" * 100)
    return written.getvalue()


WORKBOOK = xlsx("[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml")

REJECTED = {
    # CSV
    "a byte order mark only": (CSV, b"\xef\xbb\xbf", "blank"),
    "blank lines only": (CSV, b"\r\n \t\r\n\n", "blank"),
    "HTML after a byte order mark and blank lines": (
        CSV,
        b"\xef\xbb\xbf\n\n  <HTML><body>Wartung</body>",
        "an HTML page",
    ),
    "HTML in UTF-16": (CSV, "<!doctype html><p>Fehler".encode("utf-16"), "an HTML page"),
    "XHTML": (CSV, b'<?xml version="1.0"?>\n<html xmlns="x"><body/></html>', "an HTML page"),
    "XML": (CSV, b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML file"),
    "HTML after a comment": (CSV, b"<!-- generated --><div>", "an HTML page"),
    "xlsx as CSV": (CSV, WORKBOOK, "an Excel workbook (xlsx)"),
    "an error as JSON": (CSV, b'{"error": "unauthorized"}', "JSON"),
    "a list as JSON": (CSV, b'[ {"a": 1} ]', "JSON"),
    "gzip": (CSV, gzip.compress(GERMAN.encode()), "a gzip file"),
    "bzip2": (CSV, bz2.compress(GERMAN.encode()), "a bzip2 file"),
    "ZIP": (CSV, xlsx("bookings.csv"), "a ZIP archive"),
    "PDF": (CSV, b"%PDF-1.7\n...", "a PDF document"),
    "Parquet": (CSV, b"PAR1...PAR1", "a Parquet file"),
    "cp1252": (CSV, GERMAN.encode("cp1252"), "CSV in windows-1252, not in UTF-8 (line 1, character 9)"),
    "damaged UTF-8": (
        CSV,
        GERMAN.encode() * 50 + b"M\xfc;\n",
        f"CSV in UTF-8 with bytes that are not UTF-8 (line {GERMAN.count(chr(10)) * 50 + 1}, character 2)",
    ),
    "cp850": (CSV, GERMAN.encode("cp850"), "CSV in cp850 (DOS)"),
    "UTF-16 with a mark": (CSV, GERMAN.encode("utf-16"), "CSV in UTF-16."),
    "UTF-16 without a mark": (CSV, GERMAN.encode("utf-16-le"), "CSV in UTF-16-LE"),
    "UTF-16, big endian": (CSV, GERMAN.encode("utf-16-be"), "CSV in UTF-16-BE"),
    "UTF-32": (CSV, GERMAN.encode("utf-32"), "CSV in UTF-32"),
    "zeros": (CSV, b"a,b\n1,\x00\n" + b"2,3\n" * 50, "binary data"),
    "umlauts at the very end": (CSV, b"a,b\n" * MEGABYTE + "Müll,1\n".encode("cp1252"), "(line 1048577, character 2)"),
    "half a character": (CSV, b"a,b\n1,M\xc3", "ends in the middle of a character"),
    "half a row": (CSV, b"a,b,c\n1,2,3\n4,5", "ends in the middle of a row"),
    "half the first row": (CSV, b"a,b,c\n4,5", "ends in the middle of a row"),
    "half a row after many": (CSV, b"a,b,c\n" + b"1,2,3\n" * 50_000 + b"4", "ends in the middle of a row"),
    "another encoding than was said": (f"{CSV}; charset=utf-16", GERMAN.encode(), "not in the encoding utf-16"),
    # JSON
    "HTML as JSON": (JSON, b"<html>", "an HTML page"),
    "an error of PHP": (JSON, b"<br />\n<b>Warning</b>: mysqli", "an HTML page"),
    "gzip as JSON": (JSON, gzip.compress(b"[]"), "a gzip file"),
    "text as JSON": (JSON, b"Access denied", "not JSON"),
    "JSON of many brackets": (JSON, b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "empty JSON": (JSON, b" \n", "blank"),
    "half an object": (JSON, b'[{"a": 1}, {"a": ', "JSON that ends in the middle of a value"),
    "half a string": (JSON, b'[{"a": "x]}', "JSON that ends in the middle of a value"),
    "half a string, after an escape": (JSON, rb'["\"]', "JSON that ends in the middle of a value"),
    "half a list of many": (
        JSON,
        b"[" + b'{"a": [1, {"b": "}"}]},' * 100_000,
        "JSON that ends in the middle of a value",
    ),
    "a wrong bracket": (JSON, b'[{"a": 1]}', "brackets that do not match"),
    "a bracket too many": (JSON, b"[1]]", "brackets that do not match"),
    "no JSON": (JSON, b'{"a": 1,}', "not valid JSON (line 1, character"),
    "text after JSON": (JSON, b"[1]\n<html>", "not valid JSON (line 2, character 1"),
    "JSON in UTF-16": (JSON, '{"a": 1}'.encode("utf-16"), "JSON in UTF-16"),
    # Parquet
    "the beginning of Parquet": (PARQUET, b"PAR1" + bytes(100), "its end is missing"),
    "both ends of Parquet": (PARQUET, b"PAR1" + bytes(100) + b"PAR1", "metadata is damaged"),
    "the shortest Parquet": (PARQUET, b"PAR1", "its end is missing"),
    "HTML as Parquet": (PARQUET, b"<html>", "an HTML page"),
    "an empty Parquet file": (PARQUET, b"", "empty"),
    # Excel
    "half a workbook": (XLSX, WORKBOOK[:-30], "incomplete or damaged"),
    "a damaged workbook": (
        XLSX,
        WORKBOOK.replace(b"<workbook/>", b"<workbooX/>"),
        "damaged",
    ),
    "any ZIP": (XLSX, xlsx("a.csv"), "a ZIP archive"),
    "ods": (XLSX, xlsx("mimetype", "content.xml"), "an OpenDocument file"),
    "docx": (XLSX, xlsx("word/document.xml"), "a Word document"),
    "xls as xlsx": (XLSX, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "protected by a password"),
    "CSV as xlsx": (XLSX, b"a;b\n", "not an Excel workbook"),
    "xlsx as xls": (XLS, WORKBOOK, "the new form (xlsx)"),
    "CSV as xls": (XLS, b"a;b\n", "not an Excel workbook"),
    # Others
    "HTML as anything": ("application/geo+json", b"<!DOCTYPE html>", "an HTML page"),
    "an empty file of any kind": ("application/octet-stream", b"", "empty"),
}
SENT = {
    "CSV": (CSV, GERMAN.encode(), []),
    "CSV with a byte order mark": (CSV, GERMAN.encode("utf-8-sig"), []),
    "CSV without a last line end": (CSV, b"a,b\n1,2\n3,4", []),
    "CSV with a line break in its last field": (CSV, b'a,b\n1,2\n3,"4\n5"', []),
    "CSV with a shorter last row": (CSV, b"a,b\n1,2\n3\n", ["line 3 does not have 2 columns"]),
    "a header only": (CSV, b"a,b\n", ["only one line"]),
    "an error as text": (CSV, b"Access denied", ["only one line"]),
    "one column": (CSV, "Ort\nMünchen\nKöln\n".encode(), []),
    "semicolons in fields": (CSV, b"a,b\n1,x;y\n2,z\n", []),
    "tabs": (CSV, b"a\tb\n1\t2\n", ["separated by tabs"]),
    "a repeated header": (CSV, b"a,b\n1,2\na,b\n3,4\n", ["line 3 repeats the header"]),
    "a less-than sign": (CSV, b"<5 km,>5 km\n1,2\n", []),
    "brackets": (CSV, b"[Ort],[PLZ]\nx,01067\n", []),
    "a named encoding": (f"{CSV}; charset=windows-1252", GERMAN.encode("cp1252"), []),
    "separators of lines in Unicode": (CSV, "a,b\n1,x\u2028y\n2,\x85z\n".encode(), []),
    "a list of records": (JSON, b'[{"a": "}]\\\\"}, {"a": "\\""}]\n', []),
    "a list in an object": (JSON, b'{"results": [{"a": 1}]}', []),
    "one object per line": (JSON, b'{"a": 1}\n{"a": 2}\n', ["one per line"]),
    "constants of JavaScript": (JSON, b'[{"a": NaN}]', ["contains NaN"]),
    "a number of many digits": (JSON, b"[" + b"1" * 10_000 + b"]", []),
    "a number": (JSON, b"5", ["a single JSON value"]),
    "many objects": (JSON, b"[" + b'{"a": [1, {"b": "}"}]},' * 100_000 + b"{}]", []),
    "escapes at the ends of parts": (JSON, b"[" + b'"\\\\\\"",' * 200_000 + b'"\\\\"]', []),
    "xlsx": (XLSX, WORKBOOK, []),
    "xls": (XLS, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), []),
    "HTML that should be HTML": ("text/html", b"<html>", []),
    "anything": ("application/octet-stream", b"\x00\x01", []),
}


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture(params=["file", "object storage", "file object"])
def place(request, tmp_path):
    """Makes an upload source of a name and a content, in one of the places that files come from."""

    def make(name, content):
        if request.param == "file object":
            opened = io.BytesIO(b"before" + content)
            opened.seek(6)
            return open_source(opened, name)
        is_local = request.param == "file"
        folder = tmp_path if is_local else ObjectStoragePath(request.getfixturevalue("object_storage"))
        folder.mkdir(exist_ok=True, parents=True)
        with (folder / name).open("wb") as file:
            file.write(content)
        return open_source(folder / name)

    return make


@pytest.mark.parametrize("name", REFUSED_CASES)
def test_refused_cases(place, name):
    """A file that is not what its extension says is rejected, wherever it is."""
    kind = BY_EXTENSION[Path(name).suffix]
    with pytest.raises(PolyteiaDataError) as caught:
        check_file(place(name, (CASES / name).read_bytes()), kind)
    assert f": it is {REFUSED_CASES[name]}" in str(caught.value)
    assert repr(name) in str(caught.value)
    assert caught.value.not_applied
    assert not isinstance(caught.value, AirflowFailException)  # a later attempt may find a better file


@pytest.mark.parametrize("name", SENT_CASES)
def test_sent_cases(place, name, caplog):
    """What the platform may read is sent, with a warning if it is suspicious."""
    check_file(place(name, (CASES / name).read_bytes()), BY_EXTENSION[Path(name).suffix])
    found = warnings(caplog)
    assert len(found) == len(SENT_CASES[name])
    assert all(part in text for part, text in zip(SENT_CASES[name], found, strict=True))


@pytest.mark.parametrize("case", REJECTED)
def test_refused(tmp_path, case):
    """The exception says what a file really is."""
    kind, content, found = REJECTED[case]
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(PolyteiaDataError) as caught:
        check_file(open_source(tmp_path / "x"), kind)
    assert f"{found}" in str(caught.value)
    assert "Nothing was sent" in str(caught.value)


@pytest.mark.parametrize("case", SENT)
def test_sent(tmp_path, case, caplog):
    """A file that can be what it is sent as passes."""
    kind, content, suspicions = SENT[case]
    (tmp_path / "x").write_bytes(content)
    assert check_file(open_source(tmp_path / "x"), kind).rows is None
    found = warnings(caplog)
    assert len(found) == len(suspicions)
    assert all(part in text for part, text in zip(suspicions, found, strict=True))


def test_no_contents_in_exceptions(tmp_path):
    """Exceptions and their causes name places, never values: they may be personal data."""
    for kind, content in ((JSON, b'[{"name": "SECRET",}]'), (CSV, "name,a\nSECRET Müller,1\n".encode("cp1252"))):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(PolyteiaDataError) as caught:
            check_file(open_source(tmp_path / "x"), kind)
        assert "SECRET" not in f"{caught.value!s} {caught.value.__cause__!r} {caught.value.__context__!r}"


@pytest.mark.parametrize(("kind", "line"), [(CSV, "1,Müller,3\n"), (JSON, '{"a": "b", "c": "d"}\n')])
def test_constant_memory(tmp_path, kind, line):
    """A large file is read in parts."""
    content = line.encode() * (9 * MEGABYTE // len(line))
    (tmp_path / "x").write_bytes(content)
    source = open_source(tmp_path / "x")
    tracemalloc.start()
    check_file(source, kind)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MEGABYTE < len(content)


def test_unreadable_source():
    """A failure of the storage is not a fault of the data."""

    class Broken(io.BytesIO):
        def read(self, size=-1):
            if size:
                raise OSError(5, "Input/output error")
            return b""

    with pytest.raises(PolyteiaError, match="cannot be read: Input/output error") as caught:
        check_file(open_source(Broken(b"12345"), "x.csv"), CSV)
    assert not isinstance(caught.value, PolyteiaDataError)


def test_rows_of_parquet():
    """The number of rows and the columns come from the file's metadata."""
    found = check_file(open_source(CASES / "pandas_index.parquet"), PARQUET)
    assert found.rows == 2
    assert found.columns == {field.name: str(field.type) for field in pq.read_schema(CASES / "pandas_index.parquet")}


def test_json_is_what_python_reads(tmp_path):
    """Whatever json writes passes."""
    document = [{"text": text, "n": [None, 1.5, {"x": text}]} for text in ('"', "\\", '\\"', "}]", "ü\n", "{[")] * 1000
    (tmp_path / "x").write_text(json.dumps(document, ensure_ascii=False, indent=1))
    check_file(open_source(tmp_path / "x"), JSON)
