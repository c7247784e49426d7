"""Publish the public holidays of the 16 German states, one dataset for each year.

Creates the datasets, computes the holidays from the states' laws with the package `holidays`, writes them to a
CSV file and uploads it. `make demo` runs this DAG against the sandbox.

To set: the connection `polyteia_default`, and when you trigger the DAG, the id of your solution. The package
`holidays` has to be installed where the tasks run.
"""

from __future__ import annotations

import csv
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator

STATES = {
    "BW": "Baden-Württemberg",
    "BY": "Bayern",
    "BE": "Berlin",
    "BB": "Brandenburg",
    "HB": "Bremen",
    "HH": "Hamburg",
    "HE": "Hessen",
    "MV": "Mecklenburg-Vorpommern",
    "NI": "Niedersachsen",
    "NW": "Nordrhein-Westfalen",
    "RP": "Rheinland-Pfalz",
    "SL": "Saarland",
    "SN": "Sachsen",
    "ST": "Sachsen-Anhalt",
    "SH": "Schleswig-Holstein",
    "TH": "Thüringen",
}


def write_holidays(year: int, path: Path) -> None:
    """Write one row for each state and public holiday of the year."""
    import holidays  # noqa: PLC0415 - not needed to parse the DAG

    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["date", "holiday", "state", "state_name"])
        for state, name in STATES.items():
            calendar = holidays.country_holidays("DE", subdiv=state, years=year, language="de")
            rows.writerows([day.isoformat(), holiday, state, name] for day, holiday in sorted(calendar.items()))


with DAG(
    "example_holidays",
    schedule=None,
    params={
        "solution_id": Param(type="string", minLength=1, description="Id of the solution, such as sol_..."),
        "years": Param([2026, 2027], type="array", items={"type": "integer"}, minItems=1),
    },
    tags=["polyteia", "example"],
    doc_md=__doc__,
):

    @task
    def choose_years(params: dict[str, Any]) -> list[int]:
        """The years that the one who triggered the run asks for."""
        return sorted(set(params["years"]))

    @task
    def upload_holidays(year_and_dataset: tuple[int, dict[str, Any]]) -> None:
        """Compute a year's holidays and make them the content of its dataset."""
        year, dataset = year_and_dataset
        with tempfile.TemporaryDirectory() as folder, PolyteiaHook() as hook:
            file = Path(folder) / f"public_holidays_{year}.csv"
            write_holidays(year, file)
            hook.upload_dataset(dataset["id"], file)
            # Tells those who wait for this dataset on the RPC API that the data is new.
            hook.set_source_timestamp(dataset["id"], datetime.now(UTC))

    years = choose_years()

    create_dataset = CreateDatasetOperator.partial(
        task_id="create_dataset",
        solution_id="{{ params.solution_id }}",
        description="Public holidays of the 16 German states",
        source="Holiday laws of the states",
    ).expand_kwargs(years.map(lambda year: {"name": f"Public holidays {year}", "slug": f"public_holidays_{year}"}))

    upload_holidays.expand(year_and_dataset=years.zip(create_dataset.output))
