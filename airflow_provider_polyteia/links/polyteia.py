"""The link 'Open in Polyteia'.

The URLs of the platform's pages are not documented. The link points to its start page, unless the connection's extra
``ui_url`` is a pattern such as ``https://app.polyteia.com/datasets/{dataset_id}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Formatter
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

LINK_KEY = "polyteia_link"
_KINDS = {"ds_": "dataset_id", "sol_": "solution_id", "ws_": "workspace_id", "org_": "organization_id"}


class PolyteiaLink(BaseOperatorLink):
    """Returns the URL that a task set as soon as it knew the id, so a task that failed later has a link too.

    Airflow 3 asks within the task's process. Airflow 2 asks within the web server, where the URL is an XCom; the same
    applies to a sensor that resumes in another process.
    """

    name = "Open in Polyteia"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, or an empty string, which shows no link."""
        link: str = getattr(operator, "polyteia_link", "")
        if link or not getattr(operator, "pushes_link", True):
            return link
        return XCom.get_value(key=LINK_KEY, ti_key=ti_key) or ""


def ids_in(record: Mapping[str, object]) -> dict[str, str]:
    """Return the ids in a record, or in the parameters of a call, by their prefix (docs/platform-api.md#ids)."""
    found = {}
    for name, value in record.items():
        if isinstance(name, str) and isinstance(value, str) and (name == "id" or name.endswith(("_id", "Id"))):
            kind = next((kind for prefix, kind in _KINDS.items() if value.startswith(prefix)), None)
            if kind:
                found[kind] = value
    return found


def first_dataset(datasets: object) -> dict[str, str]:
    """Return the id of the first dataset, given as operators take datasets: one id, several, or names with ids."""
    ids = datasets.values() if isinstance(datasets, Mapping) else datasets
    listed = [ids] if isinstance(ids, str) else list(ids) if isinstance(ids, Iterable) else []
    return ids_in({"id": listed[0]}) if listed else {}


def page_url(base_url: str, pattern: str | None, ids: Mapping[str, str]) -> str:
    """Return the URL of the page for the ids; the start page if the pattern needs other ids."""
    if pattern and {name for _, name, _, _ in Formatter().parse(pattern) if name} <= set(ids):
        return pattern.format_map({kind: quote(value, safe="", errors="replace") for kind, value in ids.items()})
    return f"{base_url}/"
