"""A real MariaDB for tests: started from this machine's own packages, on a free loopback port, and stopped again.

`from mariadb_server import mariadb` brings the session-wide fixture. Its tests are skipped where the server or the
MySQL provider of Airflow is not installed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

_START_TIMEOUT = 30
_LOCAL = "--no-defaults"


class MariaDB:
    """One database server with the database `city`; a context manager."""

    user = "loader"
    password = "loader"
    database = "city"

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="mariadb-"))
        self._socket = self._home / "socket"
        self.port = _free_port()
        self._server = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info):
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait(20)
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def connection(self) -> dict:
        """The fields of an Airflow connection to it."""
        return {
            "conn_type": "mysql",
            "host": "127.0.0.1",
            "port": self.port,
            "login": self.user,
            "password": self.password,
            "schema": self.database,
            "extra": {"charset": "utf8mb4"},
        }

    def run(self, statements: str, database: str = "city") -> None:
        """Run statements as the administrator."""
        command = ["mariadb", _LOCAL, "-uroot", f"--socket={self._socket}", "--default-character-set=utf8mb4", database]
        subprocess.run(command, input=statements.encode(), check=True, capture_output=True, timeout=60)

    def _start(self) -> None:
        user = ["--user=mysql"] if os.geteuid() == 0 else []
        if user:
            shutil.chown(self._home, "mysql", "mysql")
        data = f"--datadir={self._home / 'data'}"
        install = ["mariadb-install-db", _LOCAL, *user, data, "--auth-root-authentication-method=normal"]
        subprocess.run([*install, "--skip-test-db"], check=True, capture_output=True, timeout=60)
        log = (self._home / "log").open("wb")
        address = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self._socket}"]
        self._server = subprocess.Popen(["mariadbd", _LOCAL, *user, data, *address], stdout=log, stderr=log)
        self._wait_until_ready()
        self.run(
            f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4;"
            f"CREATE USER {self.user}@'%' IDENTIFIED BY '{self.password}';"
            f"GRANT SELECT ON {self.database}.* TO {self.user}@'%';",
            database="mysql",
        )

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_TIMEOUT
        ping = ["mariadb-admin", _LOCAL, "-uroot", f"--socket={self._socket}", "--silent", "ping"]
        while subprocess.run(ping, check=False, capture_output=True).returncode != 0:
            if time.monotonic() > end or self._server.poll() is not None:
                raise RuntimeError(f"MariaDB did not start: {(self._home / 'log').read_text()}")
            time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def mariadb():
    """A running MariaDB server that all tests of a session share."""
    if shutil.which("mariadbd") is None:
        pytest.skip("MariaDB is not installed (Debian: apt-get install mariadb-server)")
    with MariaDB() as server:
        yield server
