"""Settings of a sandbox: parameters of `Sandbox` and options of `polyteia-sandbox serve`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_polyteia.sandbox.constants import SANDBOX_PAK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass
class Options:
    """Settings of one sandbox. The representation does not contain keys.

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
    :param token_lifetime: Lifetime of access tokens in seconds. Default: they do not expire.
    :param http_403: Whether missing permissions are reported as HTTP status 403 instead of code 403 inside HTTP 200;
        the platform may use either (docs/platform-api.md#permission-errors). Default: False.
    :raises TypeError: if a string is given instead of a list.
    :raises ValueError: if there is no key with full access, a key is empty, or a time is negative.
    """

    paks: Iterable[str] = field(default=(SANDBOX_PAK,), repr=False)
    read_only_paks: Iterable[str] = field(default=(), repr=False)
    denied_solutions: Mapping[str, Iterable[str]] = field(default_factory=dict, repr=False)
    data_dir: Path | str | None = None
    faults: Iterable[str] = ()
    seed: int = 0
    latency: float = 0.0
    ingest_delay: float = 0.0
    token_lifetime: float | None = None
    http_403: bool = False

    def __post_init__(self) -> None:
        for name in ("paks", "read_only_paks", "faults"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a list of strings, not a string")
        self.paks, self.read_only_paks = tuple(self.paks), tuple(self.read_only_paks)
        if not self.paks or not all((*self.paks, *self.read_only_paks, *self.denied_solutions)):
            raise ValueError("at least one full-access key is required, and keys must not be empty")
        for name in ("latency", "ingest_delay", "token_lifetime"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
