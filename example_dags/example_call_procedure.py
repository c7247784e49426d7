"""Call any procedure of the RPC API.

Lists the datasets of a solution, and reads the statistics of each of them. Shows how the output of a procedure becomes
the input of another, once for each dataset. On the command API, see `example_command_and_query`.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of a solution.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_polyteia.operators.polyteia import PolyteiaCallOperator

with DAG(
    "example_call_procedure",
    schedule=None,
    params={"solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_...")},
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    list_datasets = PolyteiaCallOperator(
        task_id="list_datasets",
        procedure="dataset/listDatasets",
        parameters={"solutionId": "{{ params.solution_id }}"},
    )

    @task
    def choose_datasets(datasets: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the input of one call for each dataset."""
        return [{"id": dataset["id"]} for dataset in datasets]

    PolyteiaCallOperator.partial(
        task_id="read_statistics",
        procedure="dataset/getDatasetStats",
    ).expand(parameters=choose_datasets(list_datasets.output))
