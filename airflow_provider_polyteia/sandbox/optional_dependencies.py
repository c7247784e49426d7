"""The packages of the extra `sandbox`: asked for by name when they are missing."""

from __future__ import annotations

from importlib.util import find_spec

PACKAGES = ("duckdb", "pyarrow", "starlette", "uvicorn")


def require_extras() -> None:
    """Check that what the sandbox runs on is installed.

    :raises ModuleNotFoundError: naming what is missing and the command that installs it.
    """
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        raise ModuleNotFoundError(
            f'The Polyteia sandbox needs {", ".join(missing)}: pip install "airflow-provider-polyteia[sandbox]"',
            name=missing[0],
        )
