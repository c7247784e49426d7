"""The sdist and the wheel, built like a release, without network access."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import airflow_provider_polyteia

ROOT = Path(__file__).parents[1]
NAME = "airflow_provider_polyteia"
VERSION = airflow_provider_polyteia.__version__
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A directory with the sdist, and the wheel built from what is in the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    # Without isolation, the installed build backend is used, and nothing is downloaded.
    build = [sys.executable, "-m", "uv", "build", "--offline", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([*build, "--quiet", "--out-dir", folder, ROOT], check=True, timeout=100)
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    """The files in the wheel: name -> content."""
    with zipfile.ZipFile(dist / f"{NAME}-{VERSION}-py3-none-any.whl") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel):
    return message_from_bytes(wheel[f"{NAME}-{VERSION}.dist-info/METADATA"])


def files_of(folder):
    return {file.relative_to(ROOT).as_posix() for file in (ROOT / folder).rglob("*") if is_source(file)}


def is_source(file):
    return file.is_file() and "__pycache__" not in file.parts


def test_contents_of_the_wheel(wheel):
    """The wheel contains all files of the package, including py.typed, the license and the metadata; nothing else."""
    about = {f"{NAME}-{VERSION}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    license_file = f"{NAME}-{VERSION}.dist-info/licenses/LICENSE"
    assert f"{NAME}/py.typed" in wheel
    assert set(wheel) == files_of(NAME) | about | {license_file}
    assert wheel[license_file] == (ROOT / "LICENSE").read_bytes()


def test_contents_of_the_sdist(dist):
    """The sdist contains the package, the tests, the examples and the documentation; no environment or cache."""
    with tarfile.open(dist / f"{NAME}-{VERSION}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = set().union(*(files_of(folder) for folder in (NAME, "tests", "example_dags", "docs", ".ci")))
    tops = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "pyproject.toml"}
    assert names == expected | tops | {".gitignore", "PKG-INFO"}


def test_twine_check(dist):
    """Package indexes accept the metadata, and the README renders there."""
    check = [sys.executable, "-m", "twine", "check", "--strict", *dist.glob("airflow_provider_polyteia*")]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_version_comes_from_one_place(metadata):
    """The version in the metadata is the package's `__version__`; pyproject.toml does not state another one."""
    assert metadata["Version"] == VERSION
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT


def test_metadata(metadata):
    """Name, license, Python version, dependencies and extras are those of pyproject.toml."""
    assert metadata["Name"] == PROJECT["name"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    required = {text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text}
    assert required == set(PROJECT["dependencies"])
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])


def test_all_dependencies_have_a_lower_bound():
    """Each dependency states its minimum version; the matrix tests these versions."""
    extras = [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
    unbounded = [text for text in [*PROJECT["dependencies"], *extras] if not re.search(r">=\d", text)]
    assert [text for text in unbounded if not text.startswith(PROJECT["name"])] == []


def test_entry_points(wheel):
    """The entry points of the provider and of the sandbox's command are declared."""
    declared = wheel[f"{NAME}-{VERSION}.dist-info/entry_points.txt"].decode()
    assert f"[apache_airflow_provider]\nprovider_info = {NAME}:get_provider_info" in declared
    assert f"[console_scripts]\npolyteia-sandbox = {NAME}.sandbox.cli:main" in declared
