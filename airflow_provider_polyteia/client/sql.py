"""SQL on datasets (API reference 9): how a statement refers to datasets, and whether it may be repeated. Pure.

The platform wants a dataset as ``'{{ds_...}}'``, which is also how Airflow writes templates. So a statement may say it
in one of two ways that survive templating, and is translated here:

* datasets as a mapping, ``{"bookings": "ds_..."}``: ``FROM {bookings}``
* datasets as a list of ids: the id in quotes, ``FROM 'ds_...'``

``'{{ds_...}}'`` itself is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

_ID = re.compile(r"ds_[0-9a-z]+")
_NAME = re.compile(r"(?<!\{)('?)\{(\w+)\}\1(?!\})")
_REFERENCE = re.compile(r"\{\{\s*(ds_[0-9a-z]+)\s*\}\}")
_PLAIN_READ = re.compile(r"\s*(SELECT|FROM)\b[^;]*;?\s*", re.IGNORECASE)

Datasets = str | Iterable[str] | Mapping[str, str]


def refer(sql: str, datasets: Datasets) -> tuple[str, list[str]]:
    """Return the statement with its references as the platform wants them, and the ids of the datasets.

    :raises PolyteiaConfigurationError: if an id is none, a name is not used, or a dataset in use is not listed.
    """
    if not isinstance(sql, str) or not sql.strip():
        raise PolyteiaConfigurationError(f"The SQL statement is {sql!r}; it must be a text that is not empty.")
    names = _by_name([datasets] if isinstance(datasets, str) else datasets)
    if isinstance(datasets, Mapping):
        used = {match[2] for match in _NAME.finditer(sql)}
        unused = [name for name in names if name not in used]
        if unused:
            raise PolyteiaConfigurationError(
                f"'datasets' has the name {unused[0]!r}, but the SQL statement nowhere says {{{unused[0]}}}."
            )
        sql = _NAME.sub(lambda match: _reference(names[match[2]]) if match[2] in names else match[0], sql)
    else:
        for dataset_id in names:
            if f"'{dataset_id}'" not in sql and dataset_id not in _REFERENCE.findall(sql):
                raise PolyteiaConfigurationError(
                    f"The SQL statement nowhere says '{dataset_id}' in quotes, as it refers to a dataset. Airflow's "
                    "templates may have eaten a {{" + dataset_id + "}}."
                )
            sql = sql.replace(f"'{dataset_id}'", _reference(dataset_id))
    ids = list(dict.fromkeys(names.values()))
    missing = sorted(set(_REFERENCE.findall(sql)) - set(ids))
    if missing:
        raise PolyteiaConfigurationError(f"The SQL statement uses the dataset {missing[0]!r}; add it to the datasets.")
    return sql, ids


def reads_only(sql: str) -> bool:
    """Tell whether a statement certainly changes nothing: one that begins with SELECT or FROM and holds no semicolon.

    Others may be harmless too; whoever knows can say so.
    """
    return _PLAIN_READ.fullmatch(sql) is not None


def _by_name(datasets: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    names = dict(datasets) if isinstance(datasets, Mapping) else {item: item for item in datasets}
    for name, dataset_id in names.items():
        # What goes between the braces must not be able to end them (API reference 9).
        if not isinstance(dataset_id, str) or not _ID.fullmatch(dataset_id):
            of_name = "" if name == dataset_id else f" of {name!r}"
            raise PolyteiaConfigurationError(
                f"The dataset id{of_name} is {dataset_id!r}; it must look like 'ds_d2k7p8f4c5v1s8h3q9v0'."
            )
    return names


def _reference(dataset_id: str) -> str:
    return f"'{{{{{dataset_id}}}}}'"
