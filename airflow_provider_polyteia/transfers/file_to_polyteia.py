"""`FileToPolyteiaOperator`: load a file into a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_polyteia.hooks import lineage
from airflow_provider_polyteia.tables.conversion.options import check_names
from airflow_provider_polyteia.tables.load_checks import Load
from airflow_provider_polyteia.transfers.load import LoadOperator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.hooks.files import CheckedFile
    from airflow_provider_polyteia.storage import AnyPath


class FileToPolyteiaOperator(LoadOperator):
    """Replace the data of a dataset with a file: as it is, in constant memory, or converted to typed Parquet.

    Returns ``dataset_id``, ``bytes``, ``rows`` and ``columns`` (name to type; of a Parquet or converted file, if
    pyarrow is installed, otherwise None and empty), ``content_type``, ``filename``, ``source`` and, on the RPC API,
    ``ingest_id``; each is also pushed as a separate XCom. If the task fails or is killed before the file was sent, the
    dataset is unchanged.

    :param source: a path on the worker, a URL such as ``s3://conn_id@bucket/key``, or an `ObjectStoragePath`
        (templated).
    :param dataset_id: id of the dataset, ``ds_...`` (templated).
    :param content_type: MIME type of the data (templated). Default: by the extension ``.parquet``, ``.csv``, ``.json``,
        ``.xlsx`` or ``.xls``.
    :param filename: file name for the platform (templated). Default: its own name.
    :param check: whether to check, before a file is sent as it is, that it is complete and matches its content type
        (docs/transfers.md#checks-of-files). Default: True.
    :param convert: whether to convert the file to typed Parquet first, or a mapping with ``format`` and options of its
        reader (docs/transfers.md#converting-files; templated); needs the extra ``files``. `source` may then also be a
        folder of Parquet files, or a pattern such as ``day/*.parquet``. Default: False, the file is uploaded unchanged.
    :param temp_dir: directory of temporary files of the conversion (templated). Default: the system's temporary
        directory.
    :param source_timestamp: as-of time of the data (date, datetime or ISO 8601 string, UTC if naive; templated), stored
        after the upload or its ingest. Default: not stored.
    :param wait_for_upload: whether to wait until the platform shows the new data, on the command API. Default: False.
        On the RPC API, the task always waits until the data was ingested.
    :param min_rows: minimum number of rows (of converted files, and of Parquet files with pyarrow). Default: 0.
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
        "source",
        "dataset_id",
        "content_type",
        "filename",
        "convert",
        "temp_dir",
        "source_timestamp",
        "polyteia_conn_id",
    )
    template_fields_renderers = {"convert": "json"}  # noqa: RUF012 - Airflow's own declaration is a plain dict

    def __init__(
        self,
        *,
        source: AnyPath,
        dataset_id: str,
        content_type: str | None = None,
        filename: str | None = None,
        check: bool = True,
        convert: bool | Mapping[str, Any] = False,
        temp_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.dataset_id = dataset_id
        self.content_type = content_type
        self.filename = filename
        self.check = check
        self.convert = convert
        self.temp_dir = temp_dir
        if isinstance(convert, Mapping):
            check_names(convert)  # raises for unknown options while the DAG is parsed

    def _run(self, context: Context) -> dict[str, Any]:
        """Upload the file, as it is or converted."""
        source = self.require_text("source") if isinstance(self.source, str) else self.source
        from airflow_provider_polyteia.storage import public_name, to_path  # noqa: PLC0415 - DAG files load faster without it

        dataset_id = self.require_text("dataset_id")
        if self.check_only:
            found = self.hook.check_upload(dataset_id)
            checked = self._check(context, found, partial(self._describe, source), self._load_checks())
            return {**checked, "source": public_name(source)}
        self.log.info("Loading %r into dataset %r", public_name(source), dataset_id)
        last = self._last_load(context, dataset_id) if self.convert else None
        with self._open(source, last) as (file, content):
            kind, filename = file.content_type, file.source.name
            loaded = self._upload(
                context, dataset_id, content, content_type=kind, filename=filename, load=_to_load(file)
            )
        if self.convert:
            lineage.read_file(self.hook, to_path(source))
        return {**loaded, "source": public_name(source)}

    def _describe(self, source: AnyPath, last: Load | None) -> Load:
        """Return what is known of the file after it was checked or converted."""
        with self._open(source, last) as (file, _):
            return _to_load(file)

    @contextmanager
    def _open(self, source: AnyPath, last: Load | None) -> Iterator[tuple[CheckedFile, AnyPath | IO[bytes]]]:
        """Check or convert the file, and return it with the content that is sent."""
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - DAG files load faster without it

        kind, filename = self.optional_text("content_type"), self.optional_text("filename")
        if not self.convert:
            yield files.check(source, kind, filename, is_checked=self.check), source
            return
        previous, directory = last.columns if last else {}, self.optional_text("temp_dir")
        with (
            files.convert(source, self.convert, kind, filename, previous=previous, temp_dir=directory) as file,
            file.source.open() as opened,
        ):
            yield file, opened

    def lineage_inputs(self, output: OutputDataset) -> OperatorLineage:
        """Add the file."""
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - DAG files load faster without it
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        return openlineage.lineage([openlineage.file(lineage.file_uri(to_path(self.source)))], [output])


def _to_load(file: CheckedFile) -> Load:
    return Load(file.contents.rows, file.source.size, file.contents.columns)
