"""The example DAGs with CeleryExecutor: `make celery`. PostgreSQL, Redis and two workers, on this machine.

Starts PostgreSQL and Redis from the machine's packages, Airflow with both of them and two workers, and the sandbox;
runs every example, and shows which worker has run how many tasks. All of it is stopped at the end.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/integration")]

import psutil  # noqa: E402 - beside the modules of the tests
from airflow_env import free_port  # noqa: E402 - after the path is set
from postgres import Postgres  # noqa: E402 - as above
from test_examples import CONF, EXAMPLES, WATCHING  # noqa: E402 - as above

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VENV = ROOT / ".matrix/celery"
PACKAGES = (
    f"apache-airflow=={version('apache-airflow')}",
    "apache-airflow-providers-celery",
    "celery[redis]<5.7",  # the provider cannot be imported with 5.7
    "psycopg2-binary",
    "asyncpg",
)
WORKERS = ("worker-1", "worker-2")
COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    **{
        name: ("celery", "worker", "--skip-serve-logs", "--concurrency", "2", "--celery-hostname", f"{name}@%h")
        for name in WORKERS
    },
}
# Each batch works on what those before it have made.
BATCHES = (
    sorted(set(CONF) - {"example_command_and_query"} | {"example_postgres_to_polyteia"}),
    ["example_command_and_query", "example_export"],
    ["example_file_to_polyteia"],
)
WATCHED = "public_holidays_2026"  # an upload into it starts the watching example
TABLE = (
    "CREATE TABLE bookings AS SELECT g AS id, date '2026-01-01' + g % 90 AS booked_on FROM generate_series(1, 999) AS g"
)
# Both workers are on this machine: only so can Airflow tell them apart.
WORKER_NAME = "import os\n\n\ndef worker_name() -> str:\n    return os.environ['COMPONENT']\n"
WAIT_TIMEOUT = 240.0  # seconds


def main() -> None:
    if not shutil.which("redis-server"):
        sys.exit("Redis is not installed; on Debian: apt-get install redis-server")
    install()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="celery-")))
        postgres = stack.enter_context(Postgres())
        sandbox = stack.enter_context(Sandbox())
        redis = stack.enter_context(redis_server(home))
        postgres.run(TABLE)
        airflow = Airflow(home, database(postgres), redis, sandbox, postgres.connection)
        for name in COMPONENTS:
            stack.enter_context(airflow.running(name))
        states = airflow.run_examples()
        tasks = airflow.tasks()
        report(states, tasks)
        if set(states.values()) != {"success"}:
            sys.exit(f"Not every example has succeeded.\n{airflow.logs_of_failed_tasks(tasks)}")
    if len({task["hostname"] for task in tasks} & set(WORKERS)) < len(WORKERS):
        sys.exit("Not every worker has run a task.")


def install() -> None:
    """Make the environment of Airflow: the checkout, and what Celery needs."""
    say("Installing Airflow with Celery ...")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--allow-existing", "--python", sys.executable, VENV], check=True, timeout=300)
    ours = ["--editable", f"{ROOT}[postgres]", "holidays"]
    subprocess.run(
        [*uv, "pip", "install", "--compile-bytecode", "--python", VENV, *PACKAGES, *ours], check=True, timeout=900
    )


def database(postgres: Postgres) -> str:
    """Make a database for Airflow; return what comes after ``postgresql+<driver>://``."""
    password = secrets.token_hex(8)
    postgres.run(f"CREATE ROLE airflow LOGIN PASSWORD '{password}'", "CREATE DATABASE airflow OWNER airflow")
    return f"airflow:{password}@127.0.0.1:{postgres.port}/airflow"


@contextmanager
def redis_server(home: Path) -> Iterator[str]:
    """Run Redis on a free port; yield its URL."""
    port, password = free_port(), secrets.token_hex(8)
    options = ["--bind", "127.0.0.1", "--port", str(port), "--requirepass", password, "--save", "", "--dir", str(home)]
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://:{password}@127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(20)


