"""The recipes of docs/transfers.md#converting-files, each run with a file of its kind."""

from __future__ import annotations

import datetime as dt
import io
import re
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "fixtures" / "files"
SECTION = (ROOT / "docs" / "transfers.md").read_text().partition("\n## Converting files")[2].partition("\n## ")[0]
RECIPES = re.findall(r"^```python\n(.+?)^```$", SECTION, re.MULTILINE | re.DOTALL)
FIRST = {
    "AGS": "14612000",
    "PLZ": "01067",
    "Straße": "Müllerstraße 5",
    "Betrag": Decimal("1234.50"),
    "Datum": dt.date(2026, 12, 31),
    "Aktiv": True,
}
# DAG and task -> the file of its kind, and the first row that arrives.
LOADED = {
    ("specialist_application", "load"): ("cp1252.csv", FIRST),
    ("declared_columns", "load"): ("cp1252.csv", FIRST),
    ("excel_sheet", "load"): ("bericht.xlsx", {"AGS": "01001000", "m": "1", "w": 2.0}),
    ("open_data", "load_records"): ("w.json", {"a": 1}),
    ("open_data", "load_trees"): (
        "baeume.geojson",
        {
            "baumnr": "00000",
            "art": "Linde",
            "höhe_m": 12.5,
            "gepflanzt": "01.04.1987",
            "geometry": '{"type":"Point","coordinates":[565000.1,5930000.2]}',
        },
    ),
    ("spark_output", "load"): ("pandas_index.parquet", None),
}


def run_recipe(recipe):
    """Run the code of a recipe, and return its DAG."""
    names = {}
    code = re.sub(r"^(with DAG\(.+\)):$", r"\1 as dag:", recipe, flags=re.MULTILINE)
    exec(compile(code, "recipe", "exec"), names)  # noqa: S102 - our own documentation
    return names["dag"]


DAGS = {dag.dag_id: dag for dag in map(run_recipe, RECIPES)}


def test_every_recipe_is_tested():
    """No recipe is forgotten."""
    assert {(dag.dag_id, task_id) for dag in DAGS.values() for task_id in dag.task_ids} == set(LOADED)


@pytest.mark.parametrize(("dag_id", "task_id"), LOADED)
def test_recipe(sandbox, dataset_id, tmp_path, dag_id, task_id):
    """A recipe loads what it says it loads, with nothing changed but paths and ids."""
    name, first = LOADED[dag_id, task_id]
    source = CASES / name
    if dag_id == "spark_output":
        source = tmp_path / "bookings"
        source.mkdir()
        for part in ("part-00000.parquet", "part-00001.parquet"):
            (source / part).write_bytes((CASES / name).read_bytes())
    task = DAGS[dag_id].get_task(task_id)
    task.source, task.dataset_id = str(source), dataset_id
    rows = task.execute({})["rows"]
    table = pq.read_table(io.BytesIO(sandbox.content(dataset_id))).to_pylist()
    assert len(table) == rows
    assert rows == 4 if first is None else table[0] == first
