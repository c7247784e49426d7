"""How a SQL statement refers to datasets, and whether it is safe to retry. Performs no I/O.

The command API expects a dataset as ``'{{ds_...}}'`` (docs/platform-api.md#sql), which is also Airflow's template
syntax; the RPC API expects the bare id in quotes (docs/platform-api.md#rpc-sql). So a statement may refer to it in one
of two ways that survive templating, and is translated here:

* datasets as a mapping, ``{"bookings": "ds_..."}``: ``FROM {bookings}``
* datasets as a list of ids: the id in quotes, ``FROM 'ds_...'``

``'{{ds_...}}'`` itself is left unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

_ID = re.compile(r"ds_[0-9a-z]+")
_NAME = re.compile(r"(?<!\{)('?)\{(\w+)\}\1(?!\})")
_REFERENCE = re.compile(r"\{\{\s*(ds_[0-9a-z]+)\s*\}\}")
_PLAIN_READ = re.compile(r"\s*(SELECT|FROM)\b[^;]*;?\s*", re.IGNORECASE)

Datasets = str | Iterable[str] | Mapping[str, str]


class Query(NamedTuple):
    """A SQL statement with the datasets it refers to and the values of its placeholders.

    :param dataset_ids: ids of the datasets.
    :param args: values by position. Default: none.
    :param named_args: values by name. Default: none.
    """

    statement: str
    dataset_ids: Sequence[str]
    args: Sequence[Any] = ()
    named_args: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Query on {', '.join(self.dataset_ids)}>"


def resolve_references(sql: str, datasets: Datasets) -> tuple[str, list[str]]:
    """Return the statement with its references as the platform expects them, and the ids of the datasets.

    :raises PolyteiaConfigurationError: if an id is invalid, a name is not used, or a dataset in use is not listed.
    """
    if not isinstance(sql, str) or not sql.strip():
        raise PolyteiaConfigurationError(f"The SQL statement is {sql!r}; it must be a non-empty string.")
    names = _by_name([datasets] if isinstance(datasets, str) else datasets)
    if isinstance(datasets, Mapping):
        used = {match[2] for match in _NAME.finditer(sql)}
        unused = [name for name in names if name not in used]
        if unused:
            raise PolyteiaConfigurationError(
                f"'datasets' defines {unused[0]!r}, but the SQL statement does not use {{{unused[0]}}}."
            )
        sql = _NAME.sub(lambda match: _reference(names[match[2]]) if match[2] in names else match[0], sql)
    else:
        for dataset_id in names:
            if f"'{dataset_id}'" not in sql and dataset_id not in _REFERENCE.findall(sql):
                raise PolyteiaConfigurationError(
                    f"The SQL statement does not reference '{dataset_id}' (in quotes). If you wrote "
                    f"{{{{{dataset_id}}}}}, Airflow rendered it as a Jinja template."
                )
            sql = sql.replace(f"'{dataset_id}'", _reference(dataset_id))
    ids = list(dict.fromkeys(names.values()))
    missing = sorted(set(_REFERENCE.findall(sql)) - set(ids))
    if missing:
        raise PolyteiaConfigurationError(f"The SQL statement uses the dataset {missing[0]!r}; add it to the datasets.")
    return sql, ids


def with_bare_ids(statement: str) -> str:
    """Return a statement that refers to datasets as ``'ds_...'``, as the RPC API expects it.

    :param statement: as returned by `resolve_references`.
    """
    return _REFERENCE.sub(r"\1", statement)


def reads_only(sql: str) -> bool:
    """Return True if a statement certainly changes nothing: it begins with SELECT or FROM and contains no semicolon.

    Others may be safe to retry too; the argument `idempotent` says so.
    """
    return _PLAIN_READ.fullmatch(sql) is not None


def _by_name(datasets: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    names = dict(datasets) if isinstance(datasets, Mapping) else {item: item for item in datasets}
    for name, dataset_id in names.items():
        # The id is put between braces, so it must not contain any (docs/platform-api.md#sql).
        if not isinstance(dataset_id, str) or not _ID.fullmatch(dataset_id):
            of_name = "" if name == dataset_id else f" of {name!r}"
            raise PolyteiaConfigurationError(
                f"The dataset id{of_name} is {dataset_id!r}; it must look like 'ds_d2k7p8f4c5v1s8h3q9v0'."
            )
    return names


def _reference(dataset_id: str) -> str:
    return f"'{{{{{dataset_id}}}}}'"
