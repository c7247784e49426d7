"""A task that does nothing. Not an EmptyOperator, because the scheduler does not send that to a worker."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, BaseOperator


class NothingOperator(BaseOperator):
    """Does nothing, in a worker."""

    def execute(self, context):
        """Return immediately."""


with DAG("overhead_empty", schedule=None):
    NothingOperator(task_id="task")
