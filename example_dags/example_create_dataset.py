"""Create a dataset in Polyteia.

What the API documentation does with one curl call, as a DAG: `create_dataset` with a name, a solution, a slug, a
description and a source. Run it again and you get the same dataset, not a second one.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of your solution.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator

with DAG(
    "example_create_dataset",
    schedule=None,
    params={
        "solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_..."),
        "slug": Param("public_transport_stops", type="string", minLength=1, description="Unique in the solution"),
    },
    tags=["polyteia", "example"],
    doc_md=__doc__,
):
    CreateDatasetOperator(
        task_id="create_dataset",
        name="Public transport stops",
        solution_id="{{ params.solution_id }}",
        slug="{{ params.slug }}",
        description="Stops of buses and trams, with their coordinates",
        source="Timetables of the city's transport company",
    )
