"""CSV files: delimiters, quotes, line ends, headers, encodings, compression, and rows that are wrong."""

from __future__ import annotations

import bz2
import gzip
import io
import resource
import zipfile

import pytest
from conversions import converted, named

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError

AB = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
UMLAUTS = "id;Straße\n1;Müllerstraße\n2;Große Gasse\n"


def zipped(*members):
    with zipfile.ZipFile(archive := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return archive.getvalue()


@pytest.mark.parametrize(
    "content",
    {
        "commas": "a,b\n1,x\n2,y\n",
        "semicolons": "a;b\n1;x\n2;y\n",
        "tabs": "a\tb\n1\tx\n2\ty\n",
        "vertical bars": "a|b\n1|x\n2|y\n",
        "CRLF": "a;b\r\n1;x\r\n2;y\r\n",
        "CR": "a;b\r1;x\r2;y\r",
        "several line ends": "a;b\r\n1;x\n2;y\r\n",
        "several line ends, LF first": "a;b\n1;x\r\n2;y\n",
        "no line end": "a;b\n1;x\n2;y",
        "quotes": '"a";"b"\n"1";"x"\n"2";"y"\n',
        "blank lines before": "\n \na;b\n1;x\n2;y\n",
        "blank lines between": "a;b\n1;x\n\n2;y\n\n",
        "a hint for Excel": "sep=;\r\na;b\r\n1;x\r\n2;y\r\n",
        "a byte order mark": "\ufeffa;b\n1;x\n2;y\n",
        "two byte order marks": "\ufeff\ufeffa;b\n1;x\n2;y\n",
        "a frame": ";a;b;\n;1;x;\n;2;y;\n",
        "delimiters at the end": "a;b;;\n1;x;;\n2;y;;\n",
        "spaces in the header": " a ; b \n1;x\n2;y\n",
    }.items(),
    ids=lambda item: item[0],
)
def test_dialects(convert, content):
    """The dialect is found, and the same table results."""
    assert convert(content[1]) == ({"a": "int64", "b": "string"}, AB)


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({"delim": "~"}, "a~b\n1~x\n2~y\n"),
        ({"quote": "'"}, "a;b\n1;'x'\n2;'y'\n"),
        ({"quote": ""}, "a;b\n1;x\n2;y\n"),
        ({"skip": 2}, "Bericht\n\na;b\n1;x\n2;y\n"),
        ({"comment": "#"}, "#x\na;b\n1;x\n# y\n2;y\n"),
        ({"comment": "#"}, "#x\n\n#y\na;b\n1;x\n2;y\n"),
        ({"comment": "#", "skip": 1}, "Bericht\n\n#y\na;b\n1;x\n2;y\n"),
        ({"format": "tsv"}, "a\tb\n1\tx\n2\ty\n"),
    ],
    ids=str,
)
def test_options(convert, options, content):
    """The options of DuckDB's reader have their names and effects."""
    assert convert(content, options)[1] == AB


def test_more_options(convert):
    """Rows without a header, rows that are too short, escapes, and quoted texts that are empty."""
    assert convert("1;x\n2;y\n", {"header": False})[1] == [
        {"column_1": 1, "column_2": "x"},
        {"column_1": 2, "column_2": "y"},
    ]
    assert convert("a;b\n1;x\n2\n", {"null_padding": True})[1] == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    escaped = convert('a;b\n1;"say \\"x\\""\n2;y\n', {"escape": "\\"})
    assert [row["b"] for row in escaped[1]] == ['say "x"', "y"]
    kept = convert('a;b\n1;""\n2;\n', {"allow_quoted_nulls": False})
    assert [row["b"] for row in kept[1]] == ["", None]


def test_names(convert, caplog):
    """Names that differ in case only would be one column to the platform; columns without a name get one."""
    types, rows = convert("Name;name;;a;\nx;y;z;1;\n")
    assert list(types) == ["Name", "name_2", "column_3", "a"]
    assert rows == [{"Name": "x", "name_2": "y", "column_3": "z", "a": 1}]
    assert "Column 2 repeats the name 'name' and is renamed to 'name_2'." in caplog.text


def test_values_far_behind_without_a_name(convert):
    """A column without a name is left out only if it has no value in the whole file."""
    rows = convert("a;b;\n" + "1;x;\n" * 6_000 + "2;y;z\n")[1]
    assert (rows[0]["column_3"], rows[-1]["column_3"]) == (None, "z")


