"""`SqlTableToPolyteiaOperator`: keep a dataset for a table of any SQL database that Airflow knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.datasets import check_if_exists
from airflow_provider_polyteia.client.formats import PARQUET
from airflow_provider_polyteia.exceptions import PolyteiaConflictError
from airflow_provider_polyteia.tables.load_checks import Load, LoadChecks
from airflow_provider_polyteia.transfers.sql_load import SqlLoadOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.client.datasets import IfExists


class SqlTableToPolyteiaOperator(SqlLoadOperator):
    """Create a dataset for a table if it does not exist, and replace its data with the rows of the table.

    The rows are staged first, so that a table that cannot be read leaves everything as it is. The dataset is created
    exactly once, as with `CreateDatasetOperator`. `SqlTablesOperator` lists the tables of a database, to map this
    operator over them; the names of the mapped tasks are those of their tables. Needs the extra ``[parquet]``; with
    ``[postgres]``, DuckDB reads PostgreSQL.

    Returns ``dataset_id``, ``slug``, ``table``, ``rows``, ``bytes``, ``columns`` (name to type), ``content_type``,
    ``filename``, ``source_conn_id`` and, on the RPC API, ``ingest_id``; each is also pushed as a separate XCom.

    :param conn_id: Airflow connection to the database (templated).
    :param table: name of the table or view, ``table`` or ``schema.table``, exactly as the database stores the names
        (templated). A part that contains a point or a double quote is written in double quotes.
    :param solution_id: id of the dataset's solution, ``sol_...`` (templated).
    :param slug: slug of the dataset, unique within the solution (templated). Default: from the name of the table.
    :param name: display name of a new dataset (templated). Default: the name of the table.
    :param description: description of a new dataset (templated). Default: none.
    :param columns: names of the columns to load (templated), or a mapping of their names to SQL types, e.g.
        ``{"id": "VARCHAR", "street": None}``, with None where the database decides
        (docs/transfers.md#types-of-columns). Default: all columns, with the types of the database.
    :param where: condition in SQL, to load some rows only (templated). Default: all rows.
    :param parameters: values for the placeholders in `where` (templated), in the style of the database's driver.
        Default: none.
    :param if_exists: what to do if the dataset already exists: ``"reuse"`` (default) keeps its name and description,
        with a warning if they differ; ``"update"`` updates them; ``"fail"`` fails the task immediately.
    :param driver: ``"duckdb"`` reads PostgreSQL through DuckDB; ``"dbapi"`` uses the connection's hook; ``"auto"``
        (default) uses DuckDB where it is installed and applicable.
    :param hook_params: arguments for the connection's hook (templated), e.g. ``{"database": "city"}``. Default: none.
    :param temp_dir: directory of the temporary file (templated), which is about as large as the table. Default: the
        system's temporary directory.
    :param source_timestamp: as-of time of the data (date, datetime or ISO 8601 string, UTC if naive; templated), stored
        after the upload or its ingest. Default: not stored.
    :param wait_for_upload: whether to wait until the platform shows the new data, on the command API. Default: False.
        On the RPC API, the task always waits until the data was ingested.
    :param min_rows: minimum number of rows. Default: 0.
    :param max_shrink: maximum share, from 0 to 1, by which the data may shrink since the last run of the task; ``0.5``
        rejects fewer than half of the rows. Default: None, any.
    :param on_schema_change: what to do if the columns are not those of the last run of the task: ``"warn"`` (default),
        ``"fail"`` or ``"allow"``.
    :param verify: whether to count the rows on the platform after the upload or its ingest, and to compare their number
        with what was sent; needs pyarrow. Default: False.
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
        "conn_id",
        "table",
        "solution_id",
        "slug",
        "name",
        "description",
        "columns",
        "where",
        "parameters",
        "hook_params",
        "temp_dir",
        "source_timestamp",
        "polyteia_conn_id",
    )
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration is a plain dict
        "columns": "json",
        "where": "sql",
        "parameters": "json",
        "hook_params": "json",
    }
    lists_of_names = ("columns",)

    def __init__(
        self,
        *,
        table: str,
        solution_id: str,
        slug: str | None = None,
        name: str | None = None,
        description: str | None = None,
        columns: Sequence[str] | Mapping[str, str | None] | None = None,
        where: str | None = None,
        if_exists: IfExists = "reuse",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_if_exists(if_exists, f"Argument 'if_exists' of task {self.task_id!r}")
        self.table = table
        self.solution_id = solution_id
        self.slug = slug
        self.name = name
        self.description = description
        self.columns = columns
        self.where = where
        self.if_exists = if_exists
        self._sql = ""

    def _run(self, context: Context) -> dict[str, Any]:
        """Read the rows, create the dataset, and upload them."""
        if not context.get("map_index_template"):
            # Airflow renders it after the task, but does not ask the class of a mapped task for a default.
            context["map_index_template"] = "{{ task.table }}"
        self.set_link(context, {"solution_id": self.require_text("solution_id")})
        if self.check_only:
            return self._check_table(context)
        with self.stage(self._last_load_of_table(context)) as table:
            record = self._create()
            load = Load(table.rows, table.size, table.columns)
            loaded = self._upload(
                context,
                record["id"],
                table.file,
                content_type=PARQUET,
                filename=f"{record['slug']}.parquet",
                load=load,
            )
        return {**loaded, "slug": record["slug"], "table": self.table, "source_conn_id": self.conn_id}

    def _check_table(self, context: Context) -> dict[str, Any]:
        """Check that the dataset exists or can be created, and that the table can be read."""
        _, slug = self._names()
        found = self.hook.check_upload(solution_id=self.require_text("solution_id"), slug=slug)
        if found["dataset_id"] and self.if_exists == "fail":
            raise PolyteiaConflictError(
                f"The slug {slug!r} is already used by dataset {found['dataset_id']!r}. Choose a different slug, or "
                "use if_exists='reuse' or 'update'.",
                code=409,
                conn_id=self.polyteia_conn_id,
                not_applied=True,
            )
        checked = self._check(context, found, self.describe, LoadChecks(on_schema_change=self.on_schema_change))
        return {**checked, "slug": slug, "table": self.table, "source_conn_id": self.conn_id}

    def _names(self) -> tuple[str, str]:
        """Return the display name of a new dataset, and the slug."""
        from airflow_provider_polyteia.tables import catalog  # noqa: PLC0415 - DAG files load faster without it

        table = catalog.Table.parse(self.require_text("table"))
        slug = self.optional_text("slug") or next(catalog.slugs([table]))
        return self.optional_text("name") or table.name, slug

    def _create(self) -> dict[str, Any]:
        name, slug = self._names()
        record = self.hook.create_dataset(
            name=name,
            solution_id=self.require_text("solution_id"),
            slug=slug,
            description=self.text_or_empty("description"),
            if_exists=self.if_exists,
        )
        return {**record, "slug": slug}

    def _last_load_of_table(self, context: Context) -> Load | None:
        """Return the last load of the table by this task; its dataset is not looked up before the rows are read."""
        last = self._last_result(context)
        return Load.from_result(last) if last.get("table") == self.table else None

    def statement(self) -> str:
        """Return the query for the table."""
        from airflow_provider_polyteia.tables import catalog  # noqa: PLC0415 - DAG files load faster without it
        from airflow_provider_polyteia.tables.sql_connection import get_hook  # noqa: PLC0415 - as above

        table = catalog.Table.parse(self.require_text("table"))
        where, has_parameters = self.optional_text("where"), self.parameters is not None
        hook = get_hook(self.require_text("conn_id"), self.hook_params)
        self._sql = catalog.select(hook, table, self._column_names(), where, has_parameters=has_parameters)
        return self._sql

    def declared(self) -> Mapping[str, Any]:
        """Return the types in the argument `columns`."""
        columns = self.columns if isinstance(self.columns, Mapping) else {}
        return {name: sql_type for name, sql_type in columns.items() if sql_type is not None}

    def _column_names(self) -> list[str] | None:
        """Return the names of the columns.

        :raises PolyteiaConfigurationError: if they are not names.
        """
        if self.columns is None:
            return None
        if isinstance(self.columns, str) or not self.columns or not all(isinstance(name, str) for name in self.columns):
            raise self.unusable_columns(self.columns, "a list of names, or a mapping of names to types")
        return list(self.columns)

    def dataset_label(self) -> str:
        """Return what identifies the dataset in messages."""
        return self.slug or self.table

    def lineage_inputs(self, output: OutputDataset) -> OperatorLineage:
        """Add the query and its table."""
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        return openlineage.lineage(openlineage.tables(self._sql, self.conn_id, self.hook_params), [output], self._sql)
