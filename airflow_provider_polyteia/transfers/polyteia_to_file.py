"""`PolyteiaToFileOperator`: the result of a query on datasets into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.hooks.lineage import file_uri
from airflow_provider_polyteia.links.polyteia import first_dataset
from airflow_provider_polyteia.operators.interruptible import InterruptibleOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.client.sql import Datasets
    from airflow_provider_polyteia.hooks.files import AnyPath


class PolyteiaToFileOperator(InterruptibleOperator):
    """Write the result of a query on datasets into a file, in constant memory.

    The file appears under its name only when it is complete. Returns ``path``, ``bytes``, ``rows`` (of a
    Parquet file, if pyarrow is installed; otherwise None), ``content_type`` and ``datasets``; each is an XCom of its
    own too.

    :param sql: a query, DuckDB's dialect (templated; may be the path of a ``.sql`` file). It refers to a dataset as
        ``{name}`` if `datasets` is a mapping, by its id in quotes (``'ds_...'``) if it is a list.
    :param datasets: the datasets in use (templated): ``{name: id}``, or their ids.
    :param destination: a path on the worker, a URL such as ``s3://conn_id@bucket/key``, or an `ObjectStoragePath`
        (templated).
    :param args: values for the placeholders in the query (templated).
    :param format: MIME type of the file (templated); None (default): by the extension of `destination`. Parquet is the
        only one that has been seen to work.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("sql", "datasets", "destination", "args", "format", "polyteia_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration is a plain dict
        "sql": "sql",
        "datasets": "json",
        "args": "json",
    }

    def __init__(
        self,
        *,
        sql: str,
        datasets: Datasets,
        destination: AnyPath,
        args: Sequence[Any] | None = None,
        format: str | None = None,  # noqa: A002 - the platform's own name for it
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.datasets = datasets
        self.destination = destination
        self.args = args
        self.format = format
        self._result: dict[str, Any] = {}
        self._address = ""

    def work(self, context: Context) -> dict[str, Any]:
        """Export."""
        destination = self.required("destination") if isinstance(self.destination, str) else self.destination
        self.link_to(context, first_dataset(self.datasets))
        exported = self.hook.export(
            self.required("sql"), self.datasets, destination, args=self.args, format=self.given("format")
        )
        self._address = self.hook.get_conn().config.base_url
        self._result = {**exported}
        return self._result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:  # noqa: ARG002 - its signature
        """Tell OpenLineage what was read and written; called by its provider, in the worker, after `execute`."""
        if not self._result:
            return None
        from airflow_provider_polyteia.hooks.files import path_of  # noqa: PLC0415 - DAG files load faster without
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        inputs = [openlineage.dataset(dataset_uri(self._address, name)) for name in self._result["datasets"]]
        uri, result = file_uri(path_of(self.destination)), self._result
        return openlineage.lineage(
            inputs, [openlineage.written_file(uri, size=result["bytes"], rows=result["rows"])], self.sql
        )
