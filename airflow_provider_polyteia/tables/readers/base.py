"""The interface of all readers, and what they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.staging import StagedTable

    Parameters = Sequence[Any] | Mapping[str, Any] | None

# Approximate size of the batches in which rows are read.
BATCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and what is known about its columns.

    :ivar parameters: values for its placeholders, in the style of the driver, or None.
    :ivar declared: name -> type of the columns whose types the user has declared.
    :ivar last: name -> type of the columns at the last load, as Arrow writes it.
    :ivar batch_bytes: approximate size of a batch.
    """

    sql: str
    parameters: Parameters = None
    declared: Mapping[str, pa.DataType] = field(default_factory=dict)
    last: Mapping[str, str] = field(default_factory=dict)
    batch_bytes: int = BATCH_BYTES


class Reader(Protocol):
    """Runs one query."""

    def stage(self, temp_dir: str | None) -> StagedTable:
        """Run the query and return its rows as a temporary Parquet file.

        :raises PolyteiaError: if a value does not fit its type, or the file cannot be written.
        :raises Exception: any other, if the database fails.
        """

    def progress(self) -> str:
        """Return how much was read so far, for people. Called from another thread while `stage` is running."""

    def cancel(self) -> None:
        """Cancel the query. Called from another thread while `stage` is running."""


class ReadError(Exception):
    """The database failed. The text has no values of parameters, which the exception of a driver may have."""


class ConnectError(ReadError):
    """The connection failed. The text may quote: it is about the connection, not about rows."""


def connect(hook: Any) -> Any:
    """Open a connection to a database.

    :raises ConnectError: if that fails.
    """
    try:
        return hook.get_conn()
    except Exception as error:
        raise ConnectError(f"{type(error).__name__}: {str(error).strip()}") from error


def check_names(names: Sequence[str]) -> None:
    """Check that a query returns at least one column and that all column names are unique.

    :raises PolyteiaConfigurationError: if there are no columns, or two columns with the same name.
    """
    if not names:
        raise PolyteiaConfigurationError("The query returns no columns.")
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise PolyteiaConfigurationError(f"The query returns two columns named {duplicates[0]!r}; rename one with AS.")


def declare(columns: Sequence[Column], declared: Mapping[str, pa.DataType]) -> list[Column]:
    """Return the columns, with the types that the user has declared for some.

    :raises PolyteiaConfigurationError: if the query does not have such a column.
    """
    check_declared(declared, [column.name for column in columns])
    return [column.declared(declared[column.name]) if column.name in declared else column for column in columns]


def check_declared(declared: Mapping[str, pa.DataType], names: Sequence[str]) -> None:
    """Check that the columns exist whose types the user has declared.

    :raises PolyteiaConfigurationError: if not.
    """
    unknown = [name for name in declared if name not in names]
    if unknown:
        raise PolyteiaConfigurationError(
            f"'columns' contains {', '.join(map(repr, unknown))}; the query returns {', '.join(map(repr, names))}."
        )
