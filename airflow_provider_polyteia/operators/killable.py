"""The base class of operators whose work takes long, and that stop immediately when the task is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.operators.base import PolyteiaOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class TaskKilledError(BaseException):
    """Airflow killed the task. Derives from BaseException, like AirflowTaskTimeout, so that no handler swallows it."""


class KillableOperator(PolyteiaOperator):
    """Raises an exception within `_run` when the task is killed, so that whatever is open is closed and removed.

    Airflow 3 itself only calls `on_kill`, and the task would continue; Airflow 2 raises its own exception as well.

    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self._is_running = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Run, and return what goes to XCom."""
        self.check_provided()
        self._is_running = True
        try:
            with self.hook:
                outputs: dict[str, Any] = self.xcom_value(self._run(context))
                return outputs
        finally:
            self._is_running = False

    def _run(self, context: Context) -> dict[str, Any]:
        """Do the operator's work, and return what goes to XCom: ids, paths, sizes and counts, never content."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """End the running request, or, if there is none, raise `TaskKilledError`."""
        was_running, self._is_running = self._is_running, False  # a second signal must not disturb the first's cleanup
        super().on_kill()
        if was_running:
            raise TaskKilledError(f"Task {self.task_id!r} was killed.")