def test_text_in_quotes(convert):
    """Delimiters, quotes and line breaks in quotes are text."""
    assert convert('a;b\n1;"x;""y""\r\nz"\n')[1] == [{"a": 1, "b": 'x;"y"\r\nz'}]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a;b\n1;x\n2\n", "whose line 3 has 1 column, not 2"),
        ("a;b\n1;x\n2;y;z\n", "whose line 3 has 3 columns, not 2"),
        ('a;b\n1;"x\ny"\n2\n', "whose line 4 has 1 column, not 2"),
        ("a;b\n" + "1;x\n" * 6_000 + "2\n", "whose line 6002 has 1 column, not 2"),
        ("\n\na;b\r\n1;x\n2;y;z\n", "whose line 5 has 3 columns, not 2"),
        ('a;b\n1;"x\n2;y\n', "whose line 2 cannot be read: unexpected end of data"),
        ('a;b\n1;"x" y\n', "whose line 2 cannot be read"),
        ("\n\n", "it is blank"),
        ("a;b\n1;\0\n", "it is binary data"),
        ('{"error": "unauthorized"}', "it is JSON"),
        ("<?xml version='1.0'?><Error/>", "it is an XML file"),
    ],
)
def test_refused(convert, content, why):
    """The exception names the line, and none of its values."""
    with pytest.raises(PolyteiaDataError) as rejected:
        convert(content)
    assert why in str(rejected.value)
    assert "y;z" not in str(rejected.value)


@pytest.mark.parametrize(("row", "advice"), [("2", "set 'null_padding'"), ("2;y;z", "the separator without quotes")])
def test_rows_of_another_length(convert, row, advice):
    """What is missing may be filled with NULL; what is too much is a mistake in the file."""
    with pytest.raises(PolyteiaDataError) as rejected:
        convert(f"a;b\n1;x\n{row}\n")
    assert advice in str(rejected.value)
    assert ("null_padding" in str(rejected.value)) == (row == "2")


def test_title_lines(convert):
    """`skip=0` says that the first line is the header, even if it looks like a title."""
    content = "Stadt\nNord;1\nSüd;2\n"
    with pytest.raises(PolyteiaDataError, match=r"seems to begin in line 2.*or to 0"):
        convert(content)
    with pytest.raises(PolyteiaDataError, match="line 2 has 2 columns, not 1"):
        convert(content, {"skip": 0})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "cp850", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("is_named", [True, False])
def test_encodings(convert, encoding, is_named):
    """An encoding is found, or named; the log says which."""
    rows = convert(UMLAUTS.encode(encoding), {"encoding": encoding} if is_named else True)[1]
    assert rows == [{"id": 1, "Straße": "Müllerstraße"}, {"id": 2, "Straße": "Große Gasse"}]


def test_wrong_encoding(convert):
    """A byte that the named encoding does not have is an exception, never a replacement character."""
    with pytest.raises(PolyteiaDataError, match=r"not in the encoding windows-1252 \(line 2, character 3\)"):
        convert(b"a;b\n1;\x81\n", {"encoding": "cp1252"})


@pytest.mark.parametrize("name", ["x.csv.gz", "x.csv"])
def test_gzip(convert, name):
    """Gzip is recognized by its content, also in several parts."""
    assert convert(gzip.compress(b"a;b\n1;x\n") + gzip.compress(b"2;y\n"), name=name)[1] == AB


def test_zip(convert):
    """A ZIP archive with one file is unpacked; its extension is that of the file within."""
    added = [("__MACOSX/._x.csv", "?"), ("daten/__MACOSX/._x.csv", "?"), ("daten/.DS_Store", "?"), ("Thumbs.db", "?")]
    member = ("daten/x.csv", "a;b\n1;x\n2;y\n")
    assert convert(zipped(("daten/", ""), *added, member), name="x.zip")[1] == AB
    assert convert(zipped(member), name="x.csv")[1] == AB


DAMAGED = {
    "a gzip file that is incomplete or damaged": gzip.compress(b"a;b\n1;x\n")[:-6],
    "a ZIP archive with 2 files": zipped(("a.csv", "a"), ("b.csv", "b")),
    "a ZIP archive with 0 files": zipped(),
    "a ZIP archive that is incomplete or damaged": zipped(("a.csv", "a;b\n1;x\n" * 100))[:-30],
    "a bzip2 file": bz2.compress(b"a;b\n"),
}


@pytest.mark.parametrize("why", DAMAGED)
def test_damaged_archives(convert, why):
    """An archive that cannot be unpacked completely is rejected."""
    with pytest.raises(PolyteiaDataError, match=why):
        convert(DAMAGED[why])


def test_file_objects():
    """A file object is read from where it is, and needs a format if its name says none."""
    file = named(b"###a;b\n1;x\n2;y\n", "x.csv")
    file.seek(3)
    assert converted(file)[1] == AB
    with pytest.raises(PolyteiaConfigurationError, match="Set 'format' in the argument 'convert' to one of csv, tsv,"):
        converted(named(b"a;b\n1;x\n2;y\n", "x"))
    assert converted(named(b"a;b\n1;x\n2;y\n", "x"), {"format": "csv"})[1] == AB


def test_long_rows(convert):
    """A row may be longer than DuckDB expects."""
    text = "x" * 2_500_000
    assert convert(f"a;b\n1;{text}\n2;y\n")[1] == [{"a": 1, "b": text}, {"a": 2, "b": "y"}]


