"""A real PostgreSQL for tests: started from this machine's own packages, on a free loopback port, and stopped again.

`pytest_plugins = ["postgres"]`, or `from postgres import postgres`, brings the session-wide fixture.
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
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "30",
    "timezone": "UTC",
    "logging_collector": "off",
}


class Postgres:
    """One database server with the database `city`, user and password as below; a context manager."""

    user = "loader"
    password = "p@ss/w:rd%25 ü?#&=+"  # every character that a URI must quote
    database = "city"

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._home / "data"
        self._bin = _programs()
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
            self._server.send_signal(signal.SIGINT)  # fast shutdown: sessions are cut off
            self._server.wait(20)
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def connection(self) -> dict:
        """The fields of an Airflow connection to it."""
        return {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": self.port,
            "login": self.user,
            "password": self.password,
            "schema": self.database,
        }

    def connect(self, port=None):
        """A psycopg2 connection that commits each statement."""
        import psycopg2  # noqa: PLC0415 - only where a server runs

        connection = psycopg2.connect(
            host="127.0.0.1", port=port or self.port, user=self.user, password=self.password, dbname=self.database
        )
        connection.autocommit = True
        return connection

    def run(self, *statements: str) -> list:
        """Run statements; return the rows of the last one, if it has any."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def _start(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._home, "postgres", "postgres")
        password_file = self._home / "password"
        password_file.write_text(self.password, encoding="utf-8")
        password_file.chmod(0o644)
        initdb = [self._bin / "initdb", "-D", self._data, "-U", self.user, "-E", "UTF8", "--locale=C.UTF-8"]
        self._run([*initdb, "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync"])
        self._launch(_SETTINGS)
        self._make_database()

    def _launch(self, settings) -> None:
        arguments = [f"-c{name}={value}" for name, value in settings.items()]
        log = (self._home / "log").open("wb")
        self._server = subprocess.Popen(
            [
                *_as_postgres(),
                self._bin / "postgres",
                "-D",
                self._data,
                f"-p{self.port}",
                f"-k{self._home}",
                *arguments,
            ],
            stdout=log,
            stderr=log,
        )
        self._wait_until_ready()

    def _run(self, command) -> None:
        environment = {**os.environ, "PGPASSWORD": self.password}
        subprocess.run([*_as_postgres(), *command], check=True, capture_output=True, timeout=60, env=environment)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_TIMEOUT
        ready = [self._bin / "pg_isready", "-q", "-h127.0.0.1", f"-p{self.port}"]
        while subprocess.run(ready, check=False).returncode != 0:
            if time.monotonic() > end or self._server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {(self._home / 'log').read_text()}")
            time.sleep(0.05)

    def _make_database(self) -> None:
        import psycopg2  # noqa: PLC0415 - as above

        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=self.user, password=self.password, dbname="postgres"
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{self.database}"')
        connection.close()


class Standby(Postgres):
    """A read-only replica, which cancels a query as soon as it is in the way of a change.

    :param primary: the server that it follows.
    """

    def __init__(self, primary: Postgres) -> None:
        super().__init__()
        self._primary = primary

    def _start(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._home, "postgres", "postgres")
        source = ["-h127.0.0.1", f"-p{self._primary.port}", f"-U{self.user}"]
        self._run([self._bin / "pg_basebackup", *source, "-D", self._data, "-R", "--checkpoint=fast", "--no-sync"])
        self._launch({**_SETTINGS, "max_standby_streaming_delay": "0"})


class PgBouncer:
    """pgbouncer in front of a server, in transaction mode; a context manager."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._home = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        self.port = _free_port()
        self._process = None

    def __enter__(self):
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
        if os.geteuid() == 0:
            shutil.chown(self._home, "postgres", "postgres")
        login = f'"{self._server.user}" "{self._server.password}"\n'
        (self._home / "users").write_text(login, encoding="utf-8")
        (self._home / "settings").write_text(
            f"[databases]\n* = host=127.0.0.1 port={self._server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\npool_mode = transaction\n"
            f"auth_type = scram-sha-256\nauth_file = {self._home / 'users'}\nunix_socket_dir =\n"
            "ignore_startup_parameters = extra_float_digits\n",
            encoding="utf-8",
        )
        log = (self._home / "log").open("wb")
        command = [*_as_postgres(), program, self._home / "settings"]
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *exc_info):
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
        shutil.rmtree(self._home, ignore_errors=True)


def _programs() -> Path:
    """Return the directory of PostgreSQL's programs: the newest of Debian's, or that of `initdb` in the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return Path(found).parent


def _as_postgres() -> list[str]:
    """Return the beginning of a command line that switches to the user postgres: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def postgres():
    """A running PostgreSQL server that all tests of a session share."""
    with Postgres() as server:
        yield server
