"""Checks of README and docs: their code runs, their commands exist, and their links are valid."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version

from airflow_provider_polyteia.provider_info import PROVIDER_INFO
from airflow_provider_polyteia.sandbox import Sandbox

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
LANDING_PAGE = (DOCS / "index.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
AIRFLOW = tuple(int(part) for part in airflow_version.split(".")[:2])

# Module that a block uses -> minimum version of Airflow.
SINCE = {"airflow.sdk": (3, 0), "airflow_provider_polyteia.retry_policy": (3, 3)}
# Programs that are not part of this project; their arguments are not checked.
OTHER_PROGRAMS = {"apt-get", "git", "cat", "cd", "mkdir", "export", "python", "python3", "source", "curl"}
MAX_IMAGE_SIZE = 200_000


@dataclass(frozen=True)
class Block:
    """One fenced block of code.

    :param file: the file name in the line before the block, e.g. ``dags/bookings.py``. None if there is none.
    """

    page: Path
    line: int
    language: str
    code: str
    file: str | None

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page):
    """Yield all fenced blocks of a page."""
    text = page.read_text()
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = text[: match.start()]
        file = re.search(r"^`([\w./]+\.py)`:\n\n\Z", before, re.MULTILINE)
        yield Block(page, before.count("\n") + 1, match[1], match[2], file and file[1])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
SHELL = [block for block in BLOCKS if block.language in ("bash", "console", "shell")]


def prose(page):
    """Return the text of a page without its code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def links(page):
    """Return all relative links and images of a page."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"https?:|mailto:", target)]


def public_classes():
    """Return name -> module of all hooks, operators, sensors, triggers and transfers in the provider's metadata."""
    entries = [entry for key in ("hooks", "operators", "sensors", "triggers") for entry in PROVIDER_INFO[key]]
    names = [name for entry in entries for name in entry["python-modules"]]
    names += [transfer["python-module"] for transfer in PROVIDER_INFO["transfers"]]
    modules = [importlib.import_module(name) for name in names]
    return {
        name: module.__name__
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and not name.startswith("_")
    }


# Code


@pytest.fixture
def sandbox(monkeypatch):
    """The sandbox of the connection `polyteia_default`, for blocks that use it."""
    with Sandbox() as running:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection())
        yield running


def test_blocks_are_found():
    """The blocks of README and docs are found."""
    assert {block.page.name for block in PYTHON} >= {"README.md", "operators.md", "testing.md"}
    assert len(PYTHON) > 10
    assert len(SHELL) > 5


@pytest.mark.parametrize("block", [block for block in PYTHON if not block.file], ids=str)
def test_python_runs(block, sandbox, tmp_path):
    """A block that defines DAGs is parsed like a DAG file; any other block runs against a sandbox."""
    if missing := [name for name, since in SINCE.items() if name in block.code and since > AIRFLOW]:
        pytest.skip(f"needs a newer Airflow: {missing}")
    if "DAG(" not in block.code:
        exec(compile(block.code, str(block), "exec"), {"__name__": "block"})  # noqa: S102 - the block is what is tested
        return
    file = tmp_path / f"block_{block.line}.py"
    file.write_text(block.code)
    bag = dag_bag(file)
    assert bag.import_errors == {}
    assert bag.dags


def dag_bag(file):
    try:
        from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - in Airflow 3.2 and newer
    except ImportError:
        from airflow.models.dagbag import DagBag  # noqa: PLC0415 - in older versions
    return DagBag(dag_folder=str(file))


