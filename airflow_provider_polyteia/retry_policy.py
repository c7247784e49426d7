"""A retry policy for tasks of your own that use `PolyteiaHook`; needs Airflow 3.3 or newer.

The operators of this provider do not need it: permanent errors fail any task immediately. Your own task may hide such
an error by raising another one from it, and Airflow does not know how long a busy platform asked to wait. This policy
handles both::

    @task(retries=5, retry_policy=PolyteiaRetryPolicy())
    def report(): ...
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowOptionalProviderFeatureException

from airflow_provider_polyteia.exceptions import PolyteiaAPIError, PolyteiaError
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_3_PLUS, AIRFLOW_VERSION

if not AIRFLOW_V_3_3_PLUS:
    raise AirflowOptionalProviderFeatureException(
        f"airflow_provider_polyteia.retry_policy needs Airflow 3.3 or newer; this is {AIRFLOW_VERSION}. Without it, "
        "invalid keys and other permanent errors of PolyteiaHook still fail a task immediately."
    )

from airflow.sdk import RetryDecision, RetryPolicy

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


MAX_DELAY = 3600.0  # seconds; if a server asks for more, the task is retried after this time


class PolyteiaRetryPolicy(RetryPolicy):
    """Fails a task immediately on Polyteia's permanent errors, and waits as long as Polyteia requests.

    The error may be the task's own, or the cause of another one (``raise ... from error``). For all other errors, the
    task's ``retries`` and ``retry_delay`` apply.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Airflow's signature
        max_tries: int,  # noqa: ARG002 - Airflow's signature
        context: Context | None = None,  # noqa: ARG002 - Airflow's signature
    ) -> RetryDecision:
        """Decide by the type of the error, never by its text."""
        error = _polyteia_error(exception)
        if isinstance(error, AirflowFailException):
            return RetryDecision.fail(f"{type(error).__name__}: permanent error")
        if isinstance(error, PolyteiaAPIError) and error.retry_after is not None:
            seconds = min(error.retry_after, MAX_DELAY)
            return RetryDecision.retry(timedelta(seconds=seconds), "Polyteia requested this delay")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return an empty dict: the policy has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:  # noqa: ARG003 - Airflow's signature
        """Return the policy."""
        return cls()


def _polyteia_error(exception: BaseException | None) -> BaseException | None:
    """Return the first exception of this provider among an exception and its causes."""
    seen: set[int] = set()
    while exception is not None and not isinstance(exception, PolyteiaError) and id(exception) not in seen:
        seen.add(id(exception))
        exception = exception.__cause__
    return exception
