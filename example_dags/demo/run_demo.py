"""`make demo`: an example DAG in real Airflow publishes real data to the sandbox; then see what is there."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from airflow_env import AIRFLOW_VERSION, COMPONENTS, RealAirflow
from local import EXAMPLES, connection, stop_on_signals, temporary_home
from platform_view import Holding, PlatformView

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

DAG_ID = "example_holidays"
YEARS = [2026, 2027]


def say(text: str = "") -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)  # noqa: T201 - a program for the terminal


def step(number: int, text: str) -> None:
    """Announce one of the demo's steps."""
    say(f"\n[{number}/4] {text}")


def readable(line: str) -> str:
    """Turn a line of a task log, which Airflow 3 writes as JSON, into text."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    text = f"{entry['timestamp']} {entry['level']:<7} {entry['event']}"
    for error in entry.get("error_detail") or []:
        frames = (f"\n    {frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in error["frames"])
        text += "".join(frames) + f"\n  {error['exc_type']}: {error['exc_value']}"
    return text


def run_dag(airflow: RealAirflow) -> bool:
    """Run the example; print what became of each task, and the log of those that failed."""
    run_id = airflow.trigger(DAG_ID, {"solution_id": SANDBOX_SOLUTION_ID, "years": YEARS})
    state = airflow.wait(DAG_ID, run_id, timeout=90)
    failed = set()
    for task in airflow.records.task_instances(DAG_ID, run_id):
        index = f"[{task.map_index}]" if task.map_index >= 0 else ""
        say(f"      {task.task_id + index:<22} {task.state}")
        if task.state == "failed":
            failed.add(task.task_id)
    for task_id in sorted(failed):
        say(f"\nLog of {task_id}:")
        for line in airflow.task_log(DAG_ID, run_id, task_id).splitlines():
            say(readable(line))
    return state == "success"


def table(*rows: Sequence[object]) -> None:
    """Print rows in columns that are as wide as they need to be."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        say("      " + "  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def show(holdings: Sequence[Holding]) -> None:
    """Print a table of datasets, and the first rows of each."""
    facts = [(holding.name, holding.slug, holding.size, holding.row_count) for holding in holdings]
    table(("dataset", "slug", "bytes", "rows"), *facts)
    for holding in holdings:
        say(f"\n      First rows of {holding.name}:\n")
        table(holding.columns, *holding.first_rows)


def main() -> int:
    """Run the demo; 0 only if the DAG succeeded and its data is on the platform."""
    started = time.monotonic()
    step(1, "Starting the sandbox, a local emulator of the Polyteia API")
    with temporary_home() as home, Sandbox() as sandbox:
        say(f"      listens on {sandbox.base_url}")
        step(2, f"Starting Airflow {'.'.join(map(str, AIRFLOW_VERSION))}: {', '.join(COMPONENTS)} (15 s or so)")
        connections = {"polyteia_default": connection(sandbox.base_url, sandbox.pak)}
        examples = [file for file in EXAMPLES if file.stem == DAG_ID]
        with RealAirflow(home, dags=examples, connections=connections) as airflow:
            step(3, f"Running the DAG {DAG_ID} for the years {', '.join(map(str, YEARS))}")
            if not run_dag(airflow):
                say("\nThe DAG failed.")
                return 1
        step(4, "What the platform now holds")
        holdings = PlatformView(sandbox.base_url, sandbox.pak).holdings(SANDBOX_SOLUTION_ID)
        show(holdings)
        if len(holdings) != len(YEARS) or not all(holding.row_count for holding in holdings):
            say(f"\nThe DAG succeeded, but there should be {len(YEARS)} datasets with rows.")
            return 1
    say(f"\nDone in {time.monotonic() - started:.0f} s; Airflow and the sandbox are stopped. Next: make demo-ui")
    return 0


if __name__ == "__main__":
    stop_on_signals()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted; Airflow and the sandbox are stopped.")
