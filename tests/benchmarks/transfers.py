"""Time and memory of uploads, exports and whole tables over TLS; each scenario runs in new processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from comparison import Comparison, report
from discard_server import DiscardServer
from nginx import certify

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from mariadb_server import MariaDB  # noqa: E402 - from the tests
from postgres import Postgres  # noqa: E402 - as above

MIB = 1024 * 1024
ROUNDS = 3
TABLE = """
CREATE TABLE bookings AS SELECT
    g::int8 AS id, (g % 1000)::int4 AS department, (g * 1.37)::numeric(12, 2) AS amount,
    date '2020-01-01' + (g % 2000)::int AS booked, timestamptz '2020-01-01' + g * interval '1 s' AS changed_at,
    'Straße ' || g AS street, g % 2 = 0 AS paid, g * 0.001::float8 AS share
FROM generate_series(1, {rows}) AS g
"""
MARIADB_TABLE = """
CREATE TABLE bookings AS SELECT
    seq AS id, cast(seq % 1000 AS int) AS department, cast(seq * 1.37 AS decimal(12, 2)) AS amount,
    date '2020-01-01' + INTERVAL (seq % 2000) DAY AS booked,
    timestamp '2020-01-01 00:00:00' + INTERVAL seq SECOND AS changed_at,
    concat('Straße ', seq) AS street, seq % 2 = 0 AS paid, cast(seq * 0.001 AS double) AS share
