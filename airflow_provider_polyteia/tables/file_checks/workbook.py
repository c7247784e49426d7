"""Checks that an Excel workbook is complete, by its directory and without reading its cells."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING

from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.file_checks.signatures import OFFICE, OLE, ZIP, recognize

if TYPE_CHECKING:
    from airflow_provider_polyteia.tables.file_checks.text import Open

_INCOMPLETE = "Run the task after the file is complete."
_WORKBOOK = "xl/workbook.xml"
_OTHER = {
    "xl/workbook.bin": "an Excel workbook in binary form (xlsb)",
    "word/document.xml": "a Word document",
    "content.xml": "an OpenDocument file, such as an ods spreadsheet",
}


def check_xlsx(open_file: Open, head: bytes) -> None:
    """Check an xlsx file.

    :raises Reject: if it is not a complete archive with a workbook.
    """
    found = recognize(head).found
    if found == OLE:
        raise Reject(
            "an Excel workbook of the old form (xls), or one that is protected by a password",
            "Save it as xlsx without a password, or set the argument 'content_type' to application/vnd.ms-excel.",
        )
    if found not in (ZIP, OFFICE):
        raise Reject(found or "not an Excel workbook")
    try:
        with open_file() as file, zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            if _WORKBOOK in names:
                archive.read(_WORKBOOK)  # checks its sum
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise Reject("an Excel workbook that is incomplete or damaged", _INCOMPLETE) from error
    if _WORKBOOK not in names:
        raise Reject(next((what for name, what in _OTHER.items() if name in names), ZIP))


def check_xls(head: bytes) -> None:
    """Check an xls file.

    :raises Reject: if it does not begin like one.
    """
    found = recognize(head).found
    if found in (ZIP, OFFICE):
        raise Reject(
            "an Excel workbook of the new form (xlsx), or another ZIP archive", "Name it .xlsx if it is a workbook."
        )
    if found != OLE:
        raise Reject(f"{found}, not an Excel workbook" if found else "not an Excel workbook")
