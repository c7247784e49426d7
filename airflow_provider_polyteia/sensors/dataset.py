"""`DatasetUploadedSensor`: wait until somebody has uploaded data into a dataset."""

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
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_polyteia.client.records import Condition, Upload
    from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

# If no triggerer has ended the wait so long after its time, the scheduler does.
TRIGGERER_GRACE = timedelta(minutes=10)


class DatasetUploadedSensor(PolyteiaOperator, BaseSensorOperator):
    """Wait until a dataset was uploaded, found by its id, or by solution and slug.

    Returns the upload: ``id``, ``slug``, ``uploaded_at``, ``size``, ``content_type``; each is an XCom of its own too.

    All modes behave alike. One look is attempted `max_attempts` times, with growing pauses, before a failure of the
    network or the platform fails the task; a wrong key (401) or a missing permission (403) fails it at once.
    ``timeout``, ``soft_fail``, ``silent_fail``, ``poke_interval`` and the like are those of `BaseSensorOperator`.

    :param dataset_id: the dataset, ``ds_...`` (templated).
    :param solution_id: its solution, if it is found by its slug (templated).
    :param slug: its slug, if it is found by it (templated).
    :param uploaded_after: the upload must be later than this moment: a datetime, or text in ISO 8601 (templated);
        without a time zone it means UTC. None (default): any data will do.
    :param min_size: bytes the data must have at least (default: any size).
    :param wait_for_creation: whether to wait for a dataset that does not exist yet (default: no, it is an error).
    :param max_attempts: see above (default: 10). The connection's ``max_wait`` and ``max_elapsed`` apply too.
    :param deferrable: whether to wait in the triggerer, without a worker (default: ``[operators] default_deferrable``).
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("dataset_id", "solution_id", "slug", "uploaded_after", "polyteia_conn_id")
    pushes_link = True  # for the process in which a deferred wait resumes

    def __init__(
        self,
        *,
        dataset_id: str | None = None,
        solution_id: str | None = None,
        slug: str | None = None,
        uploaded_after: str | datetime | None = None,
        min_size: int | None = None,
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
        self.wait_for_creation = wait_for_creation
        self.max_attempts = max_attempts
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> PolyteiaHook:
        """The hook, made when the task runs. The first look of a deferrable wait is attempted once only."""
        from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook  # noqa: PLC0415 - DAG files load faster without

        attempts = 1 if self.deferrable else self.max_attempts
        return PolyteiaHook(self.polyteia_conn_id, max_attempts=attempts, max_reported=attempts)

    def execute(self, context: Context) -> Any:
        """Wait, here or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        with self._rules_of_poke_mode():
            upload = self._first_look(context)
        if upload is not None:
            return self.outputs(upload.summary())
        return self._defer()

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        upload = self._look(context)
        return PokeReturnValue(
            is_done=upload is not None, xcom_value=self.outputs(upload.summary()) if upload else None
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Return the upload, or raise the error, that the trigger has met."""
        from airflow_provider_polyteia.triggers.dataset import FAILED, TIMED_OUT, rebuild_error  # noqa: PLC0415 - see _defer

        if event["status"] == TIMED_OUT:
            named = _named(self._condition.reference)
            message = f"Sensor has timed out: no upload into the dataset with {named} within {self.timeout:g} seconds."
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        if event["status"] == FAILED:
            with self._rules_of_poke_mode():
                raise rebuild_error(event["error"])
        upload: dict[str, Any] = event["dataset"]
        self.log.info("Dataset %r was uploaded at %s.", upload["id"], upload["uploaded_at"])
        return self.outputs(upload)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume with the trigger's event; BaseSensorOperator would turn any error into a skip if `soft_fail`."""
        if next_method == self.execute_complete.__name__:
            return self.execute_complete(context, **(next_kwargs or {}))
        return super().resume_execution(next_method, next_kwargs, context)

    def _look(self, context: Context) -> Upload | None:
        condition = self._condition
        named = condition.reference
        with self.hook as hook:
            self.link_to(context, named)
            try:
                record = hook.get_dataset(named.get("id"), solution_id=named.get("solution_id"), slug=named.get("slug"))
            except PolyteiaError as error:
                if condition.tolerates(error):
                    self.log.info("There is no dataset with %s yet.", _named(named))
                    return None
                raise
            self.link_to(context, record)
        return condition.met_by(record)

    def _first_look(self, context: Context) -> Upload | None:
        """Look before deferring: perhaps there is nothing to wait for, or no sense in waiting."""
        from airflow_provider_polyteia.client.retry import is_passing  # noqa: PLC0415 - imports tenacity

        try:
            return self._look(context)
        except PolyteiaError as error:
            is_final = isinstance(error, AirflowFailException) or not (is_passing(error) or self.silent_fail)
            if is_final:
                raise
            self.log.warning("The first look has failed, the triggerer goes on: %s", error)
            return None

    def _defer(self) -> None:
        from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger  # noqa: PLC0415 - slow to import

        after = self._condition.uploaded_after
        timeout = timedelta(seconds=self.timeout)
        trigger = DatasetUploadedTrigger(
            polyteia_conn_id=self.polyteia_conn_id,
            dataset_id=self.dataset_id,
            solution_id=self.solution_id,
            slug=self.slug,
            uploaded_after=after.isoformat() if after else None,
            min_size=self.min_size,
            wait_for_creation=self.wait_for_creation,
            poke_interval=self.poke_interval,
            exponential_backoff=self.exponential_backoff,
            max_wait=self.max_wait.total_seconds() if self.max_wait else None,
            max_attempts=self.max_attempts,
            deadline=(datetime.now(UTC) + timeout).isoformat(),
            silent_fail=self.silent_fail,
        )
        patience = timeout + timedelta(seconds=self.poke_interval) + TRIGGERER_GRACE
        self.defer(trigger=trigger, method_name=self.execute_complete.__name__, timeout=patience)

    @property
    def _condition(self) -> Condition:
        from airflow_provider_polyteia.client.records import Condition, parse_moment  # noqa: PLC0415 - as in `hook`
        from airflow_provider_polyteia.hooks.datasets import reference  # noqa: PLC0415 - as in `hook`

        return Condition(
            reference(self.given("dataset_id"), self.given("solution_id"), self.given("slug")),
            uploaded_after=parse_moment(self.uploaded_after, f"Argument 'uploaded_after' of task {self.task_id!r}"),
            min_size=self.min_size,
            wait_for_creation=self.wait_for_creation,
        )

    @contextmanager
    def _rules_of_poke_mode(self) -> Iterator[None]:
        """Apply `soft_fail` and `never_fail` as BaseSensorOperator does in poke mode."""
        try:
            yield
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping, because soft_fail or never_fail is set: {error}") from error
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipping, because never_fail is set: {error}") from error
            raise


def _named(reference: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in reference.items())
