"""A real Airflow in its own directory, for tests and for the demo.

`RealAirflow` starts the components of a deployment, each as a separate process, on a new SQLite metadata database:
scheduler, DAG processor, triggerer and API server on Airflow 3 (LocalExecutor), scheduler and triggerer on Airflow 2.11
(SequentialExecutor, the only one that SQLite allows there). Results are read from Airflow's own records, see
`airflow_records`.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil
from airflow_records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

AIRFLOW_VERSION = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
AIRFLOW_3 = AIRFLOW_VERSION >= (3, 0)

# Component -> its command line (after `airflow`) and the job it registers in the metadata database.
COMPONENTS = {
    "scheduler": (("scheduler", "--skip-serve-logs"), "SchedulerJob"),
    "triggerer": (("triggerer", "--skip-serve-logs"), "TriggererJob"),
}
if AIRFLOW_3:
    COMPONENTS["dag-processor"] = (("dag-processor",), "DagProcessorJob")
    COMPONENTS["api-server"] = (("api-server",), None)

START_TIMEOUT = 120.0  # seconds; a cold start on a busy machine with two cores takes about 20
STOP_TIMEOUT = 5.0  # seconds; after that, processes are killed
POLL_INTERVAL = 0.2


class AirflowEnvError(Exception):
    """Airflow did not start, did not find a DAG, or a run did not end in time."""


def wait_until(condition: Callable[[], bool], timeout: float, failure: Callable[[], str]) -> None:
    """Poll `condition` until it holds; after `timeout` seconds raise `AirflowEnvError` with `failure()`."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AirflowEnvError(f"{failure()} (waited {timeout:.0f} s)")
        time.sleep(POLL_INTERVAL)


