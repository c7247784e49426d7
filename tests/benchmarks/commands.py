"""Commands and procedures per second through `PolyteiaHook.command` and `PolyteiaHook.call`, over TLS."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests
from airflow.providers.http.hooks.http import HttpHook
from comparison import Comparison, medians, report
from nginx import Nginx

from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
PROCEDURE = "dataset/getDatasetById"
INPUT = {"id": "ds_d2k7m0p4c5v1s8h3q9t0"}
# The same response serves as the exchange of the key, which happens once.
SESSION = {
    "token": "token-of-the-benchmark",
    "organizationId": "org_1",
    **INPUT,
    "createdAt": "2026-02-03T08:15:00.000Z",
}
RPC_RESPONSE = json.dumps({"json": SESSION, "meta": [[1, "createdAt"]]})


LIMIT = "raw requests.Session (the limit)"


def main() -> None:
    """Measure and report."""
    with _serving(RESPONSE, api="command") as server:
        _connect("bench_http", conn_type="http", host=server.url, extra={"verify": server.bundle})
        commands = medians(_competitors(server), ROUNDS)
    with _serving(RPC_RESPONSE, api="rpc", organization_id="org_1") as server:
        calls = medians(_rpc_competitors(server), ROUNDS)
    wanted = {LIMIT: 0.9, "requests.post per call (the SDK's way)": 4}
    report(
        [
            Comparison(f"{question}, TLS", "/s", ours, name, theirs, ratio_wanted=wanted.get(name))
            for question, rates, ours in [
                ("commands", commands, commands.pop("PolyteiaHook")),
                ("procedures of the RPC API", calls, calls.pop("PolyteiaHook")),
            ]
            for name, theirs in rates.items()
        ]
    )


@contextmanager
def _serving(response: str, **extra: str) -> Iterator[Nginx]:
    """Serve one response, and define the connection `bench_polyteia` to it."""
    with Nginx(response) as server:
        # It overrides the settings of sessions, so a value in the environment would affect the competitors.
        os.environ["REQUESTS_CA_BUNDLE"] = server.bundle
        extra |= {"verify": server.bundle}
        _connect("bench_polyteia", conn_type="polyteia", host=server.url, password=KEY, extra=extra)
        yield server


def _competitors(server: Nginx) -> dict[str, Callable[[], float]]:
    ours = PolyteiaHook("bench_polyteia")
    http = HttpHook("POST", "bench_http")
    session = requests.Session()
    session.headers.update(HEADERS)
    url = f"{server.url}/api"
    json_headers = {"Content-Type": "application/json", **HEADERS}
    return {
        "PolyteiaHook": lambda: _rate(lambda: ours.command("create_dataset", PARAMS)),
        LIMIT: lambda: _rate(lambda: session.post(url, json=BODY, verify=server.bundle, timeout=60).json()["data"]),
        "requests.post per call (the SDK's way)": lambda: _rate(
            lambda: requests.post(url, json=BODY, headers=HEADERS, verify=server.bundle, timeout=60).json()["data"]
        ),
        "HttpHook.run": lambda: _rate(lambda: http.run("/api", json.dumps(BODY), json_headers).json()["data"]),
    }


def _rpc_competitors(server: Nginx) -> dict[str, Callable[[], float]]:
    ours = PolyteiaHook("bench_polyteia")
    session = requests.Session()
    session.headers.update(HEADERS)
    url, body = f"{server.url}/rpc/{PROCEDURE}", {"json": INPUT}
    return {
        "PolyteiaHook": lambda: _rate(lambda: ours.call(PROCEDURE, INPUT)),
        LIMIT: lambda: _rate(lambda: session.post(url, json=body, verify=server.bundle, timeout=60).json()["json"]),
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
