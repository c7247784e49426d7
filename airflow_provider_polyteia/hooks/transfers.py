"""The methods of `PolyteiaHook` that move files into datasets and out of them."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from airflow_provider_polyteia.client import datasets as dataset_operations
from airflow_provider_polyteia.client.records import DatasetRef
from airflow_provider_polyteia.hooks import lineage
from airflow_provider_polyteia.hooks.raw_access import RawAccessHook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_polyteia.client.sql_references import Datasets
    from airflow_provider_polyteia.hooks.files import Checked, Exported, Uploaded
    from airflow_provider_polyteia.storage import AnyPath


class TransferHook(RawAccessHook):
    """Moves files; `PolyteiaHook` inherits it."""

    def upload_dataset(
        self,
        dataset_id: str,
        source: AnyPath | IO[bytes],
        *,
        content_type: str | None = None,
        filename: str | None = None,
        check: bool = True,
        convert: bool | Mapping[str, Any] = False,
        temp_dir: str | None = None,
        timeout: float | None = None,
        wait_for_ingest: bool = True,
        ingest_timeout: float = dataset_operations.INGEST_TIMEOUT,
    ) -> Uploaded:
        """Replace the data of a dataset with a file, in constant memory (docs/platform-api.md#uploads).

        An interrupted upload leaves the dataset unchanged, and is retried as a whole. The RPC API accepts a file first
        and ingests it later (docs/platform-api.md#rpc-uploads); this method waits for that.

        :param source: a path; a URL such as ``s3://conn_id@bucket/key``; an `ObjectStoragePath`; or a seekable binary
            file object, which is read from its current position.
        :param content_type: MIME type of the data. Default: by the extension ``.parquet``, ``.csv``, ``.json``,
            ``.xlsx`` or ``.xls``.
        :param filename: file name for the platform. Default: its own name.
        :param check: whether to check a file that is sent as it is (docs/transfers.md#checks-of-files). Default: True.
        :param convert: whether to convert the file to typed Parquet, or a mapping with ``format`` and options of its
            reader (docs/transfers.md#converting-files); needs the extra ``files``. `source` may then also be a folder
            of Parquet files, or a pattern such as ``day/*.parquet``. Default: False, the file is uploaded unchanged.
        :param temp_dir: directory of temporary files of the conversion. Default: the system's temporary directory.
        :param timeout: maximum time in seconds without a byte in either direction. Default: 300, or the connection's
            timeout if that is longer.
        :param wait_for_ingest: whether to return only after the data was ingested, on the RPC API. If False, pass
            ``ingest_id`` of the result to `wait_for_ingest`. Default: True.
        :param ingest_timeout: maximum time in seconds to wait for that. Default: 1800.
        :return: ``dataset_id``, ``bytes``, ``rows`` and ``columns`` (of a Parquet or converted file, if pyarrow is
            installed; otherwise None and empty), ``content_type``, ``filename`` and ``ingest_id`` (None on the command
            API).
        :raises PolyteiaConfigurationError: if the source can never be uploaded, or its format is not known.
        :raises PolyteiaDataError: if the file failed a check or cannot be converted; nothing was sent.
        :raises PolyteiaPreconditionError: if data-processing terms must be acknowledged first.
        :raises PolyteiaIngestError: if the platform could not ingest the file.
        :raises PolyteiaOutcomeUnknownError: if the file was accepted and it is unknown whether it was ingested.
        :raises PolyteiaError: if the source does not exist or is incomplete, or the data was not replaced.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - most tasks move no file
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - most tasks move no file

        client = self.get_conn()
        if convert:
            with files.convert(source, convert, content_type, filename, temp_dir=temp_dir) as file:
                uploaded = files.upload(client, self.api, dataset_id, file, timeout=timeout)
        else:
            file = files.check(source, content_type, filename, is_checked=check)
            uploaded = files.upload(client, self.api, dataset_id, file, timeout=timeout)
        if wait_for_ingest and uploaded["ingest_id"]:
            self.wait_for_ingest(dataset_id, uploaded["ingest_id"], timeout=ingest_timeout)
        if not hasattr(source, "read"):
            lineage.read_file(self, to_path(source))
        lineage.wrote_dataset(self, client.config.base_url, dataset_id, {"bytes": uploaded["bytes"]})
        return uploaded

    def check_upload(
        self, dataset_id: str | None = None, *, solution_id: str | None = None, slug: str | None = None
    ) -> Checked:
        """Find out, by requests that only read, whether an upload into a dataset would be accepted
        (docs/transfers.md#checking-before-the-night).

        A dataset that is identified by solution and slug need not exist: then, whether it could be created.

        :return: ``dataset_id``, which is None if the dataset does not exist; ``may_upload`` and ``terms_acknowledged``,
            which are True, or None if the API does not show it.
        :raises PolyteiaNotFoundError: if the dataset (or its solution) does not exist, or is not visible to the key.
        :raises PolyteiaPermissionError: if the account may not replace the dataset's data, or create the dataset.
        :raises PolyteiaPreconditionError: if data-processing terms must be acknowledged first.
        """
        dataset = DatasetRef.of(dataset_id, solution_id, slug)
        record, check = dataset_operations.check_upload(self.get_conn(), self.api, dataset)
        return {
            "dataset_id": record["id"] if record else None,
            "may_upload": check.may_upload,
            "terms_acknowledged": check.terms_acknowledged,
        }

    def wait_for_ingest(
        self,
        dataset_id: str,
        ingest_id: str,
        *,
        timeout: float = dataset_operations.INGEST_TIMEOUT,
        poll_interval: float = dataset_operations.INGEST_POLL_INTERVAL,
    ) -> None:
        """Wait until an uploaded file was ingested (RPC API only; docs/platform-api.md#rpc-ingests).

        :param ingest_id: as in the result of `upload_dataset`.
        :param timeout: time in seconds after which to give up. Default: 1800.
        :param poll_interval: maximum time in seconds between two polls; the first ones are faster. Default: 5.
        :raises PolyteiaConfigurationError: if the connection uses the command API, which has no ingests.
        :raises PolyteiaIngestError: if the platform could not ingest the file.
        :raises PolyteiaOutcomeUnknownError: if it does not finish in time, or the platform no longer knows it.
        """
        dataset_operations.wait_for_ingest(
            self.get_conn(), self.api, dataset_id, ingest_id, timeout=timeout, poll_interval=poll_interval
        )

    def export(
        self,
        sql: str,
        datasets: Datasets,
        destination: AnyPath,
        *,
        args: Sequence[Any] | None = None,
        format: str | None = None,  # noqa: A002 - the platform's own name for it
        timeout: float | None = None,
    ) -> Exported:
        """Write the result of a query to a file, in constant memory (docs/platform-api.md#exports).

        The file appears under its name only when all of it has certainly arrived (docs/transfers.md#results).

        :param sql: a query in DuckDB's dialect. It refers to a dataset as ``{name}`` if `datasets` is a mapping, or by
            its id in quotes (``'ds_...'``) if it is a list.
        :param datasets: the datasets in use: ``{name: id}``, or their ids; on the RPC API, at least one.
        :param destination: a path of a file, of a link to one, or of none yet; a URL such as
            ``s3://conn_id@bucket/key``; or an `ObjectStoragePath`.
        :param args: values for placeholders by position. Default: none.
        :param format: MIME type of the file. Default: by the extension of `destination`. On the command API, only
            Parquet is known to work (docs/platform-api.md#export-formats). On the RPC API, the result can be written as
            Parquet, CSV or JSON, which needs pyarrow and room for the result in the system's temporary directory.
        :param timeout: maximum time in seconds without a byte. Default: 300, or the connection's timeout if that is
            longer.
        :return: ``path``, ``bytes``, ``rows`` (of a Parquet file, with pyarrow; otherwise None), ``content_type`` and
            ``datasets`` (ids).
        :raises PolyteiaConfigurationError: if the arguments are unusable, the destination is something else than a
            file, or pyarrow is required and not installed.
        :raises PolyteiaError: if it failed; no file is left then.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - most tasks move no file
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - most tasks move no file

        client = self.get_conn()
        exported = files.export(
            client, self.api, sql, datasets, destination, args=args, content_type=format, timeout=timeout
        )
        lineage.read_datasets(self, client.config.base_url, exported["datasets"])
        lineage.wrote_file(self, to_path(destination))
        return exported

    def export_dataset(
        self,
        dataset_id: str,
        destination: AnyPath,
        *,
        format: str | None = None,  # noqa: A002 - the platform's own name for it
        timeout: float | None = None,
    ) -> Exported:
        """Write all data of a dataset to a file, in constant memory.

        :param dataset_id: id of the dataset, ``ds_...``.
        :param destination: as for `export`.
        :param format: MIME type of the file. Default: by the extension of `destination`. On the command API, as for
            `export`; on the RPC API, Parquet, CSV, JSON or Excel (xlsx), without pyarrow.
        :param timeout: as for `export`.
        :return: as for `export`.
        :raises PolyteiaConfigurationError: if the arguments are unusable.
        :raises PolyteiaError: if it failed; no file is left then.
        """
        from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - most tasks move no file
        from airflow_provider_polyteia.storage import to_path  # noqa: PLC0415 - most tasks move no file

        client = self.get_conn()
        exported = files.export_dataset(client, self.api, dataset_id, destination, content_type=format, timeout=timeout)
        lineage.read_datasets(self, client.config.base_url, exported["datasets"])
        lineage.wrote_file(self, to_path(destination))
        return exported
