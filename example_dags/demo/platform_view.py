"""Ask the platform what it holds, with plain HTTP as its API documents it: not through the provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests


@dataclass(frozen=True)
class Holding:
    """A dataset as the platform sees it."""

    name: str
    slug: str
    size: int
    row_count: int
    columns: list[str]
    first_rows: list[list[Any]]


class PlatformView:
    """Reads from the platform at `base_url` with a personal access key."""

    def __init__(self, base_url: str, key: str) -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {key}"}

    def holdings(self, solution_id: str, first: int = 3) -> list[Holding]:
        """The datasets of a solution that have content, with their `first` rows."""
        page = self._post("/api", query="list_datasets", page=1, size=100, solution_id=solution_id)
        with_content = [item for item in page["items"] if (item.get("metadata") or {}).get("asset_info")]
        return [self._holding(dataset, first) for dataset in sorted(with_content, key=lambda item: item["slug"])]

    def _holding(self, dataset: dict[str, Any], first: int) -> Holding:
        count = self._sql(dataset["id"], "SELECT count(*) FROM '{{%s}}'")
        sample = self._sql(dataset["id"], f"FROM '{{{{%s}}}}' LIMIT {first}")
        return Holding(
            name=dataset["name"],
            slug=dataset["slug"],
            size=dataset["metadata"]["asset_info"]["size"],
            row_count=count["rows"][0][0],
            columns=[column["name"] for column in sample["columns"]],
            first_rows=sample["rows"],
        )

    def _sql(self, dataset_id: str, sql: str) -> dict[str, Any]:
        result: dict[str, Any] = self._post(
            "/api/execute_sql",
            command="execute_sql",
            sql=sql % dataset_id,
            datasets=[dataset_id],
            args=[],
            named_args={},
        )
        return result

    def _post(self, path: str, *, query: str | None = None, command: str | None = None, **params: Any) -> Any:
        call = {"query": query} if query else {"command": command}
        response = requests.post(
            f"{self._base_url}{path}", json=call | {"params": params}, headers=self._headers, timeout=30
        )
        response.raise_for_status()
        body = response.json()
        if "error" in body:
            raise RuntimeError(f"The platform rejected {query or command}: {body['error']}")
        return body["data"]
