"""`SqlToPolyteiaOperator`: load the result of a query, in any SQL database that Airflow knows, into a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.formats import PARQUET
from airflow_provider_polyteia.tables.load_checks import Load, LoadChecks
from airflow_provider_polyteia.transfers.sql_load import SqlLoadOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage


class SqlToPolyteiaOperator(SqlLoadOperator):
    """Replace the data of a dataset with the result of a query, as Parquet, in constant memory.

    The rows are staged in a temporary Parquet file first, which is uploaded only when it is complete. Types are
    preserved: see docs/transfers.md. Needs the extra ``[parquet]``; with ``[postgres]``, DuckDB reads PostgreSQL.

    Returns ``dataset_id``, ``rows``, ``bytes``, ``columns`` (name to type), ``content_type``, ``filename``,
    ``source_conn_id`` and, on the RPC API, ``ingest_id``; each is also pushed as a separate XCom.

    :param sql: one query, or the path of a ``.sql`` file that contains it (templated). It must not change anything, and
        nothing is committed.
    :param conn_id: Airflow connection to the database (templated).
    :param dataset_id: id of the dataset, ``ds_...`` (templated).
    :param parameters: values for the placeholders in the query (templated), in the style of the database's driver.
        Default: none.
    :param columns: name -> SQL type of the columns whose types are declared (templated), e.g. ``{"id": "VARCHAR"}``
        (docs/transfers.md#types-of-columns). Default: none, the database decides.
    :param filename: file name for the platform (templated). Default: the dataset's id.
    :param driver: ``"duckdb"`` reads PostgreSQL through DuckDB; ``"dbapi"`` uses the connection's hook; ``"auto"``
        (default) uses DuckDB where it is installed and applicable.
    :param hook_params: arguments for the connection's hook (templated), e.g. ``{"database": "city"}``. Default: none.
    :param temp_dir: directory of the temporary file (templated), which is about as large as the result. The file has no
        name, and disappears however the task ends. Default: the system's temporary directory.
    :param source_timestamp: as-of time of the data (date, datetime or ISO 8601 string, UTC if naive; templated), stored
        after the upload or its ingest. Default: not stored.
    :param wait_for_upload: whether to wait until the platform shows the new data, on the command API. Default: False.
        On the RPC API, the task always waits until the data was ingested.
    :param min_rows: minimum number of rows. Default: 0.
    :param max_shrink: maximum share, from 0 to 1, by which the data may shrink since the last run of the task; ``0.5``
        rejects fewer than half of the rows, or of the bytes where the number of rows is not known. Default: None, any.
    :param on_schema_change: what to do if the columns are not those of the last run of the task: ``"warn"`` (default),
        ``"fail"`` or ``"allow"``.
    :param verify: whether to count the rows on the platform after the upload or its ingest, and to compare their number
        with what was sent, if that is known; needs pyarrow. Default: False.
    :param check_only: whether only to check that the load would be possible, without changing anything
        (docs/transfers.md#checking-before-the-night). A check emits no asset events. (``dry_run`` is a method of
        Airflow's operators, so it cannot be the name of an argument.) Default: False.
    :param deferrable: whether to wait for the ingest in the triggerer, without a worker, on the RPC API. Default:
        ``[operators] default_deferrable``.
    :param ingest_timeout: maximum time in seconds that the ingest may take, on the RPC API; then the task fails with
        PolyteiaOutcomeUnknownError. Default: 1800.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = (
        "sql",
        "conn_id",
        "dataset_id",
        "parameters",
        "columns",
        "filename",
        "hook_params",
        "temp_dir",
        "source_timestamp",
        "polyteia_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration is a plain dict
        "sql": "sql",
        "parameters": "json",
        "columns": "json",
        "hook_params": "json",
    }

    def __init__(
        self,
        *,
        sql: str,
        dataset_id: str,
        columns: Mapping[str, str] | None = None,
        filename: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.dataset_id = dataset_id
        self.columns = columns
        self.filename = filename

    def _run(self, context: Context) -> dict[str, Any]:
        """Read the rows, then upload them."""
        dataset_id = self.require_text("dataset_id")
        filename = self.optional_text("filename") or f"{dataset_id}.parquet"
        if self.check_only:
            checks = LoadChecks(on_schema_change=self.on_schema_change)  # the rows are not counted
            checked = self._check(context, self.hook.check_upload(dataset_id), self.describe, checks)
            return {**checked, "source_conn_id": self.conn_id}
        with self.stage(self._last_load(context, dataset_id)) as table:
            load = Load(table.rows, table.size, table.columns)
            loaded = self._upload(context, dataset_id, table.file, content_type=PARQUET, filename=filename, load=load)
        return {**loaded, "source_conn_id": self.conn_id}

    def lineage_inputs(self, output: OutputDataset) -> OperatorLineage:
        """Add the query and its tables."""
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        return openlineage.lineage(openlineage.tables(self.sql, self.conn_id, self.hook_params), [output], self.sql)

    def statement(self) -> str:
        """Return the argument `sql`."""
        return self.require_text("sql")

    def declared(self) -> Mapping[str, Any]:
        """Return the argument `columns`."""
        columns = self.columns or {}
        if not isinstance(columns, Mapping):
            raise self.unusable_columns(columns, "a mapping of names to types")
        return columns
