"""The tables of a real PostgreSQL and a real MariaDB as datasets, on a real Airflow, for two nights.

`POLYTEIA_TABLES=100 pytest -s tests/integration/test_many_tables.py` runs it with a hundred tables for each database,
and prints the figures of docs/scaling.md.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

pytest.importorskip("airflow.providers.postgres", reason="the PostgreSQL provider is optional")
pytest.importorskip("airflow.providers.mysql", reason="the MySQL provider is optional")

from airflow_env import AIRFLOW_3, RealAirflow
from mariadb_server import mariadb  # noqa: F401 - a fixture
from postgres import postgres  # noqa: F401 - a fixture

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not AIRFLOW_3, reason="on SQLite, Airflow 2 runs one task at a time"),
]

TABLES = int(os.environ.get("POLYTEIA_TABLES", "8"))  # of each database; one is empty, and one is broken
DAG = "many_tables"
DATABASES = ("postgres", "mariadb")
ROWS = 1_000


SERIES = {
    "postgres": f"generate_series(1, {ROWS}) AS g",
    "mariadb": f"(SELECT seq AS g FROM seq_1_to_{ROWS}) AS numbers",  # noqa: S608 - a number
}


def table(database: str, number: int) -> str:
    """The statement that makes a table."""
    return (
        f"CREATE TABLE {database}_{number:03} AS SELECT g AS id, cast(g * 1.37 AS decimal(12, 2)) AS price, "  # noqa: S608 - a number
        f"concat('Straße ', g) AS street FROM {SERIES[database]} WHERE g <= {0 if number == 0 else ROWS}"
    )


class Peak:
    """Samples the memory of the tasks of an Airflow, in a thread; a context manager.

    :param home: directory of the Airflow.

    :ivar mib: largest sum of what the processes of tasks have for themselves.
    """

    def __init__(self, home) -> None:
        self.mib = 0
        self._home = str(home)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        self._thread.join()

    def _sample(self):
        while not self._ended.wait(0.3):
            self.mib = max(self.mib, sum(map(self._own_memory, self._tasks())) // 1024**2)

    def _tasks(self):
        """The processes of tasks: children of the executor's processes, which are children of the scheduler."""
        for scheduler in psutil.process_iter():
            with suppress(psutil.Error):
                if "scheduler" in scheduler.cmdline() and scheduler.environ().get("AIRFLOW_HOME") == self._home:
                    yield from (task for executor in scheduler.children() for task in executor.children())

    @staticmethod
    def _own_memory(process) -> int:
        with suppress(psutil.Error):
            return process.memory_full_info().uss
        return 0


@pytest.fixture(scope="module")
def databases(postgres, mariadb):  # noqa: F811 - the imported fixtures
    """Both databases with the same tables: one of them is empty, and a view is broken."""
    postgres.run(*[table("postgres", number) for number in range(TABLES - 1)])
    postgres.run("CREATE VIEW postgres_broken AS SELECT 1 / (id - 5) AS a FROM postgres_001")
    mariadb.run(";".join(table("mariadb", number) for number in range(TABLES - 1)))
    mariadb.run("CREATE TABLE gone (id int); CREATE VIEW mariadb_broken AS SELECT id FROM gone; DROP TABLE gone")
    return {"postgres": postgres, "mariadb": mariadb}


@pytest.fixture
def platform():
    """A sandbox of its own."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def airflow(tmp_path, databases, platform):
    """An Airflow that may run eight tasks at once, twice as many as the DAG allows."""
    connections = {f"register_{name}": server.connection for name, server in databases.items()} | {
        "polyteia_default": {"conn_type": "polyteia", "host": platform.base_url, "password": platform.pak}
    }
    dags = [Path(__file__).parent / "dags" / f"{DAG}.py"]
    config = {"core": {"parallelism": "8"}}
    with RealAirflow(tmp_path / "airflow", dags=dags, connections=connections, config=config) as running:
        yield running


def night(airflow):
    """Run the DAG; return the states of the tables of each database, by name, and the results of the loads."""
    started = time.monotonic()
    with Peak(airflow.home) as peak:
        run_id = airflow.trigger(DAG, {"solution_id": SANDBOX_SOLUTION_ID})
        airflow.wait(DAG, run_id, timeout=1500)
    print(f"\n{TABLES} tables twice: {time.monotonic() - started:.0f} s, {peak.mib} MiB")  # noqa: T201 - the figures
    for database in DATABASES:
        assert airflow.records.most_at_once(DAG, run_id, f"load_{database}") <= 4
    xcoms = airflow.records.xcoms(DAG, run_id)
    instances = airflow.records.task_instances(DAG, run_id)
    return {
        database: {
            xcoms[f"list_{database}", -1, "return_value"][one.map_index]["table"]: one.state
            for one in instances
            if one.task_id == f"load_{database}" and one.map_index >= 0
        }
        for database in DATABASES
    }, [value for (task, _, key), value in xcoms.items() if task.startswith("load_") and key == "return_value"]


def names(database, *further):
    """The names of the tables that can be loaded."""
    return [f"{database}_{number:03}" for number in (*range(TABLES - 1), *further)]


def datasets(platform):
    """Slug -> id of the datasets of tables."""
    return {one["slug"]: one["id"] for one in platform.datasets if one["slug"].startswith(DATABASES)}


def test_two_nights(airflow, databases, platform):
    """A broken table stops no other one, a new one is loaded, and the second night makes no second dataset."""
    broken = {name: {f"{name}_broken": "failed"} for name in DATABASES}

    states, results = night(airflow)
    assert states == {name: dict.fromkeys(names(name), "success") | broken[name] for name in DATABASES}
    first = datasets(platform)
    assert sorted(first) == sorted(names("postgres") + names("mariadb"))
    assert {result["table"]: result["rows"] for result in results} == {
        slug: 0 if slug.endswith("_000") else ROWS for slug in first
    }

    for name, server in databases.items():
        server.run(table(name, TABLES))
    states, _ = night(airflow)
    assert states == {name: dict.fromkeys(names(name, TABLES), "success") | broken[name] for name in DATABASES}
    second = datasets(platform)
    assert {slug: second[slug] for slug in first} == first
    assert sorted(second) == sorted(names("postgres", TABLES) + names("mariadb", TABLES))
    for slug, dataset_id in second.items():
        stored = pq.ParquetFile(BytesIO(platform.content(dataset_id))).read()
        assert str(stored.schema.field("price").type) == "decimal128(12, 2)"
        assert stored.num_rows == (0 if slug.endswith("_000") else ROWS)
