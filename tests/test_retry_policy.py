"""The retry policy for users' own tasks (Airflow >= 3.3)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException

from airflow_provider_polyteia import exceptions
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_3_PLUS

PERMANENT = [
    exceptions.PolyteiaConfigurationError,
    exceptions.PolyteiaBadRequestError,
    exceptions.PolyteiaAuthenticationError,
    exceptions.PolyteiaPermissionError,
    exceptions.PolyteiaConflictError,
    exceptions.PolyteiaOutcomeUnknownError,
]
OTHER = [
    exceptions.PolyteiaTransportError,
    exceptions.PolyteiaServerError,
    exceptions.PolyteiaNotFoundError,
    ValueError,
]

if AIRFLOW_V_3_3_PLUS:
    from airflow.sdk import RetryAction

    from airflow_provider_polyteia.retry_policy import PolyteiaRetryPolicy

    def decide(error):
        return PolyteiaRetryPolicy().evaluate(error, 1, 3)

    def caused_by(error):
        wrapped = ValueError("report failed")
        wrapped.__cause__ = error
        return wrapped

    @pytest.mark.parametrize("kind", PERMANENT)
    def test_permanent_errors_fail(kind):
        """A permanent error fails the task, even as the cause of another one."""
        assert decide(kind("x")).action is RetryAction.FAIL
        assert decide(caused_by(kind("x"))).action is RetryAction.FAIL

    @pytest.mark.parametrize("kind", OTHER)
    def test_other_errors_are_left_to_the_task(kind):
        """For any other error, the task's own retries apply."""
        assert decide(kind("x")).action is RetryAction.DEFAULT

    def test_rate_limit_waits():
        """After a 429, the task waits as long as the server requested."""
        decision = decide(caused_by(exceptions.PolyteiaRateLimitError("x", retry_after=90)))
        assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=90))

    def test_wait_is_capped():
        """A task waits for at most an hour, whatever the server requests."""
        decision = decide(exceptions.PolyteiaRateLimitError("x", retry_after=1e9))
        assert decision.retry_delay == timedelta(hours=1)

    def test_circular_causes():
        """A circular chain of causes is followed only once."""
        error = ValueError("x")
        error.__cause__ = error
        assert decide(error).action is RetryAction.DEFAULT

    def test_serialization():
        """The policy survives the serialization of its DAG."""
        policy = PolyteiaRetryPolicy()
        assert isinstance(PolyteiaRetryPolicy.deserialize(policy.serialize()), PolyteiaRetryPolicy)

else:

    def test_import_on_an_older_airflow():
        """On an older Airflow, the import raises an exception that names the required version."""
        with pytest.raises(AirflowOptionalProviderFeatureException, match=r"needs Airflow 3.3 or newer"):
            import airflow_provider_polyteia.retry_policy  # noqa: F401, PLC0415 - the import is the test
