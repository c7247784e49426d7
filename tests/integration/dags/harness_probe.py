"""Minimal DAGs to test the harness: one XCom, one template field, one retry, one failure."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, BaseOperator, Context, task


class Echo(BaseOperator):
    """Return the rendered text."""

    template_fields = ("text",)

    def __init__(self, *, text: str, **kwargs):
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: Context) -> str:  # noqa: ARG002 - Airflow's signature
        self.log.debug("echo says %s", self.text)
        return self.text


with DAG("harness_probe", schedule=None):

    @task(retries=1, retry_delay=timedelta(seconds=0))
    def second_try(**context):
        """Fail on the first try only."""
        if context["ti"].try_number == 1:
            raise ValueError("first try")

    Echo(task_id="echo", text="run {{ run_id }}") >> second_try()

with DAG("harness_failure", schedule=None):

    @task
    def fail():
        """Fail on every try."""
        raise ValueError("this is meant to fail")

    fail()
