"""500 deferred sensors on one real triggerer, ours and those of peers, with a slow server.

The triggers belong to deferred tasks in Airflow's database, so the triggerer runs them as usual. Another trigger
measures the delay of the event loop.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING
from urllib.request import urlopen

import psutil
from comparison import Comparison, report

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "integration"))

from airflow_env import RealAirflow, free_port, wait_until  # noqa: E402 - found through the path above

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITS, INTERVAL = 500, 5.0
WARM_UP, MEASURED = 20.0, 30.0  # seconds; time for Airflow to create 500 triggers, and six intervals
BLOCKED = "async thread was blocked"
IDLE = "idle"  # a triggerer with 500 triggers that only sleep
ONE_SOLUTION, SOLUTIONS = "Polyteia, one solution", f"Polyteia, {WAITS} solutions"  # where the awaited datasets are
OURS = (ONE_SOLUTION, SOLUTIONS)
PEERS = {
    "Fivetran": "fivetran_provider_async",
    "HTTP": "airflow.providers.http.triggers",
    "Airbyte": "airflow.providers.airbyte.triggers",
}
DAG = f"""
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
with DAG("waits", schedule=None):
    for number in range({WAITS + 1}):
        EmptyOperator(task_id=f"wait_{{number}}")
"""


@dataclass(frozen=True)
class Figures:
    """Figures of a triggerer with 500 deferred sensors.

    :param lag: delay of the event loop in seconds, 99th percentile.
    :param cpu: cores used by both processes of the triggerer.
    :param connections: maximum number of TCP connections that were open at once.
    :param opened: number of TCP connections that were opened during the measurement.
    :param polls: requests per second.
    :param warnings: number of Airflow's own warnings about a blocked event loop.
    """

    lag: float
    cpu: float
    connections: int
    opened: int
    polls: float
    warnings: int

    def cpu_per_wait(self, idle: Figures, *, is_shared: bool = False) -> float:
        """Return milliseconds of CPU above an idle triggerer, per wait and interval.

        :param is_shared: whether one request is for many waits. Otherwise the CPU is per request, because a triggerer
            that sends fewer of them than there are waits in an interval would look cheaper.
        """
        return 1000 * (self.cpu - idle.cpu) / (WAITS / INTERVAL if is_shared else self.polls)


class TriggererOnly(RealAirflow):
    """A real Airflow of which only the triggerer runs."""

    def start(self, *components: str) -> None:
        """Start the triggerer; ignore other components."""
        if components == ("triggerer",):
            super().start(*components)

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the triggerer, including the one that runs its event loop."""
        main = psutil.Process(self._processes["triggerer"].pid)
        return [main, *main.children(recursive=True)]


def main() -> None:
    """Measure our triggers and those of all installed peers."""
    peers = [name for name, module in PEERS.items() if is_installed(module)]
    idle = measure(IDLE, 0.2)
    figures = {name: measure(name, 0.2) for name in (*OURS, *peers)}
    slow = measure(SOLUTIONS, 10.0)
    for name, found in {IDLE: idle, **figures, f"{SOLUTIONS}, 10 s": slow}.items():
        print(f"{name:15} {found}", file=sys.stderr)
    report(list(comparisons(figures, slow, idle)))


