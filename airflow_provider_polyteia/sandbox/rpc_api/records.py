"""Records in the form of the RPC API: camelCase names, and dates as `datetime` (docs/platform-api.md#rpc-records)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.rpc_api.envelope import INVALID_DATE, parse_date

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.store import Record

_RENAMED = {"attributes": "publicProperties"}
_RENAMED_IN_COLUMNS = {"canonical_type": "canonicalType"}
_DATASET_FIELDS = (
    *("id", "organization_id", "solution_id", "name", "slug", "description", "source", "documentation"),
    *("created_at", "updated_at"),
)


def to_camel(name: str) -> str:
    """Return the name of a field of a record in the RPC API."""
    first, *others = _RENAMED.get(name, name).split("_")
    return first + "".join(word.capitalize() for word in others)


def to_snake(name: str) -> str:
    """Return the name that the backend uses for a key of an input."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def present(record: Record) -> dict[str, Any]:
    """Return a record of the backend, other than a dataset."""
    return {to_camel(name): _present_field(name, value) for name, value in record.items()}


def present_all(records: list[Record]) -> list[dict[str, Any]]:
    """Return records of the backend, other than datasets."""
    return [present(record) for record in records]


def present_dataset(record: Record) -> dict[str, Any]:
    """Return the record of a dataset."""
    metadata = record.get("metadata", {})
    columns = metadata.get("schema", {}).get("columns", {})
    as_of = parse_date(metadata.get("source_info", {}).get("source_timestamp"))
    return present({name: record.get(name) for name in _DATASET_FIELDS}) | {
        "columns": [{"name": name, **_describe(column)} for name, column in columns.items()],
        "dataAsOf": None if as_of is INVALID_DATE else as_of,
    }


def _describe(column: Any) -> dict[str, Any]:
    fields = column if isinstance(column, dict) else {"type": column}
    return {_RENAMED_IN_COLUMNS.get(name, name): value for name, value in fields.items()}


def read_column(column: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a column with the names that the backend uses."""
    names = {name: own for own, name in _RENAMED_IN_COLUMNS.items()}
    return {names.get(name, name): value for name, value in column.items()}


def _present_field(name: str, value: Any) -> Any:
    if not name.endswith("_at") or value is None:
        return value
    date = parse_date(value)
    return value if date is INVALID_DATE else date