def free_port() -> int:
    """Return a TCP port that is currently not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RealAirflow:
    """A running Airflow; a context manager that starts and, in all cases, stops it.

    :param home: AIRFLOW_HOME; created if it does not exist.
    :param dags: DAG files to copy into its DAGs folder before it starts.
    :param connections: connection id -> fields (`conn_type`, `host`, `password`, `extra`, ...), passed as JSON in
        environment variables.
    :param log_level: level of all components and tasks.
    :param config: settings that override `_config`, as `{"section": {"option": "value"}}`.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags: Iterable[Path] = (),
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        log_level: str = "INFO",
        config: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.dags_folder = self.home / "dags"
        self.component_logs = self.home / "component-logs"
        self.records = Records(self.home / "airflow.db")
        self.username, self.password = "admin", secrets.token_urlsafe(12)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log_level = log_level
        self._connections = connections or {}
        self._config_changes = config or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._dags = list(dags)

    def __enter__(self) -> Self:
        self.dags_folder.mkdir(parents=True, exist_ok=True)
        self.component_logs.mkdir(exist_ok=True)
        passwords = json.dumps({self.username: self.password})
        (self.home / "passwords.json").write_text(passwords)
        self.records.path.write_bytes(_migrated_database())
        self.add_dags(*self._dags)
        try:
            self.start(*COMPONENTS)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # Components

    def start(self, *components: str) -> None:
        """Start the named components together and wait until each of them is running."""
        last_job = self.records.last_job_id()
        for name in components:
            arguments, _ = COMPONENTS[name]
            self._processes[name] = self._popen(name, arguments)
        for name in components:
            wait_until(
                lambda name=name: self._is_up(name, last_job),
                START_TIMEOUT,
                lambda name=name: f"airflow {name} did not start:\n{self._tail(name)}",
            )

    def kill(self, component: str) -> None:
        """End a component like a crash: SIGKILL to it and to all processes that it started."""
        process = self._processes.pop(component)
        family = _family(process.pid)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(STOP_TIMEOUT)

    def restart(self, component: str) -> None:
        """Kill a component and start it again."""
        self.kill(component)
        self.start(component)

    def stop(self) -> None:
        """Stop all components, then all remaining processes with our AIRFLOW_HOME."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
        for remaining in self._own_processes():
            with suppress(psutil.NoSuchProcess):
                remaining.kill()
        for process in self._processes.values():
            # The component and its children too: their titles may overwrite the environment that identifies them.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_TIMEOUT)
        self._processes.clear()

    def _is_up(self, name: str, last_job: int) -> bool:
        process = self._processes[name]
        if process.poll() is not None:
            raise AirflowEnvError(f"airflow {name} ended with {process.returncode}:\n{self._tail(name)}")
        _, job_type = COMPONENTS[name]
        if job_type is None:
            return self._api_responds()
        return self.records.job_runs(job_type, newer_than=last_job)

    def _api_responds(self) -> bool:
        try:
            with urlopen(f"{self.url}/api/v2/monitor/health", timeout=5) as response:  # noqa: S310 - our own http URL
                return bool(response.status == 200)
        except (URLError, ConnectionError, TimeoutError):
            return False

    def _popen(self, name: str, arguments: Iterable[str]) -> subprocess.Popen[bytes]:
        # In its own session it does not receive Ctrl-C from the terminal: `stop` ends it.
        with (self.component_logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                env=self.environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _own_processes(self) -> list[psutil.Process]:
        own = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get("AIRFLOW_HOME") == str(self.home) and process.pid != os.getpid():
                    own.append(process)
        return own

    def _tail(self, component: str, lines: int = 40) -> str:
        log = self.component_logs / f"{component}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

    # Settings

    def environment(self) -> dict[str, str]:
        """Return the environment of all Airflow processes: our settings, without those of the caller's Airflow."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        environment["AIRFLOW_HOME"] = str(self.home)
        # Airflow 2.11 starts tasks with the `airflow` that it finds in the PATH.
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
        for conn_id, fields in self._connections.items():
            environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)
        for settings in (self._config(), self._config_changes):
            for section, options in settings.items():
                for option, value in options.items():
                    environment[f"AIRFLOW__{section.upper()}__{option.upper()}"] = value
        return environment

    def _config(self) -> dict[str, dict[str, str]]:
        """Return settings for a fast and quiet Airflow: short intervals, no examples, no usage data."""
        config = {
            "core": {
                "dags_folder": str(self.dags_folder),
                "load_examples": "False",
                "dags_are_paused_at_creation": "False",
                "fernet_key": _fernet_key(),
                "parallelism": "4",
                "test_connection": "Enabled",
            },
            "database": {"sql_alchemy_conn": f"sqlite:///{self.records.path}"},
            "logging": {"logging_level": self._log_level, "colored_console_log": "False"},
            "scheduler": {
                "scheduler_idle_sleep_time": "0.2",
                "scheduler_heartbeat_sec": "1",
                "trigger_timeout_check_interval": "1",
            },
            "triggerer": {"job_heartbeat_sec": "1"},
            "usage_data_collection": {"enabled": "False"},
        }
        return _merge(config, self._config_3() if AIRFLOW_3 else _config_2())

    def _config_3(self) -> dict[str, dict[str, str]]:
        host, port = self.url.removeprefix("http://").split(":")
        return {
            "core": {
                "executor": "LocalExecutor",
                "execution_api_server_url": f"{self.url}/execution/",
                "simple_auth_manager_users": f"{self.username}:admin",
                "simple_auth_manager_passwords_file": str(self.home / "passwords.json"),
            },
            "api": {"host": host, "port": port, "base_url": self.url, "secret_key": self.password},
            "api_auth": {"jwt_secret": f"{self.password}-{self.home}"},
            "dag_processor": {
                "refresh_interval": "1",
                "bundle_refresh_check_interval": "1",
                # Occasionally a parsing process that was forked while another thread held a lock hangs before it reads
                # the file. It is killed after this time, and the file is parsed again 30 seconds later.
                "dag_file_processor_timeout": "20",
            },
        }

    # DAGs and runs

    def add_dags(self, *files: Path) -> None:
        """Copy DAG files into the DAGs folder; the running Airflow finds them within seconds."""
        for file in files:
            shutil.copy(file, self.dags_folder / file.name)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run like a user, as soon as the DAG is known; return its run id."""
        wait_until(lambda: self._knows(dag_id), 100, lambda: f"DAG {dag_id} was not found")
        run_id = f"manual__{dag_id}__{secrets.token_hex(4)}"
        if AIRFLOW_3:
            body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
            path = f"/api/v2/dags/{dag_id}/dagRuns"
            wait_until(lambda: self._accepts(path, body), 60, lambda: f"no run of {dag_id} could be started")
        else:
            self.cli("dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps(dict(conf or {})))
        return run_id

    def _accepts(self, path: str, body: Mapping[str, Any]) -> bool:
        """Send a request that creates something; return False if it must be sent again.

        On SQLite, Airflow's API server may wait for a lock that it holds itself, until that times out (HTTP 500).
        """
        try:
            self.rest("POST", path, body)
        except HTTPError as error:
            if error.code not in (HTTPStatus.CONFLICT, HTTPStatus.INTERNAL_SERVER_ERROR):
                raise
            return error.code == HTTPStatus.CONFLICT  # an earlier request created it
        return True

    def wait(self, dag_id: str, run_id: str, timeout: float = 90) -> str:
        """Wait for the end of a run; return its state, `success` or `failed`."""
        wait_until(
            lambda: self.records.run_state(dag_id, run_id) in {"success", "failed"},
            timeout,
            lambda: (
                f"{dag_id} {run_id} is still {self.records.run_state(dag_id, run_id)}: "
                f"{self.records.task_instances(dag_id, run_id)}\n{self._tail('scheduler')}"
            ),
        )
        return str(self.records.run_state(dag_id, run_id))

    def cli(self, *arguments: str) -> str:
        """Run `airflow <arguments>` in this Airflow; return its output."""
        return _run_airflow(arguments, self.environment(), self.home)

    def rest(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the REST API of Airflow 3 as the admin; return the decoded response."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        return _http_json(method, f"{self.url}{path}", body, headers)

    @functools.cached_property
    def _token(self) -> str:
        login = {"username": self.username, "password": self.password}
        headers = {"Content-Type": "application/json"}
        return str(_http_json("POST", f"{self.url}/auth/token", login, headers)["access_token"])

    def _knows(self, dag_id: str) -> bool:
        if errors := self.records.import_errors():
            raise AirflowEnvError(f"DAG files with errors: {errors}")
        return self.records.dag_is_parsed(dag_id)

    # Logs

    def logs(self) -> str:
        """Return everything that tasks and components have logged so far."""
        folders = (self.home / "logs", self.component_logs)
        files = sorted(file for folder in folders for file in folder.rglob("*.log") if file.is_file())
        return "\n".join(f"== {file}\n{file.read_text(errors='replace')}" for file in files)

    def task_log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return the logs of all tries (and map indexes) of one task, as written by the workers."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "\n".join(file.read_text(errors="replace") for file in sorted(folder.rglob("*.log*")))


def _config_2() -> dict[str, dict[str, str]]:
    return {
        "core": {"executor": "SequentialExecutor"},
        # Without it, Airflow logs a warning that would hide ours; it is the default in Airflow 3.
        "metrics": {"timer_unit_consistency": "True"},
        "scheduler": {"dag_dir_list_interval": "1"},
        "webserver": {"secret_key": secrets.token_hex(16)},
    }


def _merge(base: dict[str, dict[str, str]], more: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {section: base.get(section, {}) | more.get(section, {}) for section in base | more}


@functools.cache
def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@functools.cache
def _migrated_database() -> bytes:
    """Return the file of an empty metadata database, created once per process because migrating it is slow."""
    with tempfile.TemporaryDirectory(prefix="airflow-database-") as home:
        database = Path(home) / "airflow.db"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")} | {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        }
        _run_airflow(["db", "migrate"], environment, home)
        with closing(sqlite3.connect(database)) as connection:
            # In this mode, which is stored in the file, readers and the writer do not block each other.
            connection.execute("PRAGMA journal_mode=WAL")
        return database.read_bytes()


def _run_airflow(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path | str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
    )
    if done.returncode:
        command = " ".join(arguments)
        raise AirflowEnvError(f"airflow {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _http_json(method: str, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, dict(headers), method=method)  # noqa: S310 - our own http URL
    with urlopen(request, timeout=30) as response:  # noqa: S310 - our own http URL
        return json.loads(response.read() or "null")
