"""Settings of a sandbox: parameters of `Sandbox` and options of `polyteia-sandbox serve`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_polyteia.sandbox.constants import SANDBOX_PAK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

API_TITLES = {"command": "command API", "rpc": "RPC API"}
"""The APIs that a sandbox can serve."""

RPC_DIALECTS = (1, 2)

_SESSION_LIFETIME = 3600.0


@dataclass
class Options:
    """Settings of one sandbox. The representation does not contain keys.

    :param api: API to serve: "command" or "rpc". Default: "command".
    :param rpc_dialect: Dialect of the RPC API, 1 or 2 (docs/platform-api.md#rpc-dialects). Default: 1.
    :param paks: Personal access keys with full access. Default: the well-known key of the sandbox.
    :param read_only_paks: Keys whose writes are rejected with code 403. Default: none.
    :param denied_solutions: Ids of solutions by key. Access to these solutions and their content is rejected with code
        403. Default: none.
    :param data_dir: Directory that preserves the state across restarts. Default: in memory only.
    :param faults: Faults to inject from the start; for the grammar, see `airflow_provider_polyteia.sandbox.faults`.
        Default: none.
    :param seed: Random seed for fault probabilities. Default: 0.
    :param latency: Time in seconds by which every API call is delayed. Default: 0.
    :param ingest_delay: Time in seconds between the end of an upload and the visibility of its data
        (docs/platform-api.md#upload-visibility). Default: 0.
    :param ingest_error: Message with which every ingest of the RPC API fails. Default: ingests complete.
    :param unacknowledged_solutions: Ids of solutions whose data processing terms are not acknowledged, so that the RPC
        API rejects uploads to their datasets. Default: none.
    :param token_lifetime: Lifetime of access tokens and sessions in seconds. Default: access tokens of the command API
        do not expire, and sessions of the RPC API expire after 3600 seconds.
    :param url_lifetime: Lifetime of the presigned URLs of the RPC API in seconds. Default: 900.
    :param http_403: Whether missing permissions are reported as HTTP status 403 instead of code 403 inside HTTP 200;
        the platform may use either (docs/platform-api.md#permission-errors). Default: False.
    :param allowed_hosts: Host names at which other machines or containers reach the sandbox, or `*` for any. Requests
        for other hosts are rejected, because a web page could have sent them (DNS rebinding). Default: loopback names
        and addresses, and the host to listen on.
    :raises TypeError: if a string is given instead of a list.
    :raises ValueError: if the API or dialect is unknown, there is no key with full access, a key is empty, or a time is
        negative.
    """

    api: str = "command"
    rpc_dialect: int = 1
    paks: Iterable[str] = field(default=(SANDBOX_PAK,), repr=False)
    read_only_paks: Iterable[str] = field(default=(), repr=False)
    denied_solutions: Mapping[str, Iterable[str]] = field(default_factory=dict, repr=False)
    data_dir: Path | str | None = None
    faults: Iterable[str] = ()
    seed: int = 0
    latency: float = 0.0
    ingest_delay: float = 0.0
    ingest_error: str = ""
    unacknowledged_solutions: Iterable[str] = ()
    token_lifetime: float | None = None
    url_lifetime: float = 900.0
    http_403: bool = False
    allowed_hosts: Iterable[str] = ()

    def __post_init__(self) -> None:
        if self.api not in API_TITLES:
            raise ValueError(f"api must be one of {', '.join(API_TITLES)}, got {self.api!r}")
        if self.rpc_dialect not in RPC_DIALECTS:
            raise ValueError(f"rpc_dialect must be one of {RPC_DIALECTS}, got {self.rpc_dialect!r}")
        for name in ("paks", "read_only_paks", "faults", "unacknowledged_solutions", "allowed_hosts"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a list of strings, not a string")
        self.paks, self.read_only_paks = tuple(self.paks), tuple(self.read_only_paks)
        if not self.paks or not all((*self.paks, *self.read_only_paks, *self.denied_solutions)):
            raise ValueError("at least one full-access key is required, and keys must not be empty")
        self.allowed_hosts = tuple(self.allowed_hosts)
        self.unacknowledged_solutions = tuple(self.unacknowledged_solutions)
        for name in ("latency", "ingest_delay", "token_lifetime", "url_lifetime"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if self.api == "rpc" and self.token_lifetime is None:
            self.token_lifetime = _SESSION_LIFETIME
