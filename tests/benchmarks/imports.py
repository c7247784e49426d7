"""CPU time for importing all operators, sensors and transfers of a provider, without Airflow's base classes."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from comparison import Comparison, medians, report

ROUNDS = 3
TASK_PARTS = ("operators", "sensors", "transfers")
OURS = "airflow_provider_polyteia"
COMPETITORS = {
    "provider http": "airflow.providers.http",
    "provider airbyte": "airflow.providers.airbyte",
    "provider databricks": "airflow.providers.databricks",
    "provider fivetran-async": "fivetran_provider_async",
}


def main() -> None:
    """Measure and report."""
    packages = {OURS: OURS, **COMPETITORS}
    cost = medians({name: partial(_cost, package) for name, package in packages.items()}, ROUNDS)
    ours = cost.pop(OURS)
    report(
        [
            Comparison("import of all task modules, CPU", "ms", ours, name, theirs, ours_wanted=20)
            for name, theirs in cost.items()
        ]
    )


def _cost(package: str) -> float:
    """Measure in a new interpreter."""
    command = [sys.executable, __file__, "--import", *_task_modules(package)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True, timeout=120).stdout.split()[-1])


def _task_modules(package: str) -> list[str]:
    """Return the modules that contain operators, sensors and transfers."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit(f"{package} is not installed; use make bench")
    root = Path(next(iter(spec.submodule_search_locations)))
    files = [file for part in TASK_PARTS for file in (root / f"{part}.py", *sorted((root / part).glob("*.py")))]
    modules = (".".join(file.relative_to(root).with_suffix("").parts) for file in files if file.exists())
    return [f"{package}.{module}" for module in modules if not module.endswith("__init__")]


def import_all(modules: list[str]) -> None:
    """Import `modules` after Airflow's base classes, and print the CPU time in milliseconds."""
    from airflow.providers.common.compat.sdk import (
        DAG,  # noqa: F401 - imported before the measurement, like the others
        BaseHook,  # noqa: F401
        BaseOperator,  # noqa: F401
        BaseOperatorLink,  # noqa: F401
        BaseSensorOperator,  # noqa: F401
    )

    started = time.process_time()
    for module in modules:
        importlib.import_module(module)
    print(1000 * (time.process_time() - started))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--import"]:
        import_all(sys.argv[2:])
    else:
        main()
