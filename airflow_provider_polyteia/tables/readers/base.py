"""What readers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    Parameters = Sequence[Any] | Mapping[str, Any] | None

# Rows are read in batches of about this size.
BATCH_BYTES = 4 * 1024 * 1024


class Reader(Protocol):
    """Runs one query."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Run the query and yield its rows; at least one batch, which may be empty."""

    def cancel(self) -> None:
        """Stop the query; called from another thread while `batches` is at work."""


def check_names(names: Sequence[str]) -> None:
    """Refuse columns that a file could not tell apart.

    :raises PolyteiaConfigurationError: if there are none, or two of the same name.
    """
    if not names:
        raise PolyteiaConfigurationError("The query returns no columns.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PolyteiaConfigurationError(
            f"Two columns of the query have the name {repeated[0]!r}; give one of them another (AS)."
        )
