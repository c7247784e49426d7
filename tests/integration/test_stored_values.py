"""Results of tasks in Airflow's own database when that is PostgreSQL, which rejects more than SQLite does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from postgres import Postgres
from servers import ScriptedServer, data

DAG_FILE = Path(__file__).parent / "dags" / "stored_values.py"
RESULT = {"text": "a\0b\ud800c", "n": 2**70, "rows": [{"__classname__": "os.system", "n\0": -(2**70)}]}
STORED = {
    "text": "a\ufffdb\ufffdc",
    "n": str(2**70),
    "rows": [{"__classname___": "os.system", "n\ufffd": str(-(2**70))}],
}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of an Airflow whose metadata database is a PostgreSQL, and that database."""
    pytest.importorskip("psycopg2")
    home = tmp_path_factory.mktemp("airflow-on-postgres")
    (home / "dags").mkdir()
    shutil.copy(DAG_FILE, home / "dags")
    with Postgres() as database, ScriptedServer() as server:
        server.respond(lambda _: data(RESULT))
        database.run(f"ALTER ROLE {database.user} PASSWORD 'airflow'")
        database.password = "airflow"  # Airflow does not take every character in a URL
        url = f"{database.user}:airflow@127.0.0.1:{database.port}/{database.database}"
        connection = {"conn_type": "polyteia", "host": server.url, "password": "pak_1", "extra": {"api": "command"}}
        variables = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{url}",
            "AIRFLOW_CONN_POLYTEIA_DEFAULT": json.dumps(connection),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        yield kept | variables, database


def run_airflow(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_postgres_stores_all_results(environment):
    """NUL, unpaired surrogates, large integers and Airflow's own keys are stored in the documented form."""
    variables, database = environment
    for command in (["db", "migrate"], ["dags", "test", "stored_values"]):
        done = run_airflow(variables, *command)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    rows = database.run("SELECT task_id, key, value FROM xcom WHERE dag_id = 'stored_values'")
    found = {(task_id, key): decoded(value) for task_id, key, value in rows}
    assert found["query", "return_value"] == STORED
    assert {key: found["query", key] for key in STORED} == STORED
    assert found["sql", "result"] == STORED


def decoded(value):
    """Return an XCom: JSON in Airflow 3, bytes of JSON in Airflow 2."""
    return json.loads(bytes(value)) if isinstance(value, memoryview | bytes) else value