def test_python_has_no_undefined_names(tmp_path):
    """No block uses an undefined name or has an unused import, even in functions."""
    pytest.importorskip("ruff")
    for number, block in enumerate(PYTHON):
        (tmp_path / f"block_{number}.py").write_text(f"# {block}\n{block.code}")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", tmp_path]
    done = subprocess.run(ruff, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_the_project_of_the_testing_page_passes_its_own_tests(tmp_path):
    """DAG, conftest and tests of the page pass when they are written to the files that it names."""
    files = {block.file: block.code for block in PYTHON if block.file and block.page.name == "testing.md"}
    assert set(files) == {"dags/bookings.py", "tests/conftest.py", "tests/test_bookings.py"}
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


# Commands


def commands(block):
    """Yield the commands of a block as lists of words, without comments and leading assignments."""
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words:
            yield words


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_exist(block):
    """All commands of this project, Airflow and make exist, and accept their options."""
    for program, *arguments in commands(block):
        if program in CHECKS:
            CHECKS[program](arguments)
        else:
            assert program in OTHER_PROGRAMS, f"{block}: {program}"


def check_airflow(arguments):
    from airflow.cli.cli_parser import get_parser  # noqa: PLC0415 - slow, and only needed here

    get_parser().parse_args(arguments)


def check_sandbox(arguments):
    from airflow_provider_polyteia.sandbox.cli import _parser  # noqa: PLC0415 - only needed here

    _parser().parse_args(arguments)


def check_make(arguments):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) | {"demo", "demo-ui"}
    assert {word for word in arguments if "=" not in word} <= targets


def check_pip(arguments):
    assert arguments.pop(0) == "install"
    known = set(PROJECT["optional-dependencies"])
    for name, extras in re.findall(r"(airflow-provider-polyteia)(?:\[([\w,]+)\])?", " ".join(arguments)):
        assert name == PROJECT["name"]
        assert set(filter(None, extras.split(","))) <= known


CHECKS = {"airflow": check_airflow, "polyteia-sandbox": check_sandbox, "make": check_make, "pip": check_pip}


# Links and images


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_are_valid(page):
    """Each relative link points to an existing file, and to an existing heading in it."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


FOLDERS = ("airflow_provider_polyteia", "tests", "example_dags")
CITING = [file for name in FOLDERS for file in (ROOT / name).rglob("*.py")]


def section_exists(page, anchor):
    return (ROOT / page).exists() and (not anchor or anchor in anchors(ROOT / page))


def test_cited_sections_exist():
    """Each page that a comment or docstring cites exists, and so does the section, as in docs/platform-api.md#slugs."""
    cited = {
        citation: file.relative_to(ROOT)
        for file in CITING
        for citation in re.findall(r"\b(docs/[\w/-]+\.md)(?:#([\w-]+))?", file.read_text())
    }
    assert ("docs/platform-api.md", "rpc-sessions") in cited
    missing = {citation: str(file) for citation, file in cited.items() if not section_exists(*citation)}
    assert not missing


def test_images_are_used_described_and_small():
    """Each image is used on a page, has an alternative text, and is not too large."""
    shown = {}
    for page in PAGES:
        for text, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", prose(page)):
            shown[(page.parent / path).resolve()] = text
    images = set((DOCS / "images").iterdir())
    assert images == set(shown)
    assert all(len(text) > len("a picture") for text in shown.values())
    assert max(image.stat().st_size for image in images) <= MAX_IMAGE_SIZE


# Lists in the README and the reference


def test_readme_lists_every_class():
    """The table of classes contains each public class with its module, and no others."""
    rows = re.findall(r"^\| `([\w.]+)\.(\w+)` \|", README, re.MULTILINE)
    listed = {name: module for module, name in rows}
    expected = {name: module.partition(".")[2] for name, module in public_classes().items()}
    assert expected.items() <= listed.items()
    for name, module in listed.items():
        assert importlib.util.find_spec(f"airflow_provider_polyteia.{module}"), name


def test_reference_describes_every_class():
    """The API reference has an entry for each public class, and for each public error."""
    text = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    for name, module in public_classes().items():
        assert f".. autoclass:: {module}.{name}\n" in text
    assert ".. automodule:: airflow_provider_polyteia.exceptions" in text


