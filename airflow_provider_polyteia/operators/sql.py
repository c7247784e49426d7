"""Operators for SQL: on datasets, for results that fit into an XCom, and for the list of tables of a database."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.links.polyteia import first_dataset
from airflow_provider_polyteia.operators.arguments import CheckedOperator
from airflow_provider_polyteia.operators.killable import KillableOperator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_polyteia.client.sql_references import Datasets
    from airflow_provider_polyteia.storage import AnyPath

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 48 * 1024


class PolyteiaSqlOperator(KillableOperator):
    """Run a statement on datasets, and return its result if it is small.

    Returns ``result`` (None if it is in a file), ``path`` (of that file, or None) and ``bytes`` (of the result as
    JSON); each is also pushed as a separate XCom. On the command API, ``result`` is the platform's result as it is; on
    the RPC API, it is an object with ``columns`` and ``rows``, and pyarrow is needed. The result is held in memory; for
    large results use `PolyteiaToFileOperator`.

    :param sql: a statement in DuckDB's dialect (templated; may be the path of a ``.sql`` file). It refers to a dataset
        as ``{name}`` if `datasets` is a mapping, or by its id in quotes (``'ds_...'``) if it is a list.
    :param datasets: the datasets in use (templated): ``{name: id}``, or their ids. On the RPC API, at least one; the
        statement runs in the solution of the first one.
    :param args: values for placeholders by position (templated). Default: none.
    :param named_args: values for placeholders by name (templated). Default: none.
    :param idempotent: whether the statement is safe to retry. Default: None, True if it begins with SELECT or FROM and
        contains no semicolon, otherwise False.
    :param destination: where to write a result above the limit, as JSON: a path, a URL such as
        ``s3://conn_id@bucket/key``, or an `ObjectStoragePath` (templated). Default: none, such a result fails the task.
    :param max_xcom_bytes: maximum size in bytes of a result in XCom, as JSON. Default: 49152.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("sql", "datasets", "args", "named_args", "destination", "polyteia_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration is a plain dict
        "sql": "sql",
        "datasets": "json",
        "args": "json",
        "named_args": "json",
    }

    def __init__(
        self,
        *,
        sql: str,
        datasets: Datasets,
        args: Sequence[Any] | None = None,
        named_args: Mapping[str, Any] | None = None,
        idempotent: bool | None = None,
        destination: AnyPath | None = None,
        max_xcom_bytes: int = DEFAULT_LIMIT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.datasets = datasets
        self.args = args
        self.named_args = named_args
        self.idempotent = idempotent
        self.destination = destination
        self.max_xcom_bytes = max_xcom_bytes

    def _run(self, context: Context) -> dict[str, Any]:
        """Run the statement."""
        from airflow_provider_polyteia.storage import atomic_write, check_destination, display_name, to_path  # noqa: PLC0415 - DAG files load faster without it

        destination = self.optional_text("destination") if isinstance(self.destination, str) else self.destination
        path = None if destination is None else to_path(destination)
        sql = self.require_text("sql")
        if path is not None:
            check_destination(path)  # the statement may change data, and its result is lost if it cannot be written
        self.set_link(context, first_dataset(self.datasets))
        result = self.hook.execute_sql(sql, self.datasets, self.args, self.named_args, idempotent=self.idempotent)
        encoded = json.dumps(result, ensure_ascii=False).encode(errors="replace")  # unpaired surrogates have no bytes
        if len(encoded) <= self.max_xcom_bytes:
            return {"result": result, "path": None, "bytes": len(encoded)}
        if path is None:
            raise PolyteiaError(
                f"The result of task {self.task_id!r} is {len(encoded):,} bytes as JSON, which exceeds max_xcom_bytes "
                f"({self.max_xcom_bytes:,}). Narrow the query, set 'destination', or use PolyteiaToFileOperator."
            )
        with atomic_write(path) as file:
            file.write(encoded)
        return {"result": None, "path": display_name(path), "bytes": len(encoded)}


class SqlTablesOperator(CheckedOperator):
    """List the tables and views of a database, to map `SqlTableToPolyteiaOperator` over them.

    Returns a list of mappings with ``table`` (its name, with the schema if `schema` is set), ``slug`` (from the name:
    lower case, ASCII, unique in the list), ``name`` and ``description`` (the table's comment), sorted by name. Only
    tables that the connection may read are listed, of the databases in docs/transfers.md#many-tables. The log says
    which tables are new, or gone, since the last run; the dataset of a table that is gone keeps its data.

    :param conn_id: Airflow connection to the database (templated).
    :param schema: name of the schema (templated). Default: that of the connection.
    :param include: shell patterns, such as ``res_*``, of the names of tables (templated). Default: all tables.
    :param exclude: shell patterns of the names of tables that are left out (templated). Default: none.
    :param hook_params: arguments for the connection's hook (templated), e.g. ``{"database": "city"}``. Default: none.
    """

    template_fields: Sequence[str] = ("conn_id", "schema", "include", "exclude", "hook_params")
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration is a plain dict
        "include": "json",
        "exclude": "json",
        "hook_params": "json",
    }
    lists_of_names = ("include", "exclude")
    ui_color = "#e4e0fa"
    ui_fgcolor = "#1f009d"

    def __init__(
        self,
        *,
        conn_id: str,
        schema: str | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.schema = schema
        self.include = include
        self.exclude = exclude
        self.hook_params = hook_params

    def execute(self, context: Context) -> list[dict[str, str]]:
        """List the tables.

        :raises PolyteiaConfigurationError: if no table matches, the tables of the database cannot be listed, or the
            patterns are not a list.
        """
        from airflow_provider_polyteia.tables import catalog  # noqa: PLC0415 - DAG files load faster without it
        from airflow_provider_polyteia.tables.optional_dependencies import require  # noqa: PLC0415 - as above

        require("airflow.providers.common.sql", "parquet", "SqlTablesOperator")
        from airflow_provider_polyteia.client.json_values import to_encodable  # noqa: PLC0415 - as above
        from airflow_provider_polyteia.tables.sql_connection import get_hook  # noqa: PLC0415 - as above

        self.check_provided()
        include, exclude = self._patterns("include"), self._patterns("exclude")
        hook = get_hook(self.require_text("conn_id"), self.hook_params)
        tables = catalog.matching(catalog.list_tables(hook, self.optional_text("schema")), include, exclude)
        if not tables:
            raise PolyteiaConfigurationError(
                f"Connection {self.conn_id!r} has no table that matches 'include' and 'exclude' of task "
                f"{self.task_id!r}, or that its account may read.",
                conn_id=self.conn_id,
            )
        self._report_changes(context, {str(table) for table in tables})
        return [
            {"table": str(table), "slug": slug, "name": table.name, "description": to_encodable(table.comment)}
            for table, slug in zip(tables, catalog.slugs(tables), strict=True)
        ]

    def _patterns(self, name: str) -> list[str] | None:
        """Return the patterns of an argument. A string would be a list of characters, of which * matches any table."""
        patterns = getattr(self, name)
        if patterns is None:
            return None
        if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in patterns):
            raise PolyteiaConfigurationError(
                f"Argument {name!r} of task {self.task_id!r} is {patterns!r} after templating; it must be a list of "
                "patterns such as ['res_*']."
            )
        return list(patterns)

    def _report_changes(self, context: Context, tables: set[str]) -> None:
        """Log which tables are new or gone since the last run."""
        log.info("Found %s tables in connection %r", f"{len(tables):,}", self.conn_id)
        last = context["ti"].xcom_pull(task_ids=self.task_id, include_prior_dates=True) if "ti" in context else None
        if not isinstance(last, list):
            return
        before = {entry["table"] for entry in last}
        if tables - before:
            log.info("New since the last run: %s", _listed(tables - before))
        if before - tables:
            log.warning(
                "Removed from the database since the last run (their datasets keep their data): %s",
                _listed(before - tables),
            )


def _listed(tables: Iterable[str]) -> str:
    return ", ".join(sorted(tables))
