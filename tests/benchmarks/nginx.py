"""nginx with a fixed response over TLS, so that the server is never the bottleneck."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import trustme

START_TIMEOUT = 10.0
_CONFIG = """
daemon off;
worker_processes 1;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate {home}/server.pem;
        ssl_certificate_key {home}/server.pem;
        location / {{
            default_type application/json;
            return 200 '{response}';
        }}
    }}
}}
"""


class Nginx:
    """Sends the same JSON in response to every request; a context manager.

    :param response: body of the responses.

    :ivar url: URL of the server, ``https://localhost:...``.
    :ivar bundle: path of the CA bundle that verifies its certificate.
    """

    def __init__(self, response: str) -> None:
        self.url = ""
        self._response = response

    def __enter__(self) -> Self:
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            raise SystemExit("nginx is not installed (Debian: apt-get install nginx-light)")
        self._home = tempfile.TemporaryDirectory(prefix="nginx-")
        home = Path(self._home.name)
        self.bundle = certify(home / "server.pem")
        port = free_port()
        (home / "nginx.conf").write_text(_CONFIG.format(home=home, port=port, response=self._response))
        self._process = subprocess.Popen([program, "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"])
        wait_for(port)
        self.url = f"https://localhost:{port}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._home.cleanup()


def certify(path: Path) -> str:
    """Write key and certificate of localhost to `path`; return the path of the CA bundle next to it."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    bundle = path.with_name("authority.pem")
    authority.cert_pem.write_to_path(str(bundle))
    return str(bundle)


def free_port() -> int:
    """Return a TCP port that is not in use."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until a server listens on `port`."""
    end = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