def test_every_exception_has_a_cause_and_a_remedy():
    """The tables of exceptions contain each public exception, under the heading of what Airflow does, and no others."""
    from airflow_provider_polyteia import exceptions  # noqa: PLC0415 - only needed here

    page = (DOCS / "api/errors.md").read_text().partition("## Causes and remedies")[2].partition("\n## ")[0]
    tables = dict(re.findall(r"^### (.+)\n((?:(?!### ).*\n)+)", page, re.MULTILINE))
    assert list(tables) == [
        "Exceptions that fail the task immediately",
        "Exceptions after which Airflow retries the task",
    ]
    names = []
    for heading, table in tables.items():
        for name, cause, remedy in re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", table, re.MULTILINE):
            names.append(name)
            fails_immediately = issubclass(getattr(exceptions, name), exceptions.AirflowFailException)
            assert fails_immediately == ("immediately" in heading), name
            assert cause.endswith("."), name
            assert remedy.endswith("."), name
    assert sorted(names) == sorted(exceptions.__all__)


def table_of_contents():
    """Return the pages in the lists of contents of the landing page, by caption."""
    lists = re.findall(r"^```{toctree}\n:caption: (.+)\n(?::.*\n)*\n((?:.+\n)+)```$", LANDING_PAGE, re.MULTILINE)
    return {caption: re.findall(r"^(?:.+ <)?([\w/-]+)>?$", entries, re.MULTILINE) for caption, entries in lists}


def test_every_page_is_in_the_table_of_contents():
    """Each page of docs/ is in exactly one of the four lists of the landing page."""
    contents = table_of_contents()
    assert list(contents) == ["Tutorial", "How-to guides", "Reference", "Explanation"]
    entries = [entry for group in contents.values() for entry in group]
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")} - {"index"}
    assert sorted(entries) == sorted(pages)
    assert {page for page in pages if page.startswith("how-to/")} <= set(contents["How-to guides"])


def test_readme_lists_every_extra():
    """The table of extras contains all of them."""
    listed = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert set(listed) == set(PROJECT["optional-dependencies"])


def test_every_extra_of_a_connection_is_documented():
    """The table of extras of a connection contains all of them, and no others."""
    from airflow_provider_polyteia.client.config import _EXTRAS  # noqa: PLC0415 - only needed here

    extras = (DOCS / "connection.md").read_text().partition("## Extra")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", extras, re.MULTILINE)
    assert {name.strip("`") for row in rows for name in row.split(", ")} == set(_EXTRAS)


def test_procedures_are_known():
    """Each procedure of the RPC API that a page names is one that the provider knows."""
    from airflow_provider_polyteia.client.rpc_api.procedures import PROCEDURES  # noqa: PLC0415 - only needed here

    routers = "|".join(sorted({name.partition("/")[0] for name in PROCEDURES}))
    named = {
        name: page.name
        for page in PAGES
        for name in re.findall(rf"[`\"]((?:{routers})(?:/[A-Za-z]+)+)\b", page.read_text())
    }
    assert {"dataset/createDataset", "tag/assignTag", "solution/createSolution"} <= set(named)
    assert {name: page for name, page in named.items() if name not in PROCEDURES} == {}


def test_tested_versions_are_documented():
    """The table of supported versions contains all lines of the matrix, and no others."""
    matrix = ROOT / ".ci/matrix.py"
    if not matrix.exists():
        pytest.skip("these tests run from a copy without the matrix")
    lines = set(re.findall(r'Line\("(3[\d.]+|2[\d.]+)", "([\d.]+)"', matrix.read_text()))
    rows = re.findall(r"^\| [\d.]+ \| ([\d.]+) with ([\d., ]+) \|", (DOCS / "upgrading.md").read_text(), re.MULTILINE)
    assert {(airflow, python) for airflow, pythons in rows for python in pythons.split(", ")} == lines


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_documentation_builds_without_a_warning(tmp_path):
    """Sphinx builds all pages, including the reference, without a warning."""
    pytest.importorskip("sphinx")
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", DOCS, tmp_path / "site"]
    done = subprocess.run(build, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site/api/operators.html").read_text()
    assert "CreateDatasetOperator" in reference
    assert "Create a dataset exactly once" in reference
