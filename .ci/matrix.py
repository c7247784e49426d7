"""Test the built wheel on every supported Airflow: `make matrix`, or `make matrix LINES="2.11.2 lowest"` for a few.

Each line of the matrix gets a fresh environment in `.matrix/`, with the wheel in it and not the checkout: the tests are
those of the sdist, without the package beside them. Run are the unit tests and, except for lines with `:unit`, every
example DAG on a real Airflow.
Lines whose Python is not on this machine are left out, and the table says so.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import xml.etree.ElementTree as ET  # our own pytest's report
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".matrix"
UV = (sys.executable, "-m", "uv", "--quiet")
DIST = WORK / "dist"
# The documentation shows the newest Airflow: its code is tested there.
UNIT = (
    *(f"--ignore=tests/{name}" for name in ("integration", "soak", "test_docs.py")),
    *("--numprocesses", "3", "--dist", "loadfile"),
)
EXAMPLES = (
    *(f"tests/integration/{name}.py" for name in ("test_examples", "test_fail_fast", "test_rpc_api")),
    "tests/integration/test_transfers_airflow.py::test_examples",
    "tests/integration/test_watching.py::test_example_started_by_an_upload",
)
# Our dependencies that are younger than the old lines.
NEWER_ALL_THE_SAME = tuple(
    part
    for package in ("apache-airflow-providers-common-compat", "duckdb")
    for part in ("--exclude-newer-package", f"{package}=false")
)
INSTALL_TIMEOUT, TEST_TIMEOUT = 600, 1200  # seconds

# Shows every warning that comes from our code, in each process that the environment's Python starts. Within pytest it
# is an error: see `filterwarnings` in pyproject.toml.
SHOW_OUR_WARNINGS = "import warnings; warnings.filterwarnings('always', module='airflow_provider_polyteia')\n"
OURS = re.compile(r"(airflow_provider_polyteia|dags)/[\w/]+\.py")
# Not a ResourceWarning: it names whatever ran while the garbage was collected.
WARNING = re.compile(r"\b(?!ResourceWarning)[A-Z]\w*Warning\b")


class MatrixError(Exception):
    """A line could not be run."""


@dataclass(frozen=True)
class Line:
    """One line of the matrix.

    :param airflow: version; `lowest` takes the lowest versions of everything that pyproject.toml allows.
    :param python: version.
    :param as_of: resolve as on this day: old lines break on newer releases of what they are built on.
    :param packages: what else is installed, as deployments of that time had it.
    """

    airflow: str
    python: str
    as_of: str | None = None
    packages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.airflow}-py{self.python}"

    @property
    def home(self) -> Path:
        """Where everything of this line is."""
        return WORK / self.name


# Test -> the examples that it runs, for the table.
EXAMPLES_RUN = {
    "test_an_example_succeeds_on_the_first_try": 1,
    "test_examples": 4,
    "test_example_started_by_an_upload": 1,
}

LINES = (
    Line("2.11.2", "3.11"),
    Line("3.0.6", "3.11", as_of="2025-09-10", packages=("apache-airflow-providers-fab",)),
    Line("3.1.8", "3.11", as_of="2026-04-15"),
    Line("3.2.2", "3.12", as_of="2026-06-20"),
    Line("3.3.2", "3.11"),
    Line("3.3.2", "3.12"),
    Line("3.3.2", "3.13"),
    # Airflow 2.11.0 does not say that it needs the older one; its constraints, and 2.11.2, do.
    Line("lowest", "3.11", packages=("universal-pathlib<0.3",)),
)


@dataclass
class Result:
    """What came of one line."""

    line: Line
    airflow: str = ""
    tests: int = 0
    failed: int = 0
    skipped: int = 0
    examples: int = 0
    examples_failed: int = 0
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    problem: str = ""

    with_examples: bool = True

    @property
    def is_good(self) -> bool:
        """Whether all was run, and all has passed."""
        is_whole = self.tests > 0 and (self.examples > 0 or not self.with_examples)
        return is_whole and not (self.problem or self.failed or self.warnings)


def main(arguments: list[str]) -> int:
    wanted = [argument.removesuffix(":unit") for argument in arguments]
    unit_only = {argument.removesuffix(":unit") for argument in arguments if argument.endswith(":unit")}
    lines = [line for line in LINES if not wanted or {line.airflow, line.name} & set(wanted)]
    if unknown := set(wanted) - {name for line in LINES for name in (line.airflow, line.name)}:
        sys.exit(f"No such line: {', '.join(sorted(unknown))}. There are: {', '.join(line.name for line in LINES)}.")
    build()
    results, absent = [], []
    for line in lines:
        python = find_python(line.python)
        if python is None:
            absent.append(line)
            continue
        results.append(run_line(line, python, with_examples=not {line.airflow, line.name} & unit_only))
    print_table(results, absent)
    return 0 if results and all(result.is_good for result in results) else 1


def build() -> None:
    """Build the sdist, and the wheel from it."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([*UV, "build", "--out-dir", DIST, ROOT], check=True, timeout=INSTALL_TIMEOUT)


