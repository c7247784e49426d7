"""Columns of datasets: those of the uploaded data, and what callers say about them (docs/platform-api.md#columns).

Both are stored, so that an upload does not erase a description, and a description does not erase a column of the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend.errors import bad_request

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.store import Record, Store


def by_name(columns: dict[str, Any] | list[Any]) -> dict[str, Any]:
    """Return columns as an object with their names as keys. An array has objects with `name`.

    :raises BusinessError: 400, if an item of an array does not have a name, or two have the same.
    """
    if isinstance(columns, dict):
        return columns
    if not all(isinstance(column, dict) and isinstance(column.get("name"), str) for column in columns):
        raise bad_request("params.columns: the items of an array must be objects with a name")
    described = {column["name"]: {key: value for key, value in column.items() if key != "name"} for column in columns}
    if len(described) < len(columns):
        raise bad_request("params.columns: the names of columns must be unique")
    return described


def describe(store: Store, dataset: Record, described: dict[str, Any]) -> Record:
    """Replace the descriptions of a dataset's columns, and return the changed dataset.

    What only repeats the data's own columns is not stored, so that the next upload can change it.
    """
    own = _of_data(store, dataset["id"])
    changes = {name: _without_repetition(column, own.get(name)) for name, column in described.items()}
    kept = {name: change for name, change in changes.items() if change or name not in own}
    store.put("column_descriptions", {"id": dataset["id"], "columns": kept})
    return store.change("dataset", dataset, {"metadata": with_columns(store, dataset)})


def copy_descriptions(store: Store, original: Record, dataset: Record) -> Record:
    """Describe the columns of a dataset like those of another one, and return the changed dataset."""
    described = store.get("column_descriptions", original["id"])
    return describe(store, dataset, described["columns"]) if described else dataset


def with_columns(store: Store, dataset: Record) -> Record:
    """Return the `metadata` of a dataset with its current columns, or without `schema` if it has neither.

    A description wins over what was inferred from the data, except the physical type. Described columns that the data
    lacks come last.
    """
    metadata = {name: value for name, value in dataset.get("metadata", {}).items() if name != "schema"}
    own, stored = _of_data(store, dataset["id"]), store.get("column_descriptions", dataset["id"])
    if stored is None and store.get("asset", dataset["id"]) is None:
        return metadata
    described = stored["columns"] if stored else {}
    merged = {name: _merge(column, described.get(name, {})) for name, column in own.items()}
    others = {name: description for name, description in described.items() if name not in own}
    return {**metadata, "schema": {"columns": merged | others}}


def _of_data(store: Store, dataset_id: str) -> dict[str, Any]:
    """Return the columns of a dataset's data, or none before the first upload."""
    asset = store.get("asset", dataset_id)
    return asset.get("columns", {}) if asset else {}


def _merge(own: Record, description: Any) -> Any:
    changes = description if isinstance(description, dict) else {"canonical_type": description}
    return {**own, **changes, "type": own["type"]}


def _without_repetition(description: Any, own: Record | None) -> Any:
    if own is None or not isinstance(description, dict):
        return description
    return {key: value for key, value in description.items() if own.get(key) != value}
