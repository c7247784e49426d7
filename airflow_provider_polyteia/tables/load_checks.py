"""Checks of a load as a whole, before it replaces anything: how many rows, and which columns."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

log = logging.getLogger(__name__)

OnSchemaChange = Literal["warn", "fail", "allow"]

_NOTHING_SENT = "Nothing was sent, and the dataset keeps its data."


@dataclass(frozen=True)
class Load:
    """What is known about data that is to be loaded, or was loaded before.

    :param rows: number of rows; None if it is not known.
    :param size: bytes that are sent.
    :param columns: name -> type of each column; empty if they are not known.
    """

    rows: int | None
    size: int
    columns: Mapping[str, str]

    @classmethod
    def from_result(cls, result: Any) -> Load | None:
        """Return what the result of an earlier run says; None if it is not a result of a load."""
        if not isinstance(result, dict) or not isinstance(result.get("bytes"), int):
            return None
        rows, columns = result.get("rows"), result.get("columns")
        return cls(
            rows if isinstance(rows, int) else None, result["bytes"], columns if isinstance(columns, dict) else {}
        )


@dataclass(frozen=True)
class LoadChecks:
    """The checks of a load.

    :param min_rows: minimum number of rows. Default: 0.
    :param max_shrink: maximum share, from 0 to 1, by which the data may shrink; of the rows, or of the bytes where
        the number of rows is not known. Default: None, any.
    :param on_schema_change: what to do if columns are added, removed, or have another type than at the last load:
        ``"warn"`` (default), ``"fail"`` or ``"allow"``.
    :raises PolyteiaConfigurationError: if an argument is unusable.
    """

    min_rows: int = 0
    max_shrink: float | None = None
    on_schema_change: OnSchemaChange = "warn"

    def __post_init__(self) -> None:
        if not isinstance(self.min_rows, int) or self.min_rows < 0:
            raise PolyteiaConfigurationError(f"min_rows is {self.min_rows!r}; it must be a number of rows, at least 0.")
        if self.max_shrink is not None and not (isinstance(self.max_shrink, int | float) and 0 <= self.max_shrink <= 1):
            raise PolyteiaConfigurationError(f"max_shrink is {self.max_shrink!r}; it must be a number from 0 to 1.")
        if self.on_schema_change not in get_args(OnSchemaChange):
            allowed = ", ".join(map(repr, get_args(OnSchemaChange)))
            raise PolyteiaConfigurationError(
                f"on_schema_change is {self.on_schema_change!r}; it must be one of {allowed}."
            )

    def check(self, load: Load, before: Load | None, label: str) -> None:
        """Check a load.

        :param before: the last load into the same dataset; None if there was none.
        :param label: what is loaded, such as ``'bookings.csv'``.
        :raises PolyteiaDataError: if a check fails.
        :raises PolyteiaConfigurationError: if `min_rows` is set, and the number of rows is not known.
        """
        self._check_rows(load, label)
        if before is not None:
            self._check_shrinkage(load, before, label)
            self._check_schema(load, before, label)

    def _check_rows(self, load: Load, label: str) -> None:
        if not self.min_rows:
            return
        if load.rows is None:
            raise PolyteiaConfigurationError(
                f"{label} has a number of rows that is not known before it is sent, so 'min_rows' cannot be checked. "
                "It is known of queries, converted files, and Parquet files (with pyarrow installed)."
            )
        if load.rows < self.min_rows:
            raise PolyteiaDataError(
                f"{label} has {_rows(load.rows)}; 'min_rows' is {self.min_rows:,}. {_NOTHING_SENT}", not_applied=True
            )

    def _check_shrinkage(self, load: Load, before: Load, label: str) -> None:
        if self.max_shrink is None:
            return
        if load.rows is not None and before.rows is not None:
            now, last, unit = load.rows, before.rows, "rows"
        else:
            now, last, unit = load.size, before.size, "bytes"
        if now < last * (1 - self.max_shrink):
            raise PolyteiaDataError(
                f"{label} has {now:,} {unit}, {1 - now / last:.0%} fewer than the {last:,} of the last load; "
                f"'max_shrink' is {self.max_shrink:g}. {_NOTHING_SENT} If the data is right, increase 'max_shrink' for "
                "one run.",
                not_applied=True,
            )

    def _check_schema(self, load: Load, before: Load, label: str) -> None:
        if self.on_schema_change == "allow" or not (load.columns and before.columns):
            return
        changes = "; ".join(_changes(load.columns, before.columns))
        if not changes:
            return
        if self.on_schema_change == "fail":
            raise PolyteiaDataError(
                f"{label} has other columns than the last load: {changes}. {_NOTHING_SENT} If the change is intended, "
                "set 'on_schema_change' to 'allow' for one run.",
                not_applied=True,
            )
        log.warning("%s has other columns than the last load: %s.", label, changes)


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"


def _changes(now: Mapping[str, str], before: Mapping[str, str]) -> Iterator[str]:
    added = [name for name in now if name not in before]
    removed = [name for name in before if name not in now]
    changed = [name for name in now if name in before and now[name] != before[name]]
    if added:
        yield f"added: {', '.join(f'{name!r} ({now[name]})' for name in added)}"
    if removed:
        yield f"removed: {', '.join(map(repr, removed))}"
    if changed:
        yield f"another type: {', '.join(f'{name!r} ({before[name]} -> {now[name]})' for name in changed)}"
