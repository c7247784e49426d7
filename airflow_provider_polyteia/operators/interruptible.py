"""Operators whose work takes long, and that stop at once when the task is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.operators.base import PolyteiaOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class TaskKilledError(BaseException):
    """Airflow has killed the task. Like Airflow's own time-out no `Exception`, so that nothing catches it halfway."""


class InterruptibleOperator(PolyteiaOperator):
    """Raises `TaskKilledError` within `work` when the task is killed, so that whatever is open is closed and removed.

    Airflow 3 itself only calls `on_kill`, and the task would go on; Airflow 2 raises an error of its own as well.

    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self._is_at_work = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Do the work."""
        self._is_at_work = True
        try:
            with self.hook:
                return self.outputs(self.work(context))
        finally:
            self._is_at_work = False

    def work(self, context: Context) -> dict[str, Any]:
        """Do what the operator is for, and return what goes to XCom: ids, paths, sizes and counts, never content."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Break off."""
        super().on_kill()
        if self._is_at_work:
            self._is_at_work = False  # a second signal is not to disturb the cleaning up after the first
            raise TaskKilledError(f"Task {self.task_id!r} was killed.")