def the_one(pattern: str, folder: Path = DIST) -> Path:
    (found,) = folder.glob(pattern)
    return found


def find_python(version: str) -> str | None:
    """Return the interpreter; pyenv's starts one that is not its default only if it is named."""
    environment = dict(os.environ)
    if shutil.which("pyenv"):
        versions = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True)
        environment["PYENV_VERSION"] = ":".join(versions.stdout.split())
    ask = [f"python{version}", "-c", "import sys; print(sys.executable)"]
    try:
        return subprocess.run(ask, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None


def run_line(line: Line, python: str, *, with_examples: bool) -> Result:
    started, result = time.monotonic(), Result(line, with_examples=with_examples)
    say(f"Airflow {line.airflow}, Python {line.python}: installing ...")
    try:
        install(line, python)
        result.airflow = installed_airflow(line)
        for name, arguments in groups_of(line, with_examples=with_examples).items():
            say(f"Airflow {result.airflow}, Python {line.python}: {name} tests ...")
            run_tests(line, name, arguments)
            count(line, name, result)
    except (MatrixError, subprocess.TimeoutExpired) as error:
        result.problem = str(error)
    result.warnings = our_warnings(line)
    result.seconds = time.monotonic() - started
    if not result.is_good:
        say("\n".join([f"FAILED; all output is in {line.home}", tail(line), *result.warnings]))
    return result


def groups_of(line: Line, *, with_examples: bool) -> dict[str, tuple[str, ...]]:
    """Return name -> arguments of pytest for each group of tests."""
    # What the slow tests try depends on the versions of libraries, which differ most there.
    marks = "not integration" if line.airflow == "lowest" else "not integration and not slow"
    examples = {"examples": EXAMPLES} if with_examples else {}
    return {"unit": (*UNIT, "-m", marks), **examples}


def install(line: Line, python: str) -> None:
    """Unpack the tests and make the environment; try the wheel without extras on the way."""
    shutil.rmtree(line.home, ignore_errors=True)
    (line.home / "tmp").mkdir(parents=True)
    with tarfile.open(the_one("*.tar.gz")) as sdist:
        sdist.extractall(line.home, filter="data")
    the_one("airflow_provider_polyteia-*", line.home).rename(line.home / "project")
    shutil.rmtree(line.home / "project/airflow_provider_polyteia")
    demand(line, [*UV, "venv", "--python", python, "../venv"])
    pip_install(line)
    site_packages = the_one("python*/site-packages", line.home / "venv/lib")
    (site_packages / "show_our_warnings.pth").write_text(SHOW_OUR_WARNINGS)
    demand(line, ["../venv/bin/python", ".ci/smoke.py"])
    pip_install(line, with_tests=True)
    demand(line, [*UV, "pip", "check", "--python", "../venv"])


def pip_install(line: Line, *, with_tests: bool = False) -> None:
    """Install Airflow and the wheel, and if asked for, all extras and what the tests need."""
    command = [*UV, "pip", "install", "--compile-bytecode", "--python", "../venv"]
    tests = ["--group", "test"] if with_tests else []
    wheel = the_one("*.whl")
    if line.airflow == "lowest":
        # Direct are the dependencies of the project, not of a wheel: so these come first, and the wheel alone.
        extras = ["--all-extras"] if with_tests else []
        requirements = ["--requirements", "pyproject.toml", *extras, *line.packages, *tests]
        demand(line, [*command, "--resolution", "lowest-direct", *requirements])
        demand(line, [*command, "--no-deps", wheel])
        return
    project = tomllib.loads((line.home / "project/pyproject.toml").read_text())["project"]
    extras = ",".join(project["optional-dependencies"]) if with_tests else ""
    as_of = ["--exclude-newer", line.as_of, *NEWER_ALL_THE_SAME] if line.as_of else []
    demand(line, [*command, *as_of, f"apache-airflow=={line.airflow}", f"{wheel}[{extras}]", *line.packages, *tests])


def installed_airflow(line: Line) -> str:
    ask = "from importlib.metadata import version; print(version('apache-airflow'))"
    return subprocess.run(
        [line.home / "venv/bin/python", "-c", ask], capture_output=True, text=True, check=True
    ).stdout.strip()


def run_tests(line: Line, name: str, arguments: tuple[str, ...]) -> None:
    """Run pytest; that tests fail is counted from its report, anything else is an error."""
    report = [f"--junitxml={line.home / name}.xml", f"--basetemp={line.home / 'tmp' / name}"]
    command = ["../venv/bin/python", "-m", "pytest", *report, *arguments]
    if (code := run(line, command, TEST_TIMEOUT)) not in {0, 1}:
        raise MatrixError(f"pytest ended with {code}")


def demand(line: Line, command: Sequence[str | Path]) -> None:
    """Run a command that must succeed."""
    if code := run(line, command, INSTALL_TIMEOUT):
        raise MatrixError(f"{' '.join(map(str, command[:5]))} ... ended with {code}")


def run(line: Line, command: Sequence[str | Path], timeout: int) -> int:
    """Run a command in the line's project, with all its output in the line's log; return its exit code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "PYTHON"))}
    environment["TMPDIR"] = str(line.home / "tmp")
    with (line.home / "log.txt").open("a") as log:
        process = subprocess.Popen(
            command, cwd=line.home / "project", env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        return process.wait(timeout)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # as from the keyboard: pytest stops what its fixtures have started
            process.wait(60)


def count(line: Line, name: str, result: Result) -> None:
    """Add what pytest has reported."""
    for case in ET.parse(line.home / f"{name}.xml").iter("testcase"):  # noqa: S314 - our own file
        has_failed = case.find("failure") is not None or case.find("error") is not None
        has_skipped = case.find("skipped") is not None
        result.failed += has_failed
        result.skipped += has_skipped
        result.tests += not has_failed and not has_skipped
        examples = 0 if has_skipped else EXAMPLES_RUN.get(case.get("name", "").partition("[")[0], 0)
        result.examples += 0 if has_failed else examples
        result.examples_failed += examples if has_failed else 0


def our_warnings(line: Line) -> list[str]:
    """All lines in what pytest, Airflow and its tasks have written that tell of a warning from our code."""
    logs = [line.home / "log.txt", *(line.home / "tmp").rglob("*.log")]
    texts = (log.read_text(errors="replace") for log in logs if log.is_file())
    return [text for log in texts for text in log.splitlines() if OURS.search(text) and WARNING.search(text)]


def print_table(results: list[Result], absent: list[Line]) -> None:
    rows = [("Airflow", "Python", "tests passed", "examples passed", "our warnings", "seconds", "")]
    for result in results:
        tests = f"{result.tests} of {result.tests + result.failed}"
        examples = f"{result.examples} of {result.examples + result.examples_failed}" if result.with_examples else "-"
        verdict = "ok" if result.is_good else result.problem or "FAILED"
        skipped = f", {result.skipped} skipped" if result.skipped else ""
        lowest = " (lowest of all)" if result.line.airflow == "lowest" else ""
        rows.append(
            (
                f"{result.airflow}{lowest}",
                result.line.python,
                f"{tests}{skipped}",
                examples,
                str(len(result.warnings)),
                f"{result.seconds:.0f}",
                verdict,
            )
        )
    rows += [(line.airflow, line.python, "-", "-", "-", "-", "no such Python on this machine") for line in absent]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def tail(line: Line, lines: int = 40) -> str:
    return "\n".join((line.home / "log.txt").read_text(errors="replace").splitlines()[-lines:])


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # not without stopping what runs
    sys.exit(main(sys.argv[1:]))