FROM seq_1_to_2000000;
ANALYZE TABLE bookings;
"""
UNCHECKED = "our upload, unchecked"
SDK = "requests, files= (the SDK's way)"
ALL_ROWS = "DuckDB, all rows decide about types"
SOME_ROWS = "DuckDB, 20,480 rows decide about types"
PANDAS = "pandas (Amazon's SqlToS3Operator)"
DUCKDB = "DuckDB's COPY (the vendor's connector)"
MARIADB, MARIADB_PANDAS, MARIADB_DUCKDB = "ours, MariaDB", "pandas, MariaDB", "DuckDB's mysql scanner"

Figures = dict[str, dict[str, float]]


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as home:
        directory = Path(home)
        bundle = certify(directory / "server.pem")
        with DiscardServer(directory / "server.pem") as platform:
            connection = {
                "conn_type": "polyteia",
                "host": platform.url,
                "password": "pak-of-the-benchmark",
                "extra": {"api": "command"},
            }
            os.environ |= {
                "AIRFLOW_CONN_POLYTEIA_DEFAULT": json.dumps(connection),
                "PLATFORM": platform.url,
                "REQUESTS_CA_BUNDLE": bundle,
            }
            comparisons = _uploads(directory) + _conversions(directory) + _exports(directory)
            with Postgres() as database:
                os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(database.connection)
                comparisons += _tables(database)
            with MariaDB() as database:
                os.environ["AIRFLOW_CONN_BENCH_MARIADB"] = json.dumps(database.connection)
                comparisons += _mariadb_table(database)
    report(comparisons)


def _uploads(directory: Path) -> list[Comparison]:
    path = directory / "data.csv"
    _write(path, 512)
    some = _measure(["our upload", UNCHECKED, "curl", SDK, "requests-toolbelt", "httpx"], str(path), ROUNDS)
    unchecked = some[UNCHECKED]["seconds"]
    share = 100 * (some.pop("our upload")["seconds"] - unchecked) / unchecked
    _write(path, 2048)
    much = _measure(["our upload", "curl", "requests-toolbelt", "httpx"], str(path), 2)
    path.unlink()
    return [
        *_lines("upload of 512 MiB, unchecked", UNCHECKED, some, seconds={"curl": 0.5}, mib=40),
        Comparison("check of a CSV of 512 MiB, in percent of its upload", "%", share, ours_wanted=25),
        *_lines("upload of 2 GiB", "our upload", much, seconds={"curl": 0.5}, mib=40),
    ]


def _conversions(directory: Path) -> list[Comparison]:
    lines = []
    for mib, rounds in ((256, ROUNDS), (1024, 2)):
        path = directory / "data.csv"
        _write(path, mib)
        figures = _measure(["our conversion", ALL_ROWS, SOME_ROWS], str(path), rounds)
        lines += _lines(f"CSV of {mib} MiB as Parquet", "our conversion", figures, seconds={ALL_ROWS: 1.0}, mib=400)
        path.unlink()
    return lines


def _exports(directory: Path) -> list[Comparison]:
    figures = _measure(["our export", "curl, download"], str(directory / "export.csv"), ROUNDS)
    return _lines("export of 1 GiB", "our export", figures, seconds={"curl, download": 0.5}, mib=40)


def _tables(database: Postgres) -> list[Comparison]:
    lines = []
    for rows, competitors, rounds in ((2, [PANDAS, DUCKDB], 2), (8, [DUCKDB], 1)):
        database.run("DROP TABLE IF EXISTS bookings", TABLE.format(rows=rows * 1_000_000), "VACUUM ANALYZE bookings")
        figures = _measure(["ours, duckdb", "ours, dbapi", *competitors], "", rounds)
        dbapi = figures.pop("ours, dbapi")
        title = f"table of {rows} million rows"
        lines += _lines(f"{title}, duckdb", "ours, duckdb", dict(figures), seconds={PANDAS: 3.5, DUCKDB: 1.0}, mib=200)
        figures["ours, dbapi"] = dbapi
        del figures["ours, duckdb"]
        lines += _lines(f"{title}, dbapi", "ours, dbapi", figures, seconds={}, mib=200)
    return lines


def _mariadb_table(database: MariaDB) -> list[Comparison]:
    database.run(MARIADB_TABLE)
    figures = _measure([MARIADB, MARIADB_PANDAS, MARIADB_DUCKDB], "", ROUNDS)
    wanted = {MARIADB_PANDAS: 1.0, MARIADB_DUCKDB: 1.0}
    return _lines("MariaDB, table of 2 million rows", MARIADB, figures, seconds=wanted, mib=200)


def _lines(
    title: str, our_scenario: str, figures: Figures, *, seconds: dict[str, float], mib: float
) -> list[Comparison]:
    """Compare `our_scenario` with all others by time and memory. The memory of curl is not known."""
    ours, competitors = figures[our_scenario], {name: those for name, those in figures.items() if name != our_scenario}
    times = [
        Comparison(f"{title}, time", "s", ours["seconds"], name, those["seconds"], ratio_wanted=seconds.get(name))
        for name, those in competitors.items()
    ]
    known = {name: those["mib"] for name, those in competitors.items() if not name.startswith("curl")} or {"": None}
    memory = [
        Comparison(f"{title}, memory", "MiB", ours["mib"], name, theirs, ours_wanted=mib)
        for name, theirs in known.items()
    ]
    return times + memory


def _measure(scenarios: list[str], path: str, rounds: int) -> Figures:
    """Run all scenarios alternately; return the median time and the highest peak of memory of each one."""
    results: dict[str, list[dict[str, float]]] = {scenario: [] for scenario in scenarios}
    for number in range(rounds):
        first = number % len(scenarios)
        for scenario in scenarios[first:] + scenarios[:first]:
            results[scenario].append(_once(scenario, path))
    return {
        scenario: {"seconds": median(run["seconds"] for run in runs), "mib": max(run["mib"] for run in runs)}
        for scenario, runs in results.items()
    }


def _once(scenario: str, path: str) -> dict[str, float]:
    command = [sys.executable, str(HERE / "scenarios.py"), scenario, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{scenario} failed: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _write(path: Path, mib: int) -> None:
    """Write a CSV file with umlauts, of about `mib` MiB."""
    lines = "".join(
        f"{number},Müllerstraße {number % 300},{number * 1.37:.2f},2026-12-31\n" for number in range(25_000)
    )
    block = lines.encode()
    with path.open("wb") as file:
        file.write(b"id,street,amount,booked\n")
        for _ in range(mib * MIB // len(block)):
            file.write(block)


if __name__ == "__main__":
    main()
