"""`FileToPolyteiaOperator`: load a file into a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.hooks.lineage import file_uri
from airflow_provider_polyteia.tables.load_checks import Load
from airflow_provider_polyteia.transfers.load import UploadOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.storage import AnyPath


class FileToPolyteiaOperator(UploadOperator):
    """Replace the data of a dataset with a file, in constant memory.

    Returns ``dataset_id``, ``bytes``, ``rows`` and ``columns`` (name to type; of a Parquet file, if pyarrow is
    installed, otherwise None and empty), ``content_type``, ``filename``, ``source`` and, on the RPC API, ``ingest_id``;
    each is also pushed as a separate XCom. If the task fails or is killed before the file was sent, the dataset is
    unchanged.

    :param source: a path on the worker, a URL such as ``s3://conn_id@bucket/key``, or an `ObjectStoragePath`
        (templated).
    :param dataset_id: id of the dataset, ``ds_...`` (templated).
    :param content_type: MIME type of the data (templated). Default: by the extension ``.parquet``, ``.csv``, ``.json``,
        ``.xlsx`` or ``.xls``.
    :param filename: file name for the platform (templated). Default: its own name.
    :param check: whether to check before that the file is complete, and is what its content type says
        (docs/transfers.md#checks-of-files). Default: True.
    :param source_timestamp: as-of time of the data (date, datetime or ISO 8601 string, UTC if naive; templated), stored
        after the upload or its ingest. Default: not stored.
    :param wait_for_upload: whether to wait until the platform shows the new data, on the command API. Default: False.
        On the RPC API, the task always waits until the data was ingested.
    :param min_rows: minimum number of rows (of Parquet files with pyarrow, and of queries). Default: 0.
    :param max_shrink: by which share the data may shrink since the last run of the task, from 0 to 1; ``0.5`` refuses
        fewer than half of the rows, or of the bytes where the number of rows is not known. Default: None, any.
    :param on_schema_change: what to do if the columns are not those of the last run of the task: ``"warn"`` (default),
        ``"fail"`` or ``"allow"``.
    :param verify: whether to count the rows on the platform after the upload or its ingest, and to compare their number
        with what was sent, if that is known; needs pyarrow. Default: False.
    :param deferrable: whether to wait for the ingest in the triggerer, without a worker, on the RPC API. Default:
        ``[operators] default_deferrable``.
    :param ingest_timeout: maximum time in seconds that the ingest may take, on the RPC API; then the task fails with
        PolyteiaOutcomeUnknownError. Default: 1800.
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
        check: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.content_type = content_type
        self.filename = filename
        self.check = check

    def _run(self, context: Context) -> dict[str, Any]:
        """Upload the file."""
        source = self.require_text("source") if isinstance(self.source, str) else self.source
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - DAG files load faster without it

        kind, filename = self.optional_text("content_type"), self.optional_text("filename")
        opened, kind, contents = files.check(source, kind, filename, is_checked=self.check)
        loaded = self._upload(context, source, kind, filename, Load(contents.rows, opened.size, contents.columns))
        from airflow_provider_polyteia.storage import display_name  # noqa: PLC0415 - DAG files load faster without it

        return {**loaded, "source": display_name(source)}

    def lineage_inputs(self, output: OutputDataset) -> OperatorLineage:
        """Add the file."""
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - DAG files load faster without it
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        return openlineage.lineage([openlineage.file(file_uri(to_path(self.source)))], [output])
