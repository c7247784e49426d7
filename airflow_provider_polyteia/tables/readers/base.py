"""The interface of all readers, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    Parameters = Sequence[Any] | Mapping[str, Any] | None

# Approximate size of the batches in which rows are read.
BATCH_BYTES = 4 * 1024 * 1024


class Reader(Protocol):
    """Runs one query."""

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        """Run the query and yield its rows in at least one batch, which may be empty."""

    def cancel(self) -> None:
        """Cancel the query. Called from another thread while `read_batches` is running."""


def check_names(names: Sequence[str]) -> None:
    """Check that a query returns at least one column and that all column names are unique.

    :raises PolyteiaConfigurationError: if there are no columns, or two columns with the same name.
    """
    if not names:
        raise PolyteiaConfigurationError("The query returns no columns.")
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise PolyteiaConfigurationError(f"The query returns two columns named {duplicates[0]!r}; rename one with AS.")
