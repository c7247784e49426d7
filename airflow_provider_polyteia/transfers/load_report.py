"""What a task with `check_only` reports, for its log and XCom: what is known of a load that was not made."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_polyteia.hooks.files import Checked
    from airflow_provider_polyteia.tables.load_checks import Load

log = logging.getLogger(__name__)

_UNKNOWN_TYPE = "null"
_KNOWN = {True: "yes", None: "not known"}


def report(found: Checked, load: Load, last: Load | None, label: str) -> dict[str, Any]:
    """Log what is known of a load, and return it for XCom.

    The result has no ``bytes``, so that no later run takes it for that of a load; but it hides the result of the last
    load from them, and therefore contains it.

    :param label: what identifies the dataset.
    """
    for line in _lines(found, load, label):
        log.info("%s", line)
    return {
        "check_only": True,
        **found,
        "dataset": "exists" if found["dataset_id"] else "missing",
        "columns": dict(load.columns),
        "last_load": None if last is None else {"rows": last.rows, "bytes": last.size, "columns": dict(last.columns)},
    }


def last_load_in(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the result of the last load, of which the result of a check has a copy."""
    return {**result, **(result.get("last_load") or {})} if result.get("check_only") else result


def _lines(found: Checked, load: Load, label: str) -> Iterator[str]:
    yield "Only checked, because check_only is set; nothing was sent, and nothing was changed."
    if load.rows is not None:
        yield f"Rows: {load.rows:,}"
    if load.columns:
        yield f"Columns: {', '.join(_column(*column) for column in load.columns.items())}"
    may_upload = _KNOWN[found["may_upload"]]
    if found["dataset_id"]:
        yield f"Dataset {label!r} exists. The account may replace its data: {may_upload}"
    else:
        yield f"Dataset {label!r} does not exist. The account may create it: {may_upload}"
    yield f"The data-processing terms are acknowledged: {_KNOWN[found['terms_acknowledged']]}"


def _column(name: str, kind: str) -> str:
    return f"{name} ({'depends on the values' if kind == _UNKNOWN_TYPE else kind})"
