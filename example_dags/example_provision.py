"""Provision a project in Polyteia: a workspace, a solution in it, and the solution's datasets.

The datasets are created side by side, one mapped task for each entry of the parameter `datasets`. Datasets are
recognized by their slug and never created twice; workspaces and solutions have no such key, so every run of this
DAG makes new ones. On the RPC API, see `example_provision_rpc`.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of your organization.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.operators.polyteia import PolyteiaCommandOperator

with DAG(
    "example_provision",
    schedule=None,
    params={
        "organization_id": Param(type="string", minLength=1, description="Id of the organization, such as org_..."),
        "project": Param("Open city data", type="string", minLength=1, maxLength=50),
        "datasets": Param(
            [
                {"name": "Street trees", "slug": "street_trees"},
                {"name": "Playgrounds", "slug": "playgrounds"},
                {"name": "Drinking fountains", "slug": "drinking_fountains"},
            ],
            type="array",
            description="Name and slug of each dataset",
        ),
    },
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    create_workspace = PolyteiaCommandOperator(
        task_id="create_workspace",
        command="create_workspace",
        parameters={"organization_id": "{{ params.organization_id }}", "name": "{{ params.project }}"},
    )

    create_solution = PolyteiaCommandOperator(
        task_id="create_solution",
        command="create_solution",
        parameters={
            "workspace_id": "{{ ti.xcom_pull(task_ids='create_workspace')['id'] }}",
            "name": "{{ params.project }}",
        },
    )

    @task
    def datasets(params: dict[str, Any]) -> list[dict[str, str]]:
        """What to create, as the one who triggered the run wants it."""
        wanted: list[dict[str, str]] = params["datasets"]
        return wanted

    create_dataset = CreateDatasetOperator.partial(
        task_id="create_dataset",
        solution_id="{{ ti.xcom_pull(task_ids='create_solution')['id'] }}",
    ).expand_kwargs(datasets())

    create_workspace >> create_solution >> create_dataset
