"""Runs a sandbox with uvicorn, in a background thread of this process."""

from __future__ import annotations

import asyncio
import copy
import socket
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from airflow_provider_polyteia.sandbox.app import build_app, logger
from airflow_provider_polyteia.sandbox.backend import summaries
from airflow_provider_polyteia.sandbox.backend.access import Caller
from airflow_provider_polyteia.sandbox.backend.ingests import fail_interrupted_ingests
from airflow_provider_polyteia.sandbox.backend.platform import Platform, Session, UploadTarget
from airflow_provider_polyteia.sandbox.command_api import COMMAND_API
from airflow_provider_polyteia.sandbox.connection import airflow_connection
from airflow_provider_polyteia.sandbox.faults import Faults
from airflow_provider_polyteia.sandbox.options import Options
from airflow_provider_polyteia.sandbox.recorder import RecordedRequest, Recorder
from airflow_provider_polyteia.sandbox.request_guard import ServedHosts
from airflow_provider_polyteia.sandbox.rpc_api import RPC_APIS

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from airflow_provider_polyteia.sandbox.api import Api

_START_TIMEOUT = 10.0
_CALL_TIMEOUT = 60.0
_KEEP_ALIVE = 75  # seconds, a common default of web servers

T = TypeVar("T")


class SandboxProtocol(H11Protocol):
    """uvicorn's HTTP protocol. It also counts connections, and gives the application access to the transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        """Handle a new connection."""
        super().connection_made(transport)
        self.logger = logger
        self.access_log = False  # it would contain query strings with tokens
        self.app_state["recorder"].connections += 1
        self.app_state = {**self.app_state, "transport": transport}


class Sandbox:
    """A local emulator of the Polyteia API, for this process and other processes on this machine.

    ::

        with Sandbox() as sandbox:
            requests.post(f"{sandbox.base_url}/api", ...)

    :param host: Address to listen on. Default: loopback.
    :param port: Port to listen on. Default: 0, a free port.
    :param options: Fields of `Options`: api, rpc_dialect, paks, read_only_paks, denied_solutions, data_dir, faults,
        seed, latency, ingest_delay, ingest_error, unacknowledged_solutions, token_lifetime, url_lifetime, http_403,
        allowed_hosts.
    :raises ValueError: if a fault or option is invalid.

    :ivar faults: Active faults: `add("create_dataset:drop-after:1")`, `clear()`.
    :ivar recorder: Recorded requests; see `requests`, `count` and `connections`.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        self.options = Options(**options)
        self._api = select_api(self.options)
        self.faults = Faults(self._api.calls, seed=self.options.seed)
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
        """The first key with full access."""
        return next(iter(self.options.paks))

    def start(self) -> Self:
        """Start listening and wait until the sandbox is ready.

        :raises OSError: if the port is in use.
        :raises RuntimeError: if the sandbox is already running, or another sandbox uses the data directory.
        """
        if self._thread:
            raise RuntimeError(f"The sandbox is already running at {self.base_url}")
        self._socket = _listen(*self._address)
        try:
            self.platform = Platform(self.options)
            fail_interrupted_ingests(self.platform)
        except BaseException:
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        self.base_url = self.platform.base_url = f"http://{name}:{port}"
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="polyteia-sandbox", daemon=True)
        self._thread.start()
        if not ready.wait(_START_TIMEOUT):
            raise RuntimeError(f"The sandbox did not start within {_START_TIMEOUT:g} s")
        return self

    def stop(self) -> None:
        """Close all connections and stop listening. The data directory is not removed."""
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
        """The number of TCP connections accepted so far."""
        return self.recorder.connections

    def count(self, name: str) -> int:
        """Return the number of calls with this name: a command, query, procedure or path (such as `/upload`)."""
        return self.recorder.counts[name]

    def airflow_connection(self, password: str | None = None) -> str:
        """Return an Airflow connection to this sandbox as JSON, for `AIRFLOW_CONN_<ID>`.

        :param password: Key of the connection. Default: the first key with full access.
        """
        return airflow_connection(self.options.api, self.base_url, password or self.pak)

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """All datasets, oldest first, each with `data`: content_type, size, uploaded_at, rows and sha256."""
        records = self.platform.store.all("dataset")
        return self._on_loop(summaries.summarize_datasets(self.platform, records, checksums=True))

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return all records of a kind ("workspace", "solution", "dataset", "tag", ...), oldest first."""
        return copy.deepcopy(self.platform.store.all(kind))

    def content(self, dataset_id: str) -> bytes:
        """Return the stored data of a dataset.

        :raises KeyError: if the dataset does not have data.
        """
        asset = self.platform.store.get("asset", dataset_id)
        if asset is None:
            raise KeyError(f"{dataset_id} does not have data")
        return self.platform.files.path(asset["file"]).read_bytes()

    def call(self, name: str, params: dict[str, Any]) -> Any:
        """Run a command, query or procedure directly, without HTTP. Faults are not injected and it is not counted.

        Dates are strings, in parameters and results.

        :raises KeyError: if the served API does not have this command, query or procedure.
        :raises BusinessError: if the call is invalid or fails.
        """
        session = Session(self.platform, Caller())
        return self._on_loop(self._api.call(session, name, params))

    def upload(
        self, dataset_id: str, content: bytes, content_type: str = "text/csv", *, source_timestamp: str | None = None
    ) -> None:
        """Replace the data of a dataset directly, without HTTP, like a delivery by another client.

        :param source_timestamp: As-of time of the data in ISO 8601, which sensors compare on the RPC API. Default:
            None, it does not change.
        :raises BusinessError: 404, if the dataset does not exist.
        """
        target = UploadTarget("dataset", dataset_id, content_type)
        self._on_loop(self._ingest(target, content))
        if source_timestamp is not None:
            self._on_loop(self._set_source_timestamp(dataset_id, source_timestamp))

    async def _ingest(self, target: UploadTarget, content: bytes) -> None:
        with self.platform.files.receiving() as path:
            await asyncio.to_thread(path.write_bytes, content)
            await self.platform.ingest(target, path, len(content))

    async def _set_source_timestamp(self, dataset_id: str, source_timestamp: str) -> None:
        store = self.platform.store
        dataset = store.get("dataset", dataset_id)
        if dataset is not None:
            metadata = {**dataset.get("metadata", {}), "source_info": {"source_timestamp": source_timestamp}}
            store.change("dataset", dataset, {"metadata": metadata})
            store.commit()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_TIMEOUT)

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        """Serve until `stop`. Unlike uvicorn's own server, this starts and stops within milliseconds."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        hosts = ServedHosts((self._address[0], self._socket.getsockname()[0], *self.options.allowed_hosts))
        app = build_app(self._api, self.platform, self.faults, self.recorder, hosts)
        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, timeout_keep_alive=_KEEP_ALIVE)
        config.load()
        state = ServerState()
        app_state = {"recorder": self.recorder}
        server = await self._loop.create_server(lambda: SandboxProtocol(config, state, app_state), sock=self._socket)
        ready.set()
        await self._stopping.wait()
        server.close()
        for _ in range(3):  # steps of the event loop from accepting a connection to registering it
            await asyncio.sleep(0)
        for connection in list(state.connections):
            connection.transport.abort()
        for task in state.tasks:
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)


def select_api(options: Options) -> Api:
    """Return the API that a sandbox with these options serves."""
    return COMMAND_API if options.api == "command" else RPC_APIS[options.rpc_dialect]


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Its protocol is set to TCP explicitly, because only then asyncio disables Nagle's algorithm, which costs 40 ms.
    """
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
