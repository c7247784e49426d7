"""All items of a paginated query (API reference 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_SIZE = 100
MAX_PAGES = 10_000

# These lists may ignore the filter (API reference 12, no. 29), so their items are filtered again.
_FILTER = {"list_workspaces": "organization_id", "list_solutions": "organization_id"}


def iterate(
    query: Callable[[str, Mapping[str, Any]], Any],
    method: str,
    params: Mapping[str, Any] | None,
    *,
    page_size: int,
    max_pages: int,
) -> Iterator[dict[str, Any] | str]:
    """Check the arguments now, and yield the items lazily."""
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= MAX_SIZE:
        raise PolyteiaConfigurationError(
            f"The page size of {method!r} is {page_size!r}; it must be a whole number from 1 to {MAX_SIZE}.",
            method=method,
        )
    if params is not None and not isinstance(params, Mapping):
        raise PolyteiaConfigurationError(
            f"The parameters of {method!r} are a {type(params).__name__}; they must be a mapping of names to values.",
            method=method,
        )
    given = dict(params or {})
    if "page" in given or "size" in given:
        raise PolyteiaConfigurationError(
            f"The parameters of {method!r} hold 'page' or 'size', but all pages are read; leave them out.",
            method=method,
        )
    return _items(query, Pages(method, given, size=page_size, max_pages=max_pages))


def _items(query: Callable[[str, Mapping[str, Any]], Any], pages: Pages) -> Iterator[dict[str, Any] | str]:
    while not pages.is_complete:
        yield from pages.take(query(pages.method, pages.params))


class Pages:
    """Which page is to be asked for next, and what the pages so far have shown. Pure; no I/O.

    :param params: the query's params without ``page`` and ``size``.
    """

    def __init__(
        self, method: str, params: Mapping[str, Any], *, size: int = MAX_SIZE, max_pages: int = MAX_PAGES
    ) -> None:
        self.method = method
        self.is_complete = False
        self._params = params
        self._size = size
        self._max_pages = max_pages
        self._page = 1
        self._received = 0
        self._seen: set[str] = set()

    @property
    def params(self) -> dict[str, Any]:
        """The params of the query for the next page."""
        return {**self._params, "page": self._page, "size": self._size}

    def take(self, data: Any) -> list[dict[str, Any] | str]:
        """Read the answer for the next page, and return the items in it that are new.

        :raises PolyteiaProtocolError: if it is no page, or there is no end to the pages.
        """
        items, total = _read(data, self.method)
        new = []
        for item in items:
            name = item if isinstance(item, str) else item.get("id")
            if not isinstance(name, str):  # without an id that can be compared
                name = None
            if name not in self._seen and _belongs(item, self.method, self._params):
                new.append(item)
            if name is not None:
                self._seen.add(name)
        self._received += len(items)
        self.is_complete = not items or (
            total is not None and (self._received >= total or self._page * self._size >= total)
        )
        if not self.is_complete and self._page >= self._max_pages:
            raise PolyteiaProtocolError(
                f"{self.method!r} has not come to an end after {self._max_pages} pages of {self._size} items; raise "
                "max_pages, or narrow the parameters.",
                method=self.method,
            )
        self._page += 1
        return new


def _read(data: Any, method: str) -> tuple[list[dict[str, Any] | str], int | None]:
    """Return a page's items and the total, if the platform tells it."""
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict | str) for item in items):
        raise PolyteiaProtocolError(
            f"{method!r} was not answered with a page of items; is it a paginated query?", method=method
        )
    total = data.get("total")
    return items, total if isinstance(total, int) and not isinstance(total, bool) else None


def _belongs(item: dict[str, Any] | str, method: str, params: Mapping[str, Any]) -> bool:
    field = _FILTER.get(method, "")
    wanted, actual = params.get(field), item.get(field) if isinstance(item, dict) else None
    return wanted is None or actual is None or wanted == actual
