"""Send any query and any command of the Polyteia API.

Lists the datasets of a solution, and records for each of them as of which day its data is. Shows how the result
of a query feeds a command, once for each dataset. On the RPC API, see `example_call_procedure`.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of your solution and a day.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_polyteia.operators.polyteia import PolyteiaCommandOperator, PolyteiaQueryOperator

with DAG(
    "example_command_and_query",
    schedule=None,
    params={
        "solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_..."),
        "as_of": Param("2026-01-31", type="string", format="date", description="Day the data describes"),
    },
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    list_datasets = PolyteiaQueryOperator(
        task_id="list_datasets",
        query="list_datasets",
        parameters={"solution_id": "{{ params.solution_id }}"},
        paginate=True,
    )

    @task
    def describe_sources(datasets: list[dict[str, Any]], params: dict[str, Any]) -> list[dict[str, Any]]:
        """The parameters of one command for each dataset."""
        source_info = {"source_timestamp": f"{params['as_of']}T00:00:00Z"}
        return [{"id": dataset["id"], "source_info": source_info} for dataset in datasets]

    PolyteiaCommandOperator.partial(
        task_id="record_source",
        command="update_dataset_source_info",
    ).expand(parameters=describe_sources(list_datasets.output))