def is_installed(module: str) -> bool:
    """Return True if a peer is installed."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def comparisons(figures: dict[str, Figures], slow: Figures, idle: Figures) -> Iterator[Comparison]:
    """Return the lines of the report."""
    costs = {name: found.cpu_per_wait(idle, is_shared=name == ONE_SOLUTION) for name, found in figures.items()}
    best = min((name for name in figures if name not in OURS), key=costs.__getitem__, default="")
    for name, ratio in ((ONE_SOLUTION, 20), (SOLUTIONS, 2)):
        yield from _compared(name, figures, costs, {best: ratio})
    what = f"{WAITS} deferred sensors, one poll every {INTERVAL:g} s"
    for where, found in (*((name, figures[name]) for name in OURS), (f"{SOLUTIONS}, responses after 10 s", slow)):
        which = f"{what} ({where.removeprefix('Polyteia, ')})"
        yield Comparison(f"{which}: event loop delay (p99)", "ms", 1000 * found.lag, ours_wanted=20)
        yield Comparison(f"{which}: cores in use", "cores", found.cpu, ours_wanted=1)
        yield Comparison(f"{which}: warnings of a blocked event loop", "", found.warnings, ours_wanted=0)


def _compared(
    name: str, figures: dict[str, Figures], costs: dict[str, float], wanted: dict[str, float]
) -> Iterator[Comparison]:
    ours, where = figures[name], name.removeprefix("Polyteia, ")
    what = f"{WAITS} deferred sensors in {where}, one poll every {INTERVAL:g} s"
    for peer, theirs in figures.items():
        if peer not in OURS:
            ratio = wanted.get(peer)
            yield Comparison(f"{what}: CPU per wait", "ms", costs[name], peer, costs[peer], ratio_wanted=ratio)
            yield Comparison(f"{what}: requests per second", "", ours.polls, peer, theirs.polls)
            yield Comparison(f"{what}: event loop delay (p99)", "ms", 1000 * ours.lag, peer, 1000 * theirs.lag)
            yield Comparison(f"{what}: connections at once", "", ours.connections, peer, theirs.connections)


def measure(name: str, response_time: float) -> Figures:
    """Measure a triggerer with our triggers or those of one peer."""
    port = free_port()
    server = subprocess.Popen([sys.executable, str(HERE / "slow_server.py"), str(port), str(response_time)])
    try:
        with tempfile.TemporaryDirectory() as home:
            return _measure(name, Path(home), port)
    finally:
        server.kill()
        server.wait()


def _measure(name: str, home: Path, port: int) -> Figures:
    url = f"http://127.0.0.1:{port}"
    connections = {
        "waiting_polyteia": {"conn_type": "polyteia", "host": url, "password": "key", "extra": {"api": "command"}},
        "waiting_http": {"conn_type": "http", "host": url},
        "waiting_airbyte": {"conn_type": "airbyte", "host": url},
        "waiting_fivetran": {"conn_type": "fivetran", "login": "key", "password": "secret"},
    }
    lags = home / "lags"
    (home / "plugins").mkdir()
    for plugin in ("waiting_triggers.py", *(["waiting_fivetran.py"] if name == "Fivetran" else [])):
        shutil.copy(HERE / plugin, home / "plugins")
    (home / "waits.py").write_text(DAG)
    with TriggererOnly(home / "airflow", dags=[home / "waits.py"], connections=connections) as airflow:
        environment = airflow.environment() | {
            "WAITING_SERVER": f"127.0.0.1:{port}",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        }
        airflow.environment = lambda: environment  # type: ignore[method-assign]  # for its processes
        airflow.cli("dags", "reserialize")
        airflow.cli("dags", "trigger", "waits", "--run-id", "bench")
        defer = [sys.executable, str(HERE / "defer_tasks.py"), name, str(INTERVAL), str(lags)]
        subprocess.run(defer, env=environment, check=True, timeout=120)
        airflow.start("triggerer")
        wait_until(lags.exists, 60, lambda: "the triggerer does not run its triggers")
        time.sleep(WARM_UP)
        return _figures(airflow, url, lags)


def _figures(airflow: TriggererOnly, url: str, lags: Path) -> Figures:
    before, cpu, started = _counts(url), _cpu(airflow), time.time()
    warned = airflow.logs().count(BLOCKED)
    time.sleep(MEASURED)
    after, spent, seconds = _counts(url), _cpu(airflow) - cpu, time.time() - started
    lines = [json.loads(line) for line in lags.read_text().splitlines()]
    measured = [lag for at, found in lines if at > started for lag in found]
    return Figures(
        lag=quantiles(measured, n=100)[-1] if len(measured) > 1 else seconds,
        cpu=spent / seconds,
        connections=after["most_open"],
        opened=after["opened"] - before["opened"],
        polls=(after["requests"] - before["requests"]) / seconds,
        warnings=airflow.logs().count(BLOCKED) - warned,
    )


def _counts(url: str) -> dict[str, int]:
    with urlopen(f"{url}/counts", timeout=30) as response:  # noqa: S310 - our own http URL
        counts: dict[str, int] = json.load(response)
    return counts


def _cpu(airflow: TriggererOnly) -> float:
    times = [process.cpu_times() for process in airflow.processes()]
    return sum(spent.user + spent.system for spent in times)


if __name__ == "__main__":
    main()
