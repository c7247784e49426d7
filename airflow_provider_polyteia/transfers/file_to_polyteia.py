"""`FileToPolyteiaOperator`: a file into a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.formats import PARQUET, media_type
from airflow_provider_polyteia.hooks.lineage import file_uri
from airflow_provider_polyteia.transfers.load import LoadOperator
from airflow_provider_polyteia.transfers.parquet import columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.hooks.files import AnyPath


class FileToPolyteiaOperator(LoadOperator):
    """Replace the data of a dataset with a file, in constant memory.

    Returns ``dataset_id``, ``bytes``, ``rows`` (of a Parquet file, if pyarrow is installed; otherwise None),
    ``content_type``, ``filename`` and ``source``; each is an XCom of its own too. If the task fails or is killed, the
    dataset is as it was before.

    :param source: a path on the worker, a URL such as ``s3://conn_id@bucket/key``, or an `ObjectStoragePath`
        (templated).
    :param dataset_id: the dataset, ``ds_...`` (templated).
    :param content_type: MIME type of the data (templated); None (default): by the extension ``.parquet``, ``.csv``,
        ``.json``, ``.xlsx`` or ``.xls``.
    :param filename: the file's name for the platform (templated); None: its own.
    :param source_timestamp: as of when the data is: a datetime, or ISO 8601 text (templated); without a time zone it
        means UTC. None (default): not told.
    :param wait_for_upload: whether to wait until the platform shows the new data (default: no).
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = (
        "source",
        "dataset_id",
        "content_type",
        "filename",
        "source_timestamp",
        "polyteia_conn_id",
    )

    def __init__(
        self,
        *,
        source: AnyPath,
        content_type: str | None = None,
        filename: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.content_type = content_type
        self.filename = filename

    def work(self, context: Context) -> dict[str, Any]:
        """Upload the file."""
        source = self.required("source") if isinstance(self.source, str) else self.source
        loaded = self.load(context, source, self.given("content_type"), self.given("filename"))
        return {**loaded, "source": str(source)}

    def columns(self) -> dict[str, str]:
        """Return what a Parquet file tells of itself; of other files nothing is known without reading them."""
        return columns_of(self.source) if media_type(self._result["content_type"]) == PARQUET else {}

    def sources(self, output: OutputDataset) -> OperatorLineage:
        """Add the file."""
        from airflow_provider_polyteia.hooks.files import path_of  # noqa: PLC0415 - DAG files load faster without
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        return openlineage.lineage([openlineage.file(file_uri(path_of(self.source)))], [output])
