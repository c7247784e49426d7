"""Packages of the extra `sandbox`."""

from __future__ import annotations

from importlib.util import find_spec

PACKAGES = ("duckdb", "pyarrow", "python_calamine", "starlette", "uvicorn")


def require_packages() -> None:
    """Check that the packages of the extra `sandbox` are installed.

    :raises ModuleNotFoundError: if packages are missing; the message contains the command to install them.
    """
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        raise ModuleNotFoundError(
            f"The Polyteia sandbox needs {', '.join(missing)}. Install the missing packages with: "
            'pip install "airflow-provider-polyteia[sandbox]"',
            name=missing[0],
        )
