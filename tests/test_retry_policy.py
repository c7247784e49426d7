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
        """A permanent error fails the task, also as the cause of another one."""
        assert decide(kind("x")).action is RetryAction.FAIL
        assert decide(caused_by(kind("x"))).action is RetryAction.FAIL

    @pytest.mark.parametrize("kind", OTHER)
    def test_other_errors_are_left_to_the_task(kind):
        """Anything else is treated as the task itself says."""
        assert decide(kind("x")).action is RetryAction.DEFAULT

    def test_rate_limit_waits():
        """A 429 waits as long as the server said."""
        decision = decide(caused_by(exceptions.PolyteiaRateLimitError("x", retry_after=90)))
        assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=90))

    def test_wait_is_capped():
        """No server makes a task wait for longer than an hour."""
        decision = decide(exceptions.PolyteiaRateLimitError("x", retry_after=1e9))
        assert decision.retry_delay == timedelta(hours=1)

    def test_circular_causes():
        """Causes that lead back to themselves end."""
        error = ValueError("x")
        error.__cause__ = error
        assert decide(error).action is RetryAction.DEFAULT

    def test_serialization():
        """The policy survives the serialization of its DAG."""
        policy = PolyteiaRetryPolicy()
        assert isinstance(PolyteiaRetryPolicy.deserialize(policy.serialize()), PolyteiaRetryPolicy)

else:

    def test_import_says_what_is_needed():
        """On an older Airflow the import says plainly that 3.3 is needed."""
        with pytest.raises(AirflowOptionalProviderFeatureException, match=r"needs Airflow 3.3 or newer"):
            import airflow_provider_polyteia.retry_policy  # noqa: F401, PLC0415 - the import is the test
