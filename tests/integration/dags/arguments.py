"""Arguments that other tasks and templates provide: None, numbers, and ids of tasks that were skipped."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, BaseOperator, Context

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator, UpdateDatasetOperator
from airflow_provider_polyteia.operators.polyteia import PolyteiaQueryOperator
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor

DATASET = "{{ dag_run.conf['dataset_id'] }}"
SOLUTION = "{{ dag_run.conf['solution_id'] }}"


class Return(BaseOperator):
    """Return a value."""

    def __init__(self, *, value: object = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.value = value

    def execute(self, context: Context) -> object:  # noqa: ARG002 - Airflow's signature
        """Return the value."""
        return self.value


class Skip(BaseOperator):
    """Skip itself, and what follows."""

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow's signature
        """Skip."""
        raise AirflowSkipException


with DAG("arguments_none", schedule=None):
    nothing = Return(task_id="nothing")
    several = Return(task_id="several", value=[None])
    wait = {"dataset_id": DATASET, "timeout": 30, "poke_interval": 1}
    DatasetUploadedSensor(task_id="wait", uploaded_after=nothing.output, **wait)
    DatasetUploadedSensor.partial(task_id="wait_mapped", **wait).expand(uploaded_after=several.output)
    DatasetUploadedSensor.partial(task_id="wait_partial", uploaded_after=nothing.output, timeout=30).expand(
        dataset_id=[DATASET]
    )
    UpdateDatasetOperator(task_id="update", dataset_id=DATASET, name="New", description=nothing.output)
    UpdateDatasetOperator.partial(task_id="update_mapped", dataset_id=DATASET, name="New").expand(
        description=several.output
    )
    UpdateDatasetOperator.partial(task_id="update_omits", dataset_id=DATASET, description=None).expand(name=["Omits"])

with DAG("arguments_native", schedule=None, render_template_as_native_obj=True):
    CreateDatasetOperator(task_id="create", name="2026", slug="2026_01", description="007", solution_id=SOLUTION)
    CreateDatasetOperator.partial(task_id="create_mapped", name="1.50", solution_id=SOLUTION).expand(
        slug=["{{ '2026_02' }}"]
    )

with DAG("arguments_skipped", schedule=None):
    skip = Skip(task_id="skip")
    create = CreateDatasetOperator(task_id="create", name="S", slug="skipped", solution_id="sol_1")
    after = {"query": "get_dataset", "trigger_rule": "none_failed"}
    read = PolyteiaQueryOperator(task_id="read", parameters={"id": create.output["id"]}, **after)
    looked_up = PolyteiaQueryOperator(
        task_id="look_up", parameters={"solution_id": SOLUTION, "slug": "2026_01"}, **after
    )
    skip >> create >> [read, looked_up]
