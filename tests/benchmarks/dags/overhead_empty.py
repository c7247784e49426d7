"""A task that does nothing. Not an EmptyOperator: the scheduler would not give that to a worker."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, BaseOperator


class NothingOperator(BaseOperator):
    """Does nothing, in a worker."""

    def execute(self, context):
        """Return at once."""


with DAG("overhead_empty", schedule=None):
    NothingOperator(task_id="task")
