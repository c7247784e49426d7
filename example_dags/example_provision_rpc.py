"""Provision a project in Polyteia on the RPC API: a workspace, a solution in it, and the solution's datasets.

As `example_provision`, which is for the command API. Datasets are identified by their slug and never created twice;
workspaces and solutions have no such key, so every run of this DAG creates new ones. Creating a workspace requires an
administrator of the organization.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of your organization.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.operators.polyteia import PolyteiaCallOperator

with DAG(
    "example_provision_rpc",
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
    create_workspace = PolyteiaCallOperator(
        task_id="create_workspace",
        procedure="enterprise/workspace/createWorkspace",
        parameters={
            "organizationId": "{{ params.organization_id }}",
            "name": "{{ params.project }}",
            "description": "",
        },
    )
    create_solution = PolyteiaCallOperator(
        task_id="create_solution",
        procedure="solution/createSolution",
        parameters={
            "workspaceId": "{{ ti.xcom_pull(task_ids='create_workspace')['id'] }}",
            "name": "{{ params.project }}",
            "description": "",
        },
    )

    @task
    def datasets(params: dict[str, Any]) -> list[dict[str, str]]:
        """Return name and slug of each dataset."""
        wanted: list[dict[str, str]] = params["datasets"]
        return wanted

    create_dataset = CreateDatasetOperator.partial(
        task_id="create_dataset",
        solution_id="{{ ti.xcom_pull(task_ids='create_solution')['id'] }}",
    ).expand_kwargs(datasets())

    create_workspace >> create_solution >> create_dataset
