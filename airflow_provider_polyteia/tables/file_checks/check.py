"""The entry point of the checks of files that are sent as they are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_polyteia.client.formats import BY_EXTENSION, JSON, PARQUET, charset, media_type
from airflow_provider_polyteia.exceptions import PolyteiaError, log_cause
from airflow_provider_polyteia.storage import reason
from airflow_provider_polyteia.tables.file_checks.errors import Reject, data_error
from airflow_provider_polyteia.tables.file_checks.json_text import check_json
from airflow_provider_polyteia.tables.file_checks.parquet import Contents, check_parquet
from airflow_provider_polyteia.tables.file_checks.signatures import HEAD, HTML, recognize
from airflow_provider_polyteia.tables.file_checks.text import check_csv
from airflow_provider_polyteia.tables.file_checks.workbook import check_xls, check_xlsx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_polyteia.client.multipart import UploadSource

log = logging.getLogger(__name__)

_CSV, _XLSX, _XLS = BY_EXTENSION[".csv"], BY_EXTENSION[".xlsx"], BY_EXTENSION[".xls"]
_NAMES = {PARQUET: "Parquet", JSON: "JSON", _CSV: "CSV", _XLSX: "an xlsx workbook", _XLS: "an xls workbook"}


def check_file(source: UploadSource, content_type: str) -> Contents:
    """Check that a file is in the format of its content type, and log what is suspicious.

    :param content_type: its MIME type; a ``charset`` names the encoding of a CSV file.
    :return: what it contains; known of Parquet files if pyarrow is installed.
    :raises PolyteiaDataError: if it is not.
    :raises PolyteiaError: if it cannot be read.
    """
    kind = media_type(content_type)
    try:
        return _check(source, kind, charset(content_type))
    except Reject as rejected:
        log_cause(rejected.__cause__)
        raise data_error(source.name, _NAMES.get(kind, content_type), rejected) from None
    except PolyteiaError:
        raise
    except Exception as error:  # noqa: BLE001 - a storage layer may raise anything
        log_cause(error)
        raise PolyteiaError(f"{source.name!r} cannot be read: {reason(error)}.", not_applied=True) from None


def _check(source: UploadSource, kind: str, encoding: str) -> Contents:
    if not source.size:
        raise Reject("empty (0 bytes)")
    with source.open() as file:
        head = file.read(HEAD)
    suspicions: Iterator[str] = iter(())
    if kind == PARQUET:
        return check_parquet(source.open, head, source.size)
    if kind == _XLSX:
        check_xlsx(source.open, head)
    elif kind == _XLS:
        check_xls(head)
    elif kind == JSON:
        suspicions = check_json(source.open, head, source.size)
    elif kind == _CSV:
        suspicions = check_csv(source.open, head, encoding)
    elif kind != "text/html" and recognize(head).found == HTML:
        raise Reject(HTML)
    for suspicion in suspicions:
        log.warning("%r is uploaded unchanged, but %s.", source.name, suspicion)
    return Contents()
