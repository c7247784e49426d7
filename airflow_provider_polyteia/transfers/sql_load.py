"""What the operators that load rows of a database share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.load_checks import Load
from airflow_provider_polyteia.transfers.load import LoadOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_polyteia.tables.staging import StagedTable


class SqlLoadOperator(LoadOperator):
    """Base of the operators that load the rows of a query.

    Needs the extra ``[parquet]``; with ``[postgres]``, DuckDB reads PostgreSQL.

    :param conn_id: Airflow connection to the database (templated).
    :param parameters: values for the placeholders in the query (templated), in the style of the database's driver.
        Default: none.
    :param driver: ``"duckdb"`` reads PostgreSQL through DuckDB; ``"dbapi"`` uses the connection's hook; ``"auto"``
        (default) uses DuckDB where it is installed and applicable.
    :param hook_params: arguments for the connection's hook (templated), e.g. ``{"database": "city"}``. Default: none.
    :param temp_dir: directory of the temporary file (templated), which is about as large as the result. The file has no
        name, and disappears however the task ends. Default: the system's temporary directory.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, "conn_id", "parameters", "hook_params", "temp_dir")

    def __init__(
        self,
        *,
        conn_id: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        driver: Literal["auto", "duckdb", "dbapi"] = "auto",
        hook_params: Mapping[str, Any] | None = None,
        temp_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.parameters = parameters
        self.driver = driver
        self.hook_params = hook_params
        self.temp_dir = temp_dir

    def statement(self) -> str:
        """Return the query."""
        raise NotImplementedError

    def declared(self) -> Mapping[str, Any]:
        """Return the types of columns that the user has declared, as SQL writes them."""
        raise NotImplementedError

    def stage(self, last: Load | None) -> StagedTable:
        """Read the rows into a temporary file.

        :param last: the last load of this task, whose types are kept where only the values show the type.
        """
        query = self._query(last)
        from airflow_provider_polyteia.tables.from_database import stage_query  # noqa: PLC0415 - imports Arrow

        return stage_query(**query, temp_dir=self.optional_text("temp_dir"))

    def describe(self, last: Load | None) -> Load:
        """Return the columns of the query, which is not run if the database knows them before.

        :param last: as for `stage`.
        """
        query = self._query(last)
        from airflow_provider_polyteia.tables.from_database import describe_query  # noqa: PLC0415 - imports Arrow

        return Load(None, 0, describe_query(**query))

    def _query(self, last: Load | None) -> dict[str, Any]:
        """Return the query and where it runs, as arguments of what reads it."""
        from airflow_provider_polyteia.tables.optional_dependencies import require  # noqa: PLC0415 - imported when the task runs

        require("pyarrow", "parquet", type(self).__name__)
        require("airflow.providers.common.sql", "parquet", type(self).__name__)
        return {
            "conn_id": self.require_text("conn_id"),
            "sql": self.statement(),
            "parameters": self.parameters,
            "driver": self.driver,
            "columns": self.declared(),
            "last": last.columns if last else None,
            "hook_params": self.hook_params,
        }

    def unusable_columns(self, columns: Any, expected: str) -> PolyteiaConfigurationError:
        """Return the exception for an argument `columns` that is not what it should be."""
        return PolyteiaConfigurationError(
            f"Argument 'columns' of task {self.task_id!r} is {columns!r} after templating; it must be {expected}."
        )
