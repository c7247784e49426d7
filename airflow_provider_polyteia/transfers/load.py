"""The base class of all transfers into a dataset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, conf

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.client.datasets import INGEST_TIMEOUT
from airflow_provider_polyteia.exceptions import PolyteiaError, log_cause
from airflow_provider_polyteia.operators.asset_events import add_event_extra
from airflow_provider_polyteia.operators.killable import KillableOperator
from airflow_provider_polyteia.tables.load_checks import Load, LoadChecks
from airflow_provider_polyteia.tables.optional_dependencies import require
from airflow_provider_polyteia.transfers.load_report import last_load_in, report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_polyteia.hooks.files import Checked
    from airflow_provider_polyteia.storage import AnyPath
    from airflow_provider_polyteia.tables.load_checks import OnSchemaChange


# If no triggerer has ended the wait this long after its time limit, the scheduler does.
TRIGGERER_GRACE = timedelta(minutes=10)


class LoadOperator(KillableOperator):
    """Replaces the data of a dataset; subclasses provide the data, and say which dataset it is.

    :param source_timestamp: as-of time of the data (date, datetime or ISO 8601 string, UTC if naive; templated), stored
        after the upload or its ingest. Default: not stored.
    :param wait_for_upload: whether to wait until the platform shows the new data, on the command API; see
        `PolyteiaHook.wait_for_upload`. Default: False. On the RPC API, the task always waits until the data was
        ingested.
    :param min_rows: minimum number of rows (of queries, converted files, and Parquet files with pyarrow). Default: 0.
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

    template_fields: Sequence[str] = ("source_timestamp", "polyteia_conn_id")

    def __init__(
        self,
        *,
        source_timestamp: str | datetime | None = None,
        wait_for_upload: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        ingest_timeout: float = INGEST_TIMEOUT,
        min_rows: int = 0,
        max_shrink: float | None = None,
        on_schema_change: OnSchemaChange = "warn",
        verify: bool = False,
        check_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_timestamp = source_timestamp
        self.wait_for_upload = wait_for_upload
        self.deferrable = deferrable
        self.ingest_timeout = ingest_timeout
        self.min_rows = min_rows
        self.max_shrink = max_shrink
        self.on_schema_change = on_schema_change
        self.verify = verify
        self.check_only = check_only
        if check_only:
            self.outlets = []  # so that Airflow does not regard the task as a producer of assets
        self._load_checks()  # raises for unusable values while the DAG is parsed
        self._result: dict[str, Any] = {}
        self._base_url = ""
        self._as_of: str | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Load the data, and describe it in the asset events of the task's outlets; or only check the load."""
        self._timestamp()  # raises for an unusable one before anything is read or sent
        if self.verify:
            require("pyarrow", "parquet", "The argument 'verify'")
        result = super().execute(context)
        if self.check_only:
            self.outlets = []  # those that were added later: Airflow would emit an event for each of them
            return result
        self._result = result
        if self.deferrable and self._result.get("ingest_id"):
            self._defer()
        return self._finish(context)

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any],
        result: dict[str, Any] | None = None,
        source_timestamp: str | None = None,
    ) -> dict[str, Any]:
        """Finish after the ingest, or raise the trigger's exception.

        :param result: what `execute` would have returned. Default: None, as in the event.
        :param source_timestamp: as-of time of the data; the template might render to another one now. Default: None.
        """
        from airflow_provider_polyteia.triggers.ingest import FAILED  # noqa: PLC0415 - as in `_defer`

        if event["status"] == FAILED:
            raise PolyteiaError.from_dict(event["error"])
        if result is None:
            result, source_timestamp = event["load"]["result"], event["load"]["source_timestamp"]
        self._result, self._as_of = result, source_timestamp
        with self.hook:
            self._base_url = self.hook.get_conn().config.base_url
            self.set_link(context, {"dataset_id": result["dataset_id"]})
            self._store_timestamp(result["dataset_id"])
            self._verify(result)
        return self._finish(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume with the trigger's event. If the trigger is lost, its ingest may complete all the same."""
        if next_method == self.execute_complete.__name__:
            return self.execute_complete(context, **(next_kwargs or {}))
        from airflow_provider_polyteia.client.ingest import unfinished  # noqa: PLC0415 - imports tenacity

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            problem = "was not followed to its end, because the trigger failed or no triggerer is running"
            dataset = (next_kwargs or {}).get("result", {}).get("dataset_id") or self.dataset_label()
            log_cause(error)
            raise unfinished(dataset, "", self.polyteia_conn_id, problem) from None

    def _defer(self) -> None:
        """Wait for the ingest in the triggerer."""
        from airflow_provider_polyteia.triggers.ingest import IngestTrigger  # noqa: PLC0415 - slow to import

        timeout = timedelta(seconds=self.ingest_timeout)
        load = {"result": self._result, "source_timestamp": self._as_of}
        trigger = IngestTrigger(
            polyteia_conn_id=self.polyteia_conn_id,
            dataset_id=self._result["dataset_id"],
            ingest_id=self._result["ingest_id"],
            deadline=(datetime.now(UTC) + timeout).isoformat(),
            load=load,
        )
        self.defer(
            trigger=trigger,
            method_name=self.execute_complete.__name__,
            kwargs=load,
            timeout=timeout + TRIGGERER_GRACE,
        )

    def _finish(self, context: Context) -> dict[str, Any]:
        """Describe what was loaded in the asset events of the outlets, and return the result."""
        if self.outlets:
            known = {name: self._result.get(name) for name in ("rows", "bytes", "columns")}
            extra = {**known, "source_timestamp": self._as_of}
            add_event_extra(context, self, self._base_url, self._result["dataset_id"], extra)
        return self._result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:  # noqa: ARG002 - its signature
        """Report to OpenLineage what was loaded; called by its provider, in the worker, after `execute`."""
        if not self._result:
            return None
        from airflow_provider_polyteia.transfers import openlineage  # noqa: PLC0415 - an optional package

        result = self._result
        uri = dataset_uri(self._base_url, result["dataset_id"])
        output = openlineage.loaded_dataset(
            uri, size=result["bytes"], rows=result.get("rows"), columns=result["columns"]
        )
        return self.lineage_inputs(output)

    def lineage_inputs(self, output: OutputDataset) -> OperatorLineage:
        """Add the inputs to the output."""
        raise NotImplementedError

    def dataset_label(self) -> str:
        """Return what identifies the dataset in messages. Default: the argument `dataset_id`."""
        return str(getattr(self, "dataset_id", ""))

    def _upload(
        self,
        context: Context,
        dataset_id: str,
        source: AnyPath | IO[bytes],
        *,
        content_type: str | None,
        filename: str | None,
        load: Load,
    ) -> dict[str, Any]:
        """Check a load, upload it, and do what follows an upload; return the ids and sizes for XCom."""
        self._load_checks().check(load, self._last_load(context, dataset_id), f"The data for dataset {dataset_id!r}")
        self._as_of = self._timestamp()
        self.set_link(context, {"dataset_id": dataset_id})
        self._base_url = self.hook.get_conn().config.base_url
        waits = self.wait_for_upload and self.hook.api.upload_field is None
        before = self.hook.last_upload(dataset_id) if waits else None
        uploaded = self.hook.upload_dataset(
            dataset_id,
            source,
            content_type=content_type,
            filename=filename,
            check=False,  # the subclasses have checked it
            wait_for_ingest=not self.deferrable,
            ingest_timeout=self.ingest_timeout,
        )
        if not (self.deferrable and uploaded["ingest_id"]):
            self._store_timestamp(dataset_id)
        if waits:
            self.hook.wait_for_upload(dataset_id, after=before["uploaded_at"] if before else None)
        known = {"rows": load.rows, "columns": dict(load.columns)}
        result = {name: value for name, value in {**uploaded, **known}.items() if name != "ingest_id" or value}
        if not (self.deferrable and uploaded["ingest_id"]):
            self._verify(result)
        return result

    def _check(
        self, context: Context, found: Checked, describe: Callable[[Load | None], Load], checks: LoadChecks
    ) -> dict[str, Any]:
        """Check a load instead of making it, and return what is known of it for XCom.

        :param found: what the platform says about the dataset.
        :param describe: returns what is known of the data; takes the last load, if there was one.
        :param checks: those that are possible with that.
        """
        dataset_id = found["dataset_id"]
        if dataset_id:
            self.set_link(context, {"dataset_id": dataset_id})
        last = self._last_load(context, dataset_id) if dataset_id else None
        load = describe(last)
        checks.check(load, last, f"The data for dataset {dataset_id or self.dataset_label()!r}")
        return report(found, load, last, dataset_id or self.dataset_label())

    def _load_checks(self) -> LoadChecks:
        return LoadChecks(self.min_rows, self.max_shrink, self.on_schema_change)

    def _verify(self, result: dict[str, Any]) -> None:
        """Count the rows on the platform, if that is wanted, and store their number in the result."""
        if self.verify:
            from airflow_provider_polyteia.hooks import files  # noqa: PLC0415 - DAG files load faster without it

            result["rows"] = files.verify_rows(
                self.hook.get_conn(), self.hook.api, result["dataset_id"], result["rows"]
            )

    def _last_load(self, context: Context, dataset_id: str) -> Load | None:
        """Return what the last successful run of this task has loaded into the dataset; None without one."""
        last = self._last_result(context)
        return Load.from_result(last) if last.get("dataset_id") == dataset_id else None

    def _last_result(self, context: Context) -> Mapping[str, Any]:
        """Return the result of the last load by this task; empty without one."""
        if "ti" not in context:
            return {}
        task = context["ti"]
        last = task.xcom_pull(task_ids=self.task_id, map_indexes=task.map_index, include_prior_dates=True)
        return last_load_in(last) if isinstance(last, dict) else {}

    def _store_timestamp(self, dataset_id: str) -> None:
        """Store the as-of time of the data, if there is one."""
        if self._as_of is not None:
            self.hook.set_source_timestamp(dataset_id, self._as_of)

    def _timestamp(self) -> str | None:
        """Return the as-of time, checked before anything is sent."""
        from airflow_provider_polyteia.client.records import format_source_timestamp  # noqa: PLC0415 - DAG files load faster without it

        return None if self.source_timestamp is None else format_source_timestamp(self.source_timestamp)
