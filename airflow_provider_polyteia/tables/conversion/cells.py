"""What an xlsx file says about its cells that calamine does not report.

These are leading zeros of numbers, errors, and formulas without saved values. Other formats have none of this.
"""

from __future__ import annotations

import logging
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import IO, TYPE_CHECKING, Any
from xml.parsers import expat  # nosec B407 # it has no entities to expand: _refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

Place = tuple[int, int]  # row and column, from 1

_WORKBOOK, _RELATIONS, _STYLES = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml"
# Of number formats such as 00000, also with a locale before them or a section for text after them.
_ZEROS = re.compile(r"(?:\[\$[^\]]*\])?(0{2,})(?:;@)?")
# Without them, no cell is an error or a formula, and the XML need not be parsed, which takes longer than calamine.
_MARKERS = (b'"e"', b"'e'", b"<f", b":f")
_CHUNK = 1024 * 1024
_UNKNOWN = (
    EOFError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    expat.ExpatError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Notes:
    """What is noted of the cells of a sheet.

    :ivar zeros: place -> the digits of a number that is displayed with leading zeros.
    :ivar errors: places of errors such as ``#N/A``.
    :ivar unsaved: places of formulas whose values were not saved.
    """

    zeros: dict[Place, str] = field(default_factory=dict)
    errors: set[Place] = field(default_factory=set)
    unsaved: set[Place] = field(default_factory=set)


def read_notes(file: IO[bytes], sheet: str) -> Notes:
    """Return the notes of a sheet; none if the file is not xlsx, or has an unusual structure.

    :param file: a workbook that calamine can read.
    :param sheet: name of the sheet.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            part = _part_of(archive, sheet)
            widths = _widths(archive) if _STYLES in archive.namelist() else {}
            if not widths and _is_plain(archive, part):
                return Notes()
            scanner = _Scanner(widths)
            with archive.open(part) as opened:
                scanner.parse(opened)
            return scanner.notes
    except _UNKNOWN as error:
        log.info("Zeros and errors in the cells of sheet %r are not known (%s)", sheet, type(error).__name__)
        return Notes()


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """Return the member of the archive with a sheet."""
    sheets = (attributes for name, attributes in _elements(archive, _WORKBOOK) if name == "sheet")
    relation = next((_relation_of(attributes) for attributes in sheets if attributes.get("name") == sheet), "")
    targets = {
        attributes["Id"]: attributes["Target"]
        for name, attributes in _elements(archive, _RELATIONS)
        if name == "Relationship"
    }
    target = targets[relation]
    return target[1:] if target.startswith("/") else f"xl/{target}"


def _relation_of(attributes: Mapping[str, str]) -> str:
    return next((value for name, value in attributes.items() if name.endswith(":id")), "")


def _widths(archive: zipfile.ZipFile) -> dict[str, int]:
    """Return the number of digits of each style of cells that has leading zeros."""
    codes: dict[str, int] = {}
    styles: list[str] = []
    is_cell_style = False
    for name, attributes in _elements(archive, _STYLES):
        if name == "numFmt" and (zeros := _ZEROS.fullmatch(attributes.get("formatCode", ""))):
            codes[attributes["numFmtId"]] = len(zeros[1])
        elif name in ("cellXfs", "cellStyleXfs", "cellStyles"):
            is_cell_style = name == "cellXfs"
        elif name == "xf" and is_cell_style:
            styles.append(attributes.get("numFmtId", ""))
    return {str(number): codes[code] for number, code in enumerate(styles) if code in codes}


def _elements(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Return the name, without its prefix, and the attributes of each element."""
    found: list[tuple[str, Mapping[str, str]]] = []
    parser = _parser()
    parser.StartElementHandler = lambda name, attributes: found.append((_local(name), attributes))
    with archive.open(part) as opened:
        parser.ParseFile(opened)
    return iter(found)


def _parser() -> Any:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    return parser


def _refuse(*_: object) -> None:
    raise ValueError("a document type declaration, which workbooks do not have")


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _is_plain(archive: zipfile.ZipFile, part: str) -> bool:
    end = b""
    with archive.open(part) as opened:
        while chunk := opened.read(_CHUNK):
            if any(marker in end + chunk for marker in _MARKERS):
                return False
            end = chunk[-2:]
    return True


class _Scanner:
    """Notes the cells of a sheet while its XML is parsed.

    :param widths: style -> the number of digits with which it displays numbers.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        self.notes = Notes()
        self._widths = widths
        self._row = self._column = 0
        self._cell: Mapping[str, str] = {}
        self._value = ""
        self._has_formula = self._is_in_value = False

    def parse(self, file: IO[bytes]) -> None:
        """Note the cells."""
        parser = _parser()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._read
        parser.ParseFile(file)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        name = _local(name)
        if name == "c":
            self._cell, self._value, self._has_formula = attributes, "", False
            reference = attributes.get("r")
            self._column = _column_number(reference.rstrip("0123456789")) if reference else self._column + 1
        elif name == "v":
            self._is_in_value = True
        elif name == "f":
            self._has_formula = True
        elif name == "row":
            self._row, self._column = int(attributes.get("r", self._row + 1)), 0

    def _read(self, text: str) -> None:
        if self._is_in_value:
            self._value += text

    def _end(self, name: str) -> None:
        name = _local(name)
        if name == "v":
            self._is_in_value = False
        elif name == "c":
            self._note(self._cell.get("t", "n"))

    def _note(self, kind: str) -> None:
        place = self._row, self._column
        if kind == "e":
            self.notes.errors.add(place)
        elif kind == "n" and not self._value:
            if self._has_formula:
                self.notes.unsaved.add(place)
        elif kind == "n" and (width := self._widths.get(self._cell.get("s", "0"))):
            number = float(self._value)
            # Also those without zeros, so that the column is text every night.
            if number.is_integer() and 0 <= number < 10**width:
                self.notes.zeros[place] = str(int(number)).zfill(width)


@cache
def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
