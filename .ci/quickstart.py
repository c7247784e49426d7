"""Tests the quick start in a clean environment: `make quickstart-test`. An empty home, and only what the README says.

Installs the built wheel next to the newest Airflow with pip, adds a connection with `airflow connections add`, drops
one example into the DAGs folder, starts `airflow standalone`, and triggers a run by REST, against the sandbox.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
DAG_ID = "example_create_dataset"
KEY = "pak_of_a_new_user"
SOLUTION = "sol_musterhausen00000001"  # every sandbox has it


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="quickstart-") as folder:
        user = NewUser(Path(folder))
        user.install()
        with user.running("sandbox", "polyteia-sandbox", "serve", "--port", str(user.sandbox), "--pak", KEY):
            user.connect()
            with user.running("airflow", "airflow", "standalone"):
                state = user.run_example()
        if state != "success":
            sys.exit(f"The run ended as {state}:\n{user.log('airflow')}")
    print("The first DAG of a new user succeeded.")


class NewUser:
    """A user with an empty home directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "venv/bin"
        self.sandbox, self.airflow = free_port(), free_port()
        strange = {n: v for n, v in os.environ.items() if not n.startswith(("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "XDG"))}
        self.environment = strange | {
            "HOME": str(home),
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            # Only so that it can run next to another Airflow.
            "AIRFLOW__API__PORT": str(self.airflow),
            "AIRFLOW__API__BASE_URL": f"http://localhost:{self.airflow}",
        }

    def install(self) -> None:
        """Build the wheel as `make build` does, and install it with pip."""
        say("Building and installing ...")
        build = [sys.executable, "-m", "uv", "--quiet", "build", "--wheel", "--out-dir", self.home / "dist", ROOT]
        subprocess.run(build, check=True, timeout=300)
        (wheel,) = (self.home / "dist").glob("*.whl")
        self.do(sys.executable, "-m", "venv", "venv")
        self.do("venv/bin/pip", "install", "--quiet", "apache-airflow", f"{wheel}[sandbox]")
        self.do("venv/bin/pip", "check")

    def connect(self) -> None:
        """Add the connection, and the DAG."""
        say("Adding the connection and the DAG ...")
        self.do("venv/bin/airflow", "db", "migrate")
        host = ("--conn-host", f"http://127.0.0.1:{self.sandbox}")
        connection = ("polyteia_default", "--conn-type", "polyteia", *host, "--conn-password", KEY)
        self.do("venv/bin/airflow", "connections", "add", *connection)
        dags = self.home / "airflow/dags"
        dags.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "example_dags" / f"{DAG_ID}.py", dags)

    def run_example(self) -> str:
        """Trigger a run by REST and return how it ended."""
        passwords = self.home / "airflow/simple_auth_manager_passwords.json.generated"
        wait_for(lambda: passwords.exists() and self.ask("GET", "/api/v2/monitor/health"), "Airflow")
        login = {"username": "admin", "password": json.loads(passwords.read_text())["admin"]}
        token = self.ask("POST", "/auth/token", login)["access_token"]
        dag = f"/api/v2/dags/{DAG_ID}"
        wait_for(lambda: self.ask("GET", dag, token=token), "the DAG")
        say("Triggering a run ...")
        self.ask("PATCH", dag, {"is_paused": False}, token)
        run = {"logical_date": None, "conf": {"solution_id": SOLUTION}}
        run_id = self.ask("POST", f"{dag}/dagRuns", run, token)["dag_run_id"]
        return wait_for(lambda: ended(self.ask("GET", f"{dag}/dagRuns/{run_id}", token=token)["state"]), "the run")

    def do(self, *command: Any) -> None:
        """Run a command that must succeed."""
        done = subprocess.run(
            command, cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=900, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    @contextmanager
    def running(self, name: str, program: str, *arguments: str) -> Iterator[None]:
        """Run a program within the block, in a process group of its own; then stop the whole group."""
        with (self.home / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [self.bin / program, *arguments],
                cwd=self.home,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)

    def log(self, name: str) -> str:
        """Return the end of what a program has printed."""
        return (self.home / f"{name}.log").read_text()[-5000:]

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = "") -> Any:
        """Call Airflow's REST API."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://localhost:{self.airflow}{path}", data, headers, method=method)
        with urlopen(request, timeout=30) as response:  # noqa: S310 - an http URL of our own
            return json.loads(response.read())


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    deadline, problem = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except (URLError, ConnectionError) as error:  # not there yet
            problem = error
        time.sleep(1)
    sys.exit(f"Waited {seconds:.0f} s for {what} in vain. The last error: {problem}")


def ended(state: str) -> str | None:
    return state if state in {"success", "failed"} else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
