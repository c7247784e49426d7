"""Runs all benchmarks, prints one table and writes it to docs/performance.md."""

from __future__ import annotations

import compileall
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from comparison import Comparison, table

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "performance.md"
PACKAGE = HERE.parents[1] / "airflow_provider_polyteia"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
SCRIPTS = ("commands", "imports", "listing", "transfers", "deferred_waits", "task_overhead")
COMPARED = (
    "apache-airflow",
    "airflow-provider-polyteia",
    "requests",
    "httpx",
    "requests-toolbelt",
    "pandas",
    "pyarrow",
    "duckdb",
    "apache-airflow-providers-http",
    "apache-airflow-providers-airbyte",
    "apache-airflow-providers-databricks",
    "apache-airflow-providers-amazon",
    "airflow-provider-fivetran-async",
)
TIMEOUT = 900.0


def main() -> None:
    """Run all benchmarks, and write the report."""
    for folder in (PACKAGE, sysconfig.get_path("purelib")):
        compileall.compile_dir(str(folder), quiet=2)  # as pip does when it installs a package
    began, loads = time.monotonic(), [os.getloadavg()[0]]
    comparisons: list[Comparison] = []
    failed: list[str] = []
    for script in SCRIPTS:
        print(f"{script} ...", end=" ", flush=True)
        started = time.monotonic()
        measured, problem = _run(script)
        print(f"{time.monotonic() - started:.0f} s", flush=True)
        comparisons += measured
        failed += [f"{script}: {problem}"] if problem else []
        loads.append(os.getloadavg()[0])
    report = "\n\n".join([_conditions(time.monotonic() - began, loads), table(comparisons), *_missing(failed)])
    print(f"\n{report}")
    _write(report)


def _run(script: str) -> tuple[list[Comparison], str]:
    """Run one benchmark in a separate process; return its comparisons, and the error if it failed."""
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "result.json"
        command = [sys.executable, str(HERE / f"{script}.py"), str(result)]
        try:
            subprocess.run(command, check=True, timeout=TIMEOUT, stderr=subprocess.PIPE, text=True)
        except subprocess.TimeoutExpired:
            return [], f"not finished after {TIMEOUT:g} s"
        except subprocess.CalledProcessError as error:
            sys.stderr.write(error.stderr)
            return [], error.stderr.strip().splitlines()[-1]
        return [Comparison(**line) for line in json.loads(result.read_text())], ""


def _conditions(seconds: float, loads: list[float]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in COMPARED)
    return (
        f"Measured on {datetime.now(UTC):%d %B %Y}, {datetime.now(UTC):%H:%M} UTC, in {seconds / 60:.0f} minutes, on "
        f"{os.cpu_count()} cores with {platform.system()} and Python {platform.python_version()}. The load of the "
        f"machine (one-minute average, including the benchmarks) was {min(loads):.1f} to {max(loads):.1f}.\n\n"
        f"Versions: {versions}."
    )


def _missing(failed: list[str]) -> list[str]:
    return ["Not measured:\n\n" + "\n".join(f"- {line}" for line in failed)] if failed else []


def _write(report: str) -> None:
    """Replace the report of the previous run, between the markers."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{after}")


if __name__ == "__main__":
    main()
