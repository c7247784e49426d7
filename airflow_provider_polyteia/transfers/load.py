"""The base class of all transfers into a dataset."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.operators.asset_events import add_event_extra
from airflow_provider_polyteia.operators.killable import KillableOperator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.storage import AnyPath


class UploadOperator(KillableOperator):
    """Replaces the data of a dataset; subclasses provide the data.

    :param dataset_id: id of the dataset, ``ds_...`` (templated).
    :param source_timestamp: as-of time of the data (datetime or ISO 8601 string, UTC if naive; templated). Stored with
        the dataset after the upload. Default: not stored.
    :param wait_for_upload: whether to wait until the platform shows the new data; see `PolyteiaHook.wait_for_upload`.
        Default: False.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("dataset_id", "source_timestamp", "polyteia_conn_id")

    def __init__(
        self,
        *,
        dataset_id: str,
        source_timestamp: str | datetime | None = None,
        wait_for_upload: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.source_timestamp = source_timestamp
        self.wait_for_upload = wait_for_upload
        self._result: dict[str, Any] = {}
        self._base_url = ""

    def execute(self, context: Context) -> dict[str, Any]:
        """Load the data, and describe it in the asset events of the task's outlets."""
        self._result = super().execute(context)
        if self.outlets:
            known = {name: self._result.get(name) for name in ("rows", "bytes")}
            extra = {**known, "source_timestamp": self._timestamp()}
            add_event_extra(context, self, self._base_url, self._result["dataset_id"], extra)
        return self._result

    def lineage_columns(self) -> dict[str, str]:
        """Return name and type of each column that was loaded; an empty dict if they are not known."""
        raise NotImplementedError

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:  # noqa: ARG002 - its signature
        """Report to OpenLineage what was loaded; called by its provider, in the worker, after `execute`."""
        if not self._result:
            return None
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        result = self._result
        uri = dataset_uri(self._base_url, result["dataset_id"])
        output = openlineage.loaded_dataset(
            uri, size=result["bytes"], rows=result.get("rows"), columns=self.lineage_columns()
        )
        return self.lineage_inputs(output)

    def lineage_inputs(self, output: OutputDataset) -> OperatorLineage:
        """Add the inputs to the output."""
        raise NotImplementedError

    def _upload(
        self, context: Context, source: AnyPath | IO[bytes], content_type: str | None, filename: str | None
    ) -> dict[str, Any]:
        """Upload, and do what follows an upload; return the ids and sizes for XCom."""
        dataset_id, timestamp = self.require_text("dataset_id"), self._timestamp()
        self.set_link(context, {"dataset_id": dataset_id})
        self._base_url = self.hook.get_conn().config.base_url
        before = self.hook.last_upload(dataset_id) if self.wait_for_upload else None
        uploaded = self.hook.upload_dataset(dataset_id, source, content_type=content_type, filename=filename)
        if timestamp is not None:
            self.hook.set_source_timestamp(dataset_id, timestamp)
        if self.wait_for_upload:
            self.hook.wait_for_upload(dataset_id, after=before["uploaded_at"] if before else None)
        return {**uploaded}

    def _timestamp(self) -> str | None:
        """Return the as-of time, checked before anything is sent."""
        from airflow_provider_polyteia.client.records import format_source_timestamp  # noqa: PLC0415 - DAG files load faster without it

        return None if self.source_timestamp is None else format_source_timestamp(self.source_timestamp)
