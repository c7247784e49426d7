"""What all transfers into a dataset have in common."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.operators.interruptible import InterruptibleOperator
from airflow_provider_polyteia.operators.outlets import describe_event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.hooks.files import AnyPath


class LoadOperator(InterruptibleOperator):
    """Replaces the data of a dataset; where the data comes from is up to the subclass.

    :param dataset_id: the dataset, ``ds_...`` (templated).
    :param source_timestamp: as of when the data is: a datetime, or ISO 8601 text (templated); without a time zone it
        means UTC. Stored with the dataset after the upload. None (default): not told.
    :param wait_for_upload: whether to wait until the platform shows the new data (default: no); see
        `PolyteiaHook.wait_for_upload`.
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
        self._address = ""

    def execute(self, context: Context) -> dict[str, Any]:
        """Load, and tell those who wait for the task's outlets."""
        self._result = super().execute(context)
        if self.outlets:
            known = {name: self._result.get(name) for name in ("rows", "bytes")}
            extra = {**known, "source_timestamp": self._timestamp()}
            describe_event(context, self, self._address, self._result["dataset_id"], extra)
        return self._result

    def columns(self) -> dict[str, str]:
        """Return name and type of each column that was loaded; nothing where that is not known."""
        raise NotImplementedError

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:  # noqa: ARG002 - its signature
        """Tell OpenLineage what was loaded; called by its provider, in the worker, after `execute`."""
        if not self._result:
            return None
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        result = self._result
        uri = dataset_uri(self._address, result["dataset_id"])
        output = openlineage.loaded_dataset(uri, size=result["bytes"], rows=result.get("rows"), columns=self.columns())
        return self.sources(output)

    def sources(self, output: OutputDataset) -> OperatorLineage:
        """Add to what was loaded where it came from."""
        raise NotImplementedError

    def load(
        self, context: Context, source: AnyPath | IO[bytes], content_type: str | None, filename: str | None
    ) -> dict[str, Any]:
        """Upload, and do what comes after an upload; return the ids and sizes for XCom."""
        dataset_id, timestamp = self.required("dataset_id"), self._timestamp()
        self.link_to(context, {"dataset_id": dataset_id})
        self._address = self.hook.get_conn().config.base_url
        before = self.hook.last_upload(dataset_id) if self.wait_for_upload else None
        uploaded = self.hook.upload_dataset(dataset_id, source, content_type=content_type, filename=filename)
        if timestamp is not None:
            self.hook.set_source_timestamp(dataset_id, timestamp)
        if self.wait_for_upload:
            self.hook.wait_for_upload(dataset_id, after=before["uploaded_at"] if before else None)
        return {**uploaded}

    def _timestamp(self) -> str | None:
        """Check the moment before anything is sent."""
        from airflow_provider_polyteia.client.records import source_timestamp  # noqa: PLC0415 - DAG files load faster without

        return None if self.source_timestamp is None else source_timestamp(self.source_timestamp)
