"""`PolyteiaToFileOperator`: export a dataset, or the result of a query on datasets, to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.hooks.lineage import file_uri
from airflow_provider_polyteia.links.polyteia import first_dataset
from airflow_provider_polyteia.operators.killable import KillableOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.client.sql_references import Datasets
    from airflow_provider_polyteia.hooks.files import Exported
    from airflow_provider_polyteia.storage import AnyPath


class PolyteiaToFileOperator(KillableOperator):
    """Write a dataset, or the result of a query on datasets, to a file, in constant memory.

    The file appears under its name only when all of it has certainly arrived. Returns ``path``, ``bytes``, ``rows`` (of
    a Parquet file, if pyarrow is installed; otherwise None), ``content_type`` and ``datasets`` (ids); each is also
    pushed as a separate XCom. Specify either `dataset_id`, or both `sql` and `datasets`.

    :param dataset_id: id of the dataset whose data is exported as a whole (templated); or
    :param sql: a query in DuckDB's dialect (templated; may be the path of a ``.sql`` file). It refers to a dataset as
        ``{name}`` if `datasets` is a mapping, or by its id in quotes (``'ds_...'``) if it is a list.
    :param datasets: the datasets in use (templated): ``{name: id}``, or their ids. On the RPC API, at least one; the
        query runs in the solution of the first one.
    :param destination: a path on the worker, a URL such as ``s3://conn_id@bucket/key``, or an `ObjectStoragePath`
        (templated). Anything else, such as a directory or a named pipe, is rejected.
    :param args: values for placeholders in the query by position (templated). Default: none.
    :param format: MIME type of the file (templated). Default: by the extension of `destination`. On the command API,
        only Parquet is known to work. On the RPC API, a dataset can be exported as Parquet, CSV, JSON or Excel (xlsx),
        and the result of a query as Parquet, CSV or JSON, which needs pyarrow.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = (
        "sql",
        "datasets",
        "dataset_id",
        "destination",
        "args",
        "format",
        "polyteia_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration is a plain dict
        "sql": "sql",
        "datasets": "json",
        "args": "json",
    }

    def __init__(
        self,
        *,
        destination: AnyPath,
        sql: str | None = None,
        datasets: Datasets | None = None,
        dataset_id: str | None = None,
        args: Sequence[Any] | None = None,
        format: str | None = None,  # noqa: A002 - the platform's own name for it
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        has_query = sql is not None and datasets is not None
        if has_query == (dataset_id is not None) or (sql is None) != (datasets is None):
            raise PolyteiaConfigurationError(
                f"Specify either 'dataset_id', or both 'sql' and 'datasets', for task {self.task_id!r}."
            )
        self.sql = sql
        self.datasets = datasets
        self.dataset_id = dataset_id
        self.destination = destination
        self.args = args
        self.format = format
        self._result: dict[str, Any] = {}
        self._base_url = ""

    def _run(self, context: Context) -> dict[str, Any]:
        """Export."""
        destination = self.require_text("destination") if isinstance(self.destination, str) else self.destination
        self.set_link(context, first_dataset(self.datasets or self.dataset_id))
        exported = self._export(destination, self.optional_text("format"))
        self._base_url = self.hook.get_conn().config.base_url
        self._result = {**exported}
        return self._result

    def _export(self, destination: AnyPath, format: str | None) -> Exported:  # noqa: A002 - as in `__init__`
        if self.datasets is None:
            return self.hook.export_dataset(self.require_text("dataset_id"), destination, format=format)
        return self.hook.export(self.require_text("sql"), self.datasets, destination, args=self.args, format=format)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:  # noqa: ARG002 - its signature
        """Report to OpenLineage what was read and written; called by its provider, in the worker, after `execute`."""
        if not self._result:
            return None
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - DAG files load faster without it
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        inputs = [openlineage.dataset(dataset_uri(self._base_url, name)) for name in self._result["datasets"]]
        uri, result = file_uri(to_path(self.destination)), self._result
        return openlineage.lineage(
            inputs, [openlineage.written_file(uri, size=result["bytes"], rows=result["rows"])], self.sql
        )
