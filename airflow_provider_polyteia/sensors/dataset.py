"""`DatasetUploadedSensor`: wait until new data has been uploaded into a dataset."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.operators.base import PolyteiaOperator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_polyteia.client.records import Upload
    from airflow_provider_polyteia.client.upload_condition import UploadCondition
    from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

# If no triggerer has ended the wait this long after its timeout, the scheduler does.
TRIGGERER_GRACE = timedelta(minutes=10)


class DatasetUploadedSensor(PolyteiaOperator, BaseSensorOperator):
    """Wait until a dataset was uploaded, identified by its id, or by solution and slug.

    Returns the upload: ``id``, ``slug``, ``uploaded_at``, ``size`` (bytes), ``content_type``; each is also pushed as a
    separate XCom. If a field of the record is compared, ``uploaded_at`` is its value, and ``size`` and ``content_type``
    are None.

    All modes behave alike. A poll makes up to `max_attempts` attempts, with growing delays, before a failure of the
    network or the platform fails the task; an invalid key (401) or a missing permission (403) fails it immediately.
    ``timeout``, ``soft_fail``, ``silent_fail``, ``poke_interval`` and the like are those of `BaseSensorOperator`.

    :param dataset_id: id of the dataset, ``ds_...`` (templated); or
    :param solution_id: id of its solution (templated), and
    :param slug: slug of the dataset in that solution (templated).
    :param uploaded_after: only match uploads after this time (datetime or ISO 8601 string, UTC if naive; templated).
        Default: any upload.
    :param min_size: minimum size of the data in bytes; not on the RPC API, and not with `timestamp_field`. Default: any
        size.
    :param timestamp_field: date field of the dataset's record that shows an upload, compared with `uploaded_after`
        (templated). Default: the time of the upload itself; on the RPC API, which does not show it, ``data_as_of``
        (docs/sensors.md#on-the-rpc-api).
    :param wait_for_creation: whether to wait for a dataset that does not exist yet. Default: False, it is an error.
    :param max_attempts: maximum number of attempts per poll; the connection's ``max_wait`` and ``max_elapsed`` apply
        too. Default: 10.
    :param deferrable: whether to wait in the triggerer, without a worker. Default: ``[operators] default_deferrable``.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = (
        "dataset_id",
        "solution_id",
        "slug",
        "uploaded_after",
        "timestamp_field",
        "polyteia_conn_id",
    )
    pushes_link = True  # for the process in which a deferred sensor resumes

    def __init__(
        self,
        *,
        dataset_id: str | None = None,
        solution_id: str | None = None,
        slug: str | None = None,
        uploaded_after: str | datetime | None = None,
        min_size: int | None = None,
        timestamp_field: str | None = None,
        wait_for_creation: bool = False,
        max_attempts: int = 10,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.solution_id = solution_id
        self.slug = slug
        self.uploaded_after = uploaded_after
        self.min_size = min_size
        self.timestamp_field = timestamp_field
        self.wait_for_creation = wait_for_creation
        self.max_attempts = max_attempts
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> PolyteiaHook:
        """The hook, created when the task runs. The first poll of a deferrable sensor makes a single attempt."""
        from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook  # noqa: PLC0415 - DAG files load faster without it

        attempts = 1 if self.deferrable else self.max_attempts
        return PolyteiaHook(self.polyteia_conn_id, max_attempts=attempts, max_server_errors=attempts)

    def execute(self, context: Context) -> Any:
        """Wait, here or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        with self._rules_of_poke_mode():
            upload = self._first_poll(context)
        if upload is not None:
            return self._found(upload.summary())
        return self._defer()

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once."""
        upload = self._poll(context)
        return PokeReturnValue(is_done=upload is not None, xcom_value=self._found(upload.summary()) if upload else None)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Return the upload from the trigger's event, or raise its exception."""
        from airflow_provider_polyteia.triggers.dataset import FAILED, TIMED_OUT  # noqa: PLC0415 - as in `_defer`

        if event["status"] == TIMED_OUT:
            dataset = self._condition.dataset
            message = f"Sensor has timed out: no upload to dataset {dataset} within {self.timeout:g} seconds."
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        if event["status"] == FAILED:
            with self._rules_of_poke_mode():
                raise PolyteiaError.from_dict(event["error"])
        return self._found(event["dataset"])

    def _found(self, upload: dict[str, Any]) -> dict[str, Any]:
        self.log.info("Dataset %r was uploaded at %s.", upload["id"], upload["uploaded_at"])
        summary: dict[str, Any] = self.xcom_value(upload)
        return summary

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume with the trigger's event.

        BaseSensorOperator would turn any exception into a skip if `soft_fail` is set.
        """
        if next_method == self.execute_complete.__name__:
            return self.execute_complete(context, **(next_kwargs or {}))
        return super().resume_execution(next_method, next_kwargs, context)

    def _poll(self, context: Context) -> Upload | None:
        self.check_provided()
        condition = self._condition
        dataset = condition.dataset
        with self.hook as hook:
            self.set_link(context, dataset.identifiers)
            hook.api.check_condition(condition)
            try:
                record = hook.get_dataset(dataset.dataset_id, solution_id=dataset.solution_id, slug=dataset.slug)
            except PolyteiaError as error:
                if condition.ignores(error):
                    self.log.info("Dataset %s does not exist yet.", dataset)
                    return None
                raise
            self.set_link(context, record)
            upload = hook.api.last_upload(record, condition)
        return upload if condition.matches(upload) else None

    def _first_poll(self, context: Context) -> Upload | None:
        """Poll before deferring: the upload may exist already, or the wait may be pointless."""
        from airflow_provider_polyteia.client.retries import is_transient  # noqa: PLC0415 - imports tenacity

        try:
            return self._poll(context)
        except PolyteiaError as error:
            is_final = isinstance(error, AirflowFailException) or not (is_transient(error) or self.silent_fail)
            if is_final:
                raise
            self.log.warning("The initial poll failed; the triggerer will keep polling: %s", error)
            return None

    def _defer(self) -> None:
        from airflow_provider_polyteia.client.upload_condition import UploadWait  # noqa: PLC0415 - DAG files load faster without it
        from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger  # noqa: PLC0415 - slow to import

        after = self._condition.uploaded_after
        timeout = timedelta(seconds=self.timeout)
        wait = UploadWait(
            polyteia_conn_id=self.polyteia_conn_id,
            dataset_id=self.dataset_id,
            solution_id=self.solution_id,
            slug=self.slug,
            uploaded_after=after.isoformat() if after else None,
            min_size=self.min_size,
            wait_for_creation=self.wait_for_creation,
            timestamp_field=self.timestamp_field,
            poke_interval=self.poke_interval,
            exponential_backoff=self.exponential_backoff,
            max_wait=self.max_wait.total_seconds() if self.max_wait else None,
            max_attempts=self.max_attempts,
            deadline=(datetime.now(UTC) + timeout).isoformat(),
            silent_fail=self.silent_fail,
        )
        trigger = DatasetUploadedTrigger(**wait.serialize())
        grace = timedelta(seconds=self.poke_interval) + TRIGGERER_GRACE
        self.defer(trigger=trigger, method_name=self.execute_complete.__name__, timeout=timeout + grace)

    @property
    def _condition(self) -> UploadCondition:
        from airflow_provider_polyteia.client.records import DatasetRef, parse_user_timestamp  # noqa: PLC0415 - as in `hook`
        from airflow_provider_polyteia.client.upload_condition import UploadCondition  # noqa: PLC0415 - as in `hook`

        return UploadCondition(
            DatasetRef.of(
                self.optional_text("dataset_id"), self.optional_text("solution_id"), self.optional_text("slug")
            ),
            uploaded_after=parse_user_timestamp(
                self.uploaded_after, f"Argument 'uploaded_after' of task {self.task_id!r}"
            ),
            min_size=self.min_size,
            wait_for_creation=self.wait_for_creation,
            timestamp_field=self.optional_text("timestamp_field"),
        )

    @contextmanager
    def _rules_of_poke_mode(self) -> Iterator[None]:
        """Apply `soft_fail` and `never_fail` as BaseSensorOperator does in poke mode."""
        try:
            yield
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping because soft_fail or never_fail is set: {error}") from None
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipping because never_fail is set: {error}") from None
            raise