@pytest.mark.timeout(20)
def test_many_columns(convert):
    """Time and memory do not grow with the square of the columns."""
    names = [f"c{number}" for number in range(600)]
    row = [str(number * 7) for number in range(600)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    types, rows = convert("\n".join([";".join(names), *[";".join(row)] * 500]))
    assert set(types.values()) == {"int64"}
    assert list(rows[-1].values()) == list(map(int, row))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024  # KiB


def test_names_of_files_with_wildcards(convert):
    """A local file is opened under its name, which may be a pattern to DuckDB."""
    assert convert("a;b\n1;x\n2;y\n", name="x[1]*.csv")[1] == AB


def test_comment_within_quotes(convert):
    """A line within quotes is not a comment, even if it begins like one."""
    content = 'a;b\n# a comment\n1;"x\n#y\nz"\n# another one\n2;w\n'
    assert convert(content, {"comment": "#"})[1] == [{"a": 1, "b": "x\n#y\nz"}, {"a": 2, "b": "w"}]


def test_padded_line_breaks(convert):
    """Rows that are padded may contain line breaks, which DuckDB does not read."""
    content = 'a;b;c\n1;"x\ny"\n2;z;w\n'
    assert convert(content, {"null_padding": True})[1] == [
        {"a": 1, "b": "x\ny", "c": None},
        {"a": 2, "b": "z", "c": "w"},
    ]


def test_quoted_nulls_row_by_row(convert):
    """What is read row by row does not tell quoted values from others, so the option is rejected, not ignored."""
    content = 'a;b\n1;k.A.\r\n2;"k.A."\n'
    with pytest.raises(PolyteiaDataError, match="Remove 'allow_quoted_nulls'"):
        convert(content, {"nullstr": "k.A.", "allow_quoted_nulls": False})


@pytest.mark.parametrize("first", ["1;2;3", "2026-01-01;5,00;;", "+49;1.5"])
def test_values_instead_of_names(convert, first):
    """A first line of numbers and dates is not a header, unless the DAG says so."""
    content = f"{first}\n{first}\n"
    with pytest.raises(PolyteiaDataError, match=r"Set 'header' .* to False, or to True") as rejected:
        convert(content)
    assert first.partition(";")[0] not in str(rejected.value)
    assert len(convert(content, {"header": True})[1]) == 1
    assert len(convert(content, {"header": False})[1]) == 2


def test_years_as_names(convert):
    """Years are names, as in tables of statistics."""
    assert convert(";2025;2026\nx;1;2\n")[1] == [{"column_1": "x", "2025": 1, "2026": 2}]
    assert convert("Gemeinde;2025;2026\nx;1;2\n")[1] == [{"Gemeinde": "x", "2025": 1, "2026": 2}]


def test_one_column_with_commas(convert):
    """What looks like two columns may be one: the exception names the option that decides."""
    with pytest.raises(PolyteiaDataError, match="or 'delim' if it has one column"):
        convert("Name\nMüller, Hans\nMeier, Eva\n")
    assert convert("Name\nMüller, Hans\n", {"delim": ";"})[1] == [{"Name": "Müller, Hans"}]


@pytest.mark.parametrize(
    "content",
    [
        "a;b\n1;x\n2;y\n\x1a",
        "a;b\n1;x\n2;y\x1a",
        "a;b\n1;x\n  \n2;y\n \n",
        "a;b;\n1;x\n2;y\n",
        "a;b;\n1;x;\n2;y\n",
        "a;b\n1;x;\n2;y;;\n",
    ],
    ids=["Ctrl+Z", "Ctrl+Z without a line end", "blank lines", "only the header", "some rows", "only the rows"],
)
def test_small_differences(convert, content):
    """What programs add to the end of a file or a row does not change the table."""
    assert convert(content)[1] == AB


@pytest.mark.parametrize("row", ["1;x;z", "1", "1;x;;z"])
def test_rows_of_another_width(convert, row):
    """A value outside of the columns is rejected, and so is a row without one of them."""
    with pytest.raises(PolyteiaDataError, match="line 3 has"):
        convert(f"a;b\n1;x\n{row}\n")


@pytest.mark.parametrize(
    ("content", "options", "line"),
    [
        ("#t\na;b\n1;2\n#c\n3;x\n", {"comment": "#", "columns": {"b": "BIGINT"}}, 5),
        ("a\n1\n\nx\n5\n6\n", {"columns": {"a": "BIGINT"}}, 4),
        ("a\n1\n\n\nx\n", {"columns": {"a": "BIGINT"}}, 5),
        ("a\r\n1\n\nx\n5\n", {"columns": {"a": "BIGINT"}}, 4),
    ],
)
def test_line_numbers(convert, content, options, line):
    """Comments and blank lines count, also where a blank line is a value of the only column."""
    with pytest.raises(PolyteiaDataError, match=f"line {line}, column"):
        convert(content, options)


def test_blank_lines_of_one_column(convert):
    """A blank line is a missing value, in both ways to read a file."""
    expected = [{"a": 1}, {"a": None}, {"a": 2}]
    assert convert("a\n1\n\n2\n")[1] == expected
    assert convert("a\r\n1\n\n2\n")[1] == expected
