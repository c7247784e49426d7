"""Time to list 10,000 datasets, over TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from comparison import Comparison, medians, report
from nginx import certify, free_port, wait_for

from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DATASETS = 10_000
SIZE = 100
PAUSE = 0.2  # of the vendor's SDK, between two pages
ROUNDS = 5
KEY = "pak-of-the-benchmark"


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as home:
        bundle, port = certify(Path(home) / "server.pem"), free_port()
        os.environ["REQUESTS_CA_BUNDLE"] = bundle
        url = f"https://localhost:{port}"
        server = subprocess.Popen([sys.executable, __file__, "--serve", f"{home}/server.pem", str(port)])
        try:
            wait_for(port)
            connection = {
                "conn_type": "polyteia",
                "host": url,
                "password": KEY,
                "extra": {"verify": bundle, "api": "command"},
            }
            os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(connection)
            competitors = {"ours": _ours, "the same without the pause": partial(_sdk, url, 0)}
            seconds = medians({name: partial(_time, run) for name, run in competitors.items()}, ROUNDS)
            # Measured once, because it sleeps nearly all the time.
            seconds["the SDK's loop"] = _time(partial(_sdk, url, PAUSE))
        finally:
            server.terminate()
            server.wait(10)
    ours = seconds.pop("ours")
    wanted = {"the SDK's loop": 20}
    report(
        [
            Comparison("10,000 datasets listed, TLS", "s", ours, name, theirs, ratio_wanted=wanted.get(name))
            for name, theirs in seconds.items()
        ]
    )


def _time(run: Callable[[], int]) -> float:
    started = time.perf_counter()
    received = run()
    seconds = time.perf_counter() - started
    if received != DATASETS:
        raise RuntimeError(f"{received} datasets instead of {DATASETS}")
    return seconds


def _ours() -> int:
    with PolyteiaHook("bench") as hook:
        return sum(1 for _ in hook.iterate("list_datasets", {"solution_id": "sol_1"}))


def _sdk(url: str, pause: float) -> int:
    """List like the vendor's SDK: one connection per page, and a pause between pages.

    See docs/platform-api.md#pagination.
    """
    received, page, total = 0, 0, 1
    while page * SIZE < total:
        page += 1
        body = {"query": "list_datasets", "params": {"solution_id": "sol_1", "page": page, "size": SIZE}}
        response = requests.post(f"{url}/api", json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        data = response.json()["data"]
        total = data["total"]
        received += len(data["items"])
        if page * SIZE < total:
            time.sleep(pause)
    return received


def serve(certificate: str, port: str) -> None:
    """Serve the pages, which are encoded in advance."""
    import uvicorn

    pages = [_page(number) for number in range(1, DATASETS // SIZE + 1)]

    async def respond(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        page = pages[json.loads(body)["params"]["page"] - 1]
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(page)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": page})

    uvicorn.run(
        respond,  # type: ignore[arg-type]  # without the types of ASGI
        port=int(port),
        ssl_certfile=certificate,
        lifespan="off",
        log_level="warning",
    )


def _page(number: int) -> bytes:
    items = [
        {
            "id": f"ds_{number:05}{index:015}",
            "created_at": "2026-02-03T08:15:00.120450Z",
            "updated_at": "2026-02-04T09:00:10.000200Z",
            "name": f"Bookings {number}/{index}",
            "description": "Nightly export of the treasury",
            "slug": f"bookings_{number}_{index}",
            "source": "SAP",
            "solution_id": "sol_1",
        }
        for index in range(SIZE)
    ]
    return json.dumps({"data": {"items": items, "total": DATASETS, "page": number, "size": SIZE}}).encode()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
    else:
        main()
