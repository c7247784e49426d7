"""The web server of Airflow 2.11, which is installed in a separate environment if the tests run on Airflow 3."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest
from airflow_env import AIRFLOW_3, START_TIMEOUT, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "POLYTEIA_AIRFLOW_2_PYTHON"
MATRIX_PYTHON = Path(__file__).parents[2] / ".matrix/2.11.2-py3.11/venv/bin/python"
STOP_TIMEOUT = 20.0


def python() -> str:
    """Return the interpreter of an environment with Airflow 2.11 and this provider; skip the test if not found."""
    if not AIRFLOW_3:
        return sys.executable
    found = os.environ.get(VARIABLE) or (str(MATRIX_PYTHON) if MATRIX_PYTHON.exists() else None)
    if not found:
        pytest.skip(
            f"needs Airflow 2.11: run make matrix LINES=2.11.2, or set {VARIABLE} to a Python with Airflow 2.11"
        )
    return found


class Airflow2Webserver:
    """A web server on an empty SQLite database; a context manager that starts and stops it.

    :param home: AIRFLOW_HOME; created if it does not exist.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.username, self.password = "admin", secrets.token_urlsafe(12)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._python = python()

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self._run("db", "migrate")
        account = ["--username", self.username, "--password", self.password, "--email", "admin@example.org"]
        self._run("users", "create", "--role", "Admin", "--firstname", "Ada", "--lastname", "Admin", *account)
        with (self.home / "webserver.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command("webserver", "--hostname", "127.0.0.1", "--port", str(self._port)),
                env=self._environment(),
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(self._responds, START_TIMEOUT, lambda: f"the web server did not start:\n{self._log()}")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()

    def _command(self, *arguments: str) -> Sequence[str]:
        return [self._python, "-m", "airflow", *arguments]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            self._command(*arguments),
            env=self._environment(),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"airflow {arguments[0]} {arguments[1]} failed:\n{done.stdout}{done.stderr}"

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        # The web server starts gunicorn from the PATH.
        environment["PATH"] = os.pathsep.join([str(Path(self._python).parent), environment.get("PATH", "")])
        return environment | {
            "HOME": str(self.home),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__WEBSERVER__SECRET_KEY": self.password,
            "AIRFLOW__WEBSERVER__WORKERS": "1",
        }

    def _responds(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"the web server ended:\n{self._log()}")
        try:
            with urlopen(f"{self.url}/health", timeout=5) as response:  # noqa: S310 - our own http URL
                return bool(response.status == 200)
        except (URLError, ConnectionError, TimeoutError):
            return False

    def _log(self) -> str:
        return (self.home / "webserver.log").read_text(errors="replace")[-5000:]

    def _stop(self) -> None:
        family = [self._process, *psutil.Process(self._process.pid).children(recursive=True)]
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(STOP_TIMEOUT)
