"""A running sandbox: uvicorn on a background thread of this process."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from airflow_provider_polyteia.sandbox.app import build_app, logger
from airflow_provider_polyteia.sandbox.backend import summaries
from airflow_provider_polyteia.sandbox.backend.access import Caller
from airflow_provider_polyteia.sandbox.backend.platform import Platform, Session, UploadTarget
from airflow_provider_polyteia.sandbox.command_api import files as transfer
from airflow_provider_polyteia.sandbox.command_api.methods import METHODS
from airflow_provider_polyteia.sandbox.faults.specs import Faults
from airflow_provider_polyteia.sandbox.options import Options
from airflow_provider_polyteia.sandbox.recorder import RecordedRequest, Recorder

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

_START_TIMEOUT = 10.0
_CALL_TIMEOUT = 60.0
_KEEP_ALIVE = 75  # seconds, as common web servers have it

T = TypeVar("T")


class SandboxProtocol(H11Protocol):
    """uvicorn's HTTP, which also lets the application reach the connection, and counts connections."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        """Take a new connection."""
        super().connection_made(transport)
        self.logger = logger
        self.access_log = False  # it would hold query strings, and with them tokens
        self.app_state["recorder"].connections += 1
        self.app_state = {**self.app_state, "transport": transport}


class Sandbox:
    """A local Polyteia for this process and others on this machine.

    ::

        with Sandbox() as sandbox:
            requests.post(f"{sandbox.base_url}/api", ...)

    :param host: address to listen on. Default: loopback.
    :param port: port to listen on; 0 takes a free one.
    :param options: see `Options`: paks, read_only_paks, shut_out, data_dir, faults, seed, latency,
        ingest_delay, token_lifetime, http_403.
    :raises ValueError: a fault or option makes no sense.

    :ivar faults: `add("create_dataset:drop-after:1")`, `clear()`.
    :ivar recorder: what was asked, see `requests`, `count` and `connections`.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        self.options = Options(**options)
        self.faults = Faults(seed=self.options.seed)
        self.faults.add(*self.options.faults)
        self.recorder = Recorder()
        self.base_url = ""
        self._address = (host, port)
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        where = self.base_url if self._thread else "not running"
        return f"<Sandbox {where}>"

    @property
    def pak(self) -> str:
        """The first key that may do everything."""
        return next(iter(self.options.paks))

    def start(self) -> Self:
        """Listen; returns when calls are answered.

        :raises OSError: the port is taken.
        :raises RuntimeError: another sandbox uses the data directory.
        """
        if self._thread:
            raise RuntimeError(f"The sandbox runs already, at {self.base_url}")
        self._socket = _listen(*self._address)
        try:
            self.platform = Platform(self.options)
        except BaseException:
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self.base_url = f"http://{host}:{port}"
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="polyteia-sandbox", daemon=True)
        self._thread.start()
        if not ready.wait(_START_TIMEOUT):
            raise RuntimeError(f"The sandbox did not start within {_START_TIMEOUT:g} s")
        return self

    def stop(self) -> None:
        """Break off all connections and stop listening. What is in the data directory stays there."""
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None
        self.platform.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def requests(self) -> list[RecordedRequest]:
        """The latest 10,000 API requests, oldest first."""
        return list(self.recorder.requests)

    @property
    def connections(self) -> int:
        """TCP connections accepted so far."""
        return self.recorder.connections

    def count(self, name: str) -> int:
        """How often a command, query or path (`/upload`) was called."""
        return self.recorder.counts[name]

    def airflow_connection(self, password: str | None = None) -> str:
        """An Airflow connection to this sandbox as JSON, fit for `AIRFLOW_CONN_<ID>`.

        :param password: what to say for the key. Default: the first key that may do everything.
        """
        return json.dumps({"conn_type": "polyteia", "host": self.base_url, "password": password or self.pak})

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """All datasets, oldest first; `data` of each holds content_type, size, uploaded_at, rows and sha256."""
        records = self.platform.store.all("dataset")
        return self._on_loop(summaries.datasets(self.platform, records, checksums=True))

    def records(self, kind: str) -> list[dict[str, Any]]:
        """All records of a kind ("workspace", "solution", "dataset", "tag", ...), oldest first."""
        return copy.deepcopy(self.platform.store.all(kind))

    def content(self, dataset_id: str) -> bytes:
        """The bytes stored for a dataset.

        :raises KeyError: it has no data.
        """
        asset = self.platform.store.get("asset", dataset_id)
        if asset is None:
            raise KeyError(f"{dataset_id} has no data")
        return self.platform.files.path(asset["file"]).read_bytes()

    def call(self, name: str, params: dict[str, Any]) -> Any:
        """Do what a command or query does, not over HTTP: no fault strikes, nothing is counted.

        :raises ApiError: the business error.
        """
        session = Session(self.platform, Caller())
        return self._on_loop(METHODS[name].call(session, params))

    def upload(self, dataset_id: str, content: bytes, content_type: str = "text/csv") -> None:
        """Replace a dataset's data, as if somebody else had delivered it; as `call`, not over HTTP.

        :raises ApiError: 404, there is no such dataset.
        """
        target = UploadTarget("dataset", dataset_id, content_type)
        self._on_loop(self._take_in(target, content))

    async def _take_in(self, target: UploadTarget, content: bytes) -> None:
        with self.platform.files.arriving() as path:
            await asyncio.to_thread(path.write_bytes, content)
            await transfer.take_in(self.platform, target, path, len(content))

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_TIMEOUT)

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        """Serve until `stop`. Like uvicorn's own server, but it starts and ends within milliseconds."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        app = build_app(self.platform, self.faults, self.recorder)
        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, timeout_keep_alive=_KEEP_ALIVE)
        config.load()
        state = ServerState()
        app_state = {"recorder": self.recorder}
        server = await self._loop.create_server(lambda: SandboxProtocol(config, state, app_state), sock=self._socket)
        ready.set()
        await self._stopping.wait()
        server.close()
        for _ in range(3):  # the loop's steps from accepting a connection to knowing it
            await asyncio.sleep(0)
        for connection in list(state.connections):
            connection.transport.abort()
        for task in state.tasks:
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket, as TCP by name: asyncio switches off Nagle's algorithm, which costs 40 ms, only then."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except BaseException:
        listening.close()
        raise
    return listening