class Airflow:
    """An Airflow with CeleryExecutor.

    :param database: user, password and address of its metadata database.
    :param broker: URL of Redis.
    :param city: the database that an example loads from.
    """

    def __init__(self, home: Path, database: str, broker: str, sandbox: Sandbox, city: Mapping[str, Any]) -> None:
        self.home, self.sandbox = home, sandbox
        self.url = f"http://127.0.0.1:{free_port()}"
        self.password = secrets.token_urlsafe(12)
        self.environment = self._environment(database, broker, city)
        self._token = ""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (home / "dags").mkdir()
        (home / "worker_name.py").write_text(WORKER_NAME)
        (home / "passwords.json").write_text(json.dumps({"admin": self.password}))
        for file in EXAMPLES:
            shutil.copy(file, home / "dags")
        say("Starting Airflow ...")
        migrate = [VENV / "bin/airflow", "db", "migrate"]
        subprocess.run(migrate, env=self.environment, cwd=home, check=True, capture_output=True, timeout=300)

    def _environment(self, database: str, broker: str, city: Mapping[str, Any]) -> dict[str, str]:
        settings = {
            "CORE__EXECUTOR": "CeleryExecutor",
            "CORE__DAGS_FOLDER": str(self.home / "dags"),
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__FERNET_KEY": "",
            "CORE__HOSTNAME_CALLABLE": "worker_name.worker_name",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "API__HOST": "127.0.0.1",
            "API__PORT": self.url.rpartition(":")[2],
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": self.password,
            "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "DATABASE__SQL_ALCHEMY_POOL_SIZE": "2",
            "DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "2",
            "CELERY__BROKER_URL": broker,
            "CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        strange = {n: v for n, v in os.environ.items() if not n.startswith(("AIRFLOW", "PYTHON", "VIRTUAL_ENV"))}
        return strange | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW_CONN_POLYTEIA_DEFAULT": self.sandbox.airflow_connection(),
            "AIRFLOW_CONN_CITY_DATABASE": json.dumps(city),
            "COMPONENT": "elsewhere",
            "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.home),
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        }

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Run a component within the block; then stop it with all the processes it has started."""
        with (self.home / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [VENV / "bin/airflow", *COMPONENTS[name]],
                env={**self.environment, "COMPONENT": name},
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[name] = process
        try:
            yield
        finally:
            end(process)

    def run_examples(self) -> dict[str, str]:
        """Run each example once; return how each run has ended."""
        self.wait(lambda: self.ask("GET", "/api/v2/monitor/health"), "Airflow")
        login = {"username": "admin", "password": self.password}
        self._token = self.ask("POST", "/auth/token", login)["access_token"]
        states: dict[str, str] = {}
        for batch in BATCHES:
            runs = {dag_id: self.trigger(dag_id) for dag_id in batch}
            for dag_id, run_id in runs.items():
                states[dag_id] = self.wait(lambda d=dag_id, r=run_id: self.end_of(d, r), f"the end of {dag_id}")
        return states | self.run_watching()

    def run_watching(self) -> dict[str, str]:
        """Let uploads start the watching example; the first ones may come before the watcher has looked."""
        (dag_id,) = WATCHING
        say(f"Waiting for {dag_id} to be started by an upload ...")
        runs = f"/api/v2/dags/{dag_id}/dagRuns"

        def started() -> str | None:
            self.sandbox.upload(self.dataset(WATCHED), b"date,holiday\n2026-10-03,Einheit\n")
            time.sleep(10)
            found = self.ask("GET", runs)["dag_runs"]
            return str(found[0]["dag_run_id"]) if found else None

        run_id = self.wait(started, f"a run of {dag_id}")
        return {dag_id: self.wait(lambda: self.end_of(dag_id, run_id), f"the end of {dag_id}")}

    def dataset(self, slug: str) -> str:
        """Return the id of the dataset with this slug."""
        return next(str(item["id"]) for item in self.sandbox.datasets if item["slug"] == slug)

    def conf(self, dag_id: str) -> dict[str, Any]:
        """Return what an example is triggered with; all workers see the same files here."""
        file = str(self.home / "bookings.parquet")
        if dag_id == "example_export":
            return {"dataset_id": self.dataset("bookings"), "file": file}
        if dag_id == "example_file_to_polyteia":
            return {"solution_id": SANDBOX_SOLUTION_ID, "file": file}
        return dict(CONF.get(dag_id, {"solution_id": SANDBOX_SOLUTION_ID}))

    def trigger(self, dag_id: str) -> str:
        """Start a run as soon as the DAG is known; return its id."""
        say(f"Running {dag_id} ...")
        self.wait(lambda: self.ask("GET", f"/api/v2/dags/{dag_id}"), dag_id)
        run = {"logical_date": None, "conf": self.conf(dag_id)}
        return str(self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", run)["dag_run_id"])

    def end_of(self, dag_id: str, run_id: str) -> str | None:
        """Return how a run has ended; None if it has not."""
        state = str(self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])
        return state if state in {"success", "failed"} else None

    def tasks(self) -> list[dict[str, Any]]:
        """Return all task instances."""
        page = self.ask("GET", "/api/v2/dags/~/dagRuns/~/taskInstances?limit=1000")
        tasks: list[dict[str, Any]] = page["task_instances"]
        return tasks

    def logs_of_failed_tasks(self, tasks: list[dict[str, Any]]) -> str:
        """Return what they have logged."""
        failed = [task for task in tasks if task["state"] == "failed"]
        folders = [
            self.home / f"logs/dag_id={t['dag_id']}/run_id={t['dag_run_id']}/task_id={t['task_id']}" for t in failed
        ]
        return "\n".join(log.read_text() for folder in folders for log in folder.rglob("*.log"))

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call Airflow's REST API."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310 - an http URL of our own
        with urlopen(request, timeout=30) as response:  # noqa: S310 - as above
            return json.loads(response.read())

    def wait(self, look: Callable[[], Any], what: str) -> Any:
        """Wait until there is something."""
        deadline, problem = time.monotonic() + WAIT_TIMEOUT, None
        while time.monotonic() < deadline:
            try:
                if found := look():
                    return found
            except (URLError, ConnectionError, TimeoutError) as error:  # not there yet
                problem = error
            for name, process in self._processes.items():
                if process.poll() is not None:
                    sys.exit(f"{name} has ended:\n{self.log(name)}")
            time.sleep(1)
        logs = "\n".join(f"== {name}\n{self.log(name)}" for name in COMPONENTS)
        sys.exit(f"Waited {WAIT_TIMEOUT:.0f} s for {what} in vain ({problem}).\n{logs}")

    def log(self, name: str) -> str:
        """Return the end of what a component has printed."""
        return (self.home / f"{name}.log").read_text(errors="replace")[-3000:]


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and then end it with all that it has started."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(5)


def report(states: Mapping[str, str], tasks: list[dict[str, Any]]) -> None:
    """Print which worker has run how many tasks of each example."""
    ran = Counter((task["dag_id"], task["hostname"]) for task in tasks)
    width = max(map(len, states))
    say(f"\n{'DAG':<{width}}  {'state':<8}  {'  '.join(WORKERS)}")
    for dag_id, state in states.items():
        counts = "  ".join(f"{ran[dag_id, name]:>{len(name)}}" for name in WORKERS)
        say(f"{dag_id:<{width}}  {state:<8}  {counts}")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
