"""Commands per second through `PolyteiaHook.command`, over TLS."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import requests
from airflow.providers.http.hooks.http import HttpHook
from comparison import Comparison, medians, report
from nginx import Nginx

from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 300
ROUNDS = 11
KEY = "pak-of-the-benchmark"
PARAMS = {
    "name": "Bookings",
    "solution_id": "sol_1",
    "slug": "bookings",
    "description": "Nightly export of the treasury",
    "source": "SAP",
}
BODY = {"command": "create_dataset", "params": PARAMS}
RESPONSE = json.dumps({"data": {"id": "ds_d2k7m0p4c5v1s8h3q9t0", "created_at": "2026-02-03T08:15:00Z", **PARAMS}})
HEADERS = {"Authorization": f"Bearer {KEY}"}


def main() -> None:
    """Measure and report."""
    with Nginx(RESPONSE) as server:
        # It overrides the settings of sessions, so a value in the environment would affect the competitors.
        os.environ["REQUESTS_CA_BUNDLE"] = server.bundle
        extra = {"verify": server.bundle}
        api = {"api": "command", **extra}
        _connect("bench_polyteia", conn_type="polyteia", host=server.url, password=KEY, extra=api)
        _connect("bench_http", conn_type="http", host=server.url, extra=extra)
        rates = medians(_competitors(server), ROUNDS)
    ours = rates.pop("PolyteiaHook")
    wanted = {"raw requests.Session (the limit)": 0.9, "requests.post per call (the SDK's way)": 4}
    report(
        [
            Comparison("commands, TLS", "/s", ours, name, theirs, ratio_wanted=wanted.get(name))
            for name, theirs in rates.items()
        ]
    )


def _competitors(server: Nginx) -> dict[str, Callable[[], float]]:
    ours = PolyteiaHook("bench_polyteia")
    http = HttpHook("POST", "bench_http")
    session = requests.Session()
    session.headers.update(HEADERS)
    url = f"{server.url}/api"
    json_headers = {"Content-Type": "application/json", **HEADERS}
    return {
        "PolyteiaHook": lambda: _rate(lambda: ours.command("create_dataset", PARAMS)),
        "raw requests.Session (the limit)": lambda: _rate(
            lambda: session.post(url, json=BODY, verify=server.bundle, timeout=60).json()["data"]
        ),
        "requests.post per call (the SDK's way)": lambda: _rate(
            lambda: requests.post(url, json=BODY, headers=HEADERS, verify=server.bundle, timeout=60).json()["data"]
        ),
        "HttpHook.run": lambda: _rate(lambda: http.run("/api", json.dumps(BODY), json_headers).json()["data"]),
    }


def _rate(call: Callable[[], object]) -> float:
    call()  # opens the connection if it is kept
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return CALLS / (time.perf_counter() - started)


def _connect(conn_id: str, **parts: object) -> None:
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(parts)


if __name__ == "__main__":
    main()
