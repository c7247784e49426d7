"""Time and memory of uploads, exports and whole tables, each way of moving them in fresh processes, over TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from comparison import Comparison, report
from nginx import certify
from swallower import Swallower

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from postgres import Postgres  # noqa: E402 - from the tests

MIB = 1024 * 1024
ROUNDS = 3
TABLE = """
CREATE TABLE bookings AS SELECT
    g::int8 AS id, (g % 1000)::int4 AS department, (g * 1.37)::numeric(12, 2) AS amount,
    date '2020-01-01' + (g % 2000)::int AS booked, timestamptz '2020-01-01' + g * interval '1 s' AS changed_at,
    'Straße ' || g AS street, g % 2 = 0 AS paid, g * 0.001::float8 AS share
FROM generate_series(1, {rows}) AS g
"""
SDK = "requests, files= (the SDK's way)"
PANDAS = "pandas (Amazon's SqlToS3Operator)"
DUCKDB = "DuckDB's COPY (the vendor's connector)"

Figures = dict[str, dict[str, float]]


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as home:
        directory = Path(home)
        bundle = certify(directory / "server.pem")
        with Swallower(directory / "server.pem") as platform:
            connection = {"conn_type": "polyteia", "host": platform.url, "password": "pak-of-the-benchmark"}
            os.environ |= {
                "AIRFLOW_CONN_POLYTEIA_DEFAULT": json.dumps(connection),
                "PLATFORM": platform.url,
                "REQUESTS_CA_BUNDLE": bundle,
            }
            comparisons = _uploads(directory) + _exports(directory)
            with Postgres() as database:
                os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(database.connection)
                comparisons += _tables(database)
    report(comparisons)


def _uploads(directory: Path) -> list[Comparison]:
    path = directory / "data.csv"
    _write(path, 512)
    some = _measure(["our upload", "curl", SDK, "requests-toolbelt", "httpx"], str(path), ROUNDS)
    _write(path, 2048)
    much = _measure(["our upload", "curl", "requests-toolbelt", "httpx"], str(path), 2)
    path.unlink()
    return [
        *_lines("upload of 512 MiB", "our upload", some, seconds={"curl": 0.5}, mib=40),
        *_lines("upload of 2 GiB", "our upload", much, seconds={"curl": 0.5}, mib=40),
    ]


def _exports(directory: Path) -> list[Comparison]:
    figures = _measure(["our export", "curl, download"], str(directory / "export.csv"), ROUNDS)
    return _lines("export of 1 GiB", "our export", figures, seconds={"curl, download": 0.5}, mib=40)


def _tables(database: Postgres) -> list[Comparison]:
    lines = []
    for rows, peers, rounds in ((2, [PANDAS, DUCKDB], 2), (8, [DUCKDB], 1)):
        database.run("DROP TABLE IF EXISTS bookings", TABLE.format(rows=rows * 1_000_000), "VACUUM ANALYZE bookings")
        figures = _measure(["ours, adbc", "ours, dbapi", *peers], "", rounds)
        dbapi = figures.pop("ours, dbapi")
        title = f"table of {rows} million rows"
        lines += _lines(f"{title}, adbc", "ours, adbc", dict(figures), seconds={PANDAS: 3.5}, mib=200)
        figures["ours, dbapi"] = dbapi
        del figures["ours, adbc"]
        lines += _lines(f"{title}, dbapi", "ours, dbapi", figures, seconds={}, mib=200)
    return lines


def _lines(title: str, our_way: str, figures: Figures, *, seconds: dict[str, float], mib: float) -> list[Comparison]:
    """Compare `our_way` with all others: the time with ratios wanted, the memory with a limit. curl's is not known."""
    ours, peers = figures[our_way], {name: those for name, those in figures.items() if name != our_way}
    times = [
        Comparison(f"{title}, time", "s", ours["seconds"], name, those["seconds"], ratio_wanted=seconds.get(name))
        for name, those in peers.items()
    ]
    known = {name: those["mib"] for name, those in peers.items() if not name.startswith("curl")} or {"": None}
    memory = [
        Comparison(f"{title}, memory", "MiB", ours["mib"], name, theirs, ours_wanted=mib)
        for name, theirs in known.items()
    ]
    return times + memory


def _measure(ways: list[str], path: str, rounds: int) -> Figures:
    """Let all ways take turns; return the median of the seconds, and the highest of the peaks."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        first = number % len(ways)
        for way in ways[first:] + ways[:first]:
            results[way].append(_once(way, path))
    return {
        way: {"seconds": median(one["seconds"] for one in all_of), "mib": max(one["mib"] for one in all_of)}
        for way, all_of in results.items()
    }


def _once(way: str, path: str) -> dict[str, float]:
    command = [sys.executable, str(HERE / "ways.py"), way, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{way} has failed: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _write(path: Path, mib: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(block)


if __name__ == "__main__":
    main()
