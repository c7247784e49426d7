"""Packages that only some transfers need."""

from __future__ import annotations

from importlib.util import find_spec

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError


def is_installed(module: str) -> bool:
    """Return True if a module can be imported. Its parent packages must be installed."""
    return find_spec(module) is not None


def require(module: str, extra: str, purpose: str) -> None:
    """Check that an optional package is installed.

    :param module: Import name of the package.
    :param extra: Extra of this provider that installs the package.
    :param purpose: Feature that needs the package; the subject of the error's first sentence.
    :raises PolyteiaConfigurationError: if the package is not installed; the error contains the command to install it.
    """
    if not is_installed(module):
        raise PolyteiaConfigurationError(
            f"{purpose} needs the Python package {module!r}, which is not installed on this worker. Install it with: "
            f'pip install "airflow-provider-polyteia[{extra}]"'
        )
