"""The pages of docs/how-to, and what their tests have in common."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "how-to"
WORKBOOK = ROOT / "tests" / "fixtures" / "files" / "bericht.xlsx"
ID = re.compile(r"\b(ds|dsig|sol)_[0-9a-z]{20,}\b")
SANDBOX_URL = re.compile(r"http://127\.0\.0\.1:\d+")
CSV = """\
Buchungsnr;PLZ;Ort;Betrag;Gebucht am;Bezahlt
1001;01067;Dresden;1.234,50;31.12.2026;ja
1002;50667;Köln;-0,99;02.01.2027;nein
"""


def page_text(page):
    """Return the text of a page in one line, without asterisks."""
    return " ".join((PAGES / page).read_text().replace("\\*", "").replace("*", "").split())


def blocks(page, language):
    """Return all blocks of a page in a language."""
    return re.findall(rf"^ *```{language}\n(.+?)^ *```$", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)


def python_blocks(page):
    """Return all blocks of Python code of a page."""
    return blocks(page, "python")


def json_blocks(page):
    """Return the data in all blocks of JSON of a page."""
    return [json.loads(block) for block in blocks(page, "json")]


def dag_code(page, dag_id):
    """Return the block of a page that defines this DAG."""
    (code,) = [block for block in python_blocks(page) if re.search(rf'DAG\(\s*"{dag_id}"', block)]
    return code


def assert_quoted(page, text):
    """Assert that a page contains this text of an exception, with ids and host as in the documentation."""
    expected = SANDBOX_URL.sub("https://app.polyteia.com", ID.sub(r"\1_...", text))
    assert expected.replace("*", "") in page_text(page)


class AirflowCommands:
    """An Airflow home with a DAGs folder and a metadata database, without running components."""

    def __init__(self, home):
        self.home = home
        self.dags = home / "dags"
        self.dags.mkdir()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")} | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        }
        self.run("db", "migrate")

    def run(self, *arguments, **connections):
        """Run a command of Airflow, and return its output."""
        variables = {f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()}
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def test_dag(self, page, dag_id, replacements, **connections):
        """Run a DAG of a page, with nothing changed but paths and ids, and return the output."""
        code = dag_code(page, dag_id)
        for old, new in replacements.items():
            assert old in code
            code = code.replace(old, str(new))
        (self.dags / f"{dag_id}.py").write_text(code)
        return self.run("dags", "test", dag_id, **connections)


def new_dataset():
    """Create a dataset, and return its id."""
    task = CreateDatasetOperator(task_id="create", name="Bookings", solution_id=SANDBOX_SOLUTION_ID, slug="bookings")
    return task.execute({})["id"]


def load(source, dataset_id, **arguments):
    """Run `FileToPolyteiaOperator` without Airflow."""
    FileToPolyteiaOperator(task_id="load", source=str(source), dataset_id=dataset_id, **arguments).execute({})


def table(sandbox, dataset_id):
    """Return the rows of a dataset."""
    return pq.read_table(io.BytesIO(sandbox.content(dataset_id))).to_pylist()
