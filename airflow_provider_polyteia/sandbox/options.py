"""How a sandbox behaves; each field is a parameter of `Sandbox` and an option of `polyteia-sandbox serve`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_polyteia.sandbox.constants import SANDBOX_PAK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass
class Options:
    """Settings of one sandbox. Keys stay out of the representation.

    :param paks: keys that may do everything. Default: the well-known sandbox key.
    :param read_only_paks: keys whose writes are refused with 403.
    :param shut_out: key -> ids of the solutions it is refused (403 for the solution and its content).
    :param data_dir: directory that keeps the state over a restart; None keeps it in memory.
    :param faults: faults to begin with, see `faults.parse_fault`.
    :param seed: seed of the faults' probabilities.
    :param latency: seconds every API call waits before it is answered.
    :param ingest_delay: seconds between the end of an upload and its data being there (API reference 7.4).
    :param token_lifetime: seconds an exchanged access token lives; None for ever.
    :param http_403: answer missing permission with HTTP status 403 instead of code 403 inside HTTP 200;
        the sources contradict each other (API reference 3.1).
    """

    paks: Iterable[str] = field(default=(SANDBOX_PAK,), repr=False)
    read_only_paks: Iterable[str] = field(default=(), repr=False)
    shut_out: Mapping[str, Iterable[str]] = field(default_factory=dict, repr=False)
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
                raise TypeError(f"{name} must be a list of texts, not one text")
        self.paks, self.read_only_paks = tuple(self.paks), tuple(self.read_only_paks)
        if not self.paks or not all((*self.paks, *self.read_only_paks, *self.shut_out)):
            raise ValueError("there must be a key that may do everything, and no key may be empty")
        for name in ("latency", "ingest_delay", "token_lifetime"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
